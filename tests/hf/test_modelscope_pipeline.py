"""ModelScope's lines of the original README, and its Auto classes, by the modelscope that is installed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from originals import TRAP, modelscope_with, write_original
from qwen7b.errors import PromptError
from standins import StandIn
from text.conftest import qwen_vocabulary  # noqa: F401  # a fixture

for library in ("transformers", "accelerate"):
    pytest.importorskip(library, reason="needs the extra hf")
for library in ("modelscope", "addict", "datasets", "PIL"):
    pytest.importorskip(library, reason="needs the extra modelscope")

CONFIGURATIONS: dict[str, dict[str, Any] | None] = {
    "qwen-chat": {
        "framework": "pytorch",
        "task": "chat",
        "model": {"type": "qwen-7b"},
        "pipeline": {"type": "qwen-chat"},
    },
    "qwen-7b-chat-pipeline": {
        "framework": "pytorch",
        "task": "chat",
        "model": {"type": "qwen-7b-chat"},
        "pipeline": {"type": "qwen-7b-chat-pipeline"},
    },
    "no-file": None,
}
"""ModelScope's own file, which names the pipeline, in the folders that have one."""
EXAMPLE = """\
import os
from modelscope.pipelines import pipeline
from modelscope.utils.constant import Tasks
from modelscope import snapshot_download

model_id = 'QWen/qwen-7b-chat'
revision = 'v1.0.0'

model_dir = snapshot_download(model_id, revision)

pipe = pipeline(
task=Tasks.chat, model=model_dir, device_map='auto')
history = None

text = '浙江的省会在哪里？'
results = pipe(text, history=history)
response, history = results['response'], results['history']
print(f'Response: {response}')
text = '它有什么好玩的地方呢？'
results = pipe(text, history=history)
response, history = results['response'], results['history']
print(f'Response: {response}')
"""


