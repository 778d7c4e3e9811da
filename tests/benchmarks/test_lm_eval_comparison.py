"""The comparison with lm-eval joins both sides' answers item by item, and sees a difference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import qwen7b
from harness import write_whole_vocabulary
from qwen7b import Qwen
from qwen7b.tasks import TASKS, Item, Task, TaskPlan

pytest.importorskip("lm_eval", reason="needs the extra lm-eval")
pytest.importorskip("transformers", reason="the class to compare with needs the extra hf")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MMLU = TASKS["mmlu"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def comparison() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield import_module("lm_eval_comparison")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whole_vocabulary(tmp_path_factory.mktemp("compared"), context_length=2048)


@pytest.fixture(scope="module")
def qwen(checkpoint: Path) -> Qwen:
    return qwen7b.load(checkpoint, dtype="float32")


def test_both_sides_choose_the_same_letters(comparison: Any, checkpoint: Path, qwen: Qwen, tmp_path: Path) -> None:
    for split, count in (("dev", 5), ("test", 3)):
        (tmp_path / split).mkdir()
        for subject in ("anatomy", "virology"):
            rows = [f'"What is\n{n} {subject}?",{n},"1,080",None,{n + 3},{"ABCD"[n % 4]}\n' for n in range(count)]
            (tmp_path / split / f"{subject}_{split}.csv").write_text("".join(rows), "utf-8")
    plan = MMLU.completed(TaskPlan(subjects=("anatomy", "virology")))
    side = comparison.answer(qwen, MMLU, plan, data=tmp_path, work=tmp_path)
    assert [item.id for item in side.left[:2]] == ["anatomy/0", "virology/0"]
    model = comparison.reference_model(comparison.converted(str(checkpoint), tmp_path))
    while side.left:
        comparison.compare_some(side, 4, model=model, qwen=qwen, work=tmp_path)
    result = side.result
    assert (result.items, result.compared, result.cut) == (6, 6, 0) and result.largest_difference < 1e-4
    assert result.is_good and result.equal + len(result.different) == 6
    assert result.correct == result.reference_correct


def side_of(comparison: Any, task: Task, item: Item, **answered: Any) -> Any:
    """What our side answered to one item, and what is compared so far: nothing."""
    record = {"id": item.id, "truncated": False, "correct": True, "prompt": item.prompt, **answered}
    plan = task.completed(TaskPlan())
    result = comparison.Agreement(task.name, "standard", [item.subject], 1)
    return comparison.Side(task, plan, {item.id: record}, [], result)


@pytest.mark.parametrize(("second", "is_good"), [(-1.04, True), (-1.2, False)])
def test_another_letter_is_excused_only_where_it_is_near(
    comparison: Any, qwen: Qwen, second: float, is_good: bool
) -> None:
    item = Item(subject="anatomy", row=0, prompt="the hell", answer="A", source={})
    side = side_of(comparison, MMLU, item, logprobs=[-1.0, second, -5.0, -6.0])
    sample = {"filtered_resps": [(second, False), (-1.0, False), (-5.0, False), (-6.0, False)]}
    comparison.add(side, item, sample, qwen)
    (found,) = side.result.different
    assert (found["ours"], found["reference"]) == ("A", "B") and side.result.is_good is is_good
    assert found["margin"] == pytest.approx(-1 - second) and side.result.near == is_good
    assert (side.result.correct, side.result.reference_correct) == (1, 0)


def test_texts_are_told_apart_by_their_first_different_token(comparison: Any, qwen: Qwen) -> None:
    text, first = "the hell", "in it. #### 42"
    item = Item(subject="gsm8k", row=0, prompt=text, answer="42", source={"answer": "#### 42"})
    side = side_of(comparison, TASKS["gsm8k"], item, output=first)
    for other in (first, "in there"):
        comparison.add(side, item, {"resps": [[other]]}, qwen)
    result = side.result
    assert (result.compared, result.equal) == (2, 1) and result.different[0]["margin"] > 0
    assert (result.correct, result.reference_correct) == (2, 1)
    own = qwen.score([text], [["th", "in"]])[0]
    assert comparison.margin_where_different(qwen, text, "th", "in") == pytest.approx(
        abs(own[0].logprob - own[1].logprob)
    )
    assert comparison.margin_where_different(qwen, text, "", "in") > 0  # one of them ends


def test_the_seed_chooses_the_subjects(comparison: Any) -> None:
    first, again, other = (
        comparison.chosen_plan(MMLU, procedure=TaskPlan().procedure, subjects=8, limit=None, seed=seed)
        for seed in (13, 13, 14)
    )
    assert first == again != other and len(first.subjects or ()) == 8
    assert json.dumps(first.subjects) != json.dumps(other.subjects)
