"""lm-eval on our engine gives what its own class for Transformers gives on the same weights."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import qwen7b
from harness import write_whole_vocabulary
from qwen7b.cli.app import app
from qwen7b.errors import PromptError, SettingError

pytest.importorskip("lm_eval", reason="needs the extra lm-eval")
pytest.importorskip("transformers", reason="the class to compare with needs the extra hf")
from lm_eval import simple_evaluate  # type: ignore[import-untyped]
from lm_eval.api.instance import Instance  # type: ignore[import-untyped]
from lm_eval.models.huggingface import HFLM  # type: ignore[import-untyped]
from lm_eval.models.utils import normalize_gen_kwargs  # type: ignore[import-untyped]
from lm_eval.tasks import TaskManager  # type: ignore[import-untyped]

from qwen7b.evals.generation_requests import alike_requests, generation_settings
from qwen7b.evals.lm_eval_adapter import HarnessModel

CONTEXT = 96
TEXTS = ["in there", "the hell", "你好，they", " inner hell\nthere", "hello there in the hell " * 3]

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*tie_word_embeddings.*"),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whole_vocabulary(tmp_path_factory.mktemp("lm-eval"), context_length=CONTEXT)


@pytest.fixture(scope="module")
def ours(checkpoint: Path) -> HarnessModel:
    return HarnessModel(str(checkpoint), dtype="float32")


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> HFLM:
    return HFLM(pretrained=str(checkpoint), dtype="float32", device="cpu", batch_size=1)


def requests(kind: str, arguments: list[tuple[Any, ...]]) -> list[Instance]:
    return [
        Instance(request_type=kind, doc={}, arguments=one, idx=index, metadata=("test", index, 1))  # type: ignore[arg-type]
        for index, one in enumerate(arguments)
    ]


def test_continuations_are_as_likely_as_with_transformers(ours: HarnessModel, reference: HFLM) -> None:
    pairs = [(context, continuation) for context in [*TEXTS, "in there ", ""] for continuation in (" the", "ll", " 你")]
    pairs += [("in there " * 60, " the hell in there"), ("<|im_start|>user\nin<|im_end|>\n", " there")]
    asked = requests("loglikelihood", pairs)
    own, others = ours.loglikelihood(asked, disable_tqdm=True), reference.loglikelihood(asked, disable_tqdm=True)
    assert [logprob for logprob, _ in own] == pytest.approx([logprob for logprob, _ in others], abs=1e-4)
    assert [is_greedy for _, is_greedy in own] == [is_greedy for _, is_greedy in others]


def test_long_texts_are_as_likely_as_with_transformers(ours: HarnessModel, reference: HFLM) -> None:
    asked = requests("loglikelihood_rolling", [(text,) for text in (*TEXTS, "the hell in there. " * 40)])
    own = ours.loglikelihood_rolling(asked, disable_tqdm=True)
    assert own == pytest.approx(reference.loglikelihood_rolling(asked, disable_tqdm=True), abs=1e-3)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"until": ["\n", "the"], "max_gen_toks": 24},
        {"until": "e", "max_new_tokens": 12, "do_sample": False, "temperature": 0.0},
        {"until": [], "max_gen_toks": 16, "repetition_penalty": 1.3},
    ],
    ids=["until", "one string", "penalty"],
)
def test_texts_are_those_that_transformers_writes(ours: HarnessModel, reference: HFLM, kwargs: dict[str, Any]) -> None:
    contexts = [*TEXTS, "in there " * 60, TEXTS[0]]
    asked = requests("generate_until", [(context, kwargs) for context in contexts])
    own = ours.generate_until(asked, disable_tqdm=True)
    assert own == reference.generate_until(asked, disable_tqdm=True)
    assert len(set(own)) > 1


def test_each_request_for_samples_is_another_sample(ours: HarnessModel) -> None:
    kwargs = {"until": [], "max_gen_toks": 16, "do_sample": True, "temperature": 1.5, "top_p": 0.99}
    asked = requests("generate_until", [("the hell", kwargs), ("in", kwargs), ("the hell", kwargs)])
    torch.manual_seed(5)
    first = ours.generate_until(asked, disable_tqdm=True)
    assert first[0] != first[2]
    torch.manual_seed(5)  # lm-eval sets it from --seed
    assert ours.generate_until(asked, disable_tqdm=True) == first
    torch.manual_seed(6)
    assert ours.generate_until(asked, disable_tqdm=True) != first


def test_an_empty_context_is_the_token_before_texts(ours: HarnessModel) -> None:
    kwargs = {"until": [], "max_gen_toks": 4}
    (text,) = ours.generate_until(requests("generate_until", [("", kwargs)]), disable_tqdm=True)
    assert text == ours.qwen.complete([ours.prefix_token_id], temperature=0, max_new_tokens=4).text


def test_chats_are_laid_out_as_transformers_does(ours: HarnessModel, reference: HFLM) -> None:
    chat = [{"role": "user", "content": "in there?"}, {"role": "assistant", "content": "hell"}]
    asked = [*chat, {"role": "user", "content": "你好"}]
    text = ours.apply_chat_template(asked)
    assert text == reference.apply_chat_template(asked) and text.endswith("<|im_start|>assistant\n")
    begun = [*asked, {"role": "assistant", "content": "the "}]
    assert ours.apply_chat_template(begun, add_generation_prompt=False).endswith("assistant\nthe ")
    assert ours.apply_chat_template(begun, add_generation_prompt=False) == reference.apply_chat_template(
        begun, add_generation_prompt=False
    )
    assert ours.tok_encode(text) == reference.tok_encode(text) and ours.qwen.tokenizer.im_start_id in ours.tok_encode(
        text
    )
    assert ours.chat_template(True) == reference.chat_template(True) and ours.chat_template(False) is None
    assert ours.prefix_token_id == reference.prefix_token_id and ours.eot_token_id == reference.eot_token_id
    with pytest.raises(SettingError, match="takes no name"):
        ours.chat_template("rag")


def test_texts_follow_the_bos_that_the_files_name(checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "named")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "bos_token": "<|im_start|>"}), "utf-8")
    named = HarnessModel(str(folder), dtype="float32")
    assert named.prefix_token_id == HFLM(pretrained=str(folder), dtype="float32", device="cpu").prefix_token_id
    assert named.prefix_token_id == named.qwen.tokenizer.im_start_id != named.eot_token_id
    (own,) = named.loglikelihood_rolling(requests("loglikelihood_rolling", [("in there",)]), disable_tqdm=True)
    assert own == pytest.approx(named.qwen.score([[named.prefix_token_id]], [["in there"]])[0][0].logprob, abs=1e-5)


TASK = """\
task: tiny_{name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: {output_type}
doc_to_text: "{{{{question}}}}"
doc_to_target: {target}
{more}
metric_list: [{{metric: {metric}, aggregation: mean, higher_is_better: true}}]
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two local tasks of two items each, as a user writes them."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = [{"question": "the hell in", "answer": index, "text": "there"} for index in range(2)]
    data = folder / "data.json"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    choice = TASK.format(
        name="choice",
        data=data,
        output_type="multiple_choice",
        target="answer",
        more='doc_to_choice: [" there", " hell"]\ntarget_delimiter: ""',
        metric="acc",
    )
    text = TASK.format(
        name="text",
        data=data,
        output_type="generate_until",
        target="text",
        more='generation_kwargs: {until: ["\\n"], max_gen_toks: 8}',
        metric="exact_match",
    )
    (folder / "choice.yaml").write_text(choice, "utf-8")
    (folder / "text.yaml").write_text(text, "utf-8")
    return folder


def evaluated(model: HarnessModel | HFLM | str, tasks: Path, **settings: Any) -> dict[str, list[dict[str, Any]]]:
    """The samples of both tasks."""
    found = simple_evaluate(
        model=model,
        tasks=["tiny_choice", "tiny_text"],
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        bootstrap_iters=0,
        **settings,
    )
    assert found is not None
    return found["samples"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("chat", [False, True], ids=["base", "chat"])
def test_a_users_own_task_runs(ours: HarnessModel, reference: HFLM, tasks: Path, tmp_path: Path, chat: bool) -> None:
    own = evaluated(ours, tasks, apply_chat_template=chat, use_cache=str(tmp_path / "kept"))
    others = evaluated(reference, tasks, apply_chat_template=chat)
    for name in ("tiny_choice", "tiny_text"):
        assert len(own[name]) == 2
        for one, other in zip(own[name], others[name], strict=True):
            assert one["prompt_hash"] == other["prompt_hash"] and one["arguments"] == other["arguments"]
            if name == "tiny_choice":
                assert one["acc"] == other["acc"]
                for (own_logprob, own_greedy), (logprob, greedy) in zip(
                    one["filtered_resps"], other["filtered_resps"], strict=True
                ):
                    assert own_logprob == pytest.approx(logprob, abs=1e-4) and own_greedy == greedy
            else:
                assert one["resps"] == other["resps"]
    with pytest.MonkeyPatch.context() as patch:  # all is kept in lm-eval's cache, and nothing is computed again
        patch.setattr(HarnessModel, "_loglikelihood_tokens", None)
        patch.setattr(HarnessModel, "_generate", None)
        again = evaluated(ours, tasks, apply_chat_template=chat, use_cache=str(tmp_path / "kept"))
    assert [sample["resps"] for sample in again["tiny_choice"]] == [sample["resps"] for sample in own["tiny_choice"]]


def test_model_args_load_the_model(checkpoint: Path, tasks: Path) -> None:
    packed = HarnessModel.create_from_arg_string(f"pretrained={checkpoint},quantize=q8,context_length=80")
    assert packed.qwen.model.weight_format == "q8" and packed.max_length == 80
    plain = HarnessModel.create_from_arg_string(f"pretrained={checkpoint},quantize=none", {"device": "cuda:0"})
    assert plain.qwen.model.weight_format is None  # lm-eval reads none as nothing, and says cuda:0 by itself
    assert packed.get_model_info() != plain.get_model_info()
    trusting = {"trust_remote_code": True, "batch_size": 8}  # lm-eval's own options, which need not stop a run
    assert HarnessModel(packed.qwen, **trusting).qwen is packed.qwen
    with pytest.raises(SettingError, match="model_args has no quantise: it takes pretrained, quantize"):
        HarnessModel.create_from_arg_string(f"pretrained={checkpoint},quantise=q8")
    with pytest.raises(SettingError, match="quantize is for loading a model"):
        HarnessModel(packed.qwen, quantize="q8")
    assert HarnessModel(packed.qwen).qwen is packed.qwen
    with pytest.raises(SettingError, match="prefix_token_id"):
        HarnessModel(packed.qwen, prefix_token_id=10**6)


def test_what_cannot_be_done_is_refused(ours: HarnessModel) -> None:
    for kwargs, message in (
        ({"num_beams": 4}, "num_beams must be 1"),
        ({"guidance_scale": 2}, "gen_kwargs has guidance_scale=2"),
        ({"max_gen_toks": CONTEXT}, "max_gen_toks must be less than"),
        ({"do_sample": True, "temperature": -1.0}, "temperature"),
    ):
        with pytest.raises(SettingError, match=message):
            ours.generate_until(requests("generate_until", [("in", kwargs)]), disable_tqdm=True)
    for continuation, message in (("", "has no tokens"), ("the hell in there. " * 40, "more than the 96")):
        with pytest.raises(PromptError, match=message):
            ours.loglikelihood(requests("loglikelihood", [("in", continuation)]), disable_tqdm=True)


def test_names_of_control_tokens_can_stay_text(ours: HarnessModel) -> None:
    plain = HarnessModel(ours.qwen, control_tokens=False)
    assert plain.tok_encode("<|im_end|>") == ours.qwen.tokenizer.encode("<|im_end|>") != ours.tok_encode("<|im_end|>")


def test_gen_kwargs_become_settings() -> None:
    greedy = generation_settings(normalize_gen_kwargs({"until": ["a", ""], "temperature": 0.0, "top_p": 0.5}, 7))
    assert greedy == {"sampling": qwen7b.Greedy(), "max_new_tokens": 7, "stop": ["a"]}
    sampled = generation_settings(
        normalize_gen_kwargs({"do_sample": True, "temperature": 0.5, "top_k": 3, "seed": 9}, 7)
    )
    assert sampled["sampling"] == qwen7b.Sample(temperature=0.5, top_k=3, seed=9)


def test_alike_requests_are_answered_together() -> None:
    short, long = {"max_gen_toks": 1}, {"max_gen_toks": 9}
    asked = [("a", short), ("b", long), ("b", short), ("a", short), ("c", short)]
    assert alike_requests(asked) == [(short, [[0, 3]]), (long, [[1]]), (short, [[2], [4]])]


def test_the_launcher_gives_lm_eval_the_model(
    checkpoint: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # which lm-eval sets
    monkeypatch.setattr(logging.root, "handlers", [])  # and it adds one, whose stream ends with the runner
    # The index of lm-eval's own thousands of tasks takes longer than all other tests.
    monkeypatch.setattr("lm_eval.tasks.TaskManager", partial(TaskManager, include_defaults=False))
    command = ["eval", "lm-eval", "run", "--model", "qwen7b", "--model_args", f"pretrained={checkpoint},quantize=q8"]
    command += ["--tasks", "tiny_choice,tiny_text", "--include_path", str(tasks), "--seed", "3"]
    found = CliRunner().invoke(app, [*command, "--output_path", str(tmp_path / "out"), "--log_samples"])
    assert found.exit_code == 0, found.output
    assert "|tiny_choice|" in found.output and "|tiny_text" in found.output
    (path,) = (tmp_path / "out").rglob("results_*.json")
    document = json.loads(path.read_text("utf-8"))
    assert document["config"]["model_precision"] == "q8" and document["n-samples"]["tiny_text"]["effective"] == 2
    refused = CliRunner().invoke(app, [*command, "--gen_kwargs", "guidance_scale=2"])
    assert refused.exit_code == 1 and "error: gen_kwargs has guidance_scale=2" in refused.output
    command[command.index("tiny_choice,tiny_text")] = "tiny_chioce"
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1 and "error: lm-eval says: Tasks not found: tiny_chioce" in refused.output


def test_a_missing_lm_eval_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "lm_eval.py").write_text("raise ModuleNotFoundError('no lm_eval')", "utf-8")
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport qwen7b.__main__"]
    command[-1] = command[-1].replace("import qwen7b.__main__", "from qwen7b.cli.app import main; main()")
    found = subprocess.run([*command, "eval", "lm-eval", "ls", "tasks"], capture_output=True, text=True, timeout=60)
    assert found.returncode == 1 and found.stderr.startswith("error: lm-eval is not installed: run ")
    assert "lm-eval]" in found.stderr and found.stderr.count("\n") == 1
