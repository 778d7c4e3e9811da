"""The figures of a cell as PNG: matplotlib's, by a backend of its own, and values that can draw themselves.

Part of what the sandbox starts: standard library only; matplotlib is found where the program may import it.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

BACKEND = "session_figures"
MAX_FIGURES_BYTES = 1 << 24
"""What all figures of one cell may have; an answer holds them, a third longer."""


_CHINESE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Zen Hei"),
    *("WenQuanYi Micro Hei", "Noto Sans CJK JP", "Droid Sans Fallback", "AR PL UMing CN", "SimHei", "Microsoft YaHei"),
)
"""In the order in which they are taken. Of a collection matplotlib reads the first font, which is Noto's Japanese."""


class Figures:
    """Collects figures; also the finder and loader of the module that matplotlib takes for its backend.

    https://matplotlib.org/stable/users/explain/figure/writing_a_backend_pyplot_interface.html says what that must have.
    """

    def __init__(self) -> None:
        self.drawn: list[bytes] = []
        os.environ["MPLBACKEND"] = f"module://{BACKEND}"
        sys.meta_path.append(self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != BACKEND:
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, self)  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        module.FigureCanvas = FigureCanvasAgg  # type: ignore[attr-defined]
        module.show = lambda *_, **__: self.collect()  # type: ignore[attr-defined]
        _admit_chinese()

    def collect(self) -> None:
        """Draw the figures that are open, and close them."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        import io

        try:
            for number in pyplot.get_fignums():
                file = io.BytesIO()
                pyplot.figure(number).savefig(file, format="png", bbox_inches="tight")
                self.add(file.getvalue())
        finally:
            pyplot.close("all")

    def add_value(self, value: Any) -> bool:
        """Add the picture that a value makes of itself, by IPython's convention, if it does."""
        draw = getattr(type(value), "_repr_png_", None)
        data = draw(value) if draw else None
        if isinstance(data, bytes):
            self.add(data)
            return True
        return False

    def add(self, data: bytes) -> None:
        if sum(map(len, self.drawn)) + len(data) > MAX_FIGURES_BYTES:
            raise ValueError(f"the figures of a cell may have {MAX_FIGURES_BYTES:,} bytes: show fewer or smaller ones")
        self.drawn.append(data)

    def take(self) -> list[str]:
        """All figures since the last time, in base64."""
        from base64 import b64encode

        taken, self.drawn = self.drawn, []
        return [b64encode(data).decode("ascii") for data in taken]


def _admit_chinese() -> None:
    """Let characters that matplotlib's own font lacks be drawn by one that has Chinese, where one is installed."""
    import matplotlib
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    chinese = [name for name in _CHINESE_FONTS if name in installed]
    matplotlib.rcParams["font.family"] = [*matplotlib.rcParams["font.family"], *chinese[:1]]
