"""The generation settings of a checkpoint: generation_config.json, and the endings in config.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from qwen7b.config.checked import PENALTIES, SAMPLING_CHECKS, is_zero
from qwen7b.config.fields import Fields
from qwen7b.errors import CheckpointError, SettingError, quoted
from qwen7b.system.json_file import read_json_if_any

T = TypeVar("T")

DEFAULT_MAX_NEW_TOKENS = 512
"""The limit where neither the checkpoint nor the caller sets one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationSettings:
    """How the checkpoint's authors generate; None where the files do not say."""

    is_chat: bool | None = None
    """Whether the model was trained to chat."""
    endings: Mapping[int, str] = field(default_factory=dict)
    """Ids that end a reply, each with the file and field that say so."""
    other_endings: Mapping[int, str] = field(default_factory=dict)
    """Ids from files that are often copied unchanged, so that only control tokens among them count."""
    stop_sequences: tuple[tuple[int, ...], ...] = ()
    """Sequences of ids that end a reply."""
    stop_strings: tuple[str, ...] = ()
    max_new_tokens: int | None = None
    history_token_limit: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of Sample; empty for greedy."""
    problems: Mapping[str, CheckpointError] = field(default_factory=dict)
    """Errors of invalid settings, by field: each is left out above, and is raised only where it is needed."""
    remarks: tuple[str, ...] = ()
    """Notes on settings that do not mean what they seem to."""
    source: str = "the checkpoint"
    """The file that these settings come from, for messages."""

    @property
    def stop_ids(self) -> frozenset[int]:
        return frozenset(self.endings)


def folder_generation(folder: Path, config: Mapping[str, Any]) -> GenerationSettings:
    """The settings in a folder's generation_config.json, if any, and in config.json, whose fields are given."""
    path, config_path = folder / "generation_config.json", folder / "config.json"
    fields = read_json_if_any(path)
    return read_generation(fields, source=str(path), config=config, config_source=str(config_path))


def read_generation(
    fields: Mapping[str, Any], *, source: str, config: Mapping[str, Any] | None = None, config_source: str = ""
) -> GenerationSettings:
    """The settings in generation_config.json's fields. Raises CheckpointError for invalid endings."""
    settings = Fields(fields, source=source)
    problems: dict[str, CheckpointError] = {}

    def attempt(name: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except CheckpointError as error:
            problems[name] = error
            return None

    endings = dict.fromkeys(_ids(fields.get("eos_token_id"), f"{source}: eos_token_id"), f"{source} (eos_token_id)")
    sequences = _sequences(fields.get("stop_words_ids"), f"{source}: stop_words_ids")
    endings |= {ids[0]: f"{source} (stop_words_ids)" for ids in sequences if len(ids) == 1 and ids[0] not in endings}
    config_endings = _ids((config or {}).get("eos_token_id"), f"{config_source}: eos_token_id")
    chat_format = fields.get("chat_format")
    sampling, remarks = _read_sampling(settings, problems)
    return GenerationSettings(
        is_chat=None if chat_format is None else chat_format == "chatml",
        endings=endings,
        other_endings=dict.fromkeys(config_endings, f"{config_source} (eos_token_id)"),
        stop_sequences=tuple(ids for ids in sequences if len(ids) > 1),
        stop_strings=_strings(fields.get("stop_strings"), f"{source}: stop_strings"),
        max_new_tokens=attempt("max_new_tokens", lambda: settings.count("max_new_tokens")),
        history_token_limit=attempt("history_token_limit", lambda: settings.count("max_window_size")),
        sampling=sampling,
        problems=problems,
        remarks=remarks,
        source=source,
    )


def _read_sampling(settings: Fields, problems: dict[str, CheckpointError]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Keywords of Sample, or none for greedy, and remarks; errors of invalid settings go to `problems`."""
    fields, source = settings.fields, settings.source
    sampling: dict[str, Any] = {}
    try:
        samples = settings.flag("do_sample")
    except CheckpointError as error:
        problems["do_sample"] = error
        return sampling, ()
    names = ("temperature", "top_p", "min_p", "top_k") if samples else ()
    # A temperature or top_p of 0 leaves only the likeliest token.
    greedy_field = next((name for name in ("temperature", "top_p") if samples and is_zero(fields.get(name))), None)
    for name in (*(names if greedy_field is None else ()), *PENALTIES):
        if fields.get(name) is None:
            continue
        try:
            number = settings.number(int if name == "top_k" else float, name)
            sampling[name] = SAMPLING_CHECKS[name](name, number)
        except CheckpointError as error:
            problems[name] = error
        except SettingError as error:
            problems[name] = CheckpointError(f"{source} is wrong: {error}")
    if samples and greedy_field is None and not sampling.keys() & {*names}:
        sampling["temperature"] = 1.0
    if greedy_field is None:
        return sampling, ()
    return sampling, (f"{source} sets do_sample with {greedy_field} 0, which is greedy: set do_sample to false",)


def _ids(value: object, what: str) -> list[int]:
    ids: list[Any] = value if isinstance(value, list) else [] if value is None else [value]
    if not all(type(id) is int and id >= 0 for id in ids):
        raise CheckpointError(f"{what} must be a token id or a list of them, found {quoted(value)}")
    return ids


def _sequences(value: object, what: str) -> list[tuple[int, ...]]:
    """Sequences of ids; a single id is a sequence of one."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [ids for one in values if (ids := tuple(_ids(one, what)))]


def _strings(value: object, what: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(string, str) and string for string in values):
        raise CheckpointError(f"{what} must be a string or a list of them, found {quoted(value)}")
    return tuple(values)
