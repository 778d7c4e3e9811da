"""Text to token ids and back. A tokenizer knows no files, but knows the chat format of its model."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Literal

import regex
import tiktoken

from qwen7b.config.checked import flag, items
from qwen7b.errors import PromptError, SettingError, quoted
from qwen7b.text.chat_format import ChatFormat
from qwen7b.text.chat_template import split_names
from qwen7b.text.endings import CHATML_NAMES, vocabulary_endings
from qwen7b.text.format_detection import find_chat_format
from qwen7b.text.long_pieces import CHUNK, encode_long
from qwen7b.text.name_finder import finder_of
from qwen7b.text.normalization import to_nfc, without_surrogates
from qwen7b.text.qwen_tiktoken import CONTROL_NAMES
from qwen7b.text.token_spans import Span, token_spans
from qwen7b.text.vocabulary import Vocabulary

# tiktoken is slow on a long piece, and its regular expressions overflow their stack before a million characters of
# white space. A piece has white space at its edges only, or consists of white space.
_LONG_PIECE = re.compile(r"(?:\A|\S)\s{20000}|(?:\A|\s)\S{20000}")


class Tokenizer:
    """The tokens of one vocabulary.

    >>> tokenizer = load_tokenizer("qwen.tiktoken")              # doctest: +SKIP
    >>> tokenizer.encode("<|im_end|>")                           # doctest: +SKIP
    [27, 91, 318, 6213, 91, 29]
    >>> tokenizer.encode("<|im_end|>", allowed_special="all")    # doctest: +SKIP
    [151645]
    """

    def __init__(self, vocabulary: Vocabulary, *, chat_format: ChatFormat | None = None) -> None:
        """`chat_format` is what `find_chat_format` finds, where that is known."""
        ids, ranks = vocabulary.ids, vocabulary.ranks
        self.vocabulary = vocabulary
        self._known_chat_format = chat_format
        self.control_tokens = dict(vocabulary.control_tokens)
        """The names and ids of the tokens that text never becomes by itself."""
        self._control_ids = frozenset(self.control_tokens.values())
        self._hidden_ids = frozenset(
            id for name, id in self.control_tokens.items() if is_hidden(name, vocabulary.visible)
        )
        self._bytes_of = dict(zip(ids.values(), ids, strict=True))
        self._bytes_of |= {id: name.encode() for name, id in self.control_tokens.items()}
        self.vocab_size = max(self._bytes_of) + 1
        """One more than the highest id: the embedding's rows from here on are never produced."""
        self.unused_ids = [id for id in range(self.vocab_size) if id not in self._bytes_of]
        """Ids below `vocab_size` that are no token, as a sparse extra vocabulary leaves them."""
        ranks_with_id, self._ranks_without_id = ranks, frozenset[int]()
        if not ranks.keys() <= ids.keys():
            ranks_with_id = {token: rank for token, rank in ranks.items() if token in ids}
            self._ranks_without_id = frozenset(ranks.values()).difference(ranks_with_id.values())
        self._id_of_rank = dict(zip(ranks_with_id.values(), map(ids.__getitem__, ranks_with_id), strict=True))
        self._encoding = tiktoken.Encoding(
            vocabulary.source, pat_str=vocabulary.pattern, mergeable_ranks=ranks, special_tokens={}
        )

    def __repr__(self) -> str:
        return f"Tokenizer({self.vocabulary.source!r}, vocab_size={self.vocab_size})"

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[Vocabulary]]:
        return Tokenizer, (self.vocabulary,)

    @property
    def end_of_text_id(self) -> int | None:
        return self.control_tokens.get("<|endoftext|>")

    @property
    def im_start_id(self) -> int | None:
        return self.control_tokens.get("<|im_start|>")

    @property
    def im_end_id(self) -> int | None:
        return self.control_tokens.get("<|im_end|>")

    @property
    def bos_id(self) -> int | None:
        """The control token that goes before every text, where the model wants one; `encode` leaves it out."""
        return None if self.vocabulary.settings.bos is None else self.vocabulary.id_of(self.vocabulary.settings.bos)

    def after_bos(self, ids: list[int]) -> list[int]:
        """The ids of a text as the model reads them: after BOS where it wants one and there is none yet."""
        if not ids or self.bos_id is None or ids[0] == self.bos_id:
            return ids
        return [self.bos_id, *ids]

    @property
    def is_chatml(self) -> bool:
        """True where the vocabulary has the control tokens of a ChatML conversation."""
        return self.im_start_id is not None and self.im_end_id is not None

    @cached_property
    def chat_format(self) -> ChatFormat | None:
        """The format of the model's conversations; None where its files describe none."""
        return self._known_chat_format or find_chat_format(self.vocabulary)

    @cached_property
    def endings(self) -> dict[int, str]:
        """The ids that end a reply, as far as the tokenizer knows, each with what says so."""
        return vocabulary_endings(self.vocabulary, self.chat_format)

    @property
    def stop_ids(self) -> frozenset[int]:
        """The ids of `endings`."""
        return frozenset(self.endings)

    def first_difference(self, other: Tokenizer) -> int | None:
        """The lowest id that is another token in another vocabulary; ids that only one of them has do not count."""
        shared = self._bytes_of.keys() & other._bytes_of.keys()
        return min((id for id in shared if self._bytes_of[id] != other._bytes_of[id]), default=None)

    def is_control(self, id: int) -> bool:
        return id in self._control_ids

    def is_hidden(self, id: int) -> bool:
        """Tell whether a reply is shown without this id, because it is a control token that is not part of the text."""
        return id in self._hidden_ids

    def encode(
        self,
        text: str,
        *,
        allowed_special: Collection[str] | Literal["all"] = frozenset(),
        disallowed_special: Collection[str] | Literal["all"] = frozenset(),
    ) -> list[int]:
        """The ids of a text. Names of control tokens in it are ordinary text unless the caller asks otherwise.

        Names in `allowed_special` become control tokens. Names in `disallowed_special` raise PromptError; "all" there
        means all that are not allowed. A name that is no control token raises SettingError. Unpaired surrogates are
        encoded as replacement characters.
        """
        if not isinstance(text, str):
            raise PromptError(f"a text should be a string, found {quoted(text)}")
        if self.vocabulary.nfc:
            text = to_nfc(text)
        allowed = self._control_names(allowed_special)
        disallowed = self._control_names(disallowed_special)
        if isinstance(disallowed_special, str):  # all
            disallowed -= allowed
        for place, name in finder_of(disallowed).find(text):
            raise PromptError(
                f"the text has the control token {quoted(name)} at character {place}: remove it, or list it in "
                "allowed_special if it is intended"
            )
        if not allowed:
            return self.encode_as_is(text)
        ids: list[int] = []
        for name, stretch in split_names(text, allowed):
            ids += [self.control_tokens[name]] if name else self.encode_as_is(stretch)
        return ids

    def encode_as_is(self, text: str) -> list[int]:
        """The ids of a text that is not normalized, and in which names of control tokens are ordinary text."""
        if _LONG_PIECE.search(text):
            ranks = self._encode_by_piece(text)
        else:
            ranks = self._encoding.encode_ordinary(text)
            if not self._ranks_without_id.isdisjoint(ranks):
                ranks = self._encode_by_piece(text)
        return [self._id_of_rank[rank] for rank in ranks]

    def token_spans(self, text: str, ids: Sequence[int], spans: Sequence[Span]) -> list[slice]:
        """Find, for each span of a text's characters, the slice of its ids that hold any of them.

        `ids` are what `encode` makes of the text; a span is its first character and the one after its last.

        >>> ids = tokenizer.encode("I am Qwen.")                       # doctest: +SKIP
        >>> (name,) = tokenizer.token_spans("I am Qwen.", ids, [(5, 9)])  # doctest: +SKIP
        >>> tokenizer.decode(ids[name])                                # doctest: +SKIP
        ' Qwen'
        """
        tokens = [*map(self._bytes_of.__getitem__, ids)]
        is_whole = sum(map(len, tokens)) == len(self._normalize(text).encode())
        without = b"" if is_whole else self.vocabulary.bytes_without_id
        return token_spans(text, spans, tokens=tokens, normalize=self._normalize, without=without)

    def decode(self, ids: Iterable[int], *, skip_control: bool = False) -> str:
        """The text of ids, with replacement characters for bytes that are not UTF-8.

        `skip_control` leaves out the control tokens that are not part of the text: see `is_hidden`. Raises SettingError
        for an id that is no token.
        """
        flag("skip_control", skip_control)
        listed = _listed(ids)
        pieces = zip(listed, map(self.token_bytes, listed), strict=True)  # token_bytes refuses ids that are no tokens
        shown = (piece for id, piece in pieces if not (skip_control and id in self._hidden_ids))
        return b"".join(shown).decode(errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return b"".join(map(self.token_bytes, _listed(ids)))

    def is_token(self, id: int) -> bool:
        """Whether an id stands for a token."""
        return id in self._bytes_of

    def token_bytes(self, id: int) -> bytes:
        """The bytes that one id stands for; a control token stands for its name."""
        try:
            return self._bytes_of[id]
        except (KeyError, TypeError):
            raise SettingError(
                f"no token has the id {quoted(id)}: the ids of this vocabulary are below {self.vocab_size}"
            ) from None

    def _normalize(self, text: str) -> str:
        return without_surrogates(to_nfc(text) if self.vocabulary.nfc else text)

    def _encode_by_piece(self, text: str) -> list[int]:
        """Encode as tiktoken does, but piece by piece, which is slower but has no limit on the length of a piece.

        Bytes without an id are left out before anything is merged, as the tokenizers library does.
        """
        text = without_surrogates(text)
        left_out = self.vocabulary.bytes_without_id
        encode, token_bytes = self._encoding._encode_single_piece, self._encoding.decode_single_token_bytes
        ranks: list[int] = []
        for match in regex.finditer(self.vocabulary.pattern, text):
            piece = match[0].encode().translate(None, left_out)
            if (rank := self.vocabulary.ranks.get(piece)) is not None:
                ranks.append(rank)
            elif piece:
                ranks += encode(piece) if len(piece) <= CHUNK else encode_long(piece, encode, token_bytes)
        return ranks

    def _control_names(self, names: Collection[str] | Literal["all"]) -> frozenset[str]:
        if isinstance(names, str) and names == "all":
            return frozenset(self.control_tokens)
        listed = None if isinstance(names, str) else items(names)
        if listed is None or not all(isinstance(name, str) for name in listed):
            raise SettingError(
                f'names of control tokens should come as a set of strings, or as "all", found {quoted(names)}'
            )
        if unknown := sorted({*listed} - self.control_tokens.keys()):
            raise SettingError(f"{quoted(unknown[0])} is not a control token of {self.vocabulary.source}")
        return frozenset(listed)


def _listed(ids: object) -> tuple[int, ...]:
    if (listed := items(ids)) is None:
        raise SettingError(f"ids should be a list of token ids, found {quoted(ids)}")
    return listed


def is_hidden(name: str, visible: Collection[str]) -> bool:
    """Tell whether a reply is shown without this control token.

    `visible` are the names that the tokenizer's files mark as part of the text; some names are decided here instead.
    """
    if name in CHATML_NAMES:
        return True
    # Fine-tunes of the first generation write the <|extra_N|> tokens as text, whatever the files say about them.
    return name not in visible and name not in CONTROL_NAMES
