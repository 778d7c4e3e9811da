"""Two runs are compared: what their signatures do not share is said in words, and each item that differs with why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qwen7b.errors import SettingError
from qwen7b.results import RunComparison, explain
from qwen7b.results.comparison import ItemDifference, Share
from saved_runs import record, sample, write_run, write_samples

TIED = [-1.392, -1.391, -5.0, -6.0]


def explained(
    tmp_path: Path, first: list[dict[str, Any]], second: list[dict[str, Any]], **changes: Any
) -> RunComparison:
    write_run(tmp_path / "first", first)
    write_run(tmp_path / "second", second, **changes)
    (explanation,) = explain(tmp_path / "first", tmp_path / "second")
    return explanation


def the_difference(explanation: RunComparison) -> ItemDifference:
    (item,) = explanation.comparison.differing
    return item


def kinds(item: ItemDifference) -> list[str]:
    return [reason.kind for reason in item.reasons]


def test_a_run_differs_from_itself_in_nothing(tmp_path: Path) -> None:
    explanation = explained(tmp_path, [record(0), record(1)], [record(1), record(0)])
    assert explanation.differences == () and explanation.unknown == ()
    assert explanation.notes == ("all 2 shared items have the same prompts",)
    assert explanation.comparison.differing == () and explanation.comparison.mcnemar_p == 1


def test_items_are_counted_by_who_has_them_right(tmp_path: Path) -> None:
    wrong: dict[str, Any] = {"logprobs": [-2.0, -0.5, -2.0, -2.0]}
    first = [record(row, **(wrong if row in (2, 3) else {})) for row in range(10)] + [record(10)]
    second = [record(row, **(wrong if row >= 3 else {})) for row in range(10)]
    comparison = explained(tmp_path, first, second).comparison
    assert (comparison.right_right, comparison.right_wrong, comparison.wrong_right, comparison.wrong_wrong) == (
        *(2, 6, 1, 1),
    )
    assert (comparison.items, comparison.only_first, comparison.only_second, comparison.judged) == (10, 1, 0, 10)
    assert comparison.mcnemar_p == pytest.approx(2 * (1 + 7) / 2**7)
    assert comparison.first is not None and (comparison.first.correct, comparison.first.score) == (8, 80)
    assert comparison.first.interval == pytest.approx((49.0, 94.3), abs=0.05)
    assert [item.id for item in comparison.differing] == [f"anatomy/{row}" for row in (2, 4, 5, 6, 7, 8, 9)]


def test_a_tie_that_rounding_made_is_named(tmp_path: Path) -> None:
    tied = record(0, "B", logprobs=TIED, predicted="A", tie=True)
    explanation = explained(
        tmp_path, [tied | {"correct": False}], [record(0, "B", logprobs=TIED)], procedure="original-2023-08"
    )
    item = the_difference(explanation)
    assert (item.first, item.second, item.first_correct, item.second_correct) == ("A", "B", False, True)
    assert kinds(item) == ["tie", "near-tie"]
    assert "equal, and the first of them, A, counts: without it, it is B" in item.reasons[0].words


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"logprobs": [-1.0, -1.01, -5.0, -6.0]}, {"logprobs": [-1.01, -1.0, -5.0, -6.0]}, ["near-tie"]),
        ({"logprobs": [-1.0, -2.0, -5.0, -6.0]}, {"logprobs": [-2.0, -1.0, -5.0, -6.0]}, ["probabilities"]),
        ({}, {"logprobs": [-2.0, -1.0, -5.0, -6.0], "prompt": "What?"}, ["prompt", "probabilities"]),
        ({"truncated": True}, {"logprobs": [-2.0, -1.0, -5.0, -6.0]}, ["cut", "probabilities"]),
        ({}, {"output": "It is B.", "predicted": "B"}, ["asked otherwise"]),
        ({"output": "It is A.", "predicted": "A"}, {"output": "It is B.", "predicted": "B"}, ["output"]),
        ({"output": "A or B", "predicted": "A"}, {"output": "A or B", "predicted": "B"}, ["read otherwise"]),
        ({}, {"answer": "B"}, ["answer", "probabilities"]),
    ],
)
def test_every_item_that_differs_has_its_reason(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], expected: list[str]
) -> None:
    explanation = explained(tmp_path, [record(0, **first), record(1)], [record(0, **second), record(1)])
    assert kinds(the_difference(explanation)) == expected
    assert explanation.comparison.reasons == {expected[0]: 1}


def test_what_was_said_before_a_prompt_belongs_to_it(tmp_path: Path) -> None:
    turns = [[["What is 1?", "One."]], [["What is 2?", "Two."]]]
    pair = [record(0, output=str(place), turns=own, prompt_hash=str(place)) for place, own in enumerate(turns)]
    item = the_difference(explained(tmp_path, pair[:1], pair[1:]))
    assert item.reasons[0].kind == "prompt" and item.reasons[0].words.startswith("the prompts differ from character 9")


def test_samples_of_one_question_are_joined_by_their_numbers(tmp_path: Path) -> None:
    def samples(*order: int) -> list[dict[str, Any]]:
        return [record(0, id=f"anatomy/0#{number}", output=str(number), predicted="A") for number in order]

    comparison = explained(tmp_path, samples(0, 1, 2), samples(2, 0, 1)).comparison
    assert (comparison.items, comparison.differing) == (3, ())
    assert comparison.first == Share(correct=3, score=100.0, interval=None)  # of one question, whatever their number
    assert comparison.mcnemar_p is None


def test_an_output_differs_from_a_character_on(tmp_path: Path) -> None:
    texts = ("The answer is 1,080.", "The answer is 1.080.")
    explanation = explained(tmp_path, *([record(0, output=text, predicted="80")] for text in texts))
    assert the_difference(explanation).reasons[0].words == "the outputs differ from character 16: ',080.' and '.080.'"


def test_translations_are_compared_though_none_is_right_or_wrong(tmp_path: Path) -> None:
    pair = ([record(0, output=text, predicted=text, correct=None)] for text in ("One.", "Two."))
    comparison = explained(tmp_path, *pair).comparison
    assert (comparison.judged, comparison.mcnemar_p, comparison.first) == (0, None, None)
    assert len(comparison.differing) == 1


def meanings(explanation: RunComparison) -> dict[str, tuple[str, ...]]:
    return {difference.field: difference.meanings for difference in explanation.differences}


def test_signatures_that_differ_are_put_into_words(tmp_path: Path) -> None:
    changes = {
        "precision": "q4",
        "weights": "v",
        "model": "other",
        "data": "e",
        "subjects": ["virology"],
        "versions": {"qwen7b": "1.0", "torch": "2.12", "python": "3.12"},
    }
    found = meanings(explained(tmp_path, [record(0)], [record(0)], **changes))
    assert set(found) == {"precision", "weights", "model", "data", "subjects", "versions.torch"}
    assert found["weights"] == ("other numbers, as they must be in another precision",)
    assert found["subjects"] == ("only the first has anatomy", "only the second has virology")


def test_the_same_weights_by_another_name_are_the_same(tmp_path: Path) -> None:
    found = meanings(explained(tmp_path, [record(0)], [record(0)], model="./demo.gguf"))
    assert found == {"model": ("only the name differs, the weights are the same",)}


@pytest.mark.parametrize(
    ("task", "changes", "words"),
    [
        ("mmlu", {}, ["softmax twice in bfloat16", "the last 2,047 tokens"]),
        ("ceval", {}, ["' A' and as 'A'", "softmax twice in bfloat16", "second is the mean over subjects"]),
        ("mmlu", {"chat": True, "shots": 0}, ["the first takes the letter that the model thinks the likeliest"]),
    ],
)
def test_what_procedures_do_otherwise_is_taken_from_the_tasks(
    tmp_path: Path, task: str, changes: dict[str, Any], words: list[str]
) -> None:
    write_run(tmp_path / "first", [record(0)], task=task)
    write_run(tmp_path / "second", [record(0)], task=task, procedure="original-2023-08", **changes)
    (explanation,) = explain(tmp_path / "first", tmp_path / "second")
    found = " ".join(meanings(explanation)["procedure"])
    assert all(word in found for word in words), found


def test_lm_evals_records_are_joined_on_their_prompts(tmp_path: Path) -> None:
    write_run(tmp_path / "ours", [record(0), record(1), record(2)])
    write_samples(tmp_path / "theirs", [sample(1), sample(0, (-2.0, -0.5, -3.0, -4.0))])
    (explanation,) = explain(tmp_path / "ours", tmp_path / "theirs")
    comparison = explanation.comparison
    assert (comparison.items, comparison.only_first, comparison.right_right, comparison.right_wrong) == (2, 1, 1, 1)
    item = the_difference(explanation)
    assert (item.id, item.other_id, item.second) == ("anatomy/0", "mmlu_anatomy/0", "B")
    assert kinds(item) == ["probabilities"]
    found = meanings(explanation)
    assert "the procedure standard asks with the same prompts" in found["procedure"]
    assert "precision" in found and {"data", "weights", "versions.lm-eval"} <= set(explanation.unknown)
    (turned,) = explain(tmp_path / "theirs", tmp_path / "ours")
    assert turned.comparison.wrong_right == 1 and turned.task == "mmlu"
    assert turned.first.score == 50 and turned.first.interval is not None


def test_results_with_lm_evals_output_in_their_folder_are_still_ours(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "ours", [record(0)])
    write_samples(folder / "harness", [sample(0)])
    (explanation,) = explain(folder, folder / "harness")
    assert (explanation.first.procedure, explanation.second.procedure) == ("standard", "lm-eval")


def test_lm_evals_records_are_found_by_their_questions_where_prompts_are_worded_otherwise(tmp_path: Path) -> None:
    ours = [
        record(row, prompt=f"Question: What is bone {row}?\nA. a{row}\nB. b\nC. c\nD. d\nAnswer:") for row in range(3)
    ]
    write_run(tmp_path / "ours", ours, procedure="original-2023-08")
    write_samples(tmp_path / "theirs", [sample(2), sample(1), sample(7)])
    (explanation,) = explain(tmp_path / "ours", tmp_path / "theirs")
    assert (explanation.comparison.items, explanation.comparison.only_second) == (2, 1)
    assert "from character 1: 'Question: What is bone 1" in explanation.notes[0]


def test_lm_evals_texts_are_compared_as_they_came(tmp_path: Path) -> None:
    text: dict[str, Any] = {
        "arguments": {"gen_args_0": {"arg_0": record(0)["prompt"], "arg_1": {"until": ["\n"]}}},
        "resps": [["It is 8."]],
        "target": "#### 8",
    }
    strict = sample(0, **text, filter="strict-match", filtered_resps=["[invalid]"], exact_match=0.0)
    loose = sample(0, **text, filter="flexible-extract", filtered_resps=["8."], exact_match=1.0)
    for one in (strict, loose):
        del one["acc"]
    write_samples(tmp_path / "theirs", [strict, loose])
    write_run(tmp_path / "ours", [record(0, "8", output="It is 8.", predicted="8")])
    (explanation,) = explain(tmp_path / "ours", tmp_path / "theirs")
    item = the_difference(explanation)
    assert (explanation.comparison.only_second, item.first_correct, item.second_correct) == (0, True, False)
    assert item.reasons[0].words == "the same output is read as '8' and as '[invalid]'"


def test_a_record_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "first", [record(0), record(1)])
    path = folder / "mmlu.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    (explanation,) = explain(folder, path)
    assert explanation.comparison.items == 1


def test_a_verdict_that_contradicts_its_record_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "first", [record(0), record(1, "B", correct=True)])
    with pytest.raises(SettingError, match=r"line 2 of .*mmlu.jsonl is no result of qwen7b"):
        explain(folder, folder)


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("mmlu.jsonl", "my notes\n", r"line 1 of .*mmlu.jsonl is no result"),
        ("mmlu.jsonl", '{"id": "x"}\n', r"line 1 of .*mmlu.jsonl is no result"),
        ("mmlu.json", "{}", r"does not say which run"),
        ("mmlu.json", "[", r"is not JSON"),
        ("samples_mmlu_2026.jsonl", '{"doc": 1}\n', r"line 1 of .* is no sample of lm-eval"),
    ],
)
def test_files_of_something_else_are_refused(tmp_path: Path, name: str, content: str, error: str) -> None:
    folder = write_run(tmp_path / "first", [record(0)])
    (folder / name).write_text(content, "utf-8")
    with pytest.raises(SettingError, match=error):
        explain(folder / name if name.startswith("samples_") else folder, folder)


def test_runs_without_a_common_item_are_refused(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", [record(0)])
    with pytest.raises(
        SettingError, match=r"no item in common, found 1 item of mmlu \(anatomy\), and 1 item of cmmlu \(anatomy\)"
    ):
        explain(first, write_run(tmp_path / "second", [record(0)], task="cmmlu"))
    with pytest.raises(SettingError, match=r"cannot be read: No such file"):
        explain(first, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingError, match=r"has no results of qwen7b eval"):
        explain(first, tmp_path / "empty")


def test_empty_samples_of_lm_eval_are_an_error(tmp_path: Path) -> None:
    write_run(tmp_path / "ours", [record(0)])
    (tmp_path / "samples_mmlu_2024.jsonl").write_text("", "utf-8")
    with pytest.raises(SettingError, match=r"samples_mmlu_2024.jsonl has no samples"):
        explain(tmp_path / "ours", tmp_path / "samples_mmlu_2024.jsonl")
