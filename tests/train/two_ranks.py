"""What two ranks do together: tests that both of them run, which test_ranks.py starts by torchrun."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import nn

import tiny
from qwen7b.adapters.adapted_modules import adapter_of, add_adapter
from qwen7b.adapters.adapter_files import read_adapter
from qwen7b.adapters.settings import LoraSettings
from qwen7b.errors import ResourceError, SettingError, TrainingError
from qwen7b.files.tensor_file import TensorFile
from qwen7b.model import Transformer
from qwen7b.train.adapter_folder import AdapterFolder
from qwen7b.train.finetune_recipe import FinetuneRecipe
from qwen7b.train.finetuning import finetune
from qwen7b.train.loss import summed_loss
from qwen7b.train.mesh_settings import MeshSettings
from qwen7b.train.micro_batch import NO_TARGET, MicroBatch, labelled
from qwen7b.train.objective import BatchLoss
from qwen7b.train.optimizer_settings import AdamW, Muon
from qwen7b.train.pretraining import pretrain
from qwen7b.train.rank_group import RankGroup
from qwen7b.train.ranks import ALONE, Ranks
from qwen7b.train.run_log import read_log
from qwen7b.train.validation import HeldOut, bits_per_byte
from train.tiny_training import random_batches, run_in, small_model, write_pretraining
from train.together import StoppedError, contents, gradients_of, stop_at


def without_targets(batch: MicroBatch) -> MicroBatch:
    return MicroBatch(sequences=batch.sequences, targets=torch.full_like(batch.targets, NO_TARGET))


@pytest.mark.parametrize(
    "changes", [{}, {"family": "qwen2", "num_kv_heads": 2, "tied_head": True}], ids=["qwen", "qwen2"]
)
@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_are_those_of_one_process_with_two_accumulations(
    ranks: Ranks, changes: dict[str, Any], recompute: bool
) -> None:
    parts = random_batches(0)
    free = {"max_grad_norm": 1e9, "activation_checkpointing": recompute}
    record, expected = gradients_of(small_model(**changes), parts, ALONE, **free)
    shared, actual = gradients_of(small_model(ranks=ranks, **changes), parts, ranks, **free)
    assert (shared.loss, shared.tokens, shared.targets) == (record.loss, record.tokens, record.targets)
    assert shared.grad_norm == pytest.approx(record.grad_norm, rel=1e-6)
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)
    _, expected = gradients_of(small_model(**changes), parts, ALONE, max_grad_norm=0.01)
    _, clipped = gradients_of(small_model(ranks=ranks, **changes), parts, ranks, max_grad_norm=0.01)
    for name in expected:
        assert (clipped[name] - expected[name]).abs().max() <= 1e-6 * 0.01


@pytest.mark.parametrize("empty", [0, 1])
def test_a_rank_without_a_target_is_harmless(ranks: Ranks, empty: int) -> None:
    parts = random_batches(0)
    parts[empty] = without_targets(parts[empty])
    record, expected = gradients_of(small_model(), parts, ALONE)
    shared, actual = gradients_of(small_model(ranks=ranks), parts, ranks)
    assert shared.targets == record.targets == 22 and shared.loss == record.loss
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name], rtol=1e-6, atol=1e-9)


def test_parts_of_different_numbers_of_targets_and_an_odd_number_of_them(ranks: Ranks) -> None:
    """A mean over ranks would weigh them wrongly; where the parts run out a rank computes nothing of use."""
    ids = torch.arange(1, 21)
    few = torch.full((20,), NO_TARGET)
    few[3] = ids[3]
    parts = [labelled([ids], [few]), labelled([ids + 30], [ids + 30]), labelled([ids + 7], [ids + 7])]
    record, expected = gradients_of(small_model(), parts, ALONE, max_grad_norm=1e9)
    shared, actual = gradients_of(small_model(ranks=ranks), parts, ranks, max_grad_norm=1e9)
    assert shared.targets == record.targets == 39
    assert shared.loss == pytest.approx(record.loss, rel=1e-12)
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name], rtol=1e-5, atol=1e-7)


def test_a_step_without_any_target_is_refused_by_all(ranks: Ranks) -> None:
    parts = [without_targets(part) for part in random_batches(0)]
    with pytest.raises(TrainingError, match="step 1 has no token to learn"):
        gradients_of(small_model(ranks=ranks), parts, ranks)


def test_in_bfloat16_only_the_norms_weights_are_rounded(ranks: Ranks) -> None:
    parts = random_batches(0)
    model, shared = small_model(), small_model(ranks=ranks, dtype=torch.bfloat16)
    record, expected = gradients_of(model, parts, ALONE, dtype=torch.bfloat16, max_grad_norm=1e9)
    own, actual = gradients_of(shared, parts, ranks, dtype=torch.bfloat16, max_grad_norm=1e9)
    assert own.loss == record.loss  # new norms are 1, which bfloat16 has
    for name in expected:
        assert actual[name].dtype == torch.float32
        torch.testing.assert_close(actual[name], expected[name], rtol=2e-2, atol=1e-4)


def test_dropout_differs_from_rank_to_rank(ranks: Ranks) -> None:
    drawn = []

    def objective(model: Transformer, batch: MicroBatch, *, dtype: torch.dtype) -> BatchLoss:
        drawn.append(float(torch.rand(())))
        return BatchLoss(total=summed_loss(model, batch, dtype=dtype), logged={"drawn": drawn[-1]})

    record, _ = gradients_of(small_model(ranks=ranks), random_batches(0), ranks, objective=objective)
    each = ranks.sums(*(drawn[0] if rank == ranks.rank else 0.0 for rank in range(2)))
    assert each[0] != each[1]
    assert record.logged == {"drawn": pytest.approx(sum(each) / record.targets)}


@pytest.mark.parametrize("place", ["weight", "output", "gradient"])
def test_what_is_no_number_on_one_rank_is_named_on_all(ranks: Ranks, place: str) -> None:
    model, parts = small_model(ranks=ranks), random_batches(0)
    weight = model.layers[1].feed_forward.gate.weight
    first, rows = ranks.own(weight)
    with torch.no_grad():
        if place == "weight" and first + len(rows) == len(weight):  # the last row's
            rows[-1, 4] = torch.inf
        if place == "output":
            model.layers[1].attention.output.weight.fill_(1e38)
            model.layers[1].attention.qkv.weight.fill_(1e20)
    expected = {
        "weight": r"the weight layers\.1\.feed_forward\.gate\.weight is not finite",
        "output": r"the output of layers\.1\.attention\.\w+ is not finite, in micro-batch 0",
        "gradient": r"the gradient of norm\.weight is not finite",
    }[place]
    if place == "gradient" and ranks.rank == 1:

        def overflow(module: nn.Module, gradients: Any) -> Any:
            return tuple(one * torch.inf for one in gradients)

        model.norm.register_full_backward_pre_hook(overflow)
    with pytest.raises(TrainingError, match=rf"step 1 has the loss .* {expected} \(rank \d\)"):
        gradients_of(model, parts, ranks)


def test_what_the_first_rank_alone_does_is_known_to_all(joined: Ranks) -> None:
    done = []

    def work() -> str:
        done.append(1)
        return "result"

    assert joined.on_first(work) == "result"
    assert len(done) == (joined.rank == 0)

    def refuse() -> None:
        raise SettingError("a folder of something else")

    with pytest.raises(SettingError, match="a folder of something else"):
        joined.on_first(refuse)


def test_bits_per_byte_are_those_of_one_process(ranks: Ranks) -> None:
    parts = [part for step in range(3) for part in random_batches(step)][:5]
    held_out = HeldOut(batches=tuple(parts), text=b"x" * 100)
    model = small_model(ranks=ranks)
    shared = bits_per_byte(model, held_out, ranks=ranks)
    assert shared == pytest.approx(bits_per_byte(small_model(), held_out), rel=1e-9)
    assert all(len(ranks.own(one)[1]) <= one.shape[0] for one in model.parameters())
    gradients_of(model, random_batches(0), ranks)  # training goes on after a look


@pytest.mark.parametrize("tied", [False, True], ids=["two matrices", "tied"])
def test_adapters_have_the_gradients_of_one_process_and_lie_whole_in_their_folder(
    ranks: Ranks, tied: bool, tmp_path: Path
) -> None:
    lora = LoraSettings(targets=("q_proj", "o_proj", "down_proj"), rank=3, dropout=0.0, token_ids=(5, 9))
    folder = AdapterFolder(settings=lora, base="base")

    def adapted() -> Transformer:
        torch.manual_seed(1)
        model = small_model(family="qwen2", tied_head=tied)
        add_adapter(model, lora)
        for name, parameter in model.named_parameters():
            if name.endswith(".b"):
                torch.nn.init.normal_(parameter, std=0.1)
        return model

    parts = random_batches(0)
    _, expected = gradients_of(adapted(), parts, ALONE, max_grad_norm=1e9)
    model = adapted()
    ranks.shard(model, dtype=torch.float32)
    _, actual = gradients_of(model, parts, ranks, max_grad_norm=1e9)
    assert actual.keys() == expected.keys() and len(expected) == 12 + (1 if tied else 2)
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name], rtol=1e-6, atol=1e-9)
    saved = Path(ranks.on_first(lambda: str(tmp_path)))
    folder.save(model, saved, ranks)
    written = read_adapter(saved)
    for stem, pair in adapter_of(adapted(), lora).factors.items():
        assert all(torch.equal(*both) for both in zip(pair, written.factors[stem], strict=True))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.zero_()
    folder.restore(model, saved, ranks)
    _, again = gradients_of(model, parts, ranks, max_grad_norm=1e9)
    assert all(torch.equal(again[name], actual[name]) for name in actual)


def test_a_step_may_be_written_while_the_next_ones_are_computed(
    joined: Ranks, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on GPUs: what is written is the step as it was, and it has no name before all of it is written."""
    folder = Path(joined.on_first(lambda: str(tmp_path_factory.mktemp("aside"))))
    vocabulary = folder / "tokenizer.json"
    joined.on_first(lambda: tiny.write_tokenizer_json(vocabulary))
    ranks = RankGroup(MeshSettings(), device=torch.device("cpu"))
    named = {"steps": 5, "save_every": 2, "keep": 9}
    run_in(folder / "waiting", vocabulary, ranks=ranks, **named)
    ranks.writes_aside, seen, write = True, [], TensorFile.write

    def slow(self: TensorFile, *given: Any, **more: Any) -> Any:
        time.sleep(0.01)
        seen.append([path.name for path in self.path.parents[1].iterdir()])
        return write(self, *given, **more)

    monkeypatch.setattr(TensorFile, "write", slow)
    run_in(folder / "aside", vocabulary, ranks=ranks, **named)
    assert "step-00000002.partial" in seen[0] and "step-00000002" not in seen[0]
    for number in (2, 4, 5):
        one, other = (folder / name / "steps" / f"step-{number:08}" for name in ("waiting", "aside"))
        assert {path.name: path.read_bytes() for path in one.iterdir()} == {
            path.name: path.read_bytes() for path in other.iterdir()
        }


