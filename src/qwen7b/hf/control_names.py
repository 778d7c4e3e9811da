"""Names of control tokens in a text become tokens or stay text as the caller asks, and are refused otherwise."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from qwen7b.config.checked import flag
from qwen7b.errors import PromptError, SettingError, quoted
from qwen7b.text.name_finder import finder_of
from qwen7b.text.normalization import without_surrogates

ControlNames = Collection[str] | Literal["all"]
"""The names of some control tokens, or "all"."""

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""The keywords with which Transformers is told the tokens that have a role, such as `pad_token`."""


class ControlNamesMixin:
    """A tokenizer that turns the name of a control token into the token only if it is told to.

    The original always did so, and a user's text could open and close messages. Here nothing is guessed: a text with
    such a name is refused unless the call, the object or `from_pretrained` says what the name means, either with
    Transformers' `split_special_tokens` (False: a token, True: text) or with the original's `allowed_special` ("all" or
    some names become tokens, others stay text). What a checkpoint's files say about this is ignored.
    """

    allowed_special: ControlNames | None = None
    """The names that become control tokens if a call does not say so; None until this is set."""
    _control_names: frozenset[str] = frozenset()
    _visible_names: frozenset[str] = frozenset()
    """The control tokens that are part of the text a model writes, such as <think>; they are not marked as special."""

    @classmethod
    def from_pretrained(cls, path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load as Transformers does, but let the caller alone decide about control tokens and the padding side."""
        settings = {"allowed_special": None, "split_special_tokens": None, "padding_side": "left", **kwargs}
        return super().from_pretrained(path, *args, **settings)  # type: ignore[misc]

    @property
    def split_special_tokens(self) -> bool | None:
        """True if names of control tokens are text; None until this is set."""
        return None if self.allowed_special is None else not self.allowed_special

    @split_special_tokens.setter
    def split_special_tokens(self, split: bool | None) -> None:
        self.allowed_special = choose_names(None, split)

    def __setattr__(self, name: str, value: Any) -> None:
        role = name.removesuffix("_id")
        if role in ROLES and value is not None:
            if role != name:
                value, name = self.convert_ids_to_tokens(value), role  # type: ignore[attr-defined]
            check_roles({role: value}, self._control_names)
        super().__setattr__(name, value)

    def add_special_tokens(self, special_tokens_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> int:
        """Set special tokens as Transformers does, except that each must be in the vocabulary."""
        check_roles({role: special_tokens_dict.get(role) for role in ROLES}, self._control_names)
        return super().add_special_tokens(special_tokens_dict, *args, **kwargs)  # type: ignore[misc, no-any-return]

    def _names_for(
        self, text: Any, *, allowed_special: ControlNames | None, split_special_tokens: bool | None
    ) -> ControlNames:
        """The names that become tokens in a text, or in nested lists of texts. Raises PromptError if nothing says
        so."""
        if allowed_special is None and split_special_tokens is not None:
            allowed_special = () if split_special_tokens else self.allowed_special or "all"
        if allowed_special is None:
            allowed_special = self.allowed_special
        if allowed_special is not None:
            return allowed_special
        for string in _texts_in(text):
            for place, name in finder_of(self._control_names).find(string):
                raise PromptError(
                    f"the text has {quoted(name)} at character {place}, the name of a control token: pass "
                    "split_special_tokens=False if it means that token, or True if it is only text, in this call or "
                    "to from_pretrained; for chat prompts there is apply_chat_template"
                )
        return ()


def choose_names(allowed_special: ControlNames | None, split_special_tokens: bool | None) -> ControlNames | None:
    """Combine two keywords for the same choice. Raises SettingError if they contradict each other."""
    if split_special_tokens is None:
        return allowed_special
    flag("split_special_tokens", split_special_tokens)
    if allowed_special is None:
        return () if split_special_tokens else "all"
    if bool(allowed_special) is split_special_tokens:
        raise SettingError(
            f"allowed_special={quoted(allowed_special)} and split_special_tokens={split_special_tokens} contradict "
            "each other: give one of them"
        )
    return allowed_special


def check_roles(tokens: Mapping[str, Any], names: Collection[str]) -> None:
    """Raise SettingError for a token with a role, such as `pad_token`, that is not a control token."""
    for role, token in tokens.items():
        if role in ROLES and token is not None and (isinstance(token, bytes) or str(token) not in names):
            known = " or ".join(repr(name) for name in ("<|endoftext|>", "<|extra_0|>", "<|im_end|>") if name in names)
            raise SettingError(
                f"{role} {token!s:.40} is no control token of this vocabulary, and the model was never trained on a "
                f"new one: use {known or 'one of ' + ', '.join(sorted(names)[:3])}"
            )


def checked_texts(value: Any, *, depth: int) -> Any:
    """Check a text, or lists of texts `depth` deep, and replace lone surrogates. Raises PromptError for others."""
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, (list, tuple)) and depth:
        checked = [checked_texts(item, depth=depth - 1) for item in value]
        return tuple(checked) if isinstance(value, tuple) else checked
    raise PromptError(f"a text should be a string, or a list of strings, found {quoted(value)}")


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts_in(item)
