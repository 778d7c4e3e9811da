"""Evaluation: what a model answers is recorded as it comes, can be resumed, and is scored as the procedure says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qwen7b import Qwen
from qwen7b.errors import PromptError, SettingError
from qwen7b.evals import Evaluation, evaluate
from qwen7b.evals.outputs import likeliest, outputs
from qwen7b.evals.plugin_sets import write_plugin_sets
from qwen7b.evals.records import Records
from qwen7b.tasks import TASKS, Procedure, TaskPlan
from qwen7b.tasks.item import Item, Letters, Text
from qwen7b.tasks.react_reading import read_call
from qwen7b.tasks.rouge import printed_words, rouge_l

MMLU = TASKS["mmlu"]
NUM_ITEMS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two subjects of MMLU with made-up questions."""
    folder = tmp_path_factory.mktemp("mmlu")
    for split, count in (("dev", 5), ("test", NUM_ITEMS // 2)):
        (folder / split).mkdir()
        for subject in ("anatomy", "virology"):
            rows = [f"What is {n} {subject}?,{n},{n + 1},{n + 2},{n + 3},{'ABCD'[n % 4]}\n" for n in range(count)]
            (folder / split / f"{subject}_{split}.csv").write_text("".join(rows), "utf-8")
    return folder


def run(qwen: Qwen, folder: Path, *, out: Path | None = None, resume: bool = False, **settings: Any) -> Evaluation:
    plan = TaskPlan(**{"subjects": ("anatomy", "virology"), **settings})
    return evaluate(qwen, MMLU, folder, plan, out=out, resume=resume)


def records_of(out: Path) -> dict[str, dict[str, Any]]:
    records = [json.loads(line) for line in (out / "mmlu.jsonl").read_text("utf-8").splitlines()]
    assert len({record["id"] for record in records}) == len(records)
    return {record["id"]: record for record in records}


def test_letters_are_those_that_the_model_thinks_the_likeliest(qwen: Qwen, folder: Path, tmp_path: Path) -> None:
    result = run(qwen, folder, out=tmp_path)
    records = records_of(tmp_path)
    assert result.items == NUM_ITEMS == len(records)
    prompts = [record["prompt"] for record in records.values()]
    scores = qwen.score(prompts, [[f" {letter}" for letter in "ABCD"]] * len(prompts))
    for record, own in zip(records.values(), scores, strict=True):
        logprobs = [score.logprob for score in own]
        assert record["logprobs"] == pytest.approx(logprobs, abs=1e-6)
        assert record["predicted"] == "ABCD"[logprobs.index(max(logprobs))]
        assert record["margin"] == pytest.approx(sorted(logprobs)[-1] - sorted(logprobs)[-2], abs=1e-6)
        assert record["correct"] == (record["predicted"] == record["answer"])
        assert not record["truncated"] and not record["tie"] and len(record["choices"]) == 4
    assert result.score == 100 * sum(record["correct"] for record in records.values()) / NUM_ITEMS
    assert json.loads((tmp_path / "mmlu.json").read_text("utf-8"))["score"] == result.score
    assert result.signature["procedure"] == "standard" and result.signature["weights"]


def test_a_chats_letter_is_read_out_of_its_reply(qwen: Qwen, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("thefuzz", reason="fuzzy matches need the extra eval")
    result = run(qwen, folder, out=tmp_path, procedure=Procedure.ORIGINAL_2023_12, chat=True)
    record = records_of(tmp_path)["anatomy/0"]
    reply = qwen.chat(record["prompt"], temperature=0, max_new_tokens=512)
    assert record["output"] == reply.text and record["completion_tokens"] == reply.usage.completion_tokens
    assert record["predicted"] in "ABCD" and "without guesses" in result.more
    assert result.abstained == sum(record["guess"] for record in records_of(tmp_path).values())


@pytest.mark.parametrize("cut", [0, 1, 30])
def test_a_run_that_was_killed_is_resumed(qwen: Qwen, folder: Path, tmp_path: Path, cut: int) -> None:
    whole = run(qwen, folder, out=tmp_path)
    path = tmp_path / "mmlu.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][:cut])  # killed within the fourth
    kept = json.loads(lines[1]) | {"margin": 77.0}
    path.write_bytes(path.read_bytes().replace(lines[1], json.dumps(kept).encode() + b"\n"))
    resumed = run(qwen, folder, out=tmp_path, resume=True)
    records = records_of(tmp_path)
    assert len(records) == NUM_ITEMS and records[kept["id"]]["margin"] == 77
    assert resumed.signature == whole.signature


def test_a_full_disk_ends_a_run_that_can_be_resumed(qwen: Qwen, folder: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="files are limited on Unix only")
    whole = run(qwen, folder, out=tmp_path / "whole")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    half = (tmp_path / "whole" / "mmlu.jsonl").stat().st_size // 2
    resource.setrlimit(resource.RLIMIT_FSIZE, (half, hard))
    try:
        with pytest.raises(SettingError, match=r"results cannot be kept in .*mmlu\.jsonl: File too large"):
            run(qwen, folder, out=tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert run(qwen, folder, out=tmp_path / "out", resume=True).score == whole.score
    assert records_of(tmp_path / "out") == records_of(tmp_path / "whole")


def test_ctrl_c_says_how_to_go_on(
    qwen: Qwen, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add = Records.add

    def add_two(records: Records, record: Any) -> None:
        if len(records_of(tmp_path)) == 2:
            raise KeyboardInterrupt
        add(records, record)

    monkeypatch.setattr(Records, "add", add_two)
    with pytest.raises(KeyboardInterrupt):
        run(qwen, folder, out=tmp_path)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"2 of {NUM_ITEMS} items are answered in {tmp_path / 'mmlu.jsonl'}; ") and "--resume" in last
    monkeypatch.undo()
    assert run(qwen, folder, out=tmp_path, resume=True).items == NUM_ITEMS == len(records_of(tmp_path))


def test_a_base_model_in_a_chat_is_warned_of(qwen: Qwen, folder: Path) -> None:
    base = Qwen(qwen.model, qwen.tokenizer, generation=qwen.generation, name="tiny", chat=False)
    with pytest.warns(UserWarning, match="tiny was not trained to chat"):
        run(base, folder, chat=True)


def test_results_of_another_run_are_not_touched(qwen: Qwen, folder: Path, tmp_path: Path) -> None:
    run(qwen, folder, out=tmp_path)
    before = (tmp_path / "mmlu.jsonl").read_bytes()
    with pytest.raises(SettingError, match=r"has results already: resume"):
        run(qwen, folder, out=tmp_path)
    with pytest.raises(SettingError, match=r"is of a run with another (procedure|prompts)"):
        run(qwen, folder, out=tmp_path, resume=True, procedure=Procedure.ORIGINAL_2023_08)
    with pytest.raises(SettingError, match=r"is of a run with another (limit|items|prompts)"):
        run(qwen, folder, out=tmp_path, resume=True, limit=1)
    with pytest.raises(SettingError, match=r"nothing to resume"):
        run(qwen, folder, resume=True)
    assert (tmp_path / "mmlu.jsonl").read_bytes() == before


def test_other_data_is_another_run(qwen: Qwen, folder: Path, tmp_path: Path) -> None:
    out, copy = tmp_path / "out", tmp_path / "data"
    for path in folder.rglob("*.csv"):
        target = copy / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    run(qwen, copy, out=out)
    changed = copy / "test" / "anatomy_test.csv"
    changed.write_text(changed.read_text("utf-8").replace(",A\n", ",B\n"), "utf-8")
    with pytest.raises(SettingError, match=r"is of a run with another data"):
        run(qwen, copy, out=out, resume=True)


def test_a_file_of_something_else_is_left_alone(qwen: Qwen, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mmlu.jsonl").write_text("my notes\n", "utf-8")
    with pytest.raises(SettingError, match=r"line 1 of .*mmlu.jsonl is no result"):
        run(qwen, folder, out=tmp_path, resume=True)
    assert (tmp_path / "mmlu.jsonl").read_text("utf-8") == "my notes\n"


def test_rounding_twice_makes_near_letters_tie() -> None:
    # Two probabilities that differ by less than bfloat16 can tell after the second softmax: the first of them counts.
    assert likeliest((-1.392, -1.391, -5.0, -6.0), is_rounded=True) == ("A", True)
    assert likeliest((-1.392, -1.391, -5.0, -6.0), is_rounded=False) == ("B", False)
    assert likeliest((-3.0, -0.2, -5.0, -6.0), is_rounded=True) == ("B", False)


def item(prompt: str) -> Item:
    return Item(subject="anatomy", row=0, prompt=prompt, answer="A", source={})


def test_the_beginning_of_a_long_prompt_is_cut_off(qwen: Qwen) -> None:
    long, short = item("the hell in there. " * 400), item("in there")
    wanted = Letters(texts=tuple("ABCD"), max_prompt_tokens=100)
    by_prompt = {one.prompt: output for one, output in outputs(qwen, [long, short], wanted, chat=False)}
    assert (by_prompt[long.prompt].prompt_tokens, by_prompt[long.prompt].truncated) == (99, True)
    assert not by_prompt[short.prompt].truncated
    ids = qwen.tokenizer.encode(long.prompt)
    letters = [qwen.tokenizer.encode(letter) for letter in "ABCD"]
    (scores,) = qwen.score([ids[-99:]], [letters])
    assert by_prompt[long.prompt].logprobs == pytest.approx([score.logprob for score in scores], abs=1e-6)


def test_a_prompt_leaves_room_for_the_reply(qwen: Qwen) -> None:
    long = item("the hell in there. " * 1000)
    ((_, output),) = outputs(qwen, [long], Text(max_new_tokens=48), chat=False)
    assert (output.prompt_tokens, output.truncated) == (2000, True)
    with pytest.raises(PromptError, match=r"has no room for a reply of 2048"):
        list(outputs(qwen, [long], Text(max_new_tokens=2048), chat=False))


def test_an_end_before_the_last_item_leaves_the_engine_free(qwen: Qwen, folder: Path, tmp_path: Path) -> None:
    news = outputs(qwen, [item("in there"), item("the inn")], Letters(texts=tuple("ABCD")), chat=False)
    next(news)
    news.close()
    shared = qwen._shared
    assert not shared.engine.slots.busy and not shared.engine.admission.running and not shared.engine.admission.waiting


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "anatomy/77"),
        ("prompt_hash", "00"),
        ("answer", "E"),
        ("predicted", "E"),
        ("margin", "wide"),
        ("turns", [3]),
        ("choices", [1, 2]),
        ("logprobs", [True]),
        ("logprobs", [-1.0]),
    ],
)
def test_a_record_that_was_edited_is_not_resumed(
    qwen: Qwen, folder: Path, tmp_path: Path, field: str, value: Any
) -> None:
    run(qwen, folder, out=tmp_path)
    path = tmp_path / "mmlu.jsonl"
    first, *others = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | {field: value}), *others]) + "\n", "utf-8")
    with pytest.raises(SettingError, match=r"line 1 of .*mmlu.jsonl is "):
        run(qwen, folder, out=tmp_path, resume=True)


