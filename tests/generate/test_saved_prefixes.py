"""A prompt that was read before goes on from what is kept on disk, and no reply is another for it."""

from __future__ import annotations

import ast
import errno
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import qwen7b
from qwen7b.errors import SettingError
from qwen7b.files.checksums import read_checked, write_checked
from qwen7b.files.tensor_folder import TensorFolder
from qwen7b.generate import Greedy, Sample
from qwen7b.generate.engine import Engine
from qwen7b.generate.loader import open_prompt_cache
from qwen7b.generate.request import Request
from qwen7b.generate.saved_prefixes import BLOCK, SavedPrefixes
from qwen7b.kernels import native
from qwen7b.model import Transformer
from random_packed import random_model
from stepping import count_read

VOCAB = 300
pytestmark = pytest.mark.skipif(native.library() is None, reason="only native kernels compute a row alike in any pass")


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(1)
    return random_model(trained_length=400)


def ids_of(length: int, *, seed: int = 0) -> list[int]:
    generator = random.Random(seed)
    return [generator.randrange(VOCAB) for _ in range(length)]


def request_of(ids: Sequence[int], **settings: Any) -> Request:
    return Request(**{"ids": list(ids), "max_length": len(ids) + 6, "sampling": Sample(seed=3), **settings})


def engine_of(
    model: Transformer, folder: Path | None = None, *, weights: str = "w", max_bytes: int = 1 << 30
) -> Engine:
    """The engine of a new process, as far as what it has in memory goes."""
    if folder is None:
        return Engine(model, vocab_size=VOCAB)
    saved = SavedPrefixes(open_prompt_cache(folder, max_bytes=max_bytes), model, weights=weights)
    return Engine(model, vocab_size=VOCAB, saved=saved)


