"""The examples of the original README, as it had them, on folders like those that it was about.

The examples are quoted; `run` replaces the names of models by folders and the first GPU by the CPU, and nothing else.
"""
# ruff: noqa: E501  # the original's lines are long

from __future__ import annotations

import doctest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from originals import write_original
from text.conftest import qwen_vocabulary  # noqa: F401  # a fixture

pytest.importorskip("transformers", reason="needs the extra hf")
pytest.importorskip("accelerate", reason="needs the extra hf")

COMPLETE = r"""from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.generation import GenerationConfig

tokenizer = AutoTokenizer.from_pretrained("Qwen/Qwen-7B", trust_remote_code=True)
model = AutoModelForCausalLM.from_pretrained("Qwen/Qwen-7B", device_map="auto", trust_remote_code=True).eval()
model.generation_config = GenerationConfig.from_pretrained("Qwen/Qwen-7B", trust_remote_code=True) # 可指定不同的生成长度、top_p等相关超参

inputs = tokenizer('蒙古国的首都是乌兰巴托（Ulaanbaatar）\n冰岛的首都是雷克雅未克（Reykjavik）\n埃塞俄比亚的首都是', return_tensors='pt')
inputs = inputs.to('cuda:0')
pred = model.generate(**inputs)
print(tokenizer.decode(pred.cpu()[0], skip_special_tokens=True))
"""

CHAT = """\
>>> from transformers import AutoModelForCausalLM, AutoTokenizer
>>> from transformers.generation import GenerationConfig

>>> tokenizer = AutoTokenizer.from_pretrained("Qwen/Qwen-7B-Chat", trust_remote_code=True)
>>> model = AutoModelForCausalLM.from_pretrained("Qwen/Qwen-7B-Chat", device_map="auto", trust_remote_code=True).eval()
>>> model.generation_config = GenerationConfig.from_pretrained("Qwen/Qwen-7B-Chat", trust_remote_code=True) # 可指定不同的生成长度、top_p等相关超参

>>> # 第一轮对话 1st dialogue turn
>>> response, history = model.chat(tokenizer, "你好", history=None)
>>> print(response)
你好！很高兴为你提供帮助。
>>> # 第二轮对话 2nd dialogue turn
>>> response, history = model.chat(tokenizer, "给我讲一个年轻人奋斗创业最终取得成功的故事。", history=history) 
>>> print(response)
这是一个关于一个年轻人奋斗创业最终取得成功的故事。

故事的主人公叫李明，他来自一个普通的家庭，父母都是普通的工人。从小，李明就立下了一个目标：要成为一名成功的企业家。

为了实现这个目标，李明勤奋学习，考上了大学。在大学期间，他积极参加各种创业比赛，获得了不少奖项。他还利用课余时间去实习，积累了宝贵的经验。

毕业后，李明决定开始自己的创业之路。他开始寻找投资机会，但多次都被拒绝了。然而，他并没有放弃。他继续努力，不断改进自己的创业计划，并寻找新的投资机会。

最终，李明成功地获得了一笔投资，开始了自己的创业之路。他成立了一家科技公司，专注于开发新型软件。在他的领导下，公司迅速发展起来，成为了一家成功的科技企业。

李明的成功并不是偶然的。他勤奋、坚韧、勇于冒险，不断学习和改进自己。他的成功也证明了，只要努力奋斗，任何人都有可能取得成功。
>>> # 第三轮对话 3rd dialogue turn
>>> response, history = model.chat(tokenizer, "给这个故事起一个标题", history=history)
>>> print(response)
《奋斗创业：一个年轻人的成功之路》
"""

QUANTIZATION = """\
from transformers import BitsAndBytesConfig

# quantization configuration for NF4 (4 bits)
quantization_config = BitsAndBytesConfig(
    load_in_4bit=True,
    bnb_4bit_quant_type='nf4',
    bnb_4bit_compute_dtype=torch.bfloat16
)

# quantization configuration for Int8 (8 bits)
quantization_config = BitsAndBytesConfig(load_in_8bit=True)

model = AutoModelForCausalLM.from_pretrained(
    args.checkpoint_path,
    device_map="cuda:0",
    quantization_config=quantization_config,
    max_memory=max_memory,
    trust_remote_code=True,
).eval()
"""


