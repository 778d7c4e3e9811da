"""What can go wrong, as types. Each message is one sentence: what is wrong, what was found, what to do.

Qwen7bError
├── ModelNotFoundError   no known name, folder, file or hub repository of that name
├── DownloadError        a source could not be reached, or sent other bytes than expected
├── CheckpointError      a checkpoint or tokenizer file is damaged, incomplete or contradicts itself
├── UnsupportedError     a valid artefact or setting that qwen7b does not run
├── PromptError          a prompt or conversation that cannot be answered as it stands
├── DataError            data to train on are damaged, or are not what they should be
├── ArgumentsError       the arguments of a tool call that cannot be read
├── ResourceError        not enough memory or disk space
├── SandboxError         code that a model wrote cannot be run safely on this machine
├── TrainingError        training cannot go on: a loss or a gradient is no number
├── ToolServerError      a server of tools did not start, did not answer in time, or has ended
├── SettingError         a setting out of range or unknown (also a ValueError)
└── MissingExtraError    an optional library is not installed (also an ImportError)
"""

import reprlib
from collections.abc import Callable
from typing import TypeAlias

from qwen7b.installation import install_command

_MAX_CHARACTERS = 2000


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun, singular or plural.

    >>> counted(1, "shard"), counted(2, "shard"), counted(0, "entry", "entries")
    ('1 shard', '2 shards', '0 entries')
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


class Qwen7bError(Exception):
    """The base of every error that a user can fix, rather than a defect of qwen7b."""

    def __init__(self, message: str) -> None:
        # A message may quote a file at any length: its beginning says what is wrong, its end what to do.
        if len(message) > _MAX_CHARACTERS:
            message = f"{message[: _MAX_CHARACTERS // 2]} … {message[-_MAX_CHARACTERS // 2 :]}"
        super().__init__(message)


class _Quoting(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 80
        self.maxlevel = self.maxdict = self.maxlist = self.maxtuple = 3

    def repr_int(self, value: int, level: int) -> str:
        # Python refuses to print an integer of many thousands of digits.
        return super().repr_int(value, level) if value.bit_length() < 10_000 else "a number of thousands of digits"


def quoted(value: object) -> str:
    """A value's repr for a message, shortened to one line at most.

    >>> quoted("ab" * 100)
    "'abababababababababababababa...ababababababababababababababab'"
    """
    return f"{_Quoting().repr(value):.120}"


class ModelNotFoundError(Qwen7bError):
    """No known name, folder, file or hub repository of that name."""


class DownloadError(Qwen7bError):
    """A source could not be reached, or sent other bytes than expected."""


class CheckpointError(Qwen7bError):
    """A checkpoint or tokenizer file is damaged, incomplete or contradicts itself."""


class UnsupportedError(Qwen7bError):
    """A valid artefact or setting that qwen7b does not run."""


class PromptError(Qwen7bError):
    """A prompt or conversation that cannot be answered as it stands."""


class DataError(Qwen7bError):
    """Data to train on are damaged, or are not what they should be."""


class ArgumentsError(Qwen7bError):
    """The arguments of a tool call that cannot be read, or say two things at once. The message is for the model too."""


class ResourceError(Qwen7bError):
    """Not enough memory or disk space."""


class SandboxError(Qwen7bError):
    """Code that a model wrote cannot be run safely on this machine."""


class ToolServerError(Qwen7bError):
    """A server of tools did not start, did not answer in time, or has ended."""


class TrainingError(Qwen7bError):
    """Training cannot go on: a loss or a gradient is no number."""


class SettingError(Qwen7bError, ValueError):
    """A setting out of range or unknown."""


class MissingExtraError(Qwen7bError, ImportError):
    """An optional library is not installed; the message has the command that installs it.

    Where it is there, but not whole or of another release, the error that its import ended with is quoted.
    """

    def __init__(self, library: str, *, extra: str) -> None:
        self._library, self._remedy = library, f"run {install_command(extra)}"
        super().__init__(f"{library} is not installed: {self._remedy}")

    def __str__(self) -> str:
        cause = self.__cause__
        if not isinstance(cause, ImportError) or isinstance(cause, ModuleNotFoundError):
            return super().__str__()
        return f"{self._library} cannot be imported ({quoted(str(cause))}): {self._remedy}"


Report: TypeAlias = Callable[[Qwen7bError], None]
"""A function that is called with each problem: loading raises it, the doctor notes it and lets the reader go on."""


def fail(error: Qwen7bError) -> None:
    """The `Report` that stops at the first problem."""
    raise error


def and_more(count: int) -> str:
    """The end of a message that stands for `count` problems of its kind.

    >>> f"a tensor is missing{and_more(3)}"
    'a tensor is missing (and 2 more like it)'
    """
    return f" (and {count - 1} more like it)" if count > 1 else ""
