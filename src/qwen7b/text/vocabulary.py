"""The content of a tokenizer file, whatever its format: byte-pair tokens, control tokens, and how text is cut."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from qwen7b.errors import CheckpointError, UnsupportedError, quoted
from qwen7b.text.tokenizer_settings import TokenizerSettings

_MAX_ID = 1 << 20
_MAX_CONTROL_TOKENS = 1 << 17  # speech models have tens of thousands
_MAX_CONTROL_CHARACTERS = 1 << 20  # in all names together, since one regular expression searches for them


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """The tokens of one tokenizer. Raises CheckpointError where they contradict each other."""

    source: str
    """The file it came from, for messages."""
    ids: dict[bytes, int]
    """The tokens of ordinary text, as bytes, and their ids."""
    ranks: dict[bytes, int]
    """The rank of each token: lower ranks merge first. Every single byte has one, even a byte without an id."""
    control_tokens: dict[str, int]
    """Tokens that ordinary text never becomes by itself, such as <|im_start|>, and their ids."""
    pattern: str
    """The regular expression that cuts text into pieces."""
    nfc: bool
    """True where text is NFC-normalized first."""
    visible: frozenset[str] = frozenset()
    """Control tokens that are part of the text a model writes, such as <think>, though no text becomes them."""
    settings: TokenizerSettings = field(default_factory=TokenizerSettings)
    """The settings that the files hold beside the tokens."""

    def __post_init__(self) -> None:
        if not self.ids:
            raise CheckpointError(f"{self.source} is damaged: it has no tokens")
        if len(self.control_tokens) > _MAX_CONTROL_TOKENS:
            raise UnsupportedError(
                f"{self.source} has {len(self.control_tokens)} control tokens: qwen7b takes {_MAX_CONTROL_TOKENS}"
            )
        self._check_ids()
        for name in self.control_tokens:
            if not _is_text(name):
                raise CheckpointError(f"{self.source} is damaged: {quoted(name)} cannot be the name of a control token")
        if (size := sum(map(len, self.control_tokens))) > _MAX_CONTROL_CHARACTERS:
            raise UnsupportedError(
                f"{self.source} has control tokens whose names are {size} characters: qwen7b takes "
                f"{_MAX_CONTROL_CHARACTERS}"
            )
        for byte in range(256):
            if bytes([byte]) not in self.ranks:
                raise CheckpointError(f"{self.source} is damaged: the byte {byte:#04x} has no token")
        if (bos := self.settings.bos) is not None and self.id_of(bos) is None:
            warnings.warn(
                f"{self.settings.bos_source or self.source} puts {quoted(bos)} before every text, which is no token of "
                f"{self.source}: it is left out",
                stacklevel=4,
            )
            object.__setattr__(self, "settings", replace(self.settings, bos=None))

    def _check_ids(self) -> None:
        numbers = [*self.ids.values(), *self.control_tokens.values()]
        # JSON may hold a float or a bool here.
        in_range = set(map(type, numbers)) == {int} and min(numbers) >= 0 and max(numbers) < _MAX_ID
        if in_range and len(set(numbers)) == len(numbers):
            return
        # Slowly, to name the token at fault.
        owners: dict[int, bytes | str] = {}
        tokens: Iterable[tuple[bytes | str, int]] = chain(self.ids.items(), self.control_tokens.items())
        for token, id in tokens:
            if type(id) is not int or not 0 <= id < _MAX_ID:
                raise CheckpointError(f"{self.source} is damaged: token {quoted(token)} has the id {quoted(id)}")
            if owners.setdefault(id, token) is not token:
                raise CheckpointError(
                    f"{self.source} is damaged: {quoted(owners[id])} and {quoted(token)} share the id {id}"
                )

    def id_of(self, name: str) -> int | None:
        """The id of a token by its name, which for an ordinary token is in GPT-2's spelling."""
        if name in self.control_tokens:
            return self.control_tokens[name]
        return self.ids.get(bytes(map(BYTE_OF.__getitem__, name))) if BYTE_OF.keys() >= set(name) else None

    @property
    def bytes_without_id(self) -> bytes:
        """The bytes that the vocabulary has no token for, because they never occurred in its training text."""
        return bytes(byte for byte in range(256) if bytes([byte]) not in self.ids)


def merged_vocabulary(
    source: str,
    *,
    tokens: Mapping[str, int],
    merges: Iterable[str | Sequence[str]],
    control_tokens: dict[str, int],
    pattern: str,
    nfc: bool,
    visible: Iterable[str] = (),
    settings: TokenizerSettings | None = None,
) -> Vocabulary:
    """A vocabulary from a list of merges, first merged first, in GPT-2's spelling where each byte is one character.

    A merge is two tokens, as a pair or with a space between.
    """
    try:
        bytes_of = {token: bytes(map(BYTE_OF.__getitem__, token)) for token in tokens}
    except KeyError as error:
        raise CheckpointError(f"{source} is damaged: {quoted(error.args[0])} in a token stands for no byte") from None
    ranks = {bytes([byte]): byte for byte in range(256)}
    for rank, merge in enumerate(merges, start=len(ranks)):
        try:
            left, right = merge.split(" ") if isinstance(merge, str) else merge
            _, _, merged = bytes_of[left], bytes_of[right], bytes_of[left + right]
        except (KeyError, TypeError, ValueError):
            raise CheckpointError(
                f"{source} is damaged: the merge {quoted(merge)} does not join two tokens into a third"
            ) from None
        # tiktoken knows a merge by its result alone.
        if ranks.setdefault(merged, rank) != rank:
            raise UnsupportedError(
                f"{source} makes {quoted(left + right)} by two different merges, which qwen7b cannot reproduce"
            )
    ids = {bytes_of[token]: id for token, id in tokens.items()}
    return Vocabulary(
        source=source,
        ids=ids,
        ranks=ranks,
        control_tokens=control_tokens,
        pattern=pattern,
        nfc=nfc,
        visible=frozenset(visible),
        settings=settings or TokenizerSettings(),
    )


def _is_text(name: object) -> bool:
    """Tell whether a name is a string, not empty, and without the lone surrogates that JSON can hold."""
    try:
        return isinstance(name, str) and len(name.encode()) > 0
    except UnicodeEncodeError:
        return False


def _byte_of_character() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes stand for themselves, the others move to characters above Latin-1."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    moved = (byte for byte in range(256) if byte not in printable)
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(moved)}


BYTE_OF = _byte_of_character()