def test_a_verdict_that_was_turned_is_not_resumed(qwen: Qwen, folder: Path, tmp_path: Path) -> None:
    run(qwen, folder, out=tmp_path)
    path = tmp_path / "mmlu.jsonl"
    path.write_text(path.read_text("utf-8").replace('"correct": false', '"correct": true'), "utf-8")
    with pytest.raises(SettingError, match=r"line \d+ of .*mmlu.jsonl is no result of qwen7b"):
        run(qwen, folder, out=tmp_path, resume=True)


def test_an_item_that_is_there_twice_is_refused(qwen: Qwen, folder: Path, tmp_path: Path) -> None:
    run(qwen, folder, out=tmp_path)
    path = tmp_path / "mmlu.jsonl"
    path.write_text(path.read_text("utf-8") * 2, "utf-8")
    with pytest.raises(SettingError, match=rf"line {NUM_ITEMS + 1} of .*mmlu.jsonl has the item '.*' again"):
        run(qwen, folder, out=tmp_path, resume=True)


@pytest.mark.parametrize(
    ("field", "value"), [("cost", [1]), ("cost", {"seconds": 1}), ("interval", [1]), ("groups", 3), ("score", "x")]
)
def test_a_summary_that_was_edited_is_refused(qwen: Qwen, folder: Path, tmp_path: Path, field: str, value: Any) -> None:
    run(qwen, folder, out=tmp_path)
    path = tmp_path / "mmlu.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {field: value}), "utf-8")
    with pytest.raises(SettingError, match=rf"mmlu.json has a '{field}' that is none of qwen7b's"):
        run(qwen, folder, out=tmp_path, resume=True)


