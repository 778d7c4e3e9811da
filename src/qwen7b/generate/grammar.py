"""Constrained replies: which tokens a grammar allows next, by llguidance. It is imported when it is first needed.

https://github.com/guidance-ai/llguidance
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from qwen7b.dialects.masked_schema import write_masked_schema
from qwen7b.errors import MissingExtraError, SettingError, UnsupportedError
from qwen7b.generate.grammar_matcher import GrammarMatcher
from qwen7b.generate.response_format import Constraint, JsonSchema, Regex
from qwen7b.text import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_NUM_COMPILED = 16
_CANNOT = "cannot be promised"
_REMEDY = 'leave it out, or set "strict" to false or "x-guidance" to {"lenient": true} to have it ignored'


class Grammar:
    """A compiled constraint, from which each reply gets a matcher of its own.

    `ignored` are sentences about what the constraint says and replies are not held to, as that was asked for.
    """

    def __init__(self, start: LLMatcher, *, stop_id: int) -> None:
        self._start = start
        self._stop_id = stop_id
        self.ignored = [f"{_explain(warning)}, so that it is ignored" for warning in start.get_grammar_warnings()]

    def new_matcher(self, *, num_prompt: int, picks_likeliest: bool = False) -> GrammarMatcher:
        """A matcher for a reply that comes after so many ids; see there."""
        return GrammarMatcher(
            self._start.deep_copy(), num_prompt=num_prompt, stop_id=self._stop_id, picks_likeliest=picks_likeliest
        )


class GrammarCompiler:
    """Compiles constraints for one vocabulary, which is prepared at the first, in about half a second."""

    def __init__(self, tokenizer: Tokenizer, *, stop_ids: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._stop_ids = sorted(stop_ids)
        self._vocabulary: LLTokenizer | None = None
        self._compiled: dict[str, LLMatcher] = {}
        """What was compiled last, by llguidance's form: a chat has the same tools in every turn."""

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_vocabulary": None, "_compiled": {}}  # a copy prepares its own

    def compile(self, constraint: Constraint, *, name: str = "response_format") -> Grammar:
        """Compile a constraint. Raises SettingError where it is invalid, or where nothing satisfies it.

        A keyword of a JSON schema that cannot be promised is refused, or ignored if that was asked.
        """
        if not self._stop_ids:
            raise UnsupportedError("this model has no token that ends a reply, so that none can follow a grammar")
        try:
            import llguidance  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("llguidance", extra="tools") from error
        written = _write_grammar(constraint)
        start = self._compiled.get(written) or self._compile(written)
        if start.is_error():
            found = _explain(start.get_error())
            raise SettingError(f"{name}: {found}{f': {_REMEDY}' if found.endswith(_CANNOT) else ''}")
        return Grammar(start, stop_id=self._stop_ids[0])

    def _compile(self, written: str) -> LLMatcher:
        from llguidance import LLMatcher, LLParserLimits, LLTokenizer

        if self._vocabulary is None:  # without a lock, which a fork could leave held: two threads may both prepare it
            tokens: Any = _Tokens(self._tokenizer, self._stop_ids)
            self._vocabulary = LLTokenizer(tokens, eos_token=self._stop_ids)
        start = LLMatcher(self._vocabulary, written, log_level=0, limits=LLParserLimits(verbose_errors=False))
        start.compute_bitmask()  # else it does not notice that nothing is allowed
        if not start.is_error():
            self._compiled = dict([*self._compiled.items(), (written, start)][-_NUM_COMPILED:])
        return start


class _Tokens:
    """A tokenizer in the form that llguidance asks for."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, stop_ids: list[int]) -> None:
        ids = range(tokenizer.vocab_size)
        self.tokens = [tokenizer.token_bytes(id) if tokenizer.is_token(id) else b"" for id in ids]
        self.special_token_ids = sorted(tokenizer.control_tokens.values())
        self.eos_token_id = stop_ids[0]
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode_as_is(text)


def _write_grammar(constraint: Constraint) -> str:
    """A constraint in llguidance's form."""
    from llguidance import LLMatcher

    if isinstance(constraint, JsonSchema):
        schema = write_masked_schema(constraint.schema, lenient=constraint.lenient)
        return LLMatcher.grammar_from_json_schema(schema)
    if isinstance(constraint, Regex):
        return LLMatcher.grammar_from_regex(constraint.pattern)
    return LLMatcher.grammar_from_lark(constraint.text)


def _explain(message: str) -> str:
    """A message of llguidance as one line; it ends in _CANNOT where a schema is valid, but more than can be masked."""
    # A schema within a grammar: the lines of that come after what is wrong, with their numbers.
    if embedded := re.search(r"failed to compile JSON schema: (.*?)(?=\n +\d+ \| |\Z)", message, re.DOTALL):
        message = embedded[1]
    if keys := re.match(r"Unimplemented keys: \[(.*)\]", message):
        return f"the JSON schema's {keys[1]} {_CANNOT}"
    if format := re.match(r"Unknown format: (.*)", message):
        return f"the JSON schema's format {format[1]} {_CANNOT}"
    if message.startswith("oneOf"):
        return f"the JSON schema's oneOf with alternatives that may overlap {_CANNOT}"
    if message.startswith("NoExtension"):
        return "nothing satisfies it"
    message = message.partition("<backtrace>")[0].replace("panic:", "llguidance gave up:")
    return " ".join(word for word in message.replace("<non-verbose/>", "").split() if word.strip("^"))
