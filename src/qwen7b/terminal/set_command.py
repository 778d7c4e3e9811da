"""`/set`: shows the settings of a conversation's replies, and changes them by name."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from qwen7b.errors import SettingError
from qwen7b.terminal.language import translated as _

if TYPE_CHECKING:
    from qwen7b import Qwen
    from qwen7b.checkpoint import GenerationSettings
    from qwen7b.generate.call_settings import ChatSettings

NUMBERS: dict[str, type[int] | type[float]] = {
    "temperature": float,
    "top_k": int,
    "top_p": float,
    "min_p": float,
    "repetition_penalty": float,
    "presence_penalty": float,
    "frequency_penalty": float,
    "seed": int,
    "max_new_tokens": int,
    "history_token_limit": int,
}
NAMES = [*NUMBERS, "stop", "speculate"]
ALIASES = {"max_tokens": "max_new_tokens", "num_predict": "max_new_tokens", "repeat_penalty": "repetition_penalty"}
DEFAULT = "default"


def change_setting(
    settings: ChatSettings, name: str, value: str | None, *, generation: GenerationSettings
) -> ChatSettings:
    """The settings with one changed, given its name and its value as typed. Raises SettingError.

    The value "default" restores the default of the checkpoint, or else of qwen7b.
    """
    from qwen7b.generate.call_settings import CheckedSettings

    known = name.lower().replace("-", "_")
    known = ALIASES.get(known, known)
    if known not in NAMES:
        close_matches = difflib.get_close_matches(known, NAMES, n=1)
        hint = _("did you mean {name}?").format(name=close_matches[0]) if close_matches else ", ".join(NAMES)
        raise SettingError(_("there is no setting {name}: {hint}").format(name=name, hint=hint))
    if value is None:
        raise SettingError(
            _("/set {name} needs a value; {default} gives back the default").format(name=known, default=DEFAULT)
        )
    changed: dict[str, Any] = {**settings}
    changed.pop(known, None)
    if value.lower() != DEFAULT:
        changed[known] = _parse(known, value)
    settings = cast("ChatSettings", changed)
    try:
        CheckedSettings(generation, settings, call="chat")  # refuses what is out of range, or at odds with the others
    except SettingError as error:
        raise SettingError(
            _("{name} cannot be {value} here: {reason}").format(name=known, value=value, reason=error)
        ) from error
    return settings


def _parse(name: str, value: str) -> int | float | str | tuple[str, ...]:
    if name == "stop":
        return (value,)
    if name == "speculate":
        return value.lower()
    number = NUMBERS[name]
    try:
        return number(value)
    except ValueError:
        kind = _("a whole number") if number is int else _("a number")
        raise SettingError(_("{name} takes {kind}, found {value}").format(name=name, kind=kind, value=value)) from None


def is_greedy(settings: ChatSettings, qwen: Qwen) -> bool:
    """Tell whether replies with these settings always take the likeliest token."""
    from qwen7b import Greedy
    from qwen7b.generate.call_settings import CheckedSettings

    return isinstance(CheckedSettings(qwen.generation, settings, call="chat").sampling, Greedy)


def remedy_for_sameness(settings: ChatSettings, qwen: Qwen) -> str | None:
    """The command that varies replies, if greedy choice or a seed makes them always the same; else None."""
    from qwen7b import Greedy
    from qwen7b.generate.call_settings import CheckedSettings

    sampling = CheckedSettings(qwen.generation, settings, call="chat").sampling
    if isinstance(sampling, Greedy):
        return "/set temperature 0.8"
    return None if sampling.seed is None else f"/set seed {DEFAULT}"


def shown_settings(settings: ChatSettings, qwen: Qwen) -> str:
    """A line for each setting, with its name, its value, and whether that is the default."""
    from qwen7b.generate.call_settings import CheckedSettings

    checked = CheckedSettings(qwen.generation, settings, call="chat")
    sampling = asdict(checked.sampling)
    values: dict[str, object] = {"temperature": 0, **{name: sampling.get(name) for name in NUMBERS if name in sampling}}
    values |= {"max_new_tokens": checked.max_new_tokens, "history_token_limit": checked.history_token_limit}
    values["speculate"] = checked.speculate or qwen.speculate
    rows = []
    for name in NAMES:
        value = ", ".join(map(repr, checked.stop)) if name == "stop" else values.get(name)
        if value in (None, "", "none"):
            shown = _("none")
        elif name == "speculate" and value == "model":
            shown = _("by a draft model")
        elif name == "temperature" and value == 0:
            shown = _("0, always the likeliest token")
        else:
            shown = f"{value:g}" if isinstance(value, float) else str(value)
        is_set = dict(settings).get(name) not in (None, ())
        rows.append(f"{name:<21}{shown}" + ("" if is_set else "  " + _("(default)")))
    return "\n".join(rows)
