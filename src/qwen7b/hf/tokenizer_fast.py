"""The same tokenizer on the tokenizers library, whose `tokenizer.json` every other program reads."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tokenizers
from transformers import BatchEncoding, PreTrainedTokenizerFast

from qwen7b.errors import SettingError
from qwen7b.hf.backend import build_backend
from qwen7b.hf.chat_tokenizer import ChatTokenizer, complete_settings, find_vocabulary
from qwen7b.hf.control_names import ControlNames, choose_names
from qwen7b.hf.tokenizer import QWenTokenizer
from qwen7b.text import Tokenizer, load_tokenizer


class QWenTokenizerFast(ChatTokenizer, PreTrainedTokenizerFast):  # type: ignore[misc]
    """`QWenTokenizer` with character offsets and batches in parallel, and tokens spelled as in `tokenizer.json`.

    It too refuses names of control tokens in a text until `split_special_tokens` says what they are. Made from
    `qwen.tiktoken` it takes seconds to load; saved once, less than one.

    >>> QWenTokenizerFast.from_pretrained("Qwen-7B-Chat").save_pretrained("Qwen-7B-Chat-fast")  # doctest: +SKIP
    """

    slow_tokenizer_class = QWenTokenizer  # type: ignore[assignment]
    can_save_slow_tokenizer = False

    def __init__(
        self,
        vocab_file: str | None = None,
        tokenizer_file: str | None = None,
        extra_vocab_file: str | None = None,
        allowed_special: ControlNames | None = None,
        split_special_tokens: bool | None = None,
        tokenizer_object: tokenizers.Tokenizer | None = None,
        **settings: Any,
    ) -> None:
        if tokenizer_object is None and tokenizer_file is not None:
            tokenizer_object = tokenizers.Tokenizer.from_file(tokenizer_file)
        elif tokenizer_object is None:
            path, extra = find_vocabulary(vocab_file, extra_vocab_file)
            self.plain_tokenizer = load_tokenizer(path, extra_vocabulary=extra)
            tokenizer_object = build_backend(self.plain_tokenizer.vocabulary)
        self._control_names = frozenset(token.content for token in tokenizer_object.get_added_tokens_decoder().values())
        super().__init__(  # type: ignore[no-untyped-call]
            tokenizer_object=tokenizer_object, **complete_settings(settings, control_names=self._control_names)
        )
        self.allowed_special = _all_or_none(choose_names(allowed_special, split_special_tokens))

    @cached_property
    def plain_tokenizer(self) -> Tokenizer:  # type: ignore[override]
        with TemporaryDirectory() as folder:
            path = Path(folder, "tokenizer.json")
            self.backend_tokenizer.save(str(path))
            return load_tokenizer(path)

    @classmethod
    def convert_to_native_format(cls, **settings: Any) -> dict[str, Any]:  # type: ignore[override]
        """The files' names as they are: the constructor reads them itself."""
        return settings

    def _encode_plus(
        self,
        text: Any,
        text_pair: Any = None,
        *args: Any,
        allowed_special: ControlNames | None = None,
        disallowed_special: ControlNames = (),
        split_special_tokens: bool | None = None,
        **settings: Any,
    ) -> BatchEncoding:
        if disallowed_special:
            raise SettingError("the fast tokenizer has no disallowed_special: use QWenTokenizer")
        allowed = self._names_for(
            [text, text_pair], allowed_special=allowed_special, split_special_tokens=split_special_tokens
        )
        settings["split_special_tokens"] = not _all_or_none(allowed)
        return super()._encode_plus(text, text_pair, *args, **settings)

    def _add_tokens(self, *args: Any, **kwargs: Any) -> int:
        added: int = super()._add_tokens(*args, **kwargs)
        self._control_names = frozenset(self.added_tokens_encoder)
        self.__dict__.pop("plain_tokenizer", None)  # is made anew, with the tokens added
        return added


def _all_or_none(allowed_special: ControlNames | None) -> ControlNames | None:
    if allowed_special and allowed_special != "all":
        raise SettingError(
            f'the fast tokenizer allows all control tokens ("all") or none (()), found {allowed_special!r:.100}: '
            "use QWenTokenizer"
        )
    return allowed_special
