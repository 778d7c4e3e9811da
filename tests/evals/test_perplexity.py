"""Perplexity: windows, chunks, methods and lengths, resuming, and what is refused before any weights are read."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import qwen7b
from qwen7b import kernels
from qwen7b.config.long_context import with_long_context
from qwen7b.errors import CheckpointError, PromptError, ResourceError, SettingError
from qwen7b.evals import Perplexity, Subject, measure_perplexity
from qwen7b.evals import perplexity as module
from qwen7b.evals import subject as subject_module
from qwen7b.evals.perplexity import cut_windows, read_window
from qwen7b.generate import scoring

METHODS = ["none", "ntk", "ntk+logn", "ntk+logn+window", "window:16", "yarn:2", "linear+logn"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text("the hell in there 你好 " * 24, encoding="utf-8")
    return file


def measure(model: Path, *files: Path, lengths: Any = (32,), reading: Any = None, **about: Any) -> list[Perplexity]:
    return list(measure_perplexity(Subject(model, lengths=lengths, **about), files, **(reading or {})))


def ids_of(model: Path, text: Path) -> torch.Tensor:
    return torch.tensor(qwen7b.load_tokenizer(model).encode(text.read_text("utf-8")))


def test_it_is_exp_of_the_mean_over_all_but_the_first_tokens(tiny_chat_checkpoint: Path, text: Path) -> None:
    (result,) = measure(tiny_chat_checkpoint, text)
    ids = ids_of(tiny_chat_checkpoint, text)
    model = qwen7b.load_model(tiny_chat_checkpoint)
    windows = ids[: len(ids) // 32 * 32].view(-1, 32)
    with torch.inference_mode():
        logits = model(windows[:, :-1])
    expected = math.exp(F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()))
    assert result.perplexity == pytest.approx(expected, rel=1e-5)
    assert result.tokens_scored == len(windows) * 31
    assert (result.file, result.method, result.precision, result.dtype) == (str(text), "none", "none", "float32")
    assert result.seconds_per_token == pytest.approx(result.seconds / result.tokens_scored)
    assert result.cache_bytes == model.new_cache(max_length=32).num_bytes


def test_every_length_and_method_is_one_full_pass_a_window(
    tiny_chat_checkpoint: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qwen7b.model.sequence_cache.MAX_PASS_TOKENS", 24)
    results = measure(tiny_chat_checkpoint, text, lengths=[64, 128, 32], methods=METHODS, trained_length=32)
    assert [(result.method, result.length) for result in results] == [(m, n) for m in METHODS for n in (32, 64, 128)]
    ids = ids_of(tiny_chat_checkpoint, text)
    part = ids[: len(ids) // 128 * 128]
    model = qwen7b.load_model(tiny_chat_checkpoint)
    own = model.config
    for result in results:
        model.config = with_long_context(own, result.method, trained_length=32, length=result.length)
        windows = part.view(-1, result.length)
        with torch.inference_mode():
            logits = torch.cat([model(window[None])[:, :-1] for window in windows])
        expected = math.exp(F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()))
        assert result.perplexity == pytest.approx(expected, rel=1e-5), result
        assert result.tokens_scored == len(part) // result.length * (result.length - 1)
        assert result.trained_length == 32
    assert len({round(result.perplexity, 6) for result in results if result.length == 128}) == len(METHODS)


@pytest.mark.parametrize(("chunk", "rows"), [(7, 3), (64, 64), (1, 1)])
def test_chunks_change_nothing(
    tiny_chat_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, rows: int
) -> None:
    model = qwen7b.load_model(tiny_chat_checkpoint)
    window = torch.randint(0, 260, (61,))
    expected = read_window(model, window).nats
    monkeypatch.setattr("qwen7b.model.sequence_cache.MAX_PASS_TOKENS", chunk)
    monkeypatch.setattr(scoring, "HEAD_ROWS", rows)
    reported: list[int] = []
    assert read_window(model, window, reported.append).nats == pytest.approx(expected, rel=1e-5)
    assert sum(reported) == 60


def test_without_a_method_positions_past_the_trained_length_are_like_all_others(
    tiny_chat_checkpoint: Path, text: Path
) -> None:
    (result,) = measure(tiny_chat_checkpoint, text, lengths=[128], reading={"max_windows": 1})
    model = qwen7b.load_model(tiny_chat_checkpoint)
    assert model.config.trained_length == 64 and model.config.dynamic_ntk
    with_ntk = math.exp(read_window(model, ids_of(tiny_chat_checkpoint, text)[:128]).nats / 127)
    assert result.perplexity != pytest.approx(with_ntk, rel=1e-3)


def test_what_is_left_behind_the_last_window_is_not_read() -> None:
    assert [window.tolist() for window in cut_windows(torch.arange(7), length=3)] == [[0, 1, 2], [3, 4, 5]]
    assert cut_windows(torch.arange(2), length=3) == []


@pytest.mark.parametrize(
    ("reading", "tokens"), [({"max_windows": 2}, 128), ({"max_tokens": 200}, 192), ({"max_tokens": 64}, 64)]
)
def test_all_lengths_read_the_same_beginning(
    tiny_chat_checkpoint: Path, text: Path, reading: dict[str, int], tokens: int
) -> None:
    short, long = measure(tiny_chat_checkpoint, text, lengths=[16, 64], reading=reading)
    assert short.tokens_scored == tokens // 16 * 15 and long.tokens_scored == tokens // 64 * 63


def test_names_given_twice_are_measured_once(
    tiny_chat_checkpoint: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path))
    twice = {"precisions": ["q8", "q8"], "methods": ["none", "none"], "lengths": [32, 32]}
    assert len(measure(tiny_chat_checkpoint, text, text, **twice)) == 1


class TestResuming:
    LENGTHS = (32, 64)

    def measure(self, model: Path, text: Path, kept: Path, **about: Any) -> list[Perplexity]:
        reading = {"resume": kept, "max_windows": about.pop("max_windows", None)}
        return measure(model, text, lengths=self.LENGTHS, methods=["none", "ntk"], reading=reading, **about)

    def test_what_is_there_is_not_measured_again(
        self, tiny_chat_checkpoint: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = tmp_path / "kept.jsonl"
        first = self.measure(tiny_chat_checkpoint, text, kept)
        monkeypatch.setattr(subject_module, "load_model", None)
        assert self.measure(tiny_chat_checkpoint, text, kept) == first

    def test_it_goes_on_inside_a_reading(
        self, tiny_chat_checkpoint: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = tmp_path / "kept.jsonl"
        read: list[Any] = []

        def read_few(model: Any, window: torch.Tensor, *args: Any) -> Any:
            if len(read) == 5:
                raise KeyboardInterrupt
            read.append(window)
            return read_window(model, window, *args)

        with monkeypatch.context() as patch:
            patch.setattr(module, "read_window", read_few)
            with pytest.raises(KeyboardInterrupt):
                self.measure(tiny_chat_checkpoint, text, kept)
        assert len(kept.read_text().splitlines()) == 5
        resumed = self.measure(tiny_chat_checkpoint, text, kept)
        whole = measure(tiny_chat_checkpoint, text, lengths=self.LENGTHS, methods=["none", "ntk"])
        assert [result.perplexity for result in resumed] == pytest.approx([result.perplexity for result in whole])

    def test_another_trained_length_text_or_number_format_is_measured(
        self, tiny_chat_checkpoint: Path, text: Path, tmp_path: Path
    ) -> None:
        kept = tmp_path / "kept.jsonl"
        self.measure(tiny_chat_checkpoint, text, kept, max_windows=1)
        num_results = len(kept.read_text().splitlines())
        other = tmp_path / "other.txt"
        other.write_text("你好 in there " * 40, encoding="utf-8")
        for changed in ({"trained_length": 16}, {"dtype": torch.bfloat16}, {"text": other}):
            self.measure(tiny_chat_checkpoint, changed.pop("text", text), kept, max_windows=1, **changed)
            assert len(kept.read_text().splitlines()) > num_results
            num_results = len(kept.read_text().splitlines())

    def test_the_number_format_that_memory_chose_is_kept(
        self, tiny_chat_checkpoint: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = tmp_path / "kept.jsonl"
        (usual,) = measure(tiny_chat_checkpoint, text, reading={"resume": kept, "max_windows": 1})
        num_weights = sum(p.numel() for p in qwen7b.load_model(tiny_chat_checkpoint).parameters())
        monkeypatch.setattr("qwen7b.loading.loading.available_bytes", lambda device: num_weights * 3)
        with pytest.warns(UserWarning, match="loading as bfloat16"):
            subject = Subject(tiny_chat_checkpoint, lengths=[32])
        monkeypatch.undo()  # what is free later changes nothing
        (smaller,) = measure_perplexity(subject, [text], resume=kept, max_windows=1)
        assert (usual.dtype, smaller.dtype) == ("float32", "bfloat16")
        dtypes = [json.loads(line)["task"]["dtype"] for line in kept.read_text().splitlines()]
        assert dtypes == [None, "bfloat16"]

    def test_results_of_the_reference_are_told_from_those_of_the_kernels(
        self, tiny_chat_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        subject = Subject(tiny_chat_checkpoint, lengths=[32], precisions=["none", "q8"])
        monkeypatch.setattr(kernels, "instruction_set", lambda: "avx2")
        native = [subject.task(precision, "none", 32) for precision in ("none", "q8")]
        monkeypatch.setattr(kernels, "instruction_set", lambda: None)
        assert [subject.task(precision, "none", 32) for precision in ("none", "q8")] == [
            native[0],
            {**native[1], "reference": True},
        ]

    def test_a_result_of_another_kind_is_refused(self, tiny_chat_checkpoint: Path, text: Path, tmp_path: Path) -> None:
        kept = tmp_path / "kept.jsonl"
        measure(tiny_chat_checkpoint, text, reading={"resume": kept, "max_windows": 2})
        first, second = (json.loads(line) for line in kept.read_text().splitlines())
        for result in (
            {name: value for name, value in second["result"].items() if name != "dtype"},
            {**second["result"], "more": 1},
            {**second["result"], "nats": "3"},
            {**second["result"], "nats": math.nan},
        ):
            kept.write_text("".join(json.dumps(entry) + "\n" for entry in (first, {**second, "result": result})))
            with pytest.raises(SettingError, match=r"line 2 of .*kept.jsonl is incomplete or not a result of qwen7b"):
                measure(tiny_chat_checkpoint, text, reading={"resume": kept, "max_windows": 2})

    def test_a_mistake_leaves_no_file(self, tiny_chat_checkpoint: Path, tmp_path: Path) -> None:
        kept = tmp_path / "kept.jsonl"
        with pytest.raises(SettingError, match="nowhere does not exist: check the path"):
            measure(tiny_chat_checkpoint, tmp_path / "nowhere", reading={"resume": kept})
        assert not kept.exists()

    def test_an_unfinished_last_line_is_dropped(self, tiny_chat_checkpoint: Path, text: Path, tmp_path: Path) -> None:
        kept = tmp_path / "kept.jsonl"
        expected = measure(tiny_chat_checkpoint, text, reading={"resume": kept, "max_windows": 2})
        whole = kept.read_bytes()
        for cut in (1, 40, len(whole.splitlines()[1]) - 3):
            kept.write_bytes(whole[:-cut])
            found = measure(tiny_chat_checkpoint, text, reading={"resume": kept, "max_windows": 2})
            assert [result.perplexity for result in found] == [result.perplexity for result in expected]
            assert len(kept.read_bytes().splitlines()) == 2

    @pytest.mark.parametrize(
        "line",
        ["not json\n", "[]\n", '{"a": 1}\n', '{"task": 1, "result": 2}\n', '{"a": 1}', "\n", "[" * 100_000 + "\n"],
        ids=range(7),
    )
    def test_a_damaged_or_foreign_file_is_left_alone(
        self, tiny_chat_checkpoint: Path, text: Path, tmp_path: Path, line: str
    ) -> None:
        kept = tmp_path / "kept.jsonl"
        content = json.dumps({"task": {}, "result": {}}) + "\n" + line
        kept.write_text(content, "utf-8")
        with pytest.raises(SettingError, match=r"line 2 of .*kept.jsonl is incomplete or not a result of qwen7b"):
            self.measure(tiny_chat_checkpoint, text, kept)
        assert kept.read_text("utf-8") == content

    def test_a_place_that_cannot_be_written_is_refused(
        self, tiny_chat_checkpoint: Path, text: Path, tmp_path: Path
    ) -> None:
        for place in (tmp_path, tmp_path / "none" / "kept.jsonl"):
            with pytest.raises(SettingError, match="results cannot be kept in"):
                self.measure(tiny_chat_checkpoint, text, place)


def test_every_window_begins_with_bos_where_the_tokenizer_adds_it(
    tiny_chat_checkpoint: Path, text: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_chat_checkpoint, tmp_path / "bos"))
    settings = {"add_bos_token": True, "bos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    [found] = measure(folder, text, lengths=[32], reading={"max_windows": 3})
    tokenizer, model = qwen7b.load_tokenizer(folder), qwen7b.load_model(folder)
    ids = [tokenizer.bos_id, *tokenizer.encode(text.read_text())]
    windows = [torch.tensor([tokenizer.bos_id, *ids[start + 1 : start + 32]]) for start in (0, 32, 64)]
    nats = sum(read_window(model, window).nats for window in windows)
    assert found.perplexity == pytest.approx(math.exp(nats / found.tokens_scored), rel=1e-6)
    assert (
        found.perplexity != measure(tiny_chat_checkpoint, text, lengths=[32], reading={"max_windows": 3})[0].perplexity
    )


def test_mistakes_are_found_before_weights_are_read(
    tiny_chat_checkpoint: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject_module, "load_model", None)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "empty").touch()
    for files, about, error, message in [
        ([text, tmp_path / "nowhere"], {}, SettingError, "nowhere does not exist: check the path"),
        ([tmp_path / "bytes"], {}, SettingError, "cannot be read as UTF-8"),
        ([tmp_path / "empty"], {}, PromptError, "empty is empty: give a text of at least 32 tokens"),
        ([text], {"lengths": [32, 4096]}, PromptError, "fewer than a window of 4096: lower the length"),
        ([text], {"lengths": [1]}, SettingError, "a length must be a whole number of at least 2, found 1"),
        ([text], {"lengths": []}, SettingError, "there is nothing to measure"),
        ([text], {"methods": ["none", "ntk+rope"]}, SettingError, "'rope'"),
        ([text], {"methods": ["window:4096"]}, SettingError, "window of 4096 is larger than the context"),
        ([text], {"precisions": ["none", "q3"]}, SettingError, "one of q8, q4, nf4, none, found 'q3'"),
        ([text], {"precisions": ["q8"], "dtype": torch.bfloat16}, SettingError, "float32, found the dtype bfloat16"),
        ([text], {"trained_length": 0}, SettingError, "trained_length must be"),
        ([text], {"reading": {"max_tokens": 31}}, SettingError, "max_tokens must be a whole number of at least 32"),
        ([text], {"reading": {"max_windows": 0}}, SettingError, "max_windows must be a whole number of at least 1"),
    ]:
        with pytest.raises(error, match=message):
            measure(tiny_chat_checkpoint, *files, **about)


@pytest.mark.parametrize("broken", [math.nan, math.inf, 1e30])
def test_a_model_without_probabilities_is_refused(
    tiny_chat_checkpoint: Path, text: Path, tmp_path: Path, broken: float
) -> None:
    subject, kept = Subject(tiny_chat_checkpoint, lengths=[32]), tmp_path / "kept.jsonl"
    with torch.no_grad():
        subject.model("none", "none", 32).head.weight.mul_(broken)
    with pytest.raises(CheckpointError, match=r"the model gives no valid probabilities for .*text.txt: its weights or"):
        list(measure_perplexity(subject, [text], resume=kept))
    assert not kept.exists()


def test_a_trained_length_that_no_method_uses_is_named(tiny_chat_checkpoint: Path) -> None:
    for methods in (["none"], ["none", "linear:2", "window:8"]):
        with pytest.warns(UserWarning, match=f"trained_length 16 is ignored, as .*: {', '.join(methods)}"):
            Subject(tiny_chat_checkpoint, lengths=[32], methods=methods, trained_length=16)
    for method in ("ntk", "logn", "linear", "yarn:2", "window"):
        Subject(tiny_chat_checkpoint, lengths=[32], methods=["none", method], trained_length=16)


def test_a_length_without_room_is_refused_before_anything_is_read(
    tiny_chat_checkpoint: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(model: Any, *, max_length: int) -> None:
        if max_length > 64:
            raise ResourceError("no room")

    subject = Subject(tiny_chat_checkpoint, lengths=[32, 128])
    monkeypatch.setattr("qwen7b.model.Transformer.new_cache", no_room)
    with pytest.raises(ResourceError):
        next(measure_perplexity(subject, [text]))
