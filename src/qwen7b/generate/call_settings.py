"""The settings that a caller gives one generation, completed by the checkpoint's defaults and checked."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, cast, get_args

from qwen7b.checkpoint import GenerationSettings
from qwen7b.checkpoint.generation_settings import DEFAULT_MAX_NEW_TOKENS
from qwen7b.config.checked import PENALTIES, SAMPLING_CHECKS, items, whole_number
from qwen7b.dialects.registry import find_dialect
from qwen7b.errors import SettingError, quoted
from qwen7b.generate.offered_tools import OfferedTools, ToolSettings, read_tool_settings
from qwen7b.generate.response_format import ResponseFormat, read_response_format
from qwen7b.generate.speculate_setting import check_lookup
from qwen7b.model import NtkMode
from qwen7b.sampling.sampling import Greedy, Sample, Sampling
from qwen7b.sampling.sampling_keywords import SamplingKeywords, lay_over
from qwen7b.text import DEFAULT_HISTORY_TOKEN_LIMIT

if TYPE_CHECKING:
    from qwen7b.generate.request_state import Processor


Call = Literal["chat", "complete"]


class CompletionSettings(SamplingKeywords, total=False):
    """The keywords of `Qwen.complete` and the like; None or absent means the checkpoint's own."""

    sampling: Sampling | None
    """Greedy() or Sample(...), instead of the keywords. A checkpoint without its own is sampled greedily."""
    max_new_tokens: int | None
    """The tokens that a reply may have: 512 where the checkpoint says nothing, and never more than the context."""
    stop: str | Sequence[str] | None
    """The strings that end the reply and are not part of it."""
    logprobs: int | None
    """Report the log-probability of each token, and those of this many of the likeliest in its place."""
    ntk: NtkMode
    """The way in which dynamic NTK chooses alpha anew: see `NtkMode`."""
    on_prompt: Callable[[int, int], None] | None
    """A function that is called while a long prompt is read, with the tokens read so far and all there are."""
    processors: Sequence[Processor] | None
    """Functions that change the next token's logits, given the ids so far and a tensor (V,), before penalties act."""
    response_format: ResponseFormat | None
    """What the reply must look like: a JSON schema, a pydantic model class, {"type": "regex", "regex": "yes|no"}, or
    another `ResponseFormat`. Only max_new_tokens, the context and stop strings cut it short. Needs qwen7b[tools]."""
    speculate: str | None
    """How tokens are drafted, for speed; replies stay the same: "ngram", "ngram-pool" or "none". See `load`."""
    adapter: str | None
    """The name of the adapter that replies: see `load`. "none", the default, is the model by itself."""
    priority: int | None
    """Where several calls share the model, the prompts of a higher priority are read first, and among equals the
    earlier. One waits for ever only where those of higher priority keep coming and leave no time. 0 by default."""


class ChatSettings(CompletionSettings, ToolSettings, total=False):
    """The keywords of `Qwen.chat` and the like."""

    history_token_limit: int | None
    """The tokens that system prompt and past turns may have together; the oldest turns are dropped whole."""


