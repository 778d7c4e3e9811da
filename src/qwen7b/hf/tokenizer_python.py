"""The exact tokenizer with the interfaces of Transformers and of the original, in which tokens are bytes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import tiktoken
from transformers import AddedToken, PreTrainedTokenizer
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from qwen7b.errors import SettingError, UnsupportedError
from qwen7b.hf.chat_tokenizer import ChatTokenizer, build_backend, complete_settings, find_vocabulary
from qwen7b.hf.control_names import ControlNames, choose_names
from qwen7b.system.whole_file import written_whole
from qwen7b.text import load_tokenizer
from qwen7b.text.endings import CHATML_NAMES


class QWenTokenizer(ChatTokenizer, PreTrainedTokenizer):  # type: ignore[misc]
    """Text to token ids exactly as in the original, from `qwen.tiktoken` or `tokenizer.json`.

    One default differs, for safety: a text with the name of a control token is refused until the caller says what it
    means. `split_special_tokens=False` (in a call, in `from_pretrained`, or as an attribute) restores the original's
    behaviour, in which names become control tokens; with True they stay text.

    >>> tokenizer("<|im_end|>", split_special_tokens=True).input_ids   # doctest: +SKIP
    [27, 91, 318, 6213, 91, 29]
    >>> tokenizer("<|im_end|>", split_special_tokens=False).input_ids  # doctest: +SKIP
    [151645]

    Batches are padded on the left, with <|endoftext|>.
    """

    def __init__(
        self,
        vocab_file: str | None = None,
        tokenizer_file: str | None = None,
        errors: str = "replace",
        extra_vocab_file: str | None = None,
        allowed_special: ControlNames | None = None,
        split_special_tokens: bool | None = None,
        **settings: Any,
    ) -> None:
        path, extra = find_vocabulary(vocab_file or tokenizer_file, extra_vocab_file)
        self._own_tokenizer = load_tokenizer(path, extra_vocabulary=extra)
        self._visible_names = self._own_tokenizer.vocabulary.visible
        self.errors = errors
        self._control_names = frozenset(self._own_tokenizer.control_tokens)
        self._added_tokens_decoder = {
            token_id: AddedToken(name, special=name not in self._visible_names, normalized=False)
            for name, token_id in self._own_tokenizer.control_tokens.items()
        }
        super().__init__(  # type: ignore[no-untyped-call]
            errors=errors, **complete_settings(settings, control_names=self._control_names)
        )
        self.allowed_special = choose_names(allowed_special, split_special_tokens)

    @classmethod
    def from_pretrained(cls, path: str | Path, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Load as Transformers does; through AutoTokenizer, a tokenizer that was saved as the fast one stays fast."""
        if kwargs.get("_from_auto"):
            hub = {name: kwargs[name] for name in _HUB_SETTINGS if name in kwargs}
            saved = get_tokenizer_config(path, **hub).get("tokenizer_class")
            for other in ChatTokenizer.__subclasses__():
                if other.__name__ == saved and other is not QWenTokenizer:
                    return other.from_pretrained(path, *args, **kwargs)
        return super().from_pretrained(path, *args, **kwargs)

    @cached_property
    def tokenizer(self) -> tiktoken.Encoding:
        """The vocabulary as a tiktoken Encoding, under the original's name; it does not normalize text to NFC."""
        return tiktoken.Encoding(
            "Qwen",
            pat_str=self.plain_tokenizer.vocabulary.pattern,
            mergeable_ranks=self.mergeable_ranks,
            special_tokens=self.special_tokens,
        )

    @cached_property
    def mergeable_ranks(self) -> dict[bytes, int]:
        """The ranks, which are also the ids, by the bytes of ordinary tokens. Raises UnsupportedError if they
        differ."""
        vocabulary = self.plain_tokenizer.vocabulary
        if vocabulary.ids != vocabulary.ranks:
            raise UnsupportedError(
                f"the ids of {vocabulary.source} are not its ranks, so it has no mergeable_ranks and no tiktoken "
                "Encoding: use get_vocab and encode"
            )
        return dict(vocabulary.ids)

    @cached_property
    def decoder(self) -> dict[int, bytes | str]:
        """The tokens by id: bytes for ordinary tokens, names for control tokens."""
        return {token_id: token for token, token_id in self.get_vocab().items()}

    @property
    def vocab_size(self) -> int:
        """One more than the highest id."""
        return self.plain_tokenizer.vocab_size

    def __len__(self) -> int:
        return self.vocab_size

    def get_vocab(self) -> dict[Any, int]:
        """The ids by token: bytes for ordinary tokens, names for control tokens."""
        return {**self.plain_tokenizer.vocabulary.ids, **self.special_tokens}

    def tokenize(  # type: ignore[override]
        self,
        text: str,
        allowed_special: ControlNames | None = None,
        disallowed_special: ControlNames = (),
        *,
        split_special_tokens: bool | None = None,
        **_: Any,
    ) -> list[bytes | str]:
        """The tokens of a text.

        Names in `allowed_special` become control tokens, with `split_special_tokens=False` all names do. Raises
        PromptError for names in `disallowed_special`, and for any name if neither this call nor the object says what
        it means.
        """
        allowed = self._names_for(
            () if disallowed_special else text,
            allowed_special=allowed_special,
            split_special_tokens=split_special_tokens,
        )
        ids = self.plain_tokenizer.encode(text, allowed_special=allowed, disallowed_special=disallowed_special)
        return [self._convert_id_to_token(token_id) for token_id in ids]

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """The id of a token, or None if there is no such token; or the ids of a list of tokens."""
        if isinstance(tokens, (str, bytes)):
            return self._convert_token_to_id(tokens)
        return [self._convert_token_to_id(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        if isinstance(ids, int):
            return self._convert_id_to_token(ids)
        return [self._convert_id_to_token(token_id) for token_id in self._shown(ids, skip_special_tokens)]

    def convert_tokens_to_string(self, tokens: Iterable[bytes | str]) -> str:
        parts = (token.encode() if isinstance(token, str) else token for token in tokens)
        return b"".join(parts).decode(errors=self.errors)

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write `qwen.tiktoken`, or `tokenizer.json` if ids are not ranks or control tokens are marked unusually."""
        vocabulary = self.plain_tokenizer.vocabulary
        usual = vocabulary.visible == vocabulary.control_tokens.keys() - {*CHATML_NAMES}
        ranked = usual and vocabulary.ids == vocabulary.ranks
        name = self.vocab_files_names["vocab_file" if ranked else "tokenizer_file"]
        path = Path(save_directory, f"{filename_prefix}-{name}" if filename_prefix else name)
        with written_whole(path) as partial:
            if ranked:
                lines = (b"%s %d\n" % (b64encode(token), token_id) for token, token_id in vocabulary.ids.items())
                partial.write_bytes(b"".join(lines))
            else:
                build_backend(vocabulary, visible=vocabulary.visible).save(str(partial))
        return (str(path),)

    def _add_tokens(self, new_tokens: Iterable[str | AddedToken], special_tokens: bool = False) -> int:
        if unknown := [str(token) for token in new_tokens if str(token) not in self.special_tokens]:
            raise SettingError(
                f"{unknown[0]!r} cannot be added: use one of <|extra_0|>, <|extra_1|> and so on, or load the "
                "tokenizer with an extra_vocab_file"
            )
        return 0

    def _convert_token_to_id(self, token: str | bytes) -> int | None:
        if isinstance(token, str):
            if token in self.plain_tokenizer.control_tokens:
                return self.plain_tokenizer.control_tokens[token]
            token = token.encode()
        return self.plain_tokenizer.vocabulary.ids.get(token)

    def _convert_id_to_token(self, index: int) -> Any:
        token = self.plain_tokenizer.token_bytes(index)
        return token.decode() if self.plain_tokenizer.is_control(index) else token

    def _decode(
        self, token_ids: Any, skip_special_tokens: bool = False, *_: Any, errors: str | None = None, **__: Any
    ) -> str:
        ids = self._shown([token_ids] if isinstance(token_ids, int) else token_ids, skip_special_tokens)
        return self.plain_tokenizer.decode_bytes(ids).decode(errors=errors or self.errors)


_HUB_SETTINGS = ("cache_dir", "force_download", "token", "revision", "local_files_only", "subfolder")
