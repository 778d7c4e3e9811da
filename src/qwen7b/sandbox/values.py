"""Plain values as messages between a program and its check, neither of which trusts the other with more.

Part of what the sandbox starts: standard library only.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_MESSAGE = 1 << 26
LENGTH_BYTES = 8
_LARGE = 1 << 63
"""Integers from here on are written in hexadecimal, whose length Python does not limit."""


def send(pipe: int, message: Any) -> None:
    """Write a message of what JSON holds. Raises ValueError where it is too long."""
    import json  # takes long, and only a check needs it

    data = json.dumps(message).encode("ascii")
    if len(data) > MAX_MESSAGE:
        raise ValueError(f"a value of {len(data):,} bytes is too large to be compared")
    data = len(data).to_bytes(LENGTH_BYTES) + data
    while data:
        data = data[os.write(pipe, data) :]


def receive(pipe: int) -> Any:
    """Read a message. Raises EOFError where the other side has ended, ValueError where it is none."""
    import json

    length = int.from_bytes(read_exactly(pipe, LENGTH_BYTES))
    if length > MAX_MESSAGE:
        raise ValueError(f"a message of {length:,} bytes is too long")
    return json.loads(read_exactly(pipe, length))


def read_exactly(pipe: int, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = os.read(pipe, min(length - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def encode(value: Any) -> Any:
    """A value as JSON. Of subclasses the base is kept, as == sees it; raises TypeError for what is no plain value."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, int):
        return int(value) if -_LARGE < value < _LARGE else {"int": hex(value)}
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": value.hex()}
    for kind in (tuple, set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: [encode(item) for item in value]}
    if hasattr(value, "__next__"):
        return {"iterator": [encode(item) for item in value]}
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a number of NumPy's
        return encode(value.item())
    raise TypeError(f"a value of type {type(value).__name__} cannot be compared")


def decode(value: Any) -> Any:
    """The value that `encode` wrote: of built-in types alone, whoever wrote it. Raises ValueError for anything else."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "int":
        return int(content, 16)
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "complex":
        return complex(*map(float, content))
    if kind == "dict":
        return {decode(key): decode(item) for key, item in content}
    makers: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset, "iterator": iter}
    if kind not in makers:
        raise ValueError(f"there is no kind of value {kind!r:.40}")
    return makers[kind]([decode(item) for item in content])
