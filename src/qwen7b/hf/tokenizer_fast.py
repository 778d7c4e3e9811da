"""The same tokenizer on the tokenizers library, whose `tokenizer.json` other programs read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tokenizers
from transformers import AddedToken, BatchEncoding, PreTrainedTokenizerFast

from qwen7b.errors import CheckpointError, PromptError, SettingError, quoted
from qwen7b.hf.chat_tokenizer import ChatTokenizer, build_backend, complete_settings, find_vocabulary
from qwen7b.hf.control_names import ControlNames, checked_texts, choose_names
from qwen7b.hf.tokenizer_python import QWenTokenizer
from qwen7b.system.json_file import MAX_BYTES, read_json
from qwen7b.system.regular_file import checkpoint_text
from qwen7b.system.whole_file import written_whole
from qwen7b.text import Tokenizer, load_tokenizer
from qwen7b.text.tokenizer_settings import TokenizerSettings, read_folder_settings


class QWenTokenizerFast(ChatTokenizer, PreTrainedTokenizerFast):  # type: ignore[misc]
    """`QWenTokenizer` with character offsets and batches in parallel, and tokens spelled as in `tokenizer.json`.

    It, too, refuses names of control tokens in a text until `split_special_tokens` says what they mean. From
    `qwen.tiktoken` it takes seconds to load; once saved, less than one.

    >>> QWenTokenizerFast.from_pretrained("Qwen-7B-Chat").save_pretrained("Qwen-7B-Chat-fast")  # doctest: +SKIP
    """

    slow_tokenizer_class = QWenTokenizer  # type: ignore[assignment]
    can_save_slow_tokenizer = False
    _settings = TokenizerSettings()

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
            tokenizer_object = _read_backend(Path(tokenizer_file))
            self._settings = read_folder_settings(Path(tokenizer_file).parent)
        elif tokenizer_object is None:
            path, extra = find_vocabulary(vocab_file, extra_vocab_file)
            self._own_tokenizer = load_tokenizer(path, extra_vocabulary=extra)
            self._visible_names = self._own_tokenizer.vocabulary.visible
            tokenizer_object = build_backend(self._own_tokenizer.vocabulary)
        added = tokenizer_object.get_added_tokens_decoder().values()
        self._control_names = frozenset(token.content for token in added)
        if visible := [token.content for token in added if not token.special]:
            # The library always encodes the name of a token that is not special as the token. So all are special here,
            # and decoding decides which are shown.
            self._visible_names = frozenset(visible)
            tokenizer_object.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in visible])
        super().__init__(  # type: ignore[no-untyped-call]
            tokenizer_object=tokenizer_object, **complete_settings(settings, control_names=self._control_names)
        )
        self.allowed_special = _all_or_none(choose_names(allowed_special, split_special_tokens))

    @cached_property
    def _own_tokenizer(self) -> Tokenizer:  # type: ignore[override]
        with TemporaryDirectory() as folder:
            path = Path(folder, "tokenizer.json")
            self.backend_tokenizer.save(str(path))
            vocabulary = load_tokenizer(path).vocabulary
        settings = replace(self._settings, bos=self._settings.bos or vocabulary.settings.bos)
        return Tokenizer(replace(vocabulary, visible=self._visible_names, settings=settings))

    @classmethod
    def convert_to_native_format(cls, **settings: Any) -> dict[str, Any]:  # type: ignore[override]
        """Pass the files' names on, since the constructor reads the files itself."""
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
        depth = 3 if settings.get("is_split_into_words") else 2  # of lists: a batch of pairs
        text = checked_texts(text, depth=depth)
        text_pair = None if text_pair is None else checked_texts(text_pair, depth=depth)
        if isinstance(text, (list, tuple)) and not text:
            raise PromptError("the list of texts is empty: give at least one")
        allowed = self._names_for(
            [text, text_pair], allowed_special=allowed_special, split_special_tokens=split_special_tokens
        )
        settings["split_special_tokens"] = not _all_or_none(allowed)
        return super()._encode_plus(text, text_pair, *args, **settings)

    def _decode(self, token_ids: Any, skip_special_tokens: bool = False, *args: Any, **settings: Any) -> str:
        ids = token_ids["input_ids"] if isinstance(token_ids, Mapping) else token_ids
        shown = self._shown([ids] if isinstance(ids, int) else ids, skip_special_tokens)
        rows = len(self)  # which the library counts again at every call
        if wrong := [token_id for token_id in shown if not 0 <= token_id < rows]:
            raise SettingError(f"no token has the id {wrong[0]}: the ids of this vocabulary are below {rows}")
        text: str = super()._decode(shown, False, *args, **settings)
        return text

    def save_pretrained(self, save_directory: Any, *args: Any, **settings: Any) -> tuple[str, ...]:
        """Save as Transformers does, and mark in the file which control tokens are part of a text."""
        names: tuple[str, ...] = super().save_pretrained(save_directory, *args, **settings)
        for path in (Path(name) for name in names if name.endswith("tokenizer.json")):
            document = read_json(path)
            for token in document["added_tokens"]:
                token["special"] = token["content"] not in self._visible_names
            with written_whole(path) as partial:
                partial.write_text(json.dumps(document, ensure_ascii=False, indent=2), encoding="utf-8")
        return names

    def _add_tokens(self, *args: Any, **kwargs: Any) -> int:
        added: int = super()._add_tokens(*args, **kwargs)
        self._control_names = frozenset(self.added_tokens_encoder)
        for derived in ("_own_tokenizer", "plain_tokenizer", "_hidden_ids"):
            self.__dict__.pop(derived, None)
        return added


def _read_backend(path: Path) -> tokenizers.Tokenizer:
    text = checkpoint_text(path, limit=MAX_BYTES)
    try:
        return tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises no more specific type
        raise CheckpointError(f"{path} is not a file of the tokenizers library: {quoted(str(error))}") from error


def _all_or_none(allowed_special: ControlNames | None) -> ControlNames | None:
    if allowed_special and allowed_special != "all":
        raise SettingError(
            f'the fast tokenizer allows all control tokens ("all") or none (()), found {quoted(allowed_special)}: '
            "use QWenTokenizer"
        )
    return allowed_special
