"""What a caller asks of one generation: optional settings, completed by the checkpoint's defaults and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from qwen7b.checked import whole_number
from qwen7b.errors import CheckpointError, SettingError
from qwen7b.generate.sampling import Greedy, Sample, Sampling
from qwen7b.model import NtkMode
from qwen7b.text import DEFAULT_HISTORY_TOKEN_LIMIT
from qwen7b.weights import GenerationSettings

DEFAULT_MAX_NEW_TOKENS = 512


class Settings(TypedDict, total=False):
    """Keywords of `Qwen.chat` and its kin; None or absent means the checkpoint's own."""

    sampling: Sampling | None
    """Greedy() or Sample(...). A checkpoint without its own is sampled greedily."""
    max_new_tokens: int | None
    """512 where the checkpoint says nothing; never past the context."""
    stop: str | Sequence[str] | None
    """Strings that end the reply and are not part of it."""
    history_token_limit: int | None
    """Tokens that system prompt and past turns may have together; the oldest turns are dropped whole. Chat only."""
    logprobs: int | None
    """Report log-probabilities, with so many of the likeliest tokens beside each one made."""
    ntk: NtkMode
    """When dynamic NTK chooses alpha anew: see `NtkMode`."""


class Request:
    """Settings completed and checked. Raises SettingError."""

    def __init__(
        self,
        generation: GenerationSettings,
        *,
        sampling: Sampling | None = None,
        max_new_tokens: int | None = None,
        stop: str | Sequence[str] | None = None,
        history_token_limit: int | None = None,
        logprobs: int | None = None,
        ntk: NtkMode = "recompute",
    ) -> None:
        self.sampling = sampling if sampling is not None else default_sampling(generation)
        self.max_new_tokens = _default(max_new_tokens, generation.max_new_tokens, DEFAULT_MAX_NEW_TOKENS)
        self.stop = (stop,) if isinstance(stop, str) else tuple(stop or ())
        self.history_token_limit = _default(
            history_token_limit, generation.history_token_limit, DEFAULT_HISTORY_TOKEN_LIMIT
        )
        self.logprobs = logprobs
        self.ntk = ntk
        if not isinstance(self.sampling, (Greedy, Sample)):
            raise SettingError(f"sampling must be Greedy(...) or Sample(...), found {self.sampling!r}")
        if not all(isinstance(string, str) and string for string in self.stop):
            raise SettingError(f"stop must be strings that are not empty, found {stop!r:.40}")
        whole_number("max_new_tokens", self.max_new_tokens, least=1)
        whole_number("history_token_limit", self.history_token_limit, least=0)
        if logprobs is not None:
            whole_number("logprobs", logprobs, least=0, most=100)


def default_sampling(generation: GenerationSettings) -> Sampling:
    """How the checkpoint's makers would sample; greedily where they do not say."""
    settings = dict(generation.sampling)
    try:
        if settings.keys() <= {"repetition_penalty"}:
            return Greedy(**settings)
        return Sample(**settings)
    except SettingError as error:
        raise CheckpointError(f"the checkpoint's generation_config.json is wrong: {error}") from error


def _default(*values: int | None) -> int:
    return next(value for value in values if value is not None)
