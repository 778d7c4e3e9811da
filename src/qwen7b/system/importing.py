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
    """Raise ResourceError if it is gone: a library inside torch would abort the process with a message of its own."""
    try:
        os.getcwd()
    except OSError as error:
        raise ResourceError(
            f"the working directory no longer exists ({error.strerror or error}), and PyTorch does not start without "
            "one: change to another directory, for example with 'cd ~'"
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
    """Switch garbage collection off while torch, or what depends on it, is imported.

    Nothing that an import makes is garbage, and looking for it again and again takes a fifth of torch's import time.
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
        if not gc.get_freeze_count():  # else unfreeze would also release what a caller has frozen
            gc.freeze()
            gc.unfreeze()  # this moves all to the oldest generation, so that the next collection is short
        gc.enable()


@contextmanager
def loading_torch_library() -> Iterator[None]:
    """Load torch's library in a background thread, which needs no Python; the import of torch then finds it loaded.

    The block should import nothing that loads a library, as libraries are loaded one at a time.
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
    """The library of torch's CPU build for Linux; None for other builds, which load several."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).with_name("lib")
    library = folder / "libtorch_cpu.so"
    others = ("libtorch_cuda.so", "libtorch_hip.so", "libtorch_xpu.so")
    return library if library.is_file() and not any((folder / name).exists() for name in others) else None


def _load(library: Path) -> None:
    """Load a library, and say nothing where that fails: torch's own import says what is wrong."""
    with suppress(
        AttributeError
    ):  # ctypes.CDLL(library) would hold the GIL; a function called through ctypes releases it
        dlopen = ctypes.CDLL(None).dlopen
        dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
        dlopen(os.fsencode(library), os.RTLD_NOW)
