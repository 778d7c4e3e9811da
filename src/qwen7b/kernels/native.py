"""The native library (kernels/qwen7b.h): finds it, loads it once, and sets its instruction set and threads.

It is loaded at its first use. Where it is missing or of another version, everything runs on the PyTorch reference, with
one warning.
"""

from __future__ import annotations

import ctypes
import hashlib
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
from qwen7b.kernels.structures import CArray, CContract, CMatrix, CModel, CRows
from qwen7b.system.container import usable_cores

_FILE = "qwen7b_kernels.so"

if hasattr(os, "register_at_fork"):
    # A forked child has none of OpenMP's threads and would wait for them for ever: torch computes in one thread there.
    # The kernels have their own threads, which a child starts anew (kernels/pool.cpp).
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


@cache
def library() -> ctypes.CDLL | None:
    """The library; None, with a warning, where there is none. QWEN7B_KERNELS names another file, or "none"."""
    override = os.environ.get("QWEN7B_KERNELS")
    path = Path(override) if override else Path(__file__).with_name(_FILE)
    if override == "none":
        return None
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        was_built = override or path.exists()
        _warn_missing(
            str(error) if was_built else "it was installed where there was no C++ compiler", override=override
        )
        return None
    if not _agrees(loaded):
        _warn_missing(f"{path} is of another version", override=override)
        return None
    _declare(loaded)
    loaded.qwen7b_set_num_threads(min(usable_cores(), MAX_THREADS))
    return loaded


def _agrees(loaded: ctypes.CDLL) -> bool:
    """Whether the library was built with this package's constants and structures."""
    get_contract = getattr(loaded, "qwen7b_get_contract", None)
    if get_contract is None:
        return False
    get_contract.restype = ctypes.POINTER(CContract)
    actual, expected = get_contract().contents, CContract.ours()
    # The size is compared first: a library with a shorter contract has no more to read.
    return actual.contract_bytes == ctypes.sizeof(CContract) and bytes(actual) == bytes(expected)


def _declare(loaded: ctypes.CDLL) -> None:
    """Declare the functions' types to ctypes."""
    number, real, pointer, text = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p, ctypes.c_char_p
    small, matrix, array = ctypes.c_float, ctypes.POINTER(CMatrix), CArray
    layers = [ctypes.POINTER(CModel), pointer, ctypes.POINTER(CRows)]  # in the middle the address of each CCache
    for name, result, arguments in (
        ("available_set", text, [ctypes.c_int]),
        ("instruction_set", text, []),
        ("use_instruction_set", ctypes.c_int, [text]),
        ("repacked_bytes", number, [matrix]),
        ("repack", None, [matrix, pointer]),
        ("num_threads", ctypes.c_int, []),
        ("set_num_threads", None, [ctypes.c_int]),
        ("linear", _raise_if_failed, [matrix, pointer, number, pointer]),
        ("run_layers", _raise_if_failed, [*layers, number, number, pointer]),
        ("run_adapted_layers", _raise_if_failed, [*layers, pointer, number, number, pointer]),
        ("add_and_normalize", _raise_if_failed, [number, number, small, array, array, array, pointer, array, pointer]),
        (
            "add_and_normalize_backward",
            _raise_if_failed,
            [number, number, array, pointer, pointer, *[array] * 4, pointer],
        ),
        ("rotate_heads", _raise_if_failed, [*[number] * 3, pointer, pointer, small, *[array, number, number] * 2]),
        ("gate", _raise_if_failed, [number, array, array, array]),
        ("gate_backward", _raise_if_failed, [number, *[array] * 5]),
        ("causal_softmax", _raise_if_failed, [number, number, small, array, array]),
        ("causal_softmax_backward", _raise_if_failed, [number, number, small, array, array]),
        ("cross_entropy", _raise_if_failed, [number, number, array, pointer, pointer]),
        ("measure_read", real, [pointer, number]),
        ("measure_int8", real, [number]),
    ):
        function = getattr(loaded, f"qwen7b_{name}")
        function.restype, function.argtypes = result, arguments


def _raise_if_failed(code: int) -> None:
    if code:
        raise ResourceError(
            "there is not enough memory for the kernels: close other programs, or pass fewer tokens at once"
        )


def _warn_missing(reason: str, *, override: str | None) -> None:
    remedy = "correct QWEN7B_KERNELS or leave it out" if override else "install a C++ compiler, then qwen7b again"
    warnings.warn(
        f"qwen7b runs without its native kernels, many times slower ({reason}): {remedy}",
        stacklevel=4,
    )


def instruction_set() -> str | None:
    """The name of the instruction set in use, by default the best of this processor; None without the library."""
    loaded = library()
    return None if loaded is None else loaded.qwen7b_instruction_set().decode()


@cache
def fingerprint() -> str | None:
    """What tells the library's code from that of all others; None without it."""
    loaded = library()
    return None if loaded is None else hashlib.sha256(Path(loaded._name).read_bytes()).hexdigest()


def available_instruction_sets() -> tuple[str, ...]:
    """The names of the library's instruction sets that this processor has, best first; empty without the library."""
    loaded = library()
    if loaded is None:
        return ()
    names = iter(map(loaded.qwen7b_available_set, itertools.count()))
    return tuple(name.decode() for name in itertools.takewhile(lambda name: name is not None, names))


def use_instruction_set(name: str) -> None:
    """Use another instruction set. Raises SettingError where this processor does not have it."""
    loaded = library()
    if loaded is None or loaded.qwen7b_use_instruction_set(name.encode()):
        available = ", ".join(available_instruction_sets()) or "none, without native kernels"
        raise SettingError(f"instruction set must be one of this processor's ({available}), found {name!r}")


def repack(matrix: PackedMatrix) -> Tensor | None:
    """The matrix in the layout that the instruction set in use has of its own; None where it has none.

    Codes and scales stay where they are, in a mapped file for instance: other sets read them.
    """
    loaded = library()
    if loaded is None:
        return None
    view = CMatrix.of(matrix)
    num_bytes = loaded.qwen7b_repacked_bytes(view)
    if not num_bytes:
        return None
    repacked = torch.empty(num_bytes, dtype=torch.uint8)
    loaded.qwen7b_repack(view, repacked.data_ptr())
    return repacked


def num_threads() -> int | None:
    """How many threads the kernels run on, by default one for each usable core; None without the library."""
    loaded = library()
    return None if loaded is None else loaded.qwen7b_num_threads()


def set_num_threads(count: int) -> None:
    """Set how many threads the kernels run on; results do not depend on it. Raises SettingError where out of range."""
    whole_number("threads", count, minimum=1, maximum=MAX_THREADS)
    if (loaded := library()) is not None:
        loaded.qwen7b_set_num_threads(count)
