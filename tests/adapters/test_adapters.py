"""Adapters: PEFT reads what we write, we read what PEFT writes, and both compute the same; packed weights included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import tiny
from qwen7b.adapters.adapted import with_adapter
from qwen7b.adapters.adapted_modules import adapter_of, add_adapter, fill_adapter
from qwen7b.adapters.adapter_files import base_of, read_adapter, write_adapter
from qwen7b.adapters.settings import DEFAULT_TARGETS, LoraSettings, find_targets
from qwen7b.checkpoint import open_checkpoint
from qwen7b.config import Family
from qwen7b.errors import CheckpointError, ModelNotFoundError, SettingError, UnsupportedError
from qwen7b.loading import load_model
from qwen7b.model import Transformer
from qwen7b.model.layers import RMSNorm
from qwen7b.packed.modules import PackedEmbedding, PackedLinear, RowEmbedding

QWEN2 = LoraSettings(targets=DEFAULT_TARGETS[Family.QWEN2], rank=4, alpha=8, dropout=0.0)
TOKENS = (3, 318)


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A checkpoint in the layout that a test names."""
    torch.manual_seed(1)
    if request.param == "qwen":
        config = {**tiny.V11_CONFIG, "use_dynamic_ntk": False, "use_logn_attn": False}
        return tiny.write_folder(tmp_path / "base", config, tiny.qwen_tensors(), tokenizer=True)
    if request.param == "untied":
        config = {**tiny.QWEN2_CONFIG, "tie_word_embeddings": False}
        return tiny.write_folder(tmp_path / "base", config, tiny.qwen2_tensors(head=True), tokenizer=True)
    return tiny.write_folder(tmp_path / "base", tiny.QWEN2_CONFIG, tiny.qwen2_tensors(), tokenizer=True)


pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks Transformers so
every_layout = pytest.mark.parametrize("folder", ["qwen", "qwen2", "untied"], indirect=True)


def settings_of(folder: Path, **changes: Any) -> LoraSettings:
    targets = DEFAULT_TARGETS[open_checkpoint(folder).config.family]
    return LoraSettings(**{"targets": targets, "rank": 4, "alpha": 8, "dropout": 0.0, **changes})


def trained(folder: Path, settings: LoraSettings) -> Transformer:
    """A model with an adapter whose numbers have moved."""
    model = load_model(folder, dtype="float32")
    add_adapter(model, settings)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def test_it_drops_nothing_unless_the_model_is_trained(tmp_path: Path) -> None:
    folder = tiny.write_folder(tmp_path / "base", tiny.QWEN2_CONFIG, tiny.qwen2_tensors(), tokenizer=True)
    model = trained(folder, settings_of(folder, dropout=0.5))
    assert torch.equal(model(tiny.IDS), model(tiny.IDS))
    model.train()
    assert not torch.equal(model(tiny.IDS), model(tiny.IDS))


@every_layout
def test_a_new_adapter_changes_nothing_and_only_it_is_trained(folder: Path) -> None:
    before = tiny.logits_of(folder, dtype="float32")
    model = load_model(folder, dtype="float32")
    add_adapter(model, settings_of(folder, token_ids=TOKENS))
    torch.testing.assert_close(model(tiny.IDS), before)
    model(tiny.IDS).logsumexp(-1).sum().backward()
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all("additions" in name or "token_rows" in name for name in named)
    assert all(parameter.grad is not None for parameter in named.values())
    assert all(parameter.grad is None for name, parameter in model.named_parameters() if name not in named)
    rows = [parameter for name, parameter in named.items() if "token_rows" in name]
    assert sum(row.numel() for row in rows) == len(TOKENS) * tiny.HIDDEN * (2 - model.config.tied_head)


@every_layout
def test_peft_computes_the_same_from_what_we_write(folder: Path, tmp_path: Path) -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    import qwen7b.hf  # noqa: F401

    settings = settings_of(folder, token_ids=TOKENS)
    model = trained(folder, settings)
    write_adapter(tmp_path / "adapter", adapter_of(model, settings), base=str(folder))
    base = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    ids = torch.cat([tiny.IDS, torch.tensor([TOKENS])], dim=1)
    with torch.inference_mode():
        expected, actual = loaded(ids).logits, model(ids)
    torch.testing.assert_close(actual, expected, atol=2e-4, rtol=1e-4)
    merged = load_model(folder, dtype="float32", adapter=tmp_path / "adapter")(ids)
    torch.testing.assert_close(merged, actual, atol=1e-4, rtol=1e-4)


def test_the_same_settings_are_written_alike_however_their_numbers_were_given(tmp_path: Path) -> None:
    folder = tiny.write_folder(tmp_path / "base", tiny.QWEN2_CONFIG, tiny.qwen2_tensors(), tokenizer=True)
    texts = []
    for number in (int, float):
        settings = settings_of(folder, alpha=number(8), dropout=number(0))
        write_adapter(tmp_path / "adapter", adapter_of(trained(folder, settings), settings), base=None)
        texts.append((tmp_path / "adapter" / "adapter_config.json").read_text("utf-8"))
    assert texts[0] == texts[1] and '"lora_alpha": 8,' in texts[0]