@pytest.fixture(scope="module")
def base_folder(qwen_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    return write_original(tmp_path_factory.mktemp("base"), qwen_vocabulary, chat=False)


@pytest.fixture(scope="module")
def chat_folder(qwen_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    return write_original(tmp_path_factory.mktemp("chat"), qwen_vocabulary)


def run(example: str, *, model: Path | None = None, **names: Any) -> dict[str, Any]:
    """Run an example's lines after `import qwen7b.hf`; gives back the names that it leaves."""
    for name in ("Qwen/Qwen-7B-Chat", "Qwen/Qwen-7B"):
        example = example.replace(f'"{name}"', repr(str(model)))
    exec("import qwen7b.hf\n" + example.replace("cuda:0", "cpu"), names)
    return names


def typed(session: str) -> str:
    """What was typed in an interactive session, without what it printed."""
    return "".join(example.source for example in doctest.DocTestParser().get_examples(session))


def parts(example: str) -> list[str]:
    return example.split("\n\n")


@pytest.mark.parametrize("example", [COMPLETE, CHAT, QUANTIZATION], ids=["complete", "chat", "quantization"])
def test_the_examples_are_the_original_s(shared: Path, example: str) -> None:
    assert example in (shared / "original" / "README.md").read_text(encoding="utf-8")


def test_complete(base_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = run(COMPLETE, model=base_folder)
    assert capsys.readouterr().out.startswith("蒙古国的首都是乌兰巴托（Ulaanbaatar）\n冰岛的首都是雷克雅未克")
    num_new_tokens = names["pred"].shape[1] - names["inputs"]["input_ids"].shape[1]
    assert 1 <= num_new_tokens <= 8


def test_chat(chat_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = run(typed(CHAT), model=chat_folder)
    queries = ["你好", "给我讲一个年轻人奋斗创业最终取得成功的故事。", "给这个故事起一个标题"]
    assert [query for query, _ in names["history"]] == queries
    assert names["history"][-1][1] == names["response"]
    assert capsys.readouterr().out == "".join(f"{response}\n" for _, response in names["history"])


@pytest.mark.parametrize(("precision", "layer_type"), [("NF4", "Linear4bit"), ("Int8", "Linear8bitLt")])
def test_quantization(chat_folder: Path, precision: str, layer_type: str) -> None:
    """The example sets one precision and then the other; each is loaded by leaving the other out."""
    pytest.importorskip("bitsandbytes", reason="needs the extra hf")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    other = {"NF4": "Int8", "Int8": "NF4"}[precision]
    example = "\n\n".join(part for part in parts(QUANTIZATION) if f"for {other}" not in part)
    names = run(
        example,
        torch=torch,
        AutoModelForCausalLM=AutoModelForCausalLM,
        args=SimpleNamespace(checkpoint_path=str(chat_folder)),
        max_memory={"cpu": "4GiB"},
    )
    model = names["model"]
    quantized = {name for name, module in model.named_modules() if type(module).__name__ == layer_type}
    for layer in ("attn.c_attn", "attn.c_proj", "mlp.w1", "mlp.w2", "mlp.c_proj"):
        assert f"transformer.h.0.{layer}" in quantized
    assert "lm_head" not in quantized
    response, history = model.chat(AutoTokenizer.from_pretrained(str(chat_folder)), "你好", history=None)
    assert history == [("你好", response)]


CHATML = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
QUESTIONS = ["我想听你说爱我。", "今天我想吃点啥，甜甜的，推荐下", "我马上迟到了，怎么做才能不迟到"]
"""Of the original's example of a batch, which puts the prompts together as texts, as react_demo and trainers do."""


def test_prompts_put_together_as_texts(chat_folder: Path) -> None:
    from transformers import AutoTokenizer

    import qwen7b.hf  # noqa: F401
    from qwen7b.errors import PromptError

    settings = {"pad_token": "<|extra_0|>", "eos_token": "<|endoftext|>", "padding_side": "left"}
    texts = [CHATML.format(question) for question in QUESTIONS]
    silent = AutoTokenizer.from_pretrained(chat_folder, trust_remote_code=True, **settings)
    with pytest.raises(PromptError, match="split_special_tokens=False"):
        silent(texts, padding="longest")
    with pytest.raises(PromptError, match="split_special_tokens=False"):
        [silent.encode(word) for word in ["Observation:", "<|im_start|>", "<|im_end|>"]]  # react_demo's stop words
    asked = AutoTokenizer.from_pretrained(chat_folder, split_special_tokens=False, **settings)
    batch = asked(texts, padding="longest")["input_ids"]
    conversations = [[{"role": "user", "content": question}] for question in QUESTIONS]
    templated: Any = silent.apply_chat_template(conversations, add_generation_prompt=True, padding=True)
    assert batch == templated["input_ids"]
    assert min(row[0] for row in batch) == 151644 and max(row[0] for row in batch) == asked.pad_token_id == 151646
    assert [asked.encode(word) for word in ("<|im_start|>", "<|im_end|>")] == [[151644], [151645]]
