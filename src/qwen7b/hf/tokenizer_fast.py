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
from qwen7b.hf.chat_tokenizer import ChatTokenizer, ControlNames, complete_settings, find_vocabulary
from qwen7b.hf.tokenizer import QWenTokenizer
from qwen7b.text import Tokenizer, load_tokenizer


class QWenTokenizerFast(ChatTokenizer, PreTrainedTokenizerFast):  # type: ignore[misc]
    """`QWenTokenizer` with character offsets and batches in parallel, and tokens spelled as in `tokenizer.json`.

    It too leaves names of control tokens in a text as text, unless called or loaded with `allowed_special="all"`. Made
    from `qwen.tiktoken` it takes seconds to load; saved once, less than one.

    >>> QWenTokenizerFast.from_pretrained("Qwen-7B-Chat").save_pretrained("Qwen-7B-Chat-fast")  # doctest: +SKIP
    """

    slow_tokenizer_class = QWenTokenizer  # type: ignore[assignment]
    can_save_slow_tokenizer = False

    def __init__(
        self,
        vocab_file: str | None = None,
        tokenizer_file: str | None = None,
        extra_vocab_file: str | None = None,
        allowed_special: ControlNames = frozenset(),
        tokenizer_object: tokenizers.Tokenizer | None = None,
        **settings: Any,
    ) -> None:
        if tokenizer_object is None and tokenizer_file is not None:
            tokenizer_object = tokenizers.Tokenizer.from_file(tokenizer_file)
        elif tokenizer_object is None:
            path, extra = find_vocabulary(vocab_file, extra_vocab_file)
            self.plain_tokenizer = load_tokenizer(path, extra_vocabulary=extra)
            tokenizer_object = build_backend(self.plain_tokenizer.vocabulary)
        names = {token.content for token in tokenizer_object.get_added_tokens_decoder().values()}
        _check_all_or_none(allowed_special)
        settings = complete_settings(settings, control_names=names, allowed_special=allowed_special)
        super().__init__(tokenizer_object=tokenizer_object, **settings)  # type: ignore[no-untyped-call]

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

    def _encode_plus(self, *args: Any, allowed_special: ControlNames | None = None, **settings: Any) -> BatchEncoding:
        if allowed_special is not None:
            _check_all_or_none(allowed_special)
            settings["split_special_tokens"] = not allowed_special
        if settings.pop("disallowed_special", ()):
            raise SettingError("the fast tokenizer has no disallowed_special: use QWenTokenizer")
        return super()._encode_plus(*args, **settings)


def _check_all_or_none(allowed_special: ControlNames) -> None:
    if allowed_special and allowed_special != "all":
        raise SettingError(
            f'the fast tokenizer allows all control tokens ("all") or none (()), found {allowed_special!r}: '
            "use QWenTokenizer"
        )