@every_layout
def test_we_read_what_peft_writes(folder: Path, tmp_path: Path) -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    import qwen7b.hf  # noqa: F401

    base = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    is_qwen = "c_attn" in settings_of(folder).targets
    config = peft.LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=[*settings_of(folder).targets],
        init_lora_weights=False,
        use_rslora=True,
        modules_to_save=["wte", "lm_head"] if is_qwen else None,
        task_type="CAUSAL_LM",
    )
    theirs = peft.get_peft_model(base, config)
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    theirs.save_pretrained(tmp_path / "adapter")
    with torch.inference_mode():
        expected = theirs.eval()(tiny.IDS).logits
    torch.testing.assert_close(
        tiny.logits_of(folder, dtype="float32", adapter=tmp_path / "adapter"), expected, atol=2e-4, rtol=1e-4
    )


@every_layout
def test_an_adapter_survives_the_disk_to_the_bit(folder: Path, tmp_path: Path) -> None:
    settings = settings_of(folder, token_ids=TOKENS)
    model = trained(folder, settings)
    write_adapter(tmp_path / "adapter", adapter_of(model, settings), base="base")
    again = load_model(folder, dtype="float32")
    add_adapter(again, settings)
    fill_adapter(again, read_adapter(tmp_path / "adapter"), settings=settings, source="adapter")
    for mine, other in zip(model.parameters(), again.parameters(), strict=True):
        assert not mine.requires_grad or torch.equal(mine, other)
    assert base_of(tmp_path / "adapter") == "base"
    modes = {path.stat().st_mode for path in (tmp_path / "adapter").iterdir()}
    assert len(modes) == 1  # the user's umask says who may read both
    smaller = LoraSettings(targets=settings.targets, rank=2)
    model = load_model(folder, dtype="float32")
    add_adapter(model, smaller)
    with pytest.raises(CheckpointError, match="holds another adapter"):
        fill_adapter(model, read_adapter(tmp_path / "adapter"), settings=smaller, source="adapter")


@pytest.mark.parametrize("folder", ["qwen2"], indirect=True)
def test_packed_weights_take_an_adapter_before_they_are_packed(folder: Path, tmp_path: Path) -> None:
    settings = settings_of(folder)
    model = trained(folder, settings)
    write_adapter(tmp_path / "adapter", adapter_of(model, settings), base="base")
    floats, packed = (
        tiny.logits_of(folder, adapter=tmp_path / "adapter", **kind)
        for kind in ({"dtype": "float32"}, {"quantize": "q8"})
    )
    plain = tiny.logits_of(folder, quantize="q8")
    assert (packed - floats).norm() < 0.1 * (packed - plain).norm()


def floats_of(packed: Transformer) -> Transformer:
    """A float model with the weights that a packed one stands for."""
    state: dict[str, Any] = {}
    for name, module in packed.named_modules():
        if isinstance(module, (PackedLinear, PackedEmbedding)):
            state[f"{name}.weight"] = module.matrix.dequantize()
            if getattr(module, "bias", None) is not None:
                state[f"{name}.bias"] = module.bias
        elif isinstance(module, RowEmbedding):
            state[f"{name}.weight"] = module(torch.arange(module.num_embeddings))
        elif isinstance(module, RMSNorm):
            state[f"{name}.weight"] = module.weight
    model = Transformer(packed.config)
    model.load_state_dict(state)
    if packed.config.tied_head:
        model.head.weight = model.embedding.weight
    return model