def run(engine: Engine, *requests: Request) -> list[list[int]]:
    for request in requests:
        engine.add(request)
    while engine.step():
        pass
    assert [request.error for request in requests] == [None] * len(requests)
    return [request.ids for request in requests]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The tokens of each sequence in each pass."""
    return count_read(monkeypatch)


def test_the_second_start_reads_what_is_new_only(model: Transformer, tmp_path: Path, read: list[list[int]]) -> None:
    system = ids_of(3 * BLOCK + 9)
    first, second = [*system, *ids_of(20, seed=1)], [*system, *ids_of(30, seed=2)]
    expected = [run(engine_of(model), request_of(ids))[0] for ids in (first, second)]
    assert run(engine_of(model, tmp_path), request_of(first)) == expected[:1]
    read.clear()
    assert run(engine_of(model, tmp_path), request_of(second)) == expected[1:]
    assert read[0] == [len(second) - 3 * BLOCK]
    read.clear()
    assert run(engine_of(model, tmp_path), request_of(first)) == expected[:1]
    assert read[0] == [len(first) - 3 * BLOCK]


def test_a_conversation_that_grows_adds_its_new_blocks_only(
    model: Transformer, tmp_path: Path, read: list[list[int]]
) -> None:
    ids, sizes = ids_of(2 * BLOCK + 5), []
    for turn in range(3):
        engine = engine_of(model, tmp_path)
        ids = run(engine, request_of(ids))[0] + ids_of(BLOCK, seed=turn)
        sizes.append(len(list(tmp_path.iterdir())))
    assert sizes == [2, 3, 4]
    before = {path: path.stat().st_ino for path in tmp_path.iterdir()}
    run(engine_of(model, tmp_path), request_of(ids[: 4 * BLOCK]))
    assert {path: path.stat().st_ino for path in tmp_path.iterdir()} == before


def test_what_memory_holds_goes_before_the_disk_and_they_add_up(
    model: Transformer, tmp_path: Path, read: list[list[int]]
) -> None:
    ids = ids_of(4 * BLOCK + 2)
    expected = run(engine_of(model), request_of(ids))
    run(engine_of(model, tmp_path), request_of(ids))
    engine = engine_of(model, tmp_path)
    run(engine, request_of([*ids[:100], 7]))  # its cache ends amid a block
    read.clear()
    assert run(engine, request_of(ids)) == expected
    assert read[0] == [2]
    read.clear()
    assert run(engine, request_of(ids)) == expected
    assert read[0] == [1]


@pytest.mark.parametrize("seed", range(6))
def test_no_reply_tells_where_its_prompt_came_from(tmp_path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    windows = (BLOCK, 0) if seed % 2 else None
    model = random_model(trained_length=[100, 2000][seed % 3 == 0], context_length=2000, attention_windows=windows)
    if seed == 5:
        model.cache_dtype = torch.float16
    generator = random.Random(seed)
    texts = [ids_of(1700, seed=n) for n in range(3)]
    for _ in range(4):
        engine = engine_of(model, tmp_path, max_bytes=generator.choice([1 << 30, 1 << 20]))
        requests = []
        for _ in range(4):
            ids = generator.choice(texts)[: generator.choice([1, BLOCK, BLOCK + 1, 200, 700, 1690])]
            sampling = generator.choice([Greedy(), Sample(seed=generator.randrange(9))])
            requests.append(request_of(ids, sampling=sampling, ntk=generator.choice(["recompute", "original"])))
        expected = [run(engine_of(model), request_of(r.ids, sampling=r.sampling, ntk=r.ntk))[0] for r in requests]
        half = generator.randrange(5)
        assert run(engine, *requests[:half]) + run(engine, *requests[half:]) == expected
    assert any(tmp_path.iterdir())


def test_what_has_wound_around_a_ring_is_not_kept(tmp_path: Path, read: list[list[int]]) -> None:
    torch.manual_seed(3)
    model = random_model(attention_windows=(40, 0), context_length=3000, trained_length=3000)
    run(engine_of(model, tmp_path), request_of(ids_of(2000)))
    ring = model.new_sequence_cache(capacity=2000).num_slots[0]
    assert len(list(tmp_path.iterdir())) * BLOCK <= ring < 2000
    read.clear()
    expected = run(engine_of(model), request_of(ids_of(1000)))
    read.clear()
    assert run(engine_of(model, tmp_path), request_of(ids_of(1000))) == expected
    assert sum(map(sum, read)) < 1000


def test_what_another_model_or_setting_made_is_not_found(
    model: Transformer, tmp_path: Path, read: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ids_of(2 * BLOCK + 1)
    run(engine_of(model, tmp_path), request_of(ids))

    def is_found(**options: Any) -> bool:
        engine = engine_of(model, tmp_path, **options)
        request = request_of(ids, **({"max_length": 900, "ntk": "reserve"} if model.config.dynamic_ntk else {}))
        engine.add(request)
        read.clear()
        engine.step()
        engine.cancel(request)
        return read[0] == [1]

    assert is_found(weights="w") is False  # another alpha is planned
    run(engine_of(model, tmp_path), request_of(ids, max_length=900, ntk="reserve"))
    assert is_found() and not is_found(weights="another's")
    names = native.available_instruction_sets()
    if len(names) > 1:
        native.use_instruction_set(names[-1])
        try:
            assert not is_found()
        finally:
            native.use_instruction_set(names[0])
    with monkeypatch.context() as patch:
        patch.setattr(model, "cache_dtype", torch.float16)
        assert not is_found()


def test_weights_that_were_changed_end_its_use(tmp_path: Path, read: list[list[int]]) -> None:
    torch.manual_seed(2)
    model, ids = random_model(trained_length=400), ids_of(BLOCK + 3)
    engine = engine_of(model, tmp_path)
    run(engine, request_of(ids))
    engine = engine_of(model, tmp_path)
    with torch.no_grad():
        model.layers[0].attention_norm.weight.mul_(3.0)
    with pytest.warns(UserWarning, match="prompt_cache is not used any more"):
        (reply,) = run(engine, request_of(ids))
    assert reply == run(engine_of(model), request_of(ids))[0]


def test_damaged_and_foreign_files_are_made_again(
    model: Transformer, tmp_path: Path, read: list[list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    ids = ids_of(3 * BLOCK + 1)
    expected = run(engine_of(model, tmp_path), request_of(ids))
    files = sorted(tmp_path.iterdir(), key=lambda path: -path.stat().st_mtime_ns)  # as they follow each other
    for damage in ("cut", "swapped", "huge", "others", "pipe", "gone"):
        if damage == "cut":
            files[1].write_bytes(files[1].read_bytes()[:-50])
        elif damage == "huge":
            os.truncate(files[1], 1 << 40)
        elif damage == "others":
            write_checked(files[1], {**read_checked(files[1]), "more": torch.empty(0)})
        elif damage == "swapped":  # whole, but another's
            files[1].write_bytes(files[2].read_bytes())
        else:
            files[1].unlink()
            if damage == "pipe" and hasattr(os, "mkfifo"):
                os.mkfifo(files[1])
        read.clear()
        assert run(engine_of(model, tmp_path), request_of(ids)) == expected
        assert read[0] == [2 * BLOCK + 1]
        assert (str(files[1]) in capsys.readouterr().err) is (damage != "gone")
        read.clear()
        assert run(engine_of(model, tmp_path), request_of(ids)) == expected
        assert read[0] == [1]


def test_a_full_disk_costs_nothing_but_the_saving(
    model: Transformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def full(self: TensorFolder, name: str, tensors: object) -> None:
        calls.append(name)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TensorFolder, "write", full)
    engine, ids = engine_of(model, tmp_path), ids_of(2 * BLOCK)
    with pytest.warns(UserWarning, match="cannot be written to: No space left"):
        assert run(engine, request_of(ids)) == run(engine_of(model), request_of(ids))
    run(engine, request_of(ids_of(2 * BLOCK, seed=1)))
    assert len(calls) == 1


def test_two_processes_share_a_folder_that_is_too_small(model: Transformer, tmp_path: Path) -> None:
    prompts = [ids_of(3 * BLOCK + 1, seed=seed) for seed in range(4)]
    expected = [run(engine_of(model), request_of(ids))[0] for ids in prompts]
    failures: list[object] = []

    def work(seed: int) -> None:
        generator = random.Random(seed)
        for _ in range(12):
            number = generator.randrange(4)
            engine = engine_of(model, tmp_path, max_bytes=generator.choice([40_000, 120_000]))
            if run(engine, request_of(prompts[number])) != [expected[number]]:
                failures.append((seed, number))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


STARTS = """
import sys
import qwen7b
for number in range(1, 1000):
    qwen = qwen7b.load(sys.argv[1], quantize="q8", prompt_cache=sys.argv[2], prompt_cache_bytes=int(sys.argv[3]))
    replies = [qwen.complete(f"{start}" * 80, max_new_tokens=3).token_ids for start in (number % 7, 8)]
    print(number % 7, replies, flush=True)