def test_another_procedure_is_named_before_what_follows_from_it(qwen: Qwen, folder: Path, tmp_path: Path) -> None:
    run(qwen, folder, out=tmp_path)
    with pytest.raises(SettingError, match=r"of a run with another procedure, 'standard' and not 'original-2023-08'"):
        run(qwen, folder, out=tmp_path, resume=True, procedure=Procedure.ORIGINAL_2023_08)


def test_a_file_for_the_folder_of_results_is_named(qwen: Qwen, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(SettingError, match=r"cannot be kept in .*out, which is a file: name a folder"):
        run(qwen, folder, out=tmp_path / "out")


def test_arguments_of_calls_are_compared_by_the_models_own_tokens(qwen: Qwen, tmp_path: Path) -> None:
    pytest.importorskip("json5", reason="arguments of tools need the extra tools")
    write_plugin_sets(tmp_path)
    plan = TaskPlan(procedure=Procedure.ORIGINAL_2023_08, limit=3)
    result = evaluate(qwen, TASKS["plugin"], tmp_path, plan, out=tmp_path / "out")
    path = tmp_path / "out" / "plugin.jsonl"
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [record["subject"] for record in sorted(records, key=lambda one: one["id"])] == 3 * ["negative"] + 3 * [
        "positive"
    ]
    sources = [json.loads(line) for line in (tmp_path / "positive.jsonl").read_text("utf-8").splitlines()]
    likenesses = []
    for record in records:
        if record["subject"] == "negative":
            assert "scores" not in record
            continue
        # A tiny model calls nothing: the original then compares the reply from its 13th character on.
        texts = record["output"].strip()[12:].strip(), read_call(sources[record["row"]]["response"], plan.procedure)
        words = [
            printed_words(qwen.tokenizer.token_bytes(id) for id in qwen.tokenizer.encode(text))
            for text in (texts[0], texts[1].arguments)
        ]
        likenesses.append(rouge_l(*words))
        assert record["scores"]["input ROUGE-L"] == likenesses[-1]
    assert result.more["input ROUGE-L"] == pytest.approx(sum(likenesses) / 3) and result.score == 0
    path.write_text("".join(json.dumps(one | {"scores": {"input ROUGE-L": 0.77}}) + "\n" for one in records), "utf-8")
    with pytest.raises(SettingError, match="was it edited"):
        evaluate(qwen, TASKS["plugin"], tmp_path, plan, out=tmp_path / "out", resume=True)
