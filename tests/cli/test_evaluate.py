"""`eval`: its tests, what they print, and how they fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from qwen7b.tasks import TASKS
from tiny_humaneval import write_functions

Run = Callable[..., Result]


@pytest.fixture
def needle(run: Run, tiny_chat_checkpoint: Path, tmp_path: Path) -> Run:
    haystack = tmp_path / "haystack.txt"
    haystack.write_text("the hell in there. It is in the inn. " * 60, encoding="utf-8")
    common = ("eval", "needle", "--haystack", str(haystack), "--model", str(tiny_chat_checkpoint), "--trials", "1")
    return lambda *arguments: run(*common, *arguments)


def test_help_names_every_test(run: Run) -> None:
    for arguments in (("eval",), ("eval", "--help")):
        result = run(*arguments)
        assert result.exit_code == 0
        for verb in (*TASKS, "all", "explain", "lm-eval", "needle", "report"):
            assert f"  {verb} " in result.stdout, verb


def test_json_is_a_list_of_results_and_nothing_else(needle: Run) -> None:
    documents = json.loads(
        needle("--lengths", "400,300", "--depths", "0,100", "--methods", "none,ntk", "--json").stdout
    )
    places = [(document["method"], document["length"], document["depth"]) for document in documents]
    assert places == [(m, n, d) for m in ("none", "ntk") for n in (300, 400) for d in (0, 100)]
    assert documents[0].keys() == {
        *("method", "precision", "length", "depth", "trained_length", "accuracy", "trials", "seconds", "replies")
    }


def test_a_line_a_result_then_a_table(needle: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra eval")
    plot = tmp_path / "plot.svg"
    output = needle("--lengths", "300", "--depths", "0,50", "--plot", str(plot)).stdout.splitlines()
    assert output[0].startswith("none  none  length 300, depth 0%: ")
    assert output[3] == "none, none, trained length 64"
    assert [line.split()[1] for line in output[5:]] == ["depth", "-----", "0%", "50%"]
    assert plot.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lengths", "20"], "a length of 20 leaves no room for a haystack: use a length of at least"),
        (["--lengths", "9999"], "fewer than the length 9999"),
        (["--lengths", "300,"], "--lengths takes a comma-separated list of whole numbers of at least 2, found ''"),
        (["--depths", "0,101"], "--depths takes a comma-separated list of whole numbers from 0 to 100, found '101'"),
        (
            ["--quantize", "int4"],
            "--quantize takes one or more of none, q8, q4, nf4, separated by commas, found 'int4'",
        ),
        (["--haystack", "/none"], "/none does not exist: check the path"),
    ],
)
def test_mistakes_are_one_line(needle: Run, arguments: list[str], message: str) -> None:
    result = needle(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and message in result.stderr and result.stderr.count("\n") == 1


def test_an_unknown_test_is_one_line(run: Run) -> None:
    result = run("eval", "needles")
    assert result.exit_code == 1 and result.stderr.count("\n") == 1 and "needle" in result.stderr


@pytest.fixture
def mmlu(run: Run, tiny_chat_checkpoint: Path, tmp_path: Path) -> Run:
    for split, count in (("dev", 5), ("test", 2)):
        (tmp_path / split).mkdir()
        rows = "".join(f"in {number},the,inn,hell,There,B\n" for number in range(count))
        (tmp_path / split / f"anatomy_{split}.csv").write_text(rows, "utf-8")
    common = ("eval", "mmlu", "--data", str(tmp_path), "--subjects", "anatomy", "--model", str(tiny_chat_checkpoint))
    return lambda *arguments: run(*common, *arguments)


def test_a_task_prints_its_score_and_writes_its_answers(mmlu: Run, tmp_path: Path) -> None:
    result = mmlu("--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("MMLU (standard, test, 5-shot, base, q8): ") and "(95 %: " in lines[0]
    assert lines[-4] == "2 items." and " tokens in " in lines[-3] and lines[-3].endswith(" of memory.")
    assert lines[-2] == f"Every answer is in {tmp_path / 'out' / 'mmlu'}.jsonl."
    assert lines[-1].startswith(f"The report of {tmp_path / 'out'} is in ")
    assert len((tmp_path / "out" / "mmlu.jsonl").read_text("utf-8").splitlines()) == 2
    again = mmlu("--out", str(tmp_path / "out"))
    assert again.exit_code == 1 and "has results already" in again.stderr
    assert mmlu("--out", str(tmp_path / "out"), "--resume").stdout == result.stdout


def test_a_tasks_json_is_one_object(mmlu: Run) -> None:
    document = json.loads(mmlu("--json", "--procedure", "original-2023-08").stdout)
    assert document.keys() >= {
        *("task", "procedure", "split", "score", "interval", "items", "groups", "abstained", "signature")
    }
    assert (document["task"], document["procedure"], document["split"]) == ("mmlu", "original-2023-08", "test")
    assert document["signature"]["shots"] == 5 and document["items"] == 2


def test_a_dry_run_prints_prompts_and_loads_no_model(mmlu: Run) -> None:
    result = mmlu("--dry-run", "--json", "--model", "none-of-that-name")
    first = json.loads(result.stdout)[0]
    assert first.keys() >= {"id", "prompt", "answer"} and first["id"] == "anatomy/0" and first["answer"] == "B"
    assert first["prompt"].endswith("in 0\nA. the\nB. inn\nC. hell\nD. There\nAnswer:")
    assert "=== anatomy/1\n" in mmlu("--dry-run").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--subjects", "anatomi"], "mmlu has no subject 'anatomi'"),
        (["--resume"], "--resume keeps the answers that are in --out already"),
        (["--data", "/none"], "/none/dev/anatomy_dev.csv is not there: fetch the files by"),
        (["--split", "train"], "mmlu has no split 'train': choose test or val"),
        (["--procedure", "original-2023-08", "--shots", "3"], "shows 5 examples, found 3"),
        (["--procedure", "mine"], "--procedure"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_a_tasks_mistakes_are_one_line(mmlu: Run, arguments: list[str], message: str) -> None:
    result = mmlu(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and message in result.stderr and result.stderr.count("\n") == 1


@pytest.fixture
def gsm8k(run: Run, tiny_chat_checkpoint: Path, tmp_path: Path) -> Run:
    for name, numbers in (("test", range(2)), ("train", range(2, 10))):
        lines = [json.dumps({"question": f"in {number}?", "answer": f"the inn\n#### {number}"}) for number in numbers]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), "utf-8")
    common = (
        "eval",
        "gsm8k",
        "--data",
        str(tmp_path),
        "--model",
        str(tiny_chat_checkpoint),
        "--context-length",
        "4096",
    )
    return lambda *arguments: run(*common, *arguments)


@pytest.mark.filterwarnings("ignore:.*not the official")
@pytest.mark.parametrize("chat", [(), ("--chat",)])
def test_gsm8k_shows_examples_and_scores_replies(gsm8k: Run, tmp_path: Path, chat: tuple[str, ...]) -> None:
    result = gsm8k("--out", str(tmp_path / "out"), *chat, "--shots", "2")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("GSM8K (standard, test, 2-shot, ") and lines[1].startswith("  flexible-extract")
    records = [json.loads(line) for line in (tmp_path / "out" / "gsm8k.jsonl").read_text("utf-8").splitlines()]
    assert {record["answer"] for record in records} == {"0", "1"}
    for record in records:
        assert (len(record["turns"]) if chat else record["prompt"].count("Question: ") - 1) == 2
    printed = json.loads(gsm8k("--dry-run", "--json", *chat, "--shots", "2").stdout)
    asked = {record["id"]: (record.get("turns"), record["prompt"]) for record in records}
    assert {item["id"]: (item.get("turns"), item["prompt"]) for item in printed} == asked
    assert gsm8k("--dry-run", *chat, "--shots", "2").stdout.count("\n---\n") == (8 if chat else 0)


def test_items_at_which_the_original_stops_are_said(gsm8k: Run, tmp_path: Path) -> None:
    question = json.dumps({"question": "in?", "answer": "the inn\n#### 1,080"})
    (tmp_path / "test.jsonl").write_text(question, "utf-8")
    result = gsm8k("--chat", "--procedure", "original-2023-08", "--shots", "0")
    assert "The original's script would stop at 1 item, counted as wrong here." in result.stdout


def test_a_submission_is_of_the_test_split(run: Run, tiny_chat_checkpoint: Path, tmp_path: Path) -> None:
    for split, count in (("dev", 5), ("test", 2)):
        (tmp_path / split).mkdir()
        answer = "B" if split == "dev" else ""
        rows = "".join(f"{number},in {number},the,inn,hell,There,{answer}\n" for number in range(count))
        (tmp_path / split / f"law_{split}.csv").write_text(f"id,question,A,B,C,D,answer\n{rows}", "utf-8")
    common = ("eval", "ceval", "--data", str(tmp_path), "--subjects", "law", "--model", str(tiny_chat_checkpoint))
    file = tmp_path / "answers.json"
    result = run(*common, "--submission", str(file))
    assert result.exit_code == 0, result.stderr
    assert "no score, as the answers are not public" in result.stdout
    assert json.loads(file.read_text("utf-8"))["law"].keys() == {"0", "1"}
    refused = run(*common, "--submission", str(file), "--split", "test", "--model", "none-of-that-name")
    assert refused.exit_code == 1 and "none-of-that-name" in refused.stderr
    refused = run(*common, "--submission", str(tmp_path / "none" / "answers.json"), "--model", "none-of-that-name")
    assert refused.exit_code == 1 and "there is no folder" in refused.stderr


@pytest.fixture
def humaneval(run: Run, tiny_chat_checkpoint: Path, tmp_path: Path) -> Run:
    write_functions(tmp_path)
    common = ("eval", "humaneval", "--data", str(tmp_path), "--model", str(tiny_chat_checkpoint), "--limit", "1")
    return lambda *arguments: run(*common, "--context-length", "2048", *arguments)


@pytest.mark.usefixtures("any_protection")
def test_humaneval_runs_code_where_that_is_allowed(humaneval: Run, tmp_path: Path) -> None:
    refused = humaneval("--out", str(tmp_path / "out"))
    assert refused.exit_code == 1 and "allow it (--allow-code)" in refused.stderr and not (tmp_path / "out").exists()
    result = humaneval("--out", str(tmp_path / "out"), "--allow-code", "--procedure", "original-2023-08")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("HumanEval (original-2023-08, test, 0-shot, base, q8): 0.00 (95 %: 0.00 to ")
    assert lines[-2] == f"Every answer is in {tmp_path / 'out' / 'humaneval'}.jsonl."


def test_humaneval_prints_prompts_without_permission(humaneval: Run) -> None:
    (asked,) = json.loads(humaneval("--dry-run", "--json", "--chat").stdout)
    assert asked["id"] == "Test/0" and asked["opening"].startswith(
        "Here is the completed function:\n```python\ndef add("
    )
    assert asked["answer"] == "    return a + b\n"
    printed = json.loads(humaneval("--dry-run", "--json", "--samples", "2", "--seed", "3").stdout)
    assert [item["id"] for item in printed] == ["Test/0#0", "Test/0#1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--samples", "2", "--procedure", "original-2023-12"], "has one greedy completion of each function"),
        (["--temperature", "0"], "temperature"),
        (["--top-p", "2"], "top_p"),
        (["--samples", "0"], "--samples"),
        (["--shots", "1"], "humaneval has no examples to show"),
        (["--data", "/none"], "/none/HumanEval.jsonl.gz is not there: fetch the files by"),
    ],
)
def test_humanevals_mistakes_are_one_line(humaneval: Run, arguments: list[str], message: str) -> None:
    result = humaneval("--dry-run", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and message in result.stderr and result.stderr.count("\n") == 1
