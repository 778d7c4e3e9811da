"""What the signatures of two runs do not have in common, and what that means in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from qwen7b.results.saved_run import SavedRun
from qwen7b.tasks import TASKS, Procedure, TaskPlan
from qwen7b.tasks.choice import ChoiceTask
from qwen7b.tasks.item import Letters, Text

_MEANINGS = {
    "task": "other questions: the scores cannot be compared",
    "split": "another part of the benchmark: other items",
    "shots": "how many solved examples stand before each question",
    "limit": "how many items of each subject were asked",
    "items": "how many items there are",
    "prompts": "the texts given to the model are not the same, or not of the same items",
    "data": "other files were read, or files with other contents",
    "precision": "how the weights are rounded: where two answers are close, the choice may change",
    "device": "sums are added in another order: where two answers are all but equal, the choice may change",
    "kernels": "sums are added in another order: where two answers are all but equal, the choice may change",
    "context_length": "a prompt longer than this loses its beginning",
    "dialect": "tools are described and called in another way: the prompts are not the same",
    "constrained": "masks hold calls to the tools' names and schemas in one run only",
    "seed": "other random numbers",
    "filter": "which of lm-eval's ways of reading the replies",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A field of two signatures, in which they differ."""

    field: str
    first: Any
    second: Any
    meanings: tuple[str, ...]


def differences(first: SavedRun, second: SavedRun) -> list[Difference]:
    """The fields that both runs state, and state otherwise."""
    one, other = _flat(first.signature), _flat(second.signature)
    return [
        Difference(
            field=name,
            first=one[name],
            second=other[name],
            meanings=tuple(_meanings(name, first.signature, second.signature)),
        )
        for name in one
        if name in other and one[name] != other[name] and not (name == "task" and "" in (one[name], other[name]))
    ]


def unknown_fields(first: SavedRun, second: SavedRun) -> list[str]:
    """The fields that just one of the runs states."""
    one, other = _flat(first.signature), _flat(second.signature)
    return [name for name in one | other if (name in one) != (name in other)]


def wanted(signature: Mapping[str, Any]) -> Letters | Text | None:
    """What a run asked the model for after each prompt; None where its signature does not tell."""
    plan = _plan(signature)
    return None if plan is None else TASKS[signature["task"]].wanted(plan)


def _flat(signature: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, those of versions each by itself. A field whose value is not known counts as not stated."""
    versions = signature.get("versions")
    named = {f"versions.{name}": version for name, version in versions.items()} if isinstance(versions, dict) else {}
    own = {name: value for name, value in signature.items() if name != "versions"}
    return own | named


def _meanings(name: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    if name == "procedure":
        yield from _procedure_meanings(first, second)
    elif name == "chat":
        whose = "first" if first["chat"] else "second"
        yield f"the {whose} asks as a user does in a chat, the other has a text continued"
    elif name == "subjects":
        yield from _subject_meanings(first["subjects"], second["subjects"])
    elif name == "model":
        is_same = first.get("weights") is not None and first.get("weights") == second.get("weights")
        yield "only the name differs, the weights are the same" if is_same else "another model, or another copy of it"
    elif name == "weights":
        if first.get("precision") != second.get("precision"):
            yield "other numbers, as they must be in another precision"
        else:
            yield "other numbers in the same precision: another model, or one rounded or trained otherwise"
    elif name.startswith("versions."):
        yield f"another version of {name.removeprefix('versions.')}"
    else:
        yield _MEANINGS.get(name, "a setting of the run")


def _procedure_meanings(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    """What the procedures do otherwise in this task, apart from the prompts."""
    one, other = wanted(first), wanted(second)
    if one is None or other is None:
        theirs, ours = ("first", second) if one is None else ("second", first)
        yield f"the {theirs} is lm-eval's: it breaks ties and cuts prompts as that program does"
        if ours.get("procedure") == Procedure.STANDARD:
            yield "the procedure standard asks with the same prompts"
    elif isinstance(one, Letters) and isinstance(other, Letters):
        if one.texts != other.texts:
            yield (
                f"the letters are asked for as {one.texts[0]!r} and as {other.texts[0]!r}: with and without a space "
                "they are other tokens"
            )
        if one.is_rounded != other.is_rounded:
            yield (
                f"the {'first' if one.is_rounded else 'second'} takes softmax twice in bfloat16, so that close letters "
                "tie and the first of them counts; the other compares the probabilities as they are"
            )
        if one.max_prompt_tokens != other.max_prompt_tokens:
            kept = [
                f"the last {limit - 1:,} tokens" if limit else "all"
                for limit in (one.max_prompt_tokens, other.max_prompt_tokens)
            ]
            yield f"of a prompt, the first keeps {kept[0]} and the second {kept[1]}, as far as the context has room"
    elif isinstance(one, Text) and isinstance(other, Text):
        yield "answers are read out of the replies by each procedure's own rules"
        if one.stop != other.stop:
            yield f"replies end before one of {list(one.stop)} and of {list(other.stop)}"
        if one.max_new_tokens != other.max_new_tokens:
            yield f"replies have at most {one.max_new_tokens} and {other.max_new_tokens} tokens"
    else:
        yield (
            f"the {'first' if isinstance(one, Letters) else 'second'} takes the letter that the model thinks the "
            "likeliest, the other reads a letter out of a reply"
        )
    task = TASKS.get(first["task"])
    if isinstance(task, ChoiceTask) and one is not None and other is not None:
        averages = [task.averages_subjects(Procedure(signature["procedure"])) for signature in (first, second)]
        if averages[0] != averages[1]:
            whose = "first" if averages[0] else "second"
            yield f"the score of the {whose} is the mean over subjects, that of the other over items"


def _subject_meanings(first: Any, second: Any) -> Iterator[str]:
    if first is None or second is None:
        yield "one run has all subjects"
        return
    for whose, own, others in (("first", first, second), ("second", second, first)):
        if only := [name for name in own if name not in others]:
            more = f" and {len(only) - 5} more" if len(only) > 5 else ""
            yield f"only the {whose} has {', '.join(only[:5])}{more}"


def _plan(signature: Mapping[str, Any]) -> TaskPlan | None:
    if signature["task"] not in TASKS or signature.get("procedure") not in set(Procedure):
        return None
    values = {field.name: signature[field.name] for field in fields(TaskPlan) if field.name in signature}
    values["procedure"] = Procedure(signature["procedure"])
    if values.get("subjects") is not None:
        values["subjects"] = tuple(values["subjects"])
    return TaskPlan(**values)
