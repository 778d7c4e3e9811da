"""`chat PROMPT` and `complete PROMPT`: one reply on standard output."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import Result

import qwen7b
import tiny
from qwen7b.cli import options
from qwen7b.cli.sampling_options import SamplingOptions
from qwen7b.config.checked import PENALTIES
from qwen7b.errors import PromptError
from qwen7b.sampling.sampling import Sampling
from qwen7b.sampling.sampling_keywords import lay_over
from qwen7b.system.container import usable_cores
from qwen7b.terminal.plain import PlainDisplay
from qwen7b.terminal.prompts import read_standard_input

Run = Callable[..., Result]


def test_chat_prints_the_reply_and_a_newline(run: Run, fake) -> None:
    result = run("chat", "Hi")
    assert (result.exit_code, result.stdout) == (0, "Hello there.\n")
    assert fake.asked == [
        (
            [{"role": "user", "content": "Hi"}],
            {"max_new_tokens": None, "stop": (), "ntk": "recompute"},
        ),
    ]


def test_a_reply_that_ends_its_line_gets_no_second_newline(run: Run, fake) -> None:
    fake.pieces = ["done\n"]
    assert run("complete", "x").stdout == "done\n"


def test_chat_options_arrive(run: Run, fake) -> None:
    run("chat", "Hi", "--system", "Be brief.", "--max-new-tokens", "5", "--stop", "a", "--stop", "b", "--greedy")
    messages, asking = fake.asked[0]
    assert messages == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert asking == {"temperature": 0, "max_new_tokens": 5, "stop": ("a", "b"), "ntk": "recompute"}


def test_loading_options_arrive(run: Run, fake) -> None:
    threads = torch.get_num_threads()
    try:
        run(
            "complete",
            "x",
            "--model",
            "m.gguf",
            "--device",
            "cuda:1",
            "--dtype",
            "bfloat16",
            "--threads",
            "1",
            "--offline",
            "--long-context",
            "ntk+window:64",
            "--context-length",
            "4096",
        )
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    assert fake.loaded == {
        "model": "m.gguf",
        "device": "cuda:1",
        "dtype": torch.bfloat16,
        "offline": True,
        "quantize": None,
        "long_context": "ntk+window:64",
        "context_length": 4096,
    }


def test_the_folder_of_prompts_arrives(run: Run, fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for verb in ("chat", "complete"):
        run(verb, "x", "--prompt-cache", "~/prompts", "--prompt-cache-gb", "2")
        assert fake.loaded["prompt_cache"] == str(tmp_path / "prompts")
        assert fake.loaded["prompt_cache_bytes"] == 2_000_000_000
    for wrong in (["--prompt-cache-gb", "1"], ["--prompt-cache", "p", "--prompt-cache-gb", "0"]):
        result = run("chat", "x", *wrong)
        assert result.exit_code != 0 and "--prompt-cache-gb" in result.stderr


def test_without_the_offline_option_the_environment_decides(run: Run, fake) -> None:
    run("complete", "x")
    others = ("dtype", "offline", "quantize", "long_context", "context_length")
    assert fake.loaded == {"model": "demo", "device": "auto", **dict.fromkeys(others)}


@pytest.mark.parametrize("verb", ["chat", "complete"])
def test_weights_are_packed_when_asked_for(run: Run, fake, verb: str) -> None:
    for format in ("auto", "none"):
        run(verb, "x", "--quantize", format)
        assert fake.loaded["quantize"] == format
    result = run(verb, "x", "--quantize", "q5")
    assert result.exit_code == 1 and "'q5' is not one of 'q8', 'q4', 'nf4', 'auto', 'none'" in result.stderr


@pytest.mark.parametrize("verb", ["chat", "complete"])
def test_when_ntk_stretches_anew_may_be_chosen(run: Run, fake, verb: str) -> None:
    run(verb, "x", "--ntk", "original")
    assert fake.asked[0][1]["ntk"] == "original"
    result = run(verb, "x", "--ntk", "never")
    assert result.exit_code == 1 and "'never' is not one of 'recompute', 'original', 'reserve'" in result.stderr


@pytest.mark.parametrize("verb", ["chat", "complete"])
def test_ntk_of_a_model_without_it_is_named(run: Run, tiny_chat_checkpoint: Path, verb: str) -> None:
    arguments = (
        verb,
        "the",
        "--model",
        str(tiny_chat_checkpoint),
        "--quantize",
        "none",
        "--max-new-tokens",
        "2",
        "--ntk",
        "original",
    )
    assert run(*arguments).exit_code == 0
    with pytest.warns(UserWarning, match="ntk='original' is ignored: this model has no dynamic NTK"):
        assert run(*arguments, "--long-context", "none").exit_code == 0


@pytest.mark.parametrize("verb", ["chat", "complete"])
def test_the_prompt_may_come_on_standard_input(run: Run, fake, verb: str) -> None:
    assert run(verb, input="你好\n").exit_code == 0
    asked = fake.asked[0][0]
    assert asked == ([{"role": "user", "content": "你好"}] if verb == "chat" else "你好")


def test_json_is_one_document_and_nothing_else(run: Run, fake) -> None:
    result = run("chat", "你好", "--json", "--model", "fake")
    document = json.loads(result.stdout)
    assert "你好" in result.stdout and result.stderr == ""
    assert document["seconds"] >= document["seconds_to_first_piece"] >= 0
    del document["seconds"], document["seconds_to_first_piece"], document["tokens_per_second"]
    assert document == {
        "model": "fake",
        "messages": [{"role": "user", "content": "你好"}],
        "text": "Hello there.",
        "token_ids": [0, 1],
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 7, "completion_tokens": 2},
    }


def test_complete_json_names_the_prompt(run: Run, fake) -> None:
    document = json.loads(run("complete", "once upon", "--json").stdout)
    assert (document["prompt"], document["text"]) == ("once upon", "Hello there.")


@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_an_interrupted_reply_is_printed_and_exits_with_130(run: Run, fake, json_option: list[str]) -> None:
    fake.pieces = ["Hel", KeyboardInterrupt(), "lo"]
    result = run("chat", "Hi", *json_option)
    assert result.exit_code == 130
    assert (json.loads(result.stdout)["text"] if json_option else result.stdout.strip()) == "Hel"


def test_an_error_in_the_middle_is_one_line(run: Run, fake) -> None:
    fake.pieces = ["Hel", qwen7b.PromptError("the prompt has 9 tokens and only 8 fit: shorten it")]
    result = run("chat", "Hi")
    assert (result.exit_code, result.stdout) == (1, "Hel\n")
    assert result.stderr == "error: the prompt has 9 tokens and only 8 fit: shorten it\n"


@pytest.mark.parametrize(
    ("arguments", "input", "message"),
    [
        (["chat"], "", "the prompt is empty"),
        (["complete", " "], None, "the prompt is empty"),
        (["chat"], "你好".encode("gb18030"), "standard input is not UTF-8: byte 0 is 0xc4"),
        (["complete"], b"abc\xff", "standard input is not UTF-8: byte 3 is 0xff"),
        (["chat", "caf\udce9"], None, "the argument is not UTF-8: byte 3 is 0xe9"),
        (["chat", "Hi", "--threads", "0"], None, "--threads must lie between 1 and"),
        (["chat", "Hi", "--threads", str(usable_cores() + 1)], None, "--threads must lie between 1 and"),
        (["chat", "Hi", "--greedy", "--top-p", "0.5", "--seed", "1"], None, "cannot go with --seed, --top-p"),
        (["chat", "Hi", "--top-p", "2"], None, "top_p"),
        (["chat", "Hi", "--presence-penalty", "-2.5"], None, "presence_penalty must be a number from -2 to 2"),
        (["complete", "Hi", "--frequency-penalty", "nan"], None, "frequency_penalty must be a number from -2 to 2"),
        (["complete", "Hi", "--stop", ""], None, "--stop is empty"),
        (["chat", "Hi", "--temperature", "0", "--top-p", "0.5"], None, "--temperature 0 leaves nothing to chance"),
        (["chat", "Hi", "--greedy", "--temperature", "0.7"], None, "cannot go with --temperature"),
        (["chat", "Hi", "--temperature", "-1"], None, "temperature must be a number above 0"),
        (["chat", "Hi", "--long-context", "alibi"], None, "a long-context method is none, or parts joined by +"),
        (["complete", "Hi", "--long-context", "ntk+yarn"], None, "stretches positions twice"),
        (["complete", "Hi", "--context-length", "1"], None, "--context-length"),
    ],
)
def test_mistakes_are_one_line_before_any_model_is_loaded(
    run: Run, fake, arguments: list[str], input: str | bytes | None, message: str
) -> None:
    result = run(*arguments, input=input)
    assert result.exit_code == 1 and result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert message in result.stderr
    assert fake.loaded == {}


def sampling(**given: object) -> SamplingOptions:
    names = ("temperature", "top_k", "top_p", "min_p", *PENALTIES, "seed")
    return SamplingOptions(**{"greedy": False, **dict.fromkeys(names), **given})


def test_sampling_options_are_laid_over_the_default() -> None:
    default = qwen7b.Sample(temperature=0.7, top_p=0.8)

    def over(default: Sampling, **given: object) -> Sampling:
        return lay_over(default, **sampling(**given).keywords())

    assert over(default) == default
    assert over(default, top_p=0.5) == qwen7b.Sample(temperature=0.7, top_p=0.5)
    assert over(qwen7b.Greedy(), seed=1) == qwen7b.Sample(seed=1)
    assert over(qwen7b.Greedy(), repetition_penalty=1.1) == qwen7b.Greedy(repetition_penalty=1.1)
    assert over(default, greedy=True, repetition_penalty=1.1) == qwen7b.Greedy(repetition_penalty=1.1)
    assert over(default, greedy=True) == qwen7b.Greedy()
    assert over(default, temperature=0.0) == qwen7b.Greedy()
    assert over(default, greedy=True, temperature=0.0, top_p=1.0) == qwen7b.Greedy()
    penalized = qwen7b.Sample(top_p=0.5, repetition_penalty=1.1)
    assert over(penalized, greedy=True) == qwen7b.Greedy(repetition_penalty=1.1)


def test_threads_are_no_more_than_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(options, "usable_cores", lambda: 1)
    try:
        torch.set_num_threads(2)
        options.set_threads(None)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_json_is_utf8_whatever_the_name_is(run: Run, fake) -> None:
    result = run("chat", "Hi", "--json", "--model", "no\udcff\ud800\x1b[31m\u202e")
    assert json.loads(result.stdout_bytes.decode("utf-8"))["model"] == "no\udcff\ud800\x1b[31m\u202e"


@pytest.mark.parametrize("verb", ["chat", "complete"])
def test_a_byte_order_mark_is_no_text(run: Run, fake, verb: str) -> None:
    run(verb, input="\ufeffhello".encode())
    assert "hello" in str(fake.asked[0][0]) and "ufeff" not in ascii(fake.asked[0][0])


def test_the_reading_of_a_long_text_is_shown_where_it_does_not_disturb(capsys, monkeypatch) -> None:
    PlainDisplay().show_reading(512, 2048)
    assert capsys.readouterr() == ("", "")  # no terminal
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    display = PlainDisplay()
    display.show_reading(512, 2048)
    display.push("Yes")
    out, err = capsys.readouterr()
    assert out == "Yes" and "Reading: " in err and "512/2048" in err and err.endswith("\r")


@pytest.mark.parametrize(("flag", "value"), [("--chat", True), ("--base", False), (None, None)])
def test_whether_it_chats_is_the_users_to_say(run: Run, fake, flag: str | None, value: bool | None) -> None:
    assert run("chat", "Hi", *([flag] if flag else [])).exit_code == 0
    assert fake.loaded.get("chat") is value


@pytest.mark.parametrize(("flag", "value"), [("--control-tokens", True), ("--no-control-tokens", False), (None, None)])
def test_control_tokens_are_the_users_to_ask_for(run: Run, fake, flag: str | None, value: bool | None) -> None:
    assert run("complete", "<|fim_prefix|>", *([flag] if flag else [])).exit_code == 0
    assert fake.asked[0][1]["control_tokens"] is value


@pytest.mark.parametrize("options", [["--greedy"], ["--temperature", "0.7"], ["--temperature", "0"], ["--top-k", "3"]])
def test_what_is_typed_goes_before_a_broken_file(run: Run, tmp_path: Path, options: list[str]) -> None:
    generation = {"do_sample": True, "temperature": "hot", "top_p": 7, "max_new_tokens": 2}
    folder = tiny.write_folder(
        tmp_path / "m", tiny.V11_CONFIG, tiny.qwen_tensors(), tokenizer=True, generation=generation
    )
    for verb in ("chat", "complete"):
        asked = (verb, "hello", "--model", str(folder), "--quantize", "none")
        broken = run(*asked)
        assert broken.exit_code == 1 and "generation_config.json: temperature must be a number" in broken.stderr
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            assert run(*asked, *options).exit_code == 0
        left_out = [name for name in ("temperature", "top_p") if any(name in str(one.message) for one in said)]
        assert left_out == {"0.7": ["top_p"], "3": ["temperature", "top_p"]}.get(options[-1], [])


def test_a_byte_order_mark_is_no_text_in_an_argument(run: Run, fake) -> None:
    run("chat", "\ufeffHi")
    assert fake.asked[0][0] == [{"role": "user", "content": "Hi"}]


def test_standard_input_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen7b.terminal.prompts.TEXT_LIMIT", 1 << 21)
    with open("/dev/zero", encoding="utf-8") as endless:
        monkeypatch.setattr("sys.stdin", endless)
        with pytest.raises(PromptError, match="standard input has more than 2,097,152 bytes: split it into parts"):
            read_standard_input()


@pytest.mark.parametrize("verb", ["chat", "complete"])
def test_who_drafts_may_be_chosen(run: Run, fake, verb: str) -> None:
    for speculate in ("ngram", "./smaller"):
        run(verb, "x", "--speculate", speculate)
        assert fake.loaded["speculate"] == speculate
    run(verb, "x", "--speculate", "none")
    assert "speculate" not in fake.loaded


@pytest.mark.parametrize("verb", ["chat", "complete"])
def test_a_reply_is_the_same_whoever_drafts(run: Run, tiny_chat_checkpoint: Path, verb: str) -> None:
    model = str(tiny_chat_checkpoint)
    arguments = (verb, "the inner hello", "--model", model, "--max-new-tokens", "20", "--temperature", "1")
    outputs = {
        run(*arguments, "--seed", "1", "--speculate", speculate).stdout for speculate in ("none", "ngram", model)
    }
    assert len(outputs) == 1 and outputs != {""}


@pytest.mark.parametrize("verb", ["chat", "complete"])
def test_adapters_are_added_or_named(run: Run, fake, tmp_path: Path, verb: str) -> None:
    run(verb, "x", "--adapter", "run")
    assert fake.loaded["adapter"] == "run" and "adapters" not in fake.loaded and "adapter" not in fake.asked[-1][1]
    run(verb, "x", "--adapter", "a=one", "--adapter", "b=two=2")
    assert fake.loaded["adapters"] == {"a": "one", "b": "two=2"} and "adapter" not in fake.loaded
    assert fake.asked[-1][1]["adapter"] == "a"  # the first replies
    folder = tmp_path / "a=b"
    folder.mkdir()
    run(verb, "x", "--adapter", str(folder))
    assert fake.loaded["adapter"] == str(folder)
    for others in (("--adapter", "b=two"), ("--adapter", "two")):
        assert (
            "--adapter one has no name: with several give each one"
            in run(verb, "x", "--adapter", "one", *others).stderr
        )
    assert "--adapter names two a" in run(verb, "x", "--adapter", "a=one", "--adapter", "a=two").stderr
