"""Where a model computes and in what form, where the caller leaves that open."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
import torch

import qwen7b
from qwen7b import kernels
from qwen7b.checkpoint import open_checkpoint
from qwen7b.convert import quantize
from qwen7b.errors import SettingError
from qwen7b.evals import Subject
from qwen7b.loading import load_model, placement
from qwen7b.loading.placement import choose_device, choose_quantize, default_dtype

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def native() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kernels.instruction_set() is None:
            pytest.skip("needs the native kernels")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA device, as far as choosing goes: with 1 GB free, and bfloat16."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(placement, "available_bytes", lambda device: 10**9)


@pytest.mark.parametrize("format", ["q8", "q4"])
def test_a_packed_checkpoint_loads_as_it_is(tiny_chat_checkpoint: Path, tmp_path: Path, format: str) -> None:
    quantize(tiny_chat_checkpoint, tmp_path / "packed", format=format)
    assert qwen7b.load(tmp_path / "packed").model.weight_format == format
    assert load_model(tmp_path / "packed").weight_format == format
    with pytest.raises(
        SettingError, match=rf"packed as {format} already, found quantize 'none'.*convert .* --to qwen'"
    ):
        qwen7b.load(tmp_path / "packed", quantize="none")


@pytest.mark.usefixtures("native")
def test_on_a_cpu_with_kernels_a_model_is_packed_and_that_is_said(
    tiny_chat_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path))
    qwen = qwen7b.load(tiny_chat_checkpoint)
    assert qwen.model.weight_format == "q8"
    said = capsys.readouterr().err
    assert said.count("Weights as q8") == 1 and "of free memory; --quantize none keeps floats" in said
    assert re.search(r"packed once, into .*: later starts as q8 find them.*Packed in \d+ s", said, re.DOTALL)
    assert len(list((tmp_path / "packed").glob("*.safetensors"))) == 1
    again = qwen7b.load(tiny_chat_checkpoint)
    assert "packed once" not in capsys.readouterr().err
    assert again.chat("hello", temperature=0) == qwen.chat("hello", temperature=0)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("asked", [{"quantize": "none"}, {"dtype": "float32"}, {"dtype": torch.bfloat16}])
def test_who_asks_for_floats_gets_them(
    tiny_chat_checkpoint: Path, capsys: pytest.CaptureFixture[str], asked: dict[str, object]
) -> None:
    model = qwen7b.load(tiny_chat_checkpoint, **asked).model  # type: ignore[arg-type]
    assert model.weight_format is None
    assert model.dtype == (torch.bfloat16 if asked.get("dtype") == torch.bfloat16 else torch.float32)
    assert capsys.readouterr().err == ""


def test_without_kernels_floats_are_loaded(tiny_chat_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "instruction_set", lambda: None)
    assert qwen7b.load(tiny_chat_checkpoint).model.weight_format is None


def test_what_measures_stays_in_floats(tiny_chat_checkpoint: Path) -> None:
    assert load_model(tiny_chat_checkpoint).weight_format is None
    assert load_model(tiny_chat_checkpoint, quantize="none").weight_format is None
    subject = Subject(tiny_chat_checkpoint, lengths=[16])
    assert subject.device == CPU and subject.model("none", "none", 16).weight_format is None


def test_a_gpu_is_taken_where_the_model_fits(
    tiny_chat_checkpoint: Path, gpu: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = open_checkpoint(tiny_chat_checkpoint)
    for asked in (None, "none"):
        assert choose_device("auto", checkpoint, quantize=asked) == CUDA
    assert choose_quantize(dtype=None, device=CUDA, quantize=None) is None
    assert choose_device("cpu", checkpoint, quantize=None) == CPU
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(placement, "available_bytes", lambda device: 1000)
    assert choose_device("auto", checkpoint, quantize=None) == CPU
    assert "Computing on the CPU: the model needs 0.0 GB as bfloat16" in capsys.readouterr().err


def test_packed_weights_go_to_the_cpu_and_that_is_said(
    tiny_chat_checkpoint: Path, gpu: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert choose_device("auto", open_checkpoint(tiny_chat_checkpoint), quantize="q8") == CPU
    assert "Packed weights run on the CPU, so cuda stays unused" in capsys.readouterr().err
    assert Subject(tiny_chat_checkpoint, precisions=["none", "q8"], lengths=[16]).device == CPU
    quantize(tiny_chat_checkpoint, tmp_path / "packed", format="q8")
    assert choose_device("auto", open_checkpoint(tmp_path / "packed"), quantize=None) == CPU


def test_packed_weights_on_a_named_gpu_are_refused(tiny_chat_checkpoint: Path) -> None:
    with pytest.raises(
        SettingError, match=r"packed weights run on the CPU only, found device 'meta': leave out device"
    ):
        placement_of_packed("meta", tiny_chat_checkpoint)


def placement_of_packed(device: str, path: Path) -> None:
    from qwen7b.loading.packed_weights import load_packed

    checkpoint = open_checkpoint(path)
    load_packed(checkpoint, "q8", config=checkpoint.config, keep=False, dtype=None, device=torch.device(device))


@pytest.mark.parametrize(
    ("capability", "dtype"), [((9, 0), torch.bfloat16), ((8, 0), torch.bfloat16), ((7, 5), torch.float16)]
)
def test_a_gpu_computes_in_its_best_dtype(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert default_dtype(CUDA) == dtype
    assert (default_dtype("cpu"), default_dtype("mps")) == (torch.float32, torch.float16)


def test_apple_s_processor_is_taken_where_there_is_no_cuda(
    tiny_chat_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto", open_checkpoint(tiny_chat_checkpoint), quantize=None) == torch.device("mps")
