"""The releases of Transformers that the classes here are made for."""

from __future__ import annotations

import warnings

from qwen7b.errors import UnsupportedError
from qwen7b.installation import install_command

OLDEST, NEWEST = (5, 6), (5, 24)
"""The first and the last minor that the tests are run on (tests/hf/matrix.py), as in pyproject.toml.

Up to 5.4 the checkpoint's own code goes before a class of ours where the user trusts it; 5.5 loads the folder of an
adapter without the adapter, unless the decoder within the model is called "model".
"""


def check_release(version: str) -> None:
    """Raise UnsupportedError for a release that is too old; warn of one that is newer than any that was tested.

    It is not refused: most minors change nothing here, and who has it needs it for something else. What could go wrong
    in silence, a cache by another name, is refused where it happens.
    """
    found = tuple(map(int, version.split(".")[:2]))
    if found < OLDEST:
        raise UnsupportedError(
            f"qwen7b.hf needs transformers {_named(OLDEST)} or newer, found {version}: run "
            + install_command("hf", upgrade=True)
        )
    if found > NEWEST:
        warnings.warn(
            f"qwen7b.hf was tested with transformers {_named(OLDEST)} to {_named(NEWEST)}, found {version}: should it "
            f"fail, run {install_command('hf', upgrade=True)}",
            stacklevel=3,
        )


def _named(minor: tuple[int, int]) -> str:
    return ".".join(map(str, minor))