def test_a_full_disk_on_one_rank_ends_the_run_on_all_and_leaves_the_last_good_step(
    joined: Ranks, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(joined.on_first(lambda: str(tmp_path_factory.mktemp("full"))))
    vocabulary, write = folder / "tokenizer.json", TensorFile.write
    joined.on_first(lambda: tiny.write_tokenizer_json(vocabulary))

    def full(self: TensorFile, *given: Any, **more: Any) -> Any:
        if joined.rank == 1 and "step-00000004" in str(self.path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        return write(self, *given, **more)

    monkeypatch.setattr(TensorFile, "write", full)
    with pytest.raises(ResourceError, match=r"the disk that holds .* is full"):
        run_in(folder / "run", vocabulary, ranks=joined)
    joined.sums(0)
    assert [path.name for path in (folder / "run" / "steps").iterdir()] == ["step-00000002"]
    monkeypatch.undo()
    assert run_in(folder / "run", vocabulary, ranks=joined).name == "step-00000006"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_of_pretraining_is_looked_at_on_its_way(
    joined: Ranks, precision: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qwen7b.train.precision._SECONDS", 0.01)
    folder = Path(joined.on_first(lambda: str(tmp_path_factory.mktemp("pretraining"))))

    def write() -> None:
        path = write_pretraining(folder)
        path.write_text(path.read_text().replace('"float32"', f'"{precision}"'))

    joined.on_first(write)
    pretrain(folder / "recipe.toml", folder / "two", mesh=MeshSettings(shards=1))
    joined.on_first(lambda: str(pretrain_alone(folder / "recipe.toml", folder / "one")))
    logs = [[*read_log(folder / name / "log.jsonl")] for name in ("one", "two")]
    for one, two in zip(*logs, strict=True):
        assert one.keys() == two.keys()
        for key in one.keys() - {"samples"}:
            assert two[key] == pytest.approx(one[key], rel=1e-5 if precision == "float32" else 3e-2)
        assert precision == "bfloat16" or one.get("samples") == two.get("samples")


def pretrain_alone(recipe: Path, folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", "1")
        return pretrain(recipe, folder)


@pytest.mark.parametrize("quantize", [None, "q8"])
def test_fine_tuning_by_an_adapter_is_shared(
    joined: Ranks, quantize: str | None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qwen7b.train.precision._SECONDS", 0.01)
    folder = Path(joined.on_first(lambda: str(tmp_path_factory.mktemp("tuning"))))
    monkeypatch.setenv("QWEN7B_CACHE", str(folder / f"cache{joined.rank}"))

    def write() -> None:
        generation = {"eos_token_id": 266, "chat_format": "raw"}
        tensors = tiny.qwen2_tensors()
        tiny.write_folder(folder / "base", tiny.QWEN2_CONFIG, tensors, tokenizer=True, generation=generation)
        lines = [{"instruction": f"the {number}", "output": "hell " * number} for number in range(1, 6)]
        (folder / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    joined.on_first(write)
    recipe = FinetuneRecipe(
        model=str(folder / "base"),
        data=(str(folder / "data.jsonl"),),
        rows=5,
        micro_tokens=40,  # an odd number of parts
        steps=3,
        precision="float32",
        quantize=quantize,
        lora=LoraSettings(targets=("q_proj", "down_proj"), rank=2, dropout=0.0),
    )
    two = finetune(recipe, folder / "two", control_rows=True, device="cpu", mesh=MeshSettings())

    def alone() -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WORLD_SIZE", "1")
            return str(finetune(recipe, folder / "one", control_rows=True, device="cpu"))

    one = Path(joined.on_first(alone))
    pair = [load((step / "adapter_model.safetensors").read_bytes()) for step in (one, two)]
    assert pair[0].keys() == pair[1].keys()
    for name in pair[0]:
        torch.testing.assert_close(pair[1][name], pair[0][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("shards", "optimizer"), [(2, AdamW()), (1, AdamW()), (2, Muon())], ids=["sharded", "copied", "muon"]
)
def test_a_run_goes_on_with_another_number_of_ranks(
    joined: Ranks,
    shards: int,
    optimizer: AdamW | Muon,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two ranks, one process, two ranks; the same bits as an unbroken run where no sum has more than two parts."""
    ranks = RankGroup(MeshSettings(shards=shards), device=torch.device("cpu"))
    folder = Path(ranks.on_first(lambda: str(tmp_path_factory.mktemp("runs"))))
    vocabulary = folder / "tokenizer.json"
    ranks.on_first(lambda: tiny.write_tokenizer_json(vocabulary))
    named = {"steps": 3, "save_every": 1, "keep": 1, "max_grad_norm": 1e9, "optimizer": optimizer}
    ranks.on_first(lambda: str(run_in(folder / "alone", vocabulary, **named)))
    run_in(folder / "shared", vocabulary, ranks=ranks, **named)

    def in_one_process() -> None:
        with pytest.raises(StoppedError):
            run_in(folder / "changing", vocabulary, **named)

    stop_at(1, monkeypatch)
    with pytest.raises(StoppedError):
        run_in(folder / "changing", vocabulary, ranks=ranks, **named)
    stop_at(2, monkeypatch)
    ranks.on_first(in_one_process)
    stop_at(3, monkeypatch)
    last = run_in(folder / "changing", vocabulary, ranks=ranks, **named)
    assert last.name == "step-00000003"
    alone, shared, changing = (contents(folder / name) for name in ("alone", "shared", "changing"))
    assert alone.keys() == shared.keys() == changing.keys()
    if isinstance(optimizer, AdamW):
        assert changing == shared == alone
    else:  # whose products of matrices the ranks share
        weights = [load(one["model.safetensors"]) for one in (alone, shared, changing)]
        for name, expected in weights[0].items():
            for other in weights[1:]:
                torch.testing.assert_close(other[name], expected, atol=1e-4, rtol=0)
