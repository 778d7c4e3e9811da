"""The options of sampling, as `chat` and `complete` take them, and what they amount to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

from qwen7b.cli import options
from qwen7b.errors import SettingError

if TYPE_CHECKING:
    from qwen7b.sampling.sampling_keywords import SamplingKeywords


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingOptions:
    """The sampling options as typed; None where an option was not given."""

    greedy: options.AlwaysBest = False
    temperature: options.Temperature = None
    top_k: options.TopK = None
    top_p: options.TopP = None
    min_p: options.MinP = None
    repetition_penalty: options.RepetitionPenalty = None
    presence_penalty: options.PresencePenalty = None
    frequency_penalty: options.FrequencyPenalty = None
    seed: options.Seed = None

    def __post_init__(self) -> None:
        from qwen7b import Greedy
        from qwen7b.sampling.sampling_keywords import is_greedy, lay_over, sampling_only

        chosen = self._chosen()
        if self.greedy or is_greedy(chosen):
            flag = "--greedy" if self.greedy else "--temperature 0"
            contradicting = sampling_only(chosen)
            if self.greedy and chosen.get("temperature"):
                contradicting.append("temperature")
            if contradicting:
                flags = ", ".join(sorted("--" + name.replace("_", "-") for name in contradicting))
                raise SettingError(
                    f"{flag} leaves nothing to chance, so it cannot go with {flags}: drop one or the other"
                )
        lay_over(Greedy(), **self.keywords())  # a value out of range is refused here, before a model is loaded

    def keywords(self) -> SamplingKeywords:
        """These options as keywords of `Qwen.chat`."""
        chosen = self._chosen()
        if self.greedy:
            chosen["temperature"] = 0
        return chosen

    def _chosen(self) -> SamplingKeywords:
        chosen = {name: value for name, value in asdict(self).items() if name != "greedy" and value is not None}
        return cast("SamplingKeywords", chosen)
