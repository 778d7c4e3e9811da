"""Settings of a call: plain keywords lie over the checkpoint's default, and what makes no sense is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import qwen7b
import tiny
from qwen7b import Greedy, Qwen, Sample
from qwen7b.checkpoint import GenerationSettings
from qwen7b.errors import SettingError
from qwen7b.generate.call_settings import CheckedSettings

SAMPLED = GenerationSettings(sampling={"temperature": 0.7, "top_p": 0.8, "repetition_penalty": 1.1})


@pytest.fixture(scope="module")
def qwen(tiny_chat_checkpoint: Path) -> Qwen:
    return qwen7b.load(tiny_chat_checkpoint, quantize="none")


def sampling_of(generation: GenerationSettings, **keywords: object) -> Greedy | Sample:
    return CheckedSettings(generation, keywords, call="chat").sampling  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, Sample(temperature=0.7, top_p=0.8, repetition_penalty=1.1)),
        ({"temperature": None, "seed": None}, Sample(temperature=0.7, top_p=0.8, repetition_penalty=1.1)),
        ({"temperature": 0.3}, Sample(temperature=0.3, top_p=0.8, repetition_penalty=1.1)),
        ({"top_k": 5, "min_p": 0.1}, Sample(temperature=0.7, top_p=0.8, top_k=5, min_p=0.1, repetition_penalty=1.1)),
        ({"logit_bias": {5: -1.0}}, Sample(temperature=0.7, top_p=0.8, repetition_penalty=1.1, logit_bias={5: -1.0})),
        ({"repetition_penalty": 1, "seed": 3}, Sample(temperature=0.7, top_p=0.8, repetition_penalty=1, seed=3)),
        ({"temperature": 0}, Greedy(repetition_penalty=1.1)),
        ({"temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0}, Greedy(repetition_penalty=1.1)),
        ({"temperature": 0, "repetition_penalty": 1.5}, Greedy(repetition_penalty=1.5)),
        (
            {"temperature": 0, "presence_penalty": 0.5, "frequency_penalty": -1},
            Greedy(repetition_penalty=1.1, presence_penalty=0.5, frequency_penalty=-1),
        ),
        ({"sampling": Greedy()}, Greedy()),
        ({"sampling": Sample(top_k=3), "temperature": None}, Sample(top_k=3)),
    ],
)
def test_keywords_lie_over_the_checkpoint_s_default(keywords: dict[str, object], expected: Greedy | Sample) -> None:
    assert sampling_of(SAMPLED, **keywords) == expected


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"temperature": 0.7}, Sample(temperature=0.7)),
        ({"seed": 1}, Sample(seed=1)),
        ({"temperature": 0}, Greedy()),
        ({"repetition_penalty": 1.2}, Greedy(repetition_penalty=1.2)),
        ({"presence_penalty": 1.2}, Greedy(presence_penalty=1.2)),
        ({"frequency_penalty": 1.2, "seed": 1}, Sample(frequency_penalty=1.2, seed=1)),
        ({"logit_bias": {1: 2.0}}, Greedy(logit_bias={1: 2.0})),
    ],
)
def test_keywords_lie_over_a_greedy_default(keywords: dict[str, object], expected: Greedy | Sample) -> None:
    assert sampling_of(GenerationSettings(), **keywords) == expected


def test_keywords_are_the_short_form_of_a_sample_in_every_call(qwen: Qwen) -> None:
    short = {"temperature": 2.0, "top_k": 50, "seed": 7, "max_new_tokens": 8}
    long = {"sampling": Sample(temperature=2.0, top_k=50, seed=7), "max_new_tokens": 8}
    assert qwen.chat("hello", **short) == qwen.chat("hello", **long)  # type: ignore[arg-type]
    assert qwen.chat_batch(["hello", "x"], **short) == qwen.chat_batch(["hello", "x"], **long)  # type: ignore[arg-type]
    assert [*qwen.stream("hello", **short)][-1] == [*qwen.stream("hello", **long)][-1]  # type: ignore[arg-type]
    assert qwen.complete("hello", **short) == qwen.complete("hello", **long)  # type: ignore[arg-type]
    assert qwen.complete_batch(["hello"], **short) == qwen.complete_batch(["hello"], **long)  # type: ignore[arg-type]
    streams = (qwen.stream_completion("hello", **settings) for settings in (short, long))  # type: ignore[arg-type]
    first, second = ([*stream][-1] for stream in streams)
    assert first == second
    assert qwen.chat("hello", temperature=0) == qwen.chat("hello", sampling=Greedy())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampling": Greedy(), "temperature": 0.7}, r"sampling=Greedy.* and temperature are two ways"),
        ({"sampling": Sample(), "top_p": 0.7, "seed": 1}, r"and top_p, seed are two ways"),
        ({"temperature": 0, "top_p": 0.9}, "temperature 0 leaves nothing to chance, so it cannot go with top_p"),
        ({"temperature": 0, "seed": 1, "top_k": 4}, r"cannot go with (seed, top_k|top_k, seed)"),
        ({"temperature": -1}, "temperature must be a number above 0, or 0 to be greedy, found -1"),
        ({"temperature": False}, "temperature must be a number above 0, or 0 to be greedy, found False"),
        ({"temperature": "0.7"}, "temperature must be a number"),
        ({"top_p": 1.5}, "top_p must be a number from 0 to 1"),
        ({"presence_penalty": 2.5}, "presence_penalty must be a number from -2 to 2, found 2.5"),
        ({"frequency_penalty": "1"}, "frequency_penalty must be a number from -2 to 2, found '1'"),
        ({"presence_penality": 1.0}, r"did you mean presence_penalty\?"),
        ({"logit_bias": [1]}, "logit_bias must map token ids"),
        ({"temprature": 0.7}, r"chat has no setting temprature: did you mean temperature\?"),
        ({"max_tokens": 5}, r"chat has no setting max_tokens: did you mean max_new_tokens\?"),
        ({"repeat_penalty": 1.1}, r"did you mean repetition_penalty\?"),
        ({"n": 2}, r"chat has no setting n: chat_samples takes it\. It takes"),
        (
            {"zzz": None},
            "chat has no setting zzz: It takes adapter, constrain_calls, dialect, frequency_",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(qwen: Qwen, settings: dict[str, object], message: str) -> None:
    for call in (qwen.chat, qwen.stream):
        with pytest.raises(SettingError, match=message):
            call("hello", **settings)  # type: ignore[operator]


def test_what_a_completion_cannot_use_is_refused(qwen: Qwen) -> None:
    for call, prompt in ((qwen.complete, "a"), (qwen.stream_completion, "a"), (qwen.complete_batch, ["a"])):
        with pytest.raises(SettingError, match="history_token_limit is of no use to complete, found 5: leave it out"):
            call(prompt, history_token_limit=5)  # type: ignore[call-arg]
        with pytest.raises(SettingError, match=r"complete has no setting temprature: did you mean temperature\?"):
            call(prompt, temprature=0.7)  # type: ignore[call-arg]


def test_a_type_checker_sees_wrong_keywords(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    program = tmp_path / "caller.py"
    program.write_text(
        "import qwen7b\n"
        "qwen = qwen7b.load('demo')\n"
        "qwen.chat('hi', temperature=0.7, seed=1, logit_bias={1: -1.0}, history_token_limit=9)\n"
        "qwen.complete('hi', temperature=0, top_k=None)\n"
        "qwen.chat('hi', temprature=0.7)\n"
        "qwen.chat('hi', top_k='five')\n"
        "qwen.complete('hi', history_token_limit=9)\n"
    )
    source = Path(qwen7b.__file__).parents[1]
    config = tmp_path / "mypy.ini"  # other packages take minutes to check, and say nothing about these calls
    config.write_text("[mypy]\nfollow_imports = skip\n[mypy-qwen7b.*]\nfollow_imports = silent\n")
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), "--config-file", str(config)]
    result = subprocess.run(
        [*command, "--no-error-summary", str(program)],
        capture_output=True,
        text=True,
        env={"MYPYPATH": str(source), "PATH": ""},
    )
    lines = [line.split(":")[1] for line in result.stdout.splitlines() if ": error:" in line]
    assert lines == ["5", "6", "7"], result.stdout + result.stderr


def test_repr_says_what_is_loaded(qwen: Qwen, tiny_chat_checkpoint: Path) -> None:
    folder = str(tiny_chat_checkpoint)
    assert repr(qwen) == f"Qwen({folder!r}, float32, 512 tokens)"
    packed = qwen7b.load_model(tiny_chat_checkpoint, quantize="q8", context_length=2048)
    assert repr(Qwen(packed, qwen.tokenizer, name="demo")) == "Qwen('demo', q8, 2,048 tokens)"
    assert "q4" in repr(Qwen(qwen7b.load_model(tiny_chat_checkpoint, quantize="q4"), qwen.tokenizer))
    half = qwen7b.load_model(tiny_chat_checkpoint, dtype="bfloat16")
    assert repr(Qwen(half, qwen.tokenizer, name="a")) == "Qwen('a', bfloat16, 512 tokens)"


def test_greedy_by_the_checkpoint_keeps_its_penalty(tmp_path: Path) -> None:
    generation = {"do_sample": True, "temperature": 0.7, "repetition_penalty": 1.3, "eos_token_id": 266}
    folder = tiny.write_folder(
        tmp_path, tiny.V11_CONFIG, tiny.qwen_tensors(), tokenizer=True, generation={**generation, "chat_format": "raw"}
    )
    qwen = qwen7b.load(folder, quantize="none")
    expected = qwen.complete("hello", sampling=Greedy(repetition_penalty=1.3), max_new_tokens=12)
    assert qwen.complete("hello", temperature=0, max_new_tokens=12) == expected
