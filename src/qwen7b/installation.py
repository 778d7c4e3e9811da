"""How this qwen7b was installed, and the command that installs it again with an extra."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_CHECKOUT = Path(__file__).parents[2]


def install_command(*extras: str, upgrade: bool = False) -> str:
    """The command that installs qwen7b as it was installed, with these extras.

    From a checkout it is "pip install -e '/home/me/qwen7b[hf]'", from an index "pip install 'qwen7b[hf]'"; a file or
    address is named by its URL. https://packaging.python.org/en/latest/specifications/direct-url/
    """
    option = "-U " if upgrade else ""
    suffix = f"[{','.join(extras)}]" if extras else ""
    return f"{_pip()} install {option}{_requirement(_origin(), suffix)}"


def _requirement(origin: dict[str, Any] | None, extras: str) -> str:
    if origin is None:
        return shlex.quote(f"qwen7b{extras}")
    from urllib.request import url2pathname  # which takes time to import

    url = origin["url"]
    if "dir_info" in origin:
        option = "-e " if origin["dir_info"].get("editable") else ""
        return option + shlex.quote(url2pathname(urlsplit(url).path) + extras)
    if control := origin.get("vcs_info"):
        url = f"{control['vcs']}+{url}@{control['commit_id']}"
    part = f"#subdirectory={origin['subdirectory']}" if "subdirectory" in origin else ""
    return shlex.quote(f"qwen7b{extras} @ {url}{part}")


def _origin() -> dict[str, Any] | None:
    """Where pip installed qwen7b from, by its direct_url.json; None for an index. Without pip it is the checkout."""
    from importlib.metadata import PackageNotFoundError, distribution  # which takes time to import

    try:
        direct_url = distribution("qwen7b").read_text("direct_url.json")
        return json.loads(direct_url) if direct_url else None
    except (PackageNotFoundError, OSError, ValueError):
        if (_CHECKOUT / "pyproject.toml").is_file():
            return {"url": _CHECKOUT.as_uri(), "dir_info": {"editable": True}}
        return None


def _pip() -> str:
    """The command for pip: through this interpreter where the shell's own pip would be another environment's."""
    in_environment = sys.prefix != sys.base_prefix
    if in_environment and os.path.realpath(os.environ.get("VIRTUAL_ENV", "")) != os.path.realpath(sys.prefix):
        return f"{shlex.quote(sys.executable)} -m pip"
    return "pip"
