"""The native library (kernels/qwen7b.h): found, loaded once, and what is set on it.

Nothing is loaded before the first use. Where the library is missing or of another version, everything runs on the
PyTorch reference, which is said once.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import warnings
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from qwen7b.config.checked import whole_number
from qwen7b.errors import ResourceError, SettingError
from qwen7b.kernels.constants import MAX_THREADS
from qwen7b.kernels.matrix import PackedMatrix
from qwen7b.kernels.structures import Contract, Matrix, Model, Rows
from qwen7b.system.container import usable_cores

_FILE = "qwen7b_kernels.so"

if hasattr(os, "register_at_fork"):
    # OpenMP's threads stay with the parent, and a child that counts on them waits for ever: so torch computes in one.
    # The kernels have threads of their own, which a child makes anew (kernels/pool.cpp).
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


@cache
def library() -> ctypes.CDLL | None:
    """The library, or None, with a warning, where there is none. QWEN7B_KERNELS names another file, or "none"."""
    wanted = os.environ.get("QWEN7B_KERNELS")
    path = Path(wanted) if wanted else Path(__file__).with_name(_FILE)
    if wanted == "none":
        return None
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        was_built = wanted or path.exists()
        _warn_missing(str(error) if was_built else "it was installed where there was no C++ compiler", wanted=wanted)
        return None
    if not _agrees(loaded):
        _warn_missing(f"{path} is of another version", wanted=wanted)
        return None
    _declare(loaded)
    loaded.qwen7b_set_num_threads(min(usable_cores(), MAX_THREADS))
    return loaded


def _agrees(loaded: ctypes.CDLL) -> bool:
    """Whether what this package and the library state alike is alike, no more being read than there is."""
    get_contract = getattr(loaded, "qwen7b_get_contract", None)
    if get_contract is None:
        return False
    get_contract.restype = ctypes.POINTER(Contract)
    actual, expected = get_contract().contents, Contract.ours()
    return actual.contract_bytes == ctypes.sizeof(Contract) and bytes(actual) == bytes(expected)


def _declare(loaded: ctypes.CDLL) -> None:
    """Tell ctypes the functions' types."""
    number, real, pointer, text = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p, ctypes.c_char_p
    matrix = ctypes.POINTER(Matrix)
    layers = [ctypes.POINTER(Model), pointer, ctypes.POINTER(Rows)]  # in the middle addresses of a Cache each
    for name, result, arguments in (
        ("available_set", text, [ctypes.c_int]),
        ("instruction_set", text, []),
        ("use_instruction_set", ctypes.c_int, [text]),
        ("repacked_bytes", number, [matrix]),
        ("repack", None, [matrix, pointer]),
        ("num_threads", ctypes.c_int, []),
        ("set_num_threads", None, [ctypes.c_int]),
        ("linear", _done, [matrix, pointer, number, pointer]),
        ("run_layers", _done, [*layers, number, number, pointer]),
        ("measure_read", real, [pointer, number]),
        ("measure_int8", real, [number]),
    ):
        function = getattr(loaded, f"qwen7b_{name}")
        function.restype, function.argtypes = result, arguments


def _done(code: int) -> None:
    if code:
        raise ResourceError("the kernels have too little memory to work in: close other programs, or read less at once")


def _warn_missing(why: str, *, wanted: str | None) -> None:
    remedy = "correct QWEN7B_KERNELS or leave it out" if wanted else "install a C++ compiler, then qwen7b again"
    warnings.warn(
        f"qwen7b runs without its native kernels, many times slower ({why}): {remedy}",
        stacklevel=4,
    )


def instruction_set() -> str | None:
    """The one in use: the best that the processor has; None without the library."""
    loaded = library()
    return None if loaded is None else loaded.qwen7b_instruction_set().decode()


def available_instruction_sets() -> tuple[str, ...]:
    """Those of the library that this processor has, best first; none without the library."""
    loaded = library()
    if loaded is None:
        return ()
    names = iter(map(loaded.qwen7b_available_set, itertools.count()))
    return tuple(name.decode() for name in itertools.takewhile(lambda name: name is not None, names))


def use_instruction_set(name: str) -> None:
    """Use another one. Raises SettingError where this processor has it not."""
    loaded = library()
    if loaded is None or loaded.qwen7b_use_instruction_set(name.encode()):
        there_are = ", ".join(available_instruction_sets()) or "none, without native kernels"
        raise SettingError(f"instruction set must be one that this processor has ({there_are}), found {name!r}")


def repack(matrix: PackedMatrix) -> Tensor | None:
    """The matrix in the own layout of the instruction set in use, for `Matrix.of`; None where the set has none.

    Codes and scales stay where they are, in a mapped file for instance: other sets read them.
    """
    loaded = library()
    if loaded is None:
        return None
    view = Matrix.of(matrix)
    num_bytes = loaded.qwen7b_repacked_bytes(view)
    if not num_bytes:
        return None
    repacked = torch.empty(num_bytes, dtype=torch.uint8)
    loaded.qwen7b_repack(view, repacked.data_ptr())
    return repacked


def num_threads() -> int | None:
    """Threads that the kernels run on: all usable cores unless set; None without the library."""
    loaded = library()
    return None if loaded is None else loaded.qwen7b_num_threads()


def set_num_threads(count: int) -> None:
    """Raises SettingError for a number out of range. Answers do not depend on it."""
    whole_number("threads", count, minimum=1, maximum=MAX_THREADS)
    if (loaded := library()) is not None:
        loaded.qwen7b_set_num_threads(count)
