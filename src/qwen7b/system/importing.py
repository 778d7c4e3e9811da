"""Imports torch, and what stands on it, in less time than `import torch` takes. Knows nothing of what is imported."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

from qwen7b.errors import ResourceError


def check_working_directory() -> None:
    """Raise ResourceError where it is gone: a library within torch would then end the process, on a line of its own."""
    try:
        os.getcwd()
    except OSError as error:
        raise ResourceError(
            f"the working directory is no longer there ({error.strerror or error}), and neither paths nor PyTorch work "
            "without one: change to another, as by 'cd ~'"
        ) from error


def imported_when_used(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """The `__getattr__` of a package that imports a name's module, and torch with it, when the name is first used."""

    def import_name(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with quick_imports():
            return getattr(import_module(f"{package}.{homes[name]}"), name)

    return import_name


@contextmanager
def quick_imports() -> Iterator[None]:
    """Within this, no garbage is looked for while torch and what stands on it is imported.

    All of that stays, and to look for garbage in it, again and again, takes a fifth of torch's import.
    """
    if "torch" in sys.modules:
        yield
        return
    check_working_directory()
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # else a caller has frozen objects, which would thaw with ours
            gc.freeze()
            gc.unfreeze()  # all are old now, and the next collection of young ones is short
        gc.enable()


@contextmanager
def torch_library_aside() -> Iterator[None]:
    """Within this, a thread of its own loads torch's library, which needs no Python; torch's import then finds it.

    What is done meanwhile should import nothing: libraries are loaded one at a time.
    """
    library = None if "torch" in sys.modules else _torch_library()
    if library is None:
        yield
        return
    thread = Thread(target=_load, args=(library,))
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _torch_library() -> Path | None:
    """The library of torch's CPU build for Linux; None for others, which load more of them, each its own way."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).with_name("lib")
    library = folder / "libtorch_cpu.so"
    others = ("libtorch_cuda.so", "libtorch_hip.so", "libtorch_xpu.so")
    return library if library.is_file() and not any((folder / name).exists() for name in others) else None


def _load(library: Path) -> None:
    """Without a word where that fails: torch's own import says what is wrong."""
    with suppress(AttributeError):  # ctypes' own way to load lets no other thread run; a function that it calls does
        dlopen = ctypes.CDLL(None).dlopen
        dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
        dlopen(os.fsencode(library), os.RTLD_NOW)
