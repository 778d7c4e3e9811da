"""The table of tensors in a pickle that torch.save wrote, read without running anything that it names.

A pickle is a program for a small machine with a stack. Torch's calls a handful of torch's own functions, which make a
tensor of a storage; here they note what they were asked for. Whatever else it wants to call is refused.
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
_PLAIN = (str, int, float, bytes, type(None))


class WantsToRun(Exception):
    """The pickle names something that torch's never do, which loading it would call."""


class NotPlain(Exception):
    """A tensor that is not just numbers in memory, such as a sparse or complex one."""


class Global(NamedTuple):
    """Something that a pickle names."""

    module: str
    name: str


@dataclass(frozen=True, slots=True)
class Storage:
    """A stretch of numbers somewhere in the file."""

    key: str
    dtype: torch.dtype
    count: int

    @property
    def num_bytes(self) -> int:
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class PickledTensor:
    """Which numbers of a storage a tensor is made of; all of them lie in it."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    """The place of the first number in its storage, counted in numbers."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensor_pickle(stream: BytesIO, *, storages: dict[str, Storage] | None = None) -> Any:
    """What the pickle that begins here holds; the stream then stands behind it.

    All storages that it names go into `storages`, by their keys. Raises WantsToRun, NotPlain, and ValueError,
    TypeError, LookupError or AttributeError where it makes no sense.
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
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        """What lies under each mark."""
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
                self.below.append(stack)
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
                stack.append(_known(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                found, module = stack.pop(), stack.pop()
                stack.append(_known(_checked(module, str), _checked(found, str)))
            case "BINPERSID":
                storage = _storage(stack.pop())
                if self.storages.setdefault(storage.key, storage) != storage:
                    raise ValueError(f"it has two storages {quoted(storage.key)}")
                stack.append(storage)
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_call(_checked(function, Global), _checked(arguments, tuple)))
            case "BUILD":  # attributes of a dict or a tensor, which hold no numbers
                stack.pop()
                if not isinstance(stack[-1], (dict, PickledTensor)):
                    raise TypeError("it gives attributes to what has none")
            case _:
                raise ValueError(f"it has the step {name}, which torch's never have")

    def pop_to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{quoted(value)} is no {kind.__name__}")
    return value


def _with_items(table: Any, items: Sequence[Any]) -> Any:
    """The dict with keys and values in turn. Keys are plain: the hash of others may take any time."""
    if len(items) % 2 or not isinstance(table, dict):
        raise TypeError("it puts items into what is no dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, _PLAIN):
            raise TypeError(f"a key is {quoted(key)}")
        table[key] = value
    return table


_MAKERS = {"_rebuild_tensor": 4, "_rebuild_tensor_v2": 4, "_rebuild_tensor_v3": 7}
"""Torch's functions that make a tensor of a storage, and how many of their arguments count here."""
_WRAPPERS = {"_rebuild_parameter", "_rebuild_parameter_with_state"}
_NOT_PLAIN = {
    *("_rebuild_sparse_tensor", "_rebuild_sparse_csr_tensor", "_rebuild_qtensor", "_rebuild_nested_tensor"),
    *("_rebuild_meta_tensor_no_storage", "_rebuild_wrapper_subclass", "_rebuild_device_tensor_from_numpy"),
    *("_rebuild_device_tensor_from_cpu_tensor", "ComplexFloatStorage", "ComplexDoubleStorage", "QInt8Storage"),
    *("QUInt8Storage", "QInt32Storage", "QUInt4x2Storage", "QUInt2x4Storage"),
}
_SIMPLE = {
    Global("collections", "OrderedDict"),
    Global("torch", "Size"),
    Global("torch", "device"),
    Global("_codecs", "encode"),
    Global("torch._tensor", "_rebuild_from_type_v2"),
    Global("torch", "Tensor"),
    Global("torch.nn.parameter", "Parameter"),
    Global("torch.serialization", "_get_layout"),
}


def _known(module: str, name: str) -> Global:
    """A name that torch's pickles hold."""
    found = Global(module, name)
    in_torch = module in ("torch", "torch.cuda", "torch.storage", "torch._utils")
    if in_torch and name in _NOT_PLAIN:
        raise NotPlain(name)
    is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
    if found in _SIMPLE or is_dtype or (in_torch and (name in _DTYPES or name in _MAKERS or name in _WRAPPERS)):
        return found
    raise WantsToRun(f"{module}.{name}")


def _call(function: Global, arguments: tuple[Any, ...]) -> Any:
    if function.name in _MAKERS:
        return _tensor(*arguments[: _MAKERS[function.name]])
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
    raise TypeError(f"{function.name} is nothing that can be called")


def _storage(identity: Any) -> Storage:
    """A storage by what torch calls it: ("storage", type, key, device, count), and what older ones append."""
    kind, type, key, _, count, *view = _checked(identity, tuple)
    if kind != "storage" or not isinstance(key, str) or _checked(type, Global).name not in _DTYPES:
        raise TypeError(f"{quoted(identity)} is no storage")
    if view and view[0] is not None:
        raise NotPlain("a view of a storage")
    return Storage(key, _DTYPES[type.name], _size(count))


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any = None, _hooks: Any = None, named: Any = None
) -> PickledTensor:
    storage = _checked(storage, Storage)
    dtype = storage.dtype if named is None else getattr(torch, _checked(named, Global).name)
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"{quoted(named)} is no type of numbers")
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
        raise ValueError(f"a tensor reaches to number {last} of a storage of {count}")
    if numbers > count:
        raise NotPlain("a tensor that repeats the numbers of a smaller one")
    return PickledTensor(storage, dtype, offset, shape, strides)


def _sizes(values: Any) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or len(values) > _MAX_DIMENSIONS:
        raise ValueError(f"{quoted(values)} should be at most {_MAX_DIMENSIONS} sizes")
    return tuple(_size(value) for value in values)


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{quoted(value)} should be a size")
    return value