class CheckedSettings:
    """The settings of one call, completed and checked. Raises SettingError."""

    def __init__(
        self, generation: GenerationSettings, settings: ChatSettings | CompletionSettings, *, call: Call
    ) -> None:
        _check_names(settings, call=call)
        given: ChatSettings = {**settings}
        self.sampling = _sampling(generation, given)
        self.max_new_tokens = _or_default(given, "max_new_tokens", generation, DEFAULT_MAX_NEW_TOKENS)
        stop = given.get("stop")
        listed = (stop,) if isinstance(stop, str) else items(() if stop is None else stop)
        if listed is None:
            raise SettingError(f"stop must be a string or a list of them, found {quoted(stop)}")
        self.stop = listed
        self.history_token_limit = (
            _or_default(given, "history_token_limit", generation, DEFAULT_HISTORY_TOKEN_LIMIT) if call == "chat" else 0
        )
        self.logprobs = given.get("logprobs")
        ntk = given.get("ntk")
        self.ntk: NtkMode = "recompute" if ntk is None else ntk
        self.on_prompt = given.get("on_prompt")
        processors = given.get("processors")
        listed_processors = items(() if processors is None else processors)
        self.constraint = read_response_format(given.get("response_format"))
        self.offered = read_tool_settings(given) if call == "chat" else OfferedTools()
        dialect = given.get("dialect")
        self.dialect = None if dialect is None else find_dialect(dialect)
        self.speculate = check_lookup(given.get("speculate"))
        self.adapter = given.get("adapter")
        priority = given.get("priority")
        self.priority = 0 if priority is None else whole_number("priority", priority, minimum=-1000, maximum=1000)
        if not isinstance(self.sampling, (Greedy, Sample)):
            raise SettingError(f"sampling must be Greedy(...) or Sample(...), found {quoted(self.sampling)}")
        if self.constraint is not None and self.offered.definitions:
            raise SettingError("response_format and tools both say what a reply must look like: give one of them")
        if not all(isinstance(string, str) and string for string in self.stop):
            raise SettingError(f"stop must be strings that are not empty, found {quoted(stop)}")
        if self.ntk not in get_args(NtkMode):
            raise SettingError(f"ntk must be one of {', '.join(get_args(NtkMode))}, found {quoted(self.ntk)}")
        if self.on_prompt is not None and not callable(self.on_prompt):
            raise SettingError(f"on_prompt must be a function of two numbers, found {quoted(self.on_prompt)}")
        if listed_processors is None or not all(map(callable, listed_processors)):
            raise SettingError(f"processors must be a list of functions, found {quoted(processors)}")
        self.processors: Sequence[Processor] = listed_processors
        whole_number("max_new_tokens", self.max_new_tokens, minimum=1)
        whole_number("history_token_limit", self.history_token_limit, minimum=0)
        if self.logprobs is not None:
            whole_number("logprobs", self.logprobs, minimum=0, maximum=100)


def _check_names(settings: Mapping[str, object], *, call: Call) -> None:
    """Raise SettingError for settings that a call does not know or has no use for."""
    known = list((CompletionSettings if call == "complete" else ChatSettings).__annotations__)
    for name, value in settings.items():
        if name in known:
            continue
        if name not in ChatSettings.__annotations__:
            near = difflib.get_close_matches(name, known, n=1)
            guess = f"did you mean {near[0]}? " if near else f"{call}_samples takes it. " if name == "n" else ""
            raise SettingError(f"{call} has no setting {name}: {guess}It takes {', '.join(sorted(known))}")
        if value is not None:
            raise SettingError(f"{name} is of no use to {call}, found {quoted(value)}: leave it out, or use chat")


def _sampling(generation: GenerationSettings, settings: ChatSettings) -> Sampling:
    keywords = cast(
        SamplingKeywords,
        {name: settings[name] for name in SamplingKeywords.__annotations__ if settings.get(name) is not None},  # type: ignore[literal-required]
    )
    sampling = settings.get("sampling")
    if sampling is not None and keywords:
        raise SettingError(
            f"sampling={quoted(sampling)} and {', '.join(keywords)} are two ways to say how to sample: give one of them"
        )
    if sampling is not None:
        return sampling
    chosen = lay_over(default_sampling(generation), **keywords)
    used = ("do_sample", *SAMPLING_CHECKS) if isinstance(chosen, Sample) or not keywords else PENALTIES
    for name in used:
        if name not in generation.problems or name in keywords:
            continue
        # The caller's settings go before a broken file, whose broken fields are then left out.
        if not keywords:
            raise generation.problems[name]
        warnings.warn(f"{generation.problems[name]}; here it is left out", stacklevel=5)
    return chosen


def default_sampling(generation: GenerationSettings) -> Sampling:
    """The sampling that the checkpoint's files set, as far as they are valid; greedy where they set none."""
    settings = dict(generation.sampling)
    return Greedy(**settings) if settings.keys() <= set(PENALTIES) else Sample(**settings)


def _or_default(
    given: ChatSettings,
    name: Literal["max_new_tokens", "history_token_limit"],
    generation: GenerationSettings,
    default: int,
) -> int:
    """Take the caller's value, else the checkpoint's, else the default. Raises CheckpointError for an invalid one."""
    if (value := given.get(name)) is not None:
        return value
    if name in generation.problems:
        raise generation.problems[name]
    own: int | None = getattr(generation, name)
    return default if own is None else own