@pytest.mark.parametrize("format", ["q8", "q4", "nf4"])
@every_layout
def test_gradients_through_packed_weights_are_those_of_the_unpacked_ones(
    folder: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qwen7b.packed.unpacking._BLOCK_WEIGHTS", 2048)  # several blocks a matrix
    packed = load_model(folder, quantize=format)
    floats, gradients, settings = floats_of(packed), [], settings_of(folder, token_ids=TOKENS)
    ids = torch.cat([tiny.IDS, torch.tensor([TOKENS])], dim=1)
    for model in (packed, floats):
        torch.manual_seed(1)
        add_adapter(model, settings)
        torch.manual_seed(2)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += torch.randn_like(parameter) * 0.1
        logits = model.train()(ids)
        trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        found = torch.autograd.grad(F.cross_entropy(logits[0, :-1], ids[0, 1:]), [*trained.values()])
        gradients.append(dict(zip(trained, found, strict=True)))
    assert packed.weight_format == format and gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[1].items():
        assert (gradients[0][name] - expected).norm() <= 1e-5 * expected.norm(), name


def test_layers_are_found_by_the_end_of_their_names() -> None:
    config = open_config(tiny.V11_CONFIG)
    found = find_targets(config, ["c_proj"])
    assert sorted(found) == [f"transformer.h.{n}.{part}.c_proj" for n in range(2) for part in ("attn", "mlp")]
    assert sorted(find_targets(config, ["1.attn.c_attn"])) == ["transformer.h.1.attn.c_attn"]
    with pytest.raises(
        SettingError, match=r"no linear layer of this model is called 'q_proj': use some of c_attn, c_pr"
    ):
        find_targets(config, ["c_attn", "q_proj"])
    with pytest.raises(SettingError, match="'ln_1'"):
        find_targets(config, ["ln_1"])


def open_config(fields: dict[str, Any]) -> Any:
    from qwen7b.checkpoint.upstream_config import config_of

    return config_of(fields, source="config.json")


@pytest.mark.parametrize(
    "changes", [{"rank": 0}, {"alpha": 0}, {"dropout": 1.0}, {"dropout": -0.1}, {"scaled_by_root": 1}]
)
def test_settings_that_make_no_sense(changes: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        LoraSettings(**{"targets": ("c_attn",), **changes})


def test_the_defaults_are_the_original_scripts() -> None:
    settings = LoraSettings(targets=DEFAULT_TARGETS[Family.QWEN])
    assert (settings.rank, settings.alpha, settings.dropout) == (64, 16, 0.05)
    assert settings.targets == ("c_attn", "c_proj", "w1", "w2") and settings.scale == 0.25


@pytest.mark.parametrize("folder", ["qwen"], indirect=True)
def test_adapters_that_do_not_fit_or_are_damaged_are_refused(folder: Path, tmp_path: Path) -> None:
    settings = settings_of(folder)
    path = tmp_path / "adapter"
    write_adapter(path, adapter_of(trained(folder, settings), settings), base="base")
    tensors = load_file(path / "adapter_model.safetensors")
    fields = json.loads((path / "adapter_config.json").read_text())
    first = next(iter(sorted(tensors)))

    def broken(kind: type[Exception], said: str, *, weights: Any = tensors, **changes: Any) -> None:
        save_file(weights, path / "adapter_model.safetensors")
        (path / "adapter_config.json").write_text(json.dumps({**fields, **changes}))
        with pytest.raises(kind, match=said):
            with_adapter(open_checkpoint(folder), path)

    broken(UnsupportedError, "is a IA3 adapter", peft_type="IA3")
    broken(UnsupportedError, "use_dora to True", use_dora=True)
    broken(CheckpointError, "rank must be a whole number", r=0)
    broken(CheckpointError, "lacks half of", weights={name: value for name, value in tensors.items() if name != first})
    wide = {name: torch.zeros(4, 99) if name == first else value for name, value in tensors.items()}
    broken(CheckpointError, "trained on another base, so give that one", weights=wide)
    other = {name.replace(".h.1.", ".h.9."): value for name, value in tensors.items()}
    broken(CheckpointError, "which is not there", weights=other)
    rows = {**tensors, "base_model.model.transformer.wte.token_adapter.trainable_tokens_delta": torch.zeros(2, 64)}
    broken(CheckpointError, "trainable_token_indices says None", weights=rows)
    broken(CheckpointError, "do not fit", weights=rows, trainable_token_indices=[1, tiny.ROWS])
    magnitude = {**tensors, first.replace("lora_A.weight", "lora_magnitude_vector"): torch.zeros(4)}
    broken(UnsupportedError, "which qwen7b does not add to a model", weights=magnitude)
    (path / "adapter_config.json").unlink()
    with pytest.raises(CheckpointError, match="so it is no adapter"):
        with_adapter(open_checkpoint(folder), path)
    with pytest.raises(ModelNotFoundError):
        with_adapter(open_checkpoint(folder), tmp_path / "nowhere")


@pytest.mark.parametrize("folder", ["qwen"], indirect=True)
def test_what_cannot_be_trained_is_refused(folder: Path) -> None:
    with pytest.raises(SettingError, match="token id 320 is outside the model's 320 rows"):
        add_adapter(load_model(folder, dtype="float32"), settings_of(folder, token_ids=(320,)))
    with pytest.raises(SettingError, match="changes nothing: give some"):
        add_adapter(load_model(folder, dtype="float32"), settings_of(folder, targets=()))


def test_dropout_acts_in_training_only() -> None:
    model = tiny.model(family="qwen2")
    add_adapter(model, LoraSettings(targets=QWEN2.targets, rank=4, dropout=0.5))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    ids = torch.arange(8)[None]
    assert torch.equal(model.eval()(ids), model(ids))
    model.train()
    torch.manual_seed(1)
    first = model(ids)
    torch.manual_seed(1)
    assert torch.equal(model(ids), first) and not torch.equal(model(ids), first)
