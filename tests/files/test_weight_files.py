"""Weights in whatever files tools leave them: they load as they are, and a warning says what was guessed."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import qwen7b
import tiny
from qwen7b.convert import convert
from qwen7b.doctor import diagnose
from qwen7b.errors import CheckpointError
from qwen7b.loading import load_model

IDS = torch.arange(1, 40)[None]


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    return tiny.qwen_tensors()


@pytest.fixture
def expected(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return logits(tiny.write_folder(tmp_path / "expected", tiny.V11_CONFIG, tensors))


def logits(folder: Path) -> torch.Tensor:
    with torch.inference_mode():
        return load_model(folder)(IDS)


def write(folder: Path, tensors: dict[str, torch.Tensor], *names: str) -> Path:
    """A folder whose tensors are dealt out to files of these names."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(tiny.V11_CONFIG))
    for place, name in enumerate(names):
        part = {key: tensors[key] for key in sorted(tensors)[place :: len(names)]}
        if name.lower().endswith(".safetensors"):
            save_file(part, folder / name)
        else:
            torch.save(part, folder / name)
    return folder


@pytest.mark.parametrize("whole", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("kind", ["other shards", "lacks its shards", "not JSON", "no map"])
def test_a_whole_file_beside_a_stale_index(
    tmp_path: Path, tensors: dict[str, torch.Tensor], expected: torch.Tensor, whole: str, kind: str
) -> None:
    folder = write(tmp_path / "model", tensors, whole)
    shards = ["old-1.safetensors", "old-2.safetensors"] if kind != "lacks its shards" else []
    write(folder, tiny.qwen_tensors(), *shards)
    weight_map = dict.fromkeys(tensors, "old-1.safetensors") | {"lm_head.weight": "old-2.safetensors"}
    index = {"not JSON": "{", "no map": "{}"}.get(kind) or json.dumps({"weight_map": weight_map})
    (folder / f"{whole}.index.json").write_text(index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.equal(logits(folder), expected)


def test_sharded_safetensors_go_before_a_pickled_file(
    tmp_path: Path, tensors: dict[str, torch.Tensor], expected: torch.Tensor
) -> None:
    folder = tiny.write_folder(tmp_path / "model", tiny.V11_CONFIG, tensors, shards=2)
    torch.save(tiny.qwen_tensors(), folder / "pytorch_model.bin")
    assert torch.equal(logits(folder), expected)


def test_a_stale_index_is_named_in_a_warning(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    folder = write(tmp_path / "model", tensors, "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(tensors, "gone")}))
    with pytest.warns(UserWarning, match=r"model.safetensors is read, and not the shards that model.safetensors.index"):
        load_model(folder)


def test_an_index_of_the_whole_file_itself_is_no_reason_to_warn(
    tmp_path: Path, tensors: dict[str, torch.Tensor], expected: torch.Tensor
) -> None:
    folder = write(tmp_path / "model", tensors, "model.safetensors")
    weight_map = dict.fromkeys(tensors, "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert torch.equal(logits(folder), expected)


@pytest.mark.parametrize(
    "leftover",
    [
        {"lm_head.weight": torch.zeros(3)},
        {},
    ],
    ids=["some tensors", "empty"],
)
def test_shards_beside_a_file_that_is_less(
    tmp_path: Path, tensors: dict[str, torch.Tensor], expected: torch.Tensor, leftover: dict[str, torch.Tensor]
) -> None:
    """Trainers that share a model among GPUs leave a small model.safetensors beside the shards that count."""
    folder = tiny.write_folder(tmp_path / "model", tiny.V11_CONFIG, tensors, shards=2)
    save_file(leftover, folder / "model.safetensors")
    assert torch.equal(logits(folder), expected)


def test_a_missing_shard_beside_a_file_that_is_less(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    folder = tiny.write_folder(tmp_path / "model", tiny.V11_CONFIG, tensors, shards=3)
    (folder / "model-00003-of-00003.safetensors").unlink()
    save_file({"lm_head.weight": tensors["lm_head.weight"]}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks 1 of 3 shards \(model-00003-of-00003"):
        load_model(folder)


@pytest.mark.parametrize(
    "names",
    [
        ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
        ("pytorch_model-00001-of-00003.bin", "pytorch_model-00002-of-00003.bin", "pytorch_model-00003-of-00003.bin"),
        ("model_1_of_2.safetensors", "model_2_of_2.safetensors"),
        ("qwen.0-of-2.fp32.safetensors", "qwen.1-of-2.fp32.safetensors"),
        ("model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"),
        ("consolidated.safetensors",),
        ("consolidated.00.pth",),
        ("consolidated.00.pth", "consolidated.01.pth"),
        ("model.bin",),
        ("model.pt",),
        ("model.fp16.safetensors",),
        ("qwen-7b-chat-merged.safetensors",),
        ("model-part-1.safetensors", "model-part-2.safetensors", "model-part-3.safetensors"),
        ("weights.00.safetensors", "weights.01.safetensors"),
    ],
)
def test_names_that_tools_give(
    tmp_path: Path, tensors: dict[str, torch.Tensor], expected: torch.Tensor, names: tuple[str, ...]
) -> None:
    folder = write(tmp_path / "model", tensors, *names)
    torch.save({"args": 1}, folder / "training_args.bin")
    torch.save({"state": torch.zeros(3)}, folder / "optimizer.pt")
    with pytest.warns(UserWarning, match="no index|unusual name"):
        assert torch.equal(logits(folder), expected)


WRAPPERS = ["module.", "_orig_mod.", "module._orig_mod.", "base_model.model.", "_fsdp_wrapped_module.", "model."]


@pytest.mark.parametrize("wrapper", [*WRAPPERS, "_forward_module.model."])
def test_names_of_a_wrapper_are_left_out(
    tmp_path: Path, tensors: dict[str, torch.Tensor], expected: torch.Tensor, wrapper: str
) -> None:
    folder = write(
        tmp_path / "model", {wrapper + name: tensor for name, tensor in tensors.items()}, "model.safetensors"
    )
    with pytest.warns(UserWarning, match="names of all tensors .* begin with"):
        assert torch.equal(logits(folder), expected)


def test_a_wrapper_of_the_same_name_as_the_model(tmp_path: Path) -> None:
    tensors = tiny.qwen2_tensors()
    expected = logits(tiny.write_folder(tmp_path / "own", tiny.QWEN2_CONFIG, tensors))
    wrapped = {f"model.{name}": tensor for name, tensor in tensors.items()}
    with pytest.warns(UserWarning, match="names of all tensors .* begin with 'model.'"):
        assert torch.equal(logits(tiny.write_folder(tmp_path / "wrapped", tiny.QWEN2_CONFIG, wrapped)), expected)


@pytest.mark.parametrize("index", ["model.safetensors.index.fp16.json", "qwen.safetensors.index.json"])
def test_an_index_of_another_name(
    tmp_path: Path, tensors: dict[str, torch.Tensor], expected: torch.Tensor, index: str
) -> None:
    folder = tiny.write_folder(tmp_path / "model", tiny.V11_CONFIG, tensors, shards=2)
    (folder / "model.safetensors.index.json").rename(folder / index)
    assert torch.equal(logits(folder), expected)


def test_what_can_be_read_is_read_where_the_usual_file_is_a_pointer(
    tmp_path: Path, tensors: dict[str, torch.Tensor], expected: torch.Tensor
) -> None:
    folder = write(tmp_path / "model", tensors, "pytorch_model.bin")
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.warns(UserWarning, match=r"read from pytorch_model.bin, as model.safetensors cannot be .*Git LFS"):
        assert torch.equal(logits(folder), expected)


def test_an_index_that_promises_too_much(
    tmp_path: Path, tensors: dict[str, torch.Tensor], expected: torch.Tensor
) -> None:
    folder = tiny.write_folder(tmp_path / "model", tiny.V11_CONFIG, tensors, shards=2)
    index = folder / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"] | {"extra": "model-00009-of-00009.safetensors"}
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.warns(UserWarning, match="lacks 1 of 3 shards"):
        assert torch.equal(logits(folder), expected)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors"), r"lacks 1 of 3 .*00003-of-00003"),
        (("part-2-of-4.bin",), "lacks 3 of 4 shards .*part-1-of-4.bin"),
        (("model-99999-of-99999.safetensors",), "lacks 99998 of 99999 shards"),
    ],
)
def test_missing_shards_are_named_without_an_index(
    tmp_path: Path, tensors: dict[str, torch.Tensor], names: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        load_model(write(tmp_path / "model", tensors, *names))


def test_several_models_in_one_folder(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    folder = write(tmp_path / "model", tensors, "a.safetensors")
    write(folder, tensors, "b.safetensors")
    with pytest.raises(CheckpointError, match=r"several models.*leave only the files of one"):
        load_model(folder)


def test_adapters_and_training_state_are_no_weights(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", {"x": torch.zeros(1)}, "adapter_model.safetensors")
    torch.save({}, folder / "optimizer.pt")
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_model(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "model.gguf"])
def test_pointers_in_place_of_files(tmp_path: Path, tensors: dict[str, torch.Tensor], name: str) -> None:
    folder = tiny.write_folder(tmp_path / "model", tiny.V11_CONFIG, tensors, tokenizer=True)
    if name == "model.gguf":
        (folder / "model.safetensors").unlink()
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(CheckpointError, match=f"{name} is a Git LFS pointer.*'git lfs pull'"):
        qwen7b.load(folder)
    assert any("'git lfs pull'" in finding.message for finding in diagnose(folder).findings)


@pytest.mark.parametrize(
    "names",
    [
        ["MODEL.SAFETENSORS"],
        ["model.SafeTensors"],
        ["PYTORCH_MODEL.BIN"],
        ["MODEL-00001-OF-00002.SAFETENSORS", "MODEL-00002-OF-00002.SAFETENSORS"],
        ["Weights.PTH"],
    ],
    ids=lambda names: names[0],
)
@pytest.mark.filterwarnings("ignore:.*(no index|unusual name)")
def test_names_in_capitals(
    tmp_path: Path, tensors: dict[str, torch.Tensor], expected: torch.Tensor, names: list[str]
) -> None:
    folder = write(tmp_path / "model", tensors, *names)
    assert torch.equal(logits(folder), expected)
    tiny.write_tokenizer_json(folder / "tokenizer.json")
    assert diagnose(folder).is_healthy
    with pytest.raises(CheckpointError, match="is a part of a checkpoint: give the folder"):
        load_model(folder / names[0])
    assert diagnose(folder / names[0]).facts["tensors"]


def test_tokenizers_and_ggufs_in_capitals(tmp_path: Path) -> None:
    file = tiny.write_tokenizer_json(tmp_path / "tokenizer.json").rename(tmp_path / "TOKENIZER.JSON")
    assert qwen7b.load_tokenizer(file).encode("hello") == [258, 78]
    with pytest.warns(UserWarning, match="is taken for the tokenizer"):
        assert qwen7b.load_tokenizer(tmp_path).encode("hello") == [258, 78]
    folder = tiny.write_folder(tmp_path / "m", tiny.QWEN2_CONFIG, tiny.qwen2_tensors(), tokenizer=True)
    convert(folder, tmp_path / "m.GGUF", to="gguf")
    for path in (tmp_path / "m.GGUF", shutil.copytree(folder, tmp_path / "n", ignore=shutil.ignore_patterns("*"))):
        if path.is_dir():
            shutil.copy(tmp_path / "m.GGUF", path / "M.GGUF")
        assert qwen7b.load_model(path).config.num_layers == tiny.LAYERS
