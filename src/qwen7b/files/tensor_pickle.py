"""The tensors in a pickle that torch.save wrote, read without running anything that it names.

A pickle is a program for a small stack machine. Those of torch.save call a few of torch's own functions, which make a
tensor from a storage; here such a call only records its arguments. A call of anything else is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple

import torch

from qwen7b.errors import counted, quoted

_MAX_STEPS = 1 << 20
_MAX_DIMENSIONS = 8
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
_LITERALS = {
    *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
    *("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_KEY_TYPES = (str, int, float, bytes, type(None))


class WantsToRun(Exception):
    """The pickle names something that torch.save never writes; loading it would run that."""


class NotPlain(Exception):
    """A tensor is not a plain array of real numbers, but for example sparse or complex."""


class Global(NamedTuple):
    """A function or class that a pickle names."""

    module: str
    name: str


@dataclass(frozen=True, slots=True)
class Storage:
    """An array of numbers somewhere in the file."""

    key: str
    dtype: torch.dtype
    count: int

    @property
    def num_bytes(self) -> int:
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class PickledTensor:
    """A tensor as a view of a storage; all its numbers lie inside the storage."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    """The index of the first number in the storage."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensor_pickle(stream: BytesIO, *, storages: dict[str, Storage] | None = None) -> Any:
    """The object in the pickle at the stream's position, which moves to the pickle's end.

    All storages that it names are added to `storages`, by their keys. Raises WantsToRun, NotPlain, or, where it is
    invalid, ValueError, TypeError, LookupError or AttributeError.
    """
    machine = _Machine()
    for step, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if step == _MAX_STEPS:
            raise ValueError(f"it takes more than {_MAX_STEPS} steps")
        if opcode.name == "STOP":
            if storages is not None:
                storages.update(machine.storages)
            return machine.stack.pop()
        machine.run(opcode.name, argument)
    raise ValueError("it has no end")


class _Machine:
    """The stack machine that runs a pickle's steps."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.outer_stacks: list[list[Any]] = []
        """The stacks below each mark."""
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def run(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case _ if name in _LITERALS:
                stack.append(_VALUES.get(name, argument))
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE":
                stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
            case "MARK":
                self.outer_stacks.append(stack)
                self.stack = []
            case "TUPLE" | "LIST":
                items = self.pop_to_mark()
                self.stack.append(tuple(items) if name == "TUPLE" else items)
            case "DICT":
                items = self.pop_to_mark()
                self.stack.append(_with_items({}, items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                size = int(name[-1])
                if len(stack) < size:
                    raise IndexError("the stack is empty")
                self.stack[-size:] = [tuple(stack[-size:])]
            case "APPEND":
                item = stack.pop()
                _checked(stack[-1], list).append(item)
            case "APPENDS":
                items = self.pop_to_mark()
                _checked(self.stack[-1], list).extend(items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _with_items(stack[-1], [key, value])
            case "SETITEMS":
                items = self.pop_to_mark()
                _with_items(self.stack[-1], items)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                stack.append(_checked_global(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                stack.append(_checked_global(_checked(module, str), _checked(attribute, str)))
            case "BINPERSID":
                storage = _storage(stack.pop())
                if self.storages.setdefault(storage.key, storage) != storage:
                    raise ValueError(f"it has two storages {quoted(storage.key)}")
                stack.append(storage)
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_call(_checked(function, Global), _checked(arguments, tuple)))
            case "BUILD":  # sets attributes of a dict or a tensor, which are not weights
                stack.pop()
                if not isinstance(stack[-1], (dict, PickledTensor)):
                    raise TypeError("it sets attributes of an object that has none")
            case _:
                raise ValueError(f"it has the step {name}, which torch.save never writes")

    def pop_to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.outer_stacks.pop()
        return items


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{quoted(value)} is not a {kind.__name__}")
    return value


def _with_items(table: Any, items: Sequence[Any]) -> Any:
    """Add keys and values, which alternate in `items`, to a dict. Keys are plain: others may be slow to hash."""
    if len(items) % 2 or not isinstance(table, dict):
        raise TypeError("it adds items to something that is not a dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, _KEY_TYPES):
            raise TypeError(f"a key is {quoted(key)}")
        table[key] = value
    return table


_REBUILDERS = {"_rebuild_tensor": 4, "_rebuild_tensor_v2": 4, "_rebuild_tensor_v3": 7}
"""Torch's functions that make a tensor from a storage, and how many of their arguments are used here."""
_WRAPPERS = {"_rebuild_parameter", "_rebuild_parameter_with_state"}
_NOT_PLAIN = {
    *("_rebuild_sparse_tensor", "_rebuild_sparse_csr_tensor", "_rebuild_qtensor", "_rebuild_nested_tensor"),
    *("_rebuild_meta_tensor_no_storage", "_rebuild_wrapper_subclass", "_rebuild_device_tensor_from_numpy"),
    *("_rebuild_device_tensor_from_cpu_tensor", "ComplexFloatStorage", "ComplexDoubleStorage", "QInt8Storage"),
    *("QUInt8Storage", "QInt32Storage", "QUInt4x2Storage", "QUInt2x4Storage"),
}
_HARMLESS = {
    Global("collections", "OrderedDict"),
    Global("torch", "Size"),
    Global("torch", "device"),
    Global("_codecs", "encode"),
    Global("torch._tensor", "_rebuild_from_type_v2"),
    Global("torch", "Tensor"),
    Global("torch.nn.parameter", "Parameter"),
    Global("torch.serialization", "_get_layout"),
}


