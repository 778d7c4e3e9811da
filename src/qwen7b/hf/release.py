"""The releases of Transformers that the classes here support."""

from __future__ import annotations

import warnings

from qwen7b.errors import UnsupportedError
from qwen7b.installation import install_command

OLDEST, NEWEST = (5, 6), (5, 24)
"""The first and the last minor release that the tests run on (tests/hf/matrix.py), as in pyproject.toml.

Up to 5.4, if the user trusts it, the checkpoint's own code has priority over our classes; 5.5 loads an adapter's folder
without the adapter, unless the decoder inside the model is called "model".
"""


def check_release(version: str) -> None:
    """Raise UnsupportedError for a release that is too old, and warn of one newer than those that were tested.

    A newer one is not refused: most minor releases change nothing here, and the user may need it for something else.
    The one thing that could go wrong silently, a cache under another name, is refused where it happens.
    """
    actual = tuple(map(int, version.split(".")[:2]))
    if actual < OLDEST:
        raise UnsupportedError(
            f"qwen7b.hf needs transformers {_version_text(OLDEST)} or newer, found {version}: run "
            + install_command("hf", upgrade=True)
        )
    if actual > NEWEST:
        warnings.warn(
            f"qwen7b.hf was tested with transformers {_version_text(OLDEST)} to {_version_text(NEWEST)}, found "
            f"{version}: should it fail, run {install_command('hf', upgrade=True)}",
            stacklevel=3,
        )


def _version_text(minor: tuple[int, int]) -> str:
    return ".".join(map(str, minor))