@pytest.fixture(scope="module")
def folder(qwen_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    return write_original(tmp_path_factory.mktemp("chat"), qwen_vocabulary)


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A ModelScope of our own that has the model, and an empty cache."""
    with modelscope_with({"QWen/qwen-7b-chat": folder}, tmp_path, monkeypatch) as server:
        yield server


def configure(folder: Path, configuration: dict[str, Any] | None) -> None:
    path = folder / "configuration.json"
    path.unlink(missing_ok=True)
    if configuration:
        path.write_text(json.dumps(configuration))


def test_the_example_is_the_original_s(shared: Path) -> None:
    assert EXAMPLE in (shared / "original" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_the_example(hub: StandIn, configuration: dict[str, Any] | None, capsys: pytest.CaptureFixture[str]) -> None:
    if configuration:
        hub.repositories["QWen/qwen-7b-chat"]["configuration.json"] = json.dumps(configuration).encode()
    names: dict[str, Any] = {}
    exec("import qwen7b.hf\n" + EXAMPLE, names)
    assert [query for query, _ in names["history"]] == ["浙江的省会在哪里？", "它有什么好玩的地方呢？"]
    assert capsys.readouterr().out.endswith("".join(f"Response: {response}\n" for _, response in names["history"]))


def test_what_was_fetched_loads_everywhere(hub: StandIn) -> None:
    """`snapshot_download`, then qwen7b's own loading, and ModelScope's Auto classes."""
    from modelscope import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, snapshot_download

    import qwen7b.hf

    folder = snapshot_download("QWen/qwen-7b-chat")
    reply = qwen7b.load(folder, quantize="none").chat("你好", sampling=qwen7b.Greedy())
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32", trust_remote_code=True).eval()
    model.generation_config = GenerationConfig.from_pretrained(folder, trust_remote_code=True)
    greedily = {"do_sample": False, "top_p": None, "top_k": None, "repetition_penalty": 1.0}
    response, _ = model.chat(tokenizer, "你好", history=None, **greedily)
    assert response == reply.text


@pytest.mark.parametrize("settings", [{}, {"device": "cpu"}, {"device_map": "cpu"}], ids=["default", "device", "map"])
@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_devices(folder: Path, configuration: dict[str, Any] | None, settings: dict[str, Any]) -> None:
    from modelscope.pipelines import pipeline

    import qwen7b.hf  # noqa: F401

    configure(folder, configuration)
    pipe = pipeline("chat", model=str(folder), **settings)
    expected = "cuda" if torch.cuda.is_available() and not settings else "cpu"
    assert pipe.model.device.type == expected


@pytest.mark.parametrize("more", [{}, {"allow_remote": True}, {"plugins": ["qwen"]}], ids=["bare", "code", "plugins"])
def test_a_configuration_without_a_pipeline_s_name(
    folder: Path, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ModelScope alone wants other libraries, or refuses; the name can be given instead, and no code runs."""
    import modelscope.pipelines.builder as builder

    import qwen7b.hf  # noqa: F401

    def install(plugins: object, *_: Any) -> None:
        raise RuntimeError(f"{plugins} would be installed")

    for name in ("register_plugins_repo", "register_modelhub_repo"):
        monkeypatch.setattr(builder, name, install)
    configure(folder, {"framework": "pytorch", "task": "chat", **more})
    (folder / "ms_wrapper.py").write_text(TRAP)
    pipe = builder.pipeline("chat", model=str(folder), pipeline_name="qwen-chat", device="cpu", trust_remote_code=True)
    assert pipe("你好")["history"][0][0] == "你好"


@pytest.mark.parametrize("more", [{"allow_remote": True}, {"plugins": ["evil"]}], ids=["code", "plugins"])
def test_without_trust_modelscope_runs_and_installs_nothing(folder: Path, more: dict[str, Any]) -> None:
    """The lines as README and docs have them: ModelScope itself refuses such a folder."""
    from modelscope.pipelines import pipeline

    import qwen7b.hf  # noqa: F401

    configure(folder, {"framework": "pytorch", "task": "chat", "pipeline": {"type": "qwen-chat"}, **more})
    (folder / "ms_wrapper.py").write_text(TRAP)
    with pytest.raises(RuntimeError, match="loading has been refused"):
        pipeline(task="chat", model=str(folder), device_map="cpu")


def test_trust_in_modelscope_is_not_passed_on_to_another_model(folder: Path, tmp_path: Path) -> None:
    """A folder that calls itself something else has only its own code to run it."""
    from modelscope.pipelines import pipeline

    import qwen7b.hf  # noqa: F401

    folder = shutil.copytree(folder, tmp_path / "other")
    configure(folder, {"framework": "pytorch", "task": "chat", "pipeline": {"type": "qwen-chat"}})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "qwen_other"}))
    with pytest.raises(ValueError, match=r"qwen_other|trust_remote_code"):
        pipeline(task="chat", model=str(folder), device_map="cpu", trust_remote_code=True)


def test_calls(folder: Path) -> None:
    """Texts, dictionaries and lists; settings of the pipeline and of a call."""
    import transformers

    import qwen7b.hf  # noqa: F401

    pipe = transformers.pipeline("chat", model=str(folder), device_map="cpu", do_sample=False, top_p=None, top_k=None)  # type: ignore[call-overload]
    alone = pipe("你好", system="简短回答。")
    assert alone["history"] == [("你好", alone["response"])]
    longer = pipe({"text": "再说一遍", "history": alone["history"]}, max_new_tokens=3)
    assert longer["history"][:1] == alone["history"] and len(longer["history"]) == 2
    assert pipe(["你好", "再说一遍"], system="简短回答。")[0] == alone
    with pytest.raises(PromptError, match="a 'text' and a 'history', found"):
        pipe({"messages": []})


def test_saving_leaves_no_code(folder: Path, tmp_path: Path) -> None:
    import transformers

    import qwen7b.hf  # noqa: F401

    pipe = transformers.pipeline("chat", model=str(folder), device_map="cpu")  # type: ignore[call-overload]
    pipe.save_pretrained(tmp_path / "saved")
    assert not list((tmp_path / "saved").glob("*.py"))
    assert "custom_pipelines" not in (tmp_path / "saved" / "config.json").read_text()
    transformers.pipeline("chat", model=str(tmp_path / "saved"), device_map="cpu")("你好")  # type: ignore[call-overload]


def test_a_modelscope_without_an_index_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelscope.utils.import_utils import LazyImportModule

    from qwen7b.hf.chat_pipeline import register_chat_pipeline

    monkeypatch.setattr(LazyImportModule, "get_ast_index", dict)
    with pytest.warns(UserWarning, match="pip install -U modelscope"):
        register_chat_pipeline()