def _checked_global(module: str, name: str) -> Global:
    """Check that torch.save writes this name. Raises NotPlain or WantsToRun."""
    known = Global(module, name)
    in_torch = module in ("torch", "torch.cuda", "torch.storage", "torch._utils")
    if in_torch and name in _NOT_PLAIN:
        raise NotPlain(name)
    is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
    if known in _HARMLESS or is_dtype or (in_torch and (name in _DTYPES or name in _REBUILDERS or name in _WRAPPERS)):
        return known
    raise WantsToRun(f"{module}.{name}")


def _call(function: Global, arguments: tuple[Any, ...]) -> Any:
    if function.name in _REBUILDERS:
        return _tensor(*arguments[: _REBUILDERS[function.name]])
    if function.name in _WRAPPERS:
        return _checked(arguments[0], PickledTensor)
    match function.name:
        case "_rebuild_from_type_v2":  # a tensor with attributes
            return _call(_checked(arguments[0], Global), _checked(arguments[2], tuple))
        case "OrderedDict":
            pairs = [_checked(pair, list) for pair in _checked(arguments[0], list)] if arguments else []
            return _with_items({}, [item for pair in pairs for item in pair])
        case "Size":
            return tuple(_checked(arguments[0], tuple))
        case "encode":  # how old pickles hold bytes
            return _checked(arguments[0], str).encode("latin-1")
        case "device" | "_get_layout":
            return str(arguments[0]) if isinstance(arguments[0], str) else ""
    raise TypeError(f"{function.name} cannot be called")


def _storage(identity: Any) -> Storage:
    """The storage with torch's identity for it: ("storage", type, key, device, count), and more in older files."""
    kind, type, key, _, count, *view = _checked(identity, tuple)
    if kind != "storage" or not isinstance(key, str) or _checked(type, Global).name not in _DTYPES:
        raise TypeError(f"{quoted(identity)} is not a storage")
    if view and view[0] is not None:
        raise NotPlain("a view of a storage")
    return Storage(key, _DTYPES[type.name], _size(count))


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any = None, _hooks: Any = None, dtype_global: Any = None
) -> PickledTensor:
    storage = _checked(storage, Storage)
    dtype = storage.dtype if dtype_global is None else getattr(torch, _checked(dtype_global, Global).name)
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"{quoted(dtype_global)} is not a dtype")
    if dtype.is_complex:
        raise NotPlain("complex numbers")
    shape, strides = _sizes(shape), _sizes(strides)
    if len(shape) != len(strides):
        raise ValueError(f"a tensor of {counted(len(shape), 'axis', 'axes')} has {counted(len(strides), 'stride')}")
    offset, count = _size(offset), storage.num_bytes // dtype.itemsize
    numbers = 1
    for length in shape:
        numbers *= length
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if numbers and last >= count:
        raise ValueError(f"a tensor needs number {last} of a storage of {count}")
    if numbers > count:
        raise NotPlain("a tensor that repeats the numbers of a smaller one")
    return PickledTensor(storage, dtype, offset, shape, strides)


def _sizes(values: Any) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or len(values) > _MAX_DIMENSIONS:
        raise ValueError(f"{quoted(values)} should be a tuple of at most {_MAX_DIMENSIONS} sizes")
    return tuple(_size(value) for value in values)


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{quoted(value)} should be a size")
    return value
