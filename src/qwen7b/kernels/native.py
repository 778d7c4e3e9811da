"""The native library: found, loaded once, and its C interface (kernels/qwen7b.h) in ctypes.

Nothing is loaded before the first use. Where the library is missing or its interface is of another version, everything
runs on the PyTorch reference, which is said once.
"""

from __future__ import annotations

import ctypes
import os
import warnings
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from qwen7b.config.checked import whole_number
from qwen7b.errors import ResourceError, SettingError
from qwen7b.kernels.matrix import PackedMatrix
from qwen7b.system.container import usable_cores

INSTRUCTION_SETS = ("avx512vnni", "avxvnni", "avx2", "neon", "scalar")
MOST_THREADS = 256
_INTERFACE = 2
"""QWEN7B_INTERFACE in kernels/qwen7b.h."""
_FILE = "qwen7b_kernels.so"

if hasattr(os, "register_at_fork"):
    # OpenMP's threads stay with the parent, and a child that counts on them waits for ever: so torch computes in one.
    # The kernels have threads of their own, which a child makes anew (kernels/pool.cpp).
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))

_long, _pointer = ctypes.c_int64, ctypes.c_void_p


class Matrix(ctypes.Structure):
    _fields_ = [
        ("rows", _long),
        ("columns", _long),
        ("bits", _long),
        ("codes", _pointer),
        ("scales", _pointer),
        ("codebook", _pointer),
        ("bias", _pointer),
    ]

    @classmethod
    def of(cls, matrix: PackedMatrix, bias: Tensor | None = None) -> Matrix:
        """A view: the tensors must outlive it."""
        return cls(
            matrix.num_rows,
            matrix.num_columns,
            matrix.bits,
            matrix.codes.data_ptr(),
            matrix.scales.data_ptr(),
            None if matrix.codebook is None else matrix.codebook.data_ptr(),
            None if bias is None else bias.data_ptr(),
        )


class Layer(ctypes.Structure):
    _fields_ = [
        ("attention_norm", _pointer),
        ("feed_forward_norm", _pointer),
        ("qkv", Matrix),
        ("output", Matrix),
        ("gate", Matrix),
        ("up", Matrix),
        ("down", Matrix),
    ]


class Model(ctypes.Structure):
    _fields_ = [
        ("num_layers", _long),
        ("hidden_size", _long),
        ("feed_forward_size", _long),
        ("num_heads", _long),
        ("num_kv_heads", _long),
        ("head_size", _long),
        ("norm_epsilon", ctypes.c_float),
        ("layers", ctypes.POINTER(Layer)),
    ]


class CacheLayer(ctypes.Structure):
    _fields_ = [
        ("keys", _pointer),
        ("values", _pointer),
        ("key_scales", _pointer),
        ("value_scales", _pointer),
        ("wide_keys", _pointer),
        ("balance", _pointer),
        ("wide_axes", _pointer),
        ("num_slots", _long),
        ("window", _long),
    ]


class Cache(ctypes.Structure):
    _fields_ = [("bits", _long), ("layers", ctypes.POINTER(CacheLayer))]


class Rows(ctypes.Structure):
    _fields_ = [
        ("num_rows", _long),
        ("sequences", _pointer),
        ("positions", _pointer),
        ("cosines", _pointer),
        ("sines", _pointer),
        ("query_scales", _pointer),
    ]


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
    interface = getattr(loaded, "qwen7b_interface", None)
    if interface is None or interface() != _INTERFACE:
        _warn_missing(f"{path} is of another version", wanted=wanted)
        return None
    loaded.qwen7b_instruction_set.restype = ctypes.c_char_p
    loaded.qwen7b_use_instruction_set.argtypes = [ctypes.c_char_p]
    loaded.qwen7b_linear.argtypes = [ctypes.POINTER(Matrix), _pointer, _long, _pointer]
    loaded.qwen7b_linear.restype = _done
    loaded.qwen7b_run_layers.argtypes = [
        ctypes.POINTER(Model),
        ctypes.POINTER(Cache),
        ctypes.POINTER(Rows),
        _long,
        _long,
        _pointer,
    ]
    loaded.qwen7b_run_layers.restype = _done
    loaded.qwen7b_set_num_threads.restype = None
    loaded.qwen7b_set_num_threads(min(usable_cores(), MOST_THREADS))
    loaded.qwen7b_measure_read.argtypes = [_pointer, _long]
    loaded.qwen7b_measure_read.restype = ctypes.c_double
    loaded.qwen7b_measure_int8.argtypes = [_long]
    loaded.qwen7b_measure_int8.restype = ctypes.c_double
    return loaded


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


def use_instruction_set(name: str) -> None:
    """Use another one. Raises SettingError where this processor has it not."""
    loaded = library()
    if name not in INSTRUCTION_SETS:
        raise SettingError(f"instruction set must be one of {', '.join(INSTRUCTION_SETS)}, found {name!r}")
    if loaded is None or loaded.qwen7b_use_instruction_set(name.encode()):
        raise SettingError(f"this processor has no {name}, it runs {instruction_set()}: leave the choice to qwen7b")


def num_threads() -> int | None:
    """Threads that the kernels run on: all usable cores unless set; None without the library."""
    loaded = library()
    return None if loaded is None else loaded.qwen7b_num_threads()


def set_num_threads(count: int) -> None:
    """Raises SettingError for a number out of range. Answers do not depend on it."""
    whole_number("threads", count, least=1, most=MOST_THREADS)
    if (loaded := library()) is not None:
        loaded.qwen7b_set_num_threads(count)
