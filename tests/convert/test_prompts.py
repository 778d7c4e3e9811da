"""What a model is asked, and what ends its replies, is the same before and after any conversion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import qwen7b
import tiny
from converting import write_source
from qwen7b.checkpoint import open_checkpoint
from qwen7b.checkpoint.chat_verdict import decide_chat, find_endings
from qwen7b.convert import convert, quantize
from qwen7b.errors import SettingError
from qwen7b.text import load_tokenizer
from text import templates

TALKS = [
    [{"role": "user", "content": "\n\nhell 你\n"}],
    [
        {"role": "system", "content": "\n in the"},
        {"role": "user", "content": "<|im_end|></s>"},
        {"role": "assistant", "content": "\nit "},
        {"role": "user", "content": "the"},
    ],
]
TEMPLATES = {name: template for name, (template, _) in templates.CHATML.items()} | templates.OTHERS


def write(folder: Path, kind: str, config: dict[str, Any], *, names: list[str] | None = None, **files: Any) -> Path:
    """A tiny model whose tokenizer has more control tokens and these settings."""
    write_source(folder, kind, **files)
    document = json.loads((folder / "tokenizer.json").read_text())
    like = document["added_tokens"][0]
    document["added_tokens"] += [
        {**like, "id": 269 + n, "content": name, "special": "think" not in name}
        for n, name in enumerate(name for name in names or templates.NAMES if name not in tiny.CONTROL)
    ]
    (folder / "tokenizer.json").write_text(json.dumps(document))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def habits(path: Path) -> dict[str, Any]:
    """All that should be the same."""
    checkpoint, tokenizer = open_checkpoint(path), load_tokenizer(path)
    return {
        "prompts": [qwen7b.chat_prompt(tokenizer, talk) for talk in TALKS],
        "chat": decide_chat(checkpoint.generation, tokenizer, checkpoint.config).is_chat,
        "stop": set(find_endings(checkpoint.generation, tokenizer)),
        "bos": tokenizer.bos_id,
        "hidden": {id for id in tokenizer.control_tokens.values() if tokenizer.is_hidden(id)},
    }


def check_everywhere(source: Path, folder: Path) -> None:
    """Each format, and each of them from each other."""
    before = habits(source)
    for first in ("qwen", "qwen2", "gguf"):
        target = folder / f"{first}{'.gguf' if first == 'gguf' else ''}"
        convert(source, target, to=first)  # type: ignore[arg-type]
        assert habits(target) == before, first
        for second in {"qwen", "qwen2", "gguf"} - {first}:
            again = folder / f"{first}-{second}{'.gguf' if second == 'gguf' else ''}"
            convert(target, again, to=second)  # type: ignore[arg-type]
            assert habits(again) == before, (first, second)


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_go_along(tmp_path: Path, name: str) -> None:
    config = {"chat_template": TEMPLATES[name], "bos_token": "<s>", "eos_token": "</s>"}
    generation = {"eos_token_id": [268, 266]}
    source = write(tmp_path / "source", "llama" if "Llama" in name else "qwen2", config, generation=generation)
    check_everywhere(source, tmp_path)


@pytest.mark.parametrize("kind", ["qwen", "qwen2"])
@pytest.mark.parametrize("names", [["<|extra_0|>"], ["<tool_call>"]])
def test_chatml_without_a_template_goes_along(tmp_path: Path, kind: str, names: list[str]) -> None:
    check_everywhere(write(tmp_path / "source", kind, {}, names=names), tmp_path)


@pytest.mark.parametrize(
    "config", [{"chat_template": templates.CHATML_WITH_BOS}, {"chat_template": templates.LLAMA2}, {}]
)
def test_bos_goes_along(tmp_path: Path, config: dict[str, Any]) -> None:
    config = {**config, "add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>"}
    source = write(tmp_path / "source", "qwen2", config)
    assert load_tokenizer(source).bos_id is not None
    check_everywhere(source, tmp_path)


def test_transformers_adds_the_same_bos(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    config = {"add_bos_token": True, "bos_token": "<s>"}
    convert(write(tmp_path / "source", "qwen2", config), tmp_path / "target", to="qwen2")
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path / "target")
    ours = load_tokenizer(tmp_path / "target")
    assert theirs("the hell").input_ids == [ours.bos_id, *ours.encode("the hell")]


def test_a_base_model_stays_one(tmp_path: Path) -> None:
    config = {"chat_template": templates.QWEN2, "eos_token": "<|endoftext|>"}
    source = write(tmp_path / "source", "qwen2", config, generation={"eos_token_id": 266})
    assert not habits(source)["chat"]
    check_everywhere(source, tmp_path)


def test_stop_words_go_along_or_are_named_as_lost(tmp_path: Path) -> None:
    generation = {"chat_format": "chatml", "stop_words_ids": [[5], [72, 73]], "stop_strings": "User:"}
    source = write(tmp_path / "source", "qwen", {}, generation=generation)
    convert(source, tmp_path / "qwen", to="qwen")
    settings = open_checkpoint(tmp_path / "qwen").generation
    assert 5 in settings.stop_ids and settings.stop_sequences == ((72, 73),) and settings.stop_strings == ("User:",)
    lost = convert(source, tmp_path / "qwen2", to="qwen2").lost
    settings = open_checkpoint(tmp_path / "qwen2").generation
    assert 5 in settings.stop_ids and settings.stop_strings == ("User:",)
    assert "1 ending of several tokens (stop_words_ids)." in lost
    lost = convert(source, tmp_path / "model.gguf", to="gguf").lost
    assert "Endings that GGUF has no field for: 5, [72, 73], 'User:'." in lost


def test_a_qwen_says_how_many_tokens_it_makes(tmp_path: Path) -> None:
    convert(write_source(tmp_path / "source", "qwen2"), tmp_path / "target", to="qwen")
    assert json.loads((tmp_path / "target" / "generation_config.json").read_text())["max_new_tokens"] == 512


@pytest.mark.parametrize("to", ["qwen", "qwen2", "gguf", "q8"])
@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("first", [True, False], ids=["qwen", "qwen2"])
def test_what_the_user_says_of_chatting_is_written(tmp_path: Path, to: Any, chat: bool, first: bool) -> None:
    """The files say the opposite; the target says what the user does, whoever reads it."""
    end = 266 if chat else 268
    config, tensors = (tiny.V11_CONFIG, tiny.qwen_tensors()) if first else (tiny.QWEN2_CONFIG, tiny.qwen2_tensors())
    said = {"chat_format": "raw" if chat else "chatml"} if first else {}
    source = tiny.write_folder(
        tmp_path / "source", config, tensors, tokenizer=True, generation={"eos_token_id": end, **said}
    )
    target = tmp_path / ("target.gguf" if to == "gguf" else "target")
    assert qwen7b.load(source, quantize="none").is_chat is not chat
    if to == "q8":
        quantize(source, target, format="q8", chat=chat)
    else:
        convert(source, target, to=to, chat=chat)
    loaded = qwen7b.load(target)
    assert loaded.is_chat is chat
    assert not chat or 268 in loaded.stop_ids


def test_what_cannot_chat_is_not_said_to(tmp_path: Path) -> None:
    source = tiny.write_folder(tmp_path / "source", tiny.QWEN2_CONFIG, tiny.qwen2_tensors(), tokenizer=True)
    document = json.loads((source / "tokenizer.json").read_text())
    for token in document["added_tokens"]:
        token["content"] = token["content"].replace("im_", "not_")
    (source / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(SettingError, match=r"so it cannot chat: leave out chat=True \(--chat\)"):
        convert(source, tmp_path / "target", to="qwen2", chat=True)