"""


def test_processes_that_are_killed_leave_nothing_wrong(
    tiny_chat_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path / "cache"))
    qwen = qwen7b.load(tiny_chat_checkpoint, quantize="q8")
    expected = {
        start: [qwen.complete(f"{digit}" * 80, max_new_tokens=3).token_ids for digit in (start, 8)]
        for start in range(7)
    }
    folder = str(tmp_path / "prompts")
    command = [sys.executable, "-c", STARTS, str(tiny_chat_checkpoint), folder]
    processes = [
        subprocess.Popen([*command, limit], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for limit in ("20000", "1000000")
    ]
    for process in processes:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(9)]
        process.kill()
        lines += process.communicate()[0].splitlines(keepends=True)
        whole = [line.split(maxsplit=1) for line in lines if line.endswith("]]\n")]
        assert len(whole) >= 9 and all(ast.literal_eval(replies) == expected[int(start)] for start, replies in whole)
    qwen = qwen7b.load(tiny_chat_checkpoint, quantize="q8", prompt_cache=folder)
    for start, replies in expected.items():
        assert [qwen.complete(f"{digit}" * 80, max_new_tokens=3).token_ids for digit in (start, 8)] == replies


def test_a_long_prompt_is_restored_without_stalling_others(
    model: Transformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ids_of(5 * BLOCK + 1)
    expected = run(engine_of(model, tmp_path), request_of(ids))[0]
    engine, other = engine_of(model, tmp_path), Request(ids=[1], max_length=60)
    engine.add(other)
    for _ in range(3):
        engine.step()
    monkeypatch.setattr("qwen7b.generate.pace.Pace.seconds_of_rows", lambda self, counts: [1e-9] * len(counts))
    request = request_of(ids)
    engine.add(request)
    for number in range(1, 6):
        length = len(other.ids)
        engine.step()
        assert request.num_read == number * BLOCK and len(other.ids) == length + 1
    while engine.step():
        pass
    assert request.ids == expected


@pytest.mark.parametrize("quantize", ["q8", "none"])
def test_a_loaded_model_finds_its_prompts_again(
    tiny_chat_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read: list[list[int]],
    quantize: str,
) -> None:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path / "cache"))
    folder = Path(shutil.copytree(tiny_chat_checkpoint, tmp_path / "model"))
    prompts = tmp_path / "prompts"

    def first_pass() -> list[int]:
        qwen = qwen7b.load(folder, quantize=quantize, device="cpu", prompt_cache=prompts)
        read.clear()
        messages = [{"role": "system", "content": "1" * 2 * BLOCK}, {"role": "user", "content": "hello"}]
        replies.append(qwen.chat(messages, max_new_tokens=4))
        return read[0]

    replies: list[qwen7b.Reply] = []
    (cold,), (warm,) = first_pass(), first_pass()
    assert cold > 2 * BLOCK >= cold - warm > BLOCK and replies[0] == replies[1]
    os.utime(folder / "model.safetensors", (1, 1))
    if quantize == "q8":  # packed again, to the same bits
        assert first_pass() == [warm]
        weights = load_file(folder / "model.safetensors")
        save_file({name: tensor * 1.5 for name, tensor in weights.items()}, folder / "model.safetensors")
    assert first_pass() == [cold]


def test_weights_that_are_not_kept_have_no_prompts_kept(tiny_chat_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QWEN7B_CACHE", str(tmp_path / "file"))
        with (
            pytest.warns(UserWarning, match="the packed weights are not kept"),
            pytest.warns(UserWarning, match="prompt_cache is not used"),
        ):
            qwen7b.load(tiny_chat_checkpoint, quantize="q8", prompt_cache=tmp_path / "prompts")


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", "", 3, "a\0b"):
        with pytest.raises(SettingError, match="prompt_cache"):
            open_prompt_cache(folder, max_bytes=1000)  # type: ignore[arg-type]
    for limit in (0, -1, 1.5, "much"):
        with pytest.raises(SettingError, match="prompt_cache_bytes"):
            open_prompt_cache(tmp_path, max_bytes=limit)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="prompt_cache_bytes is of no use without a prompt_cache"):
        qwen7b.load(tmp_path, prompt_cache_bytes=5)
