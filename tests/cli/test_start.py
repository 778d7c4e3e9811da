"""How a packed chat starts: nothing is imported or parsed that the first token does not need."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NOT_NEEDED = (
    "huggingface_hub",
    "jinja2",
    "markdown_it",
    "modelscope",
    "prompt_toolkit",
    "qwen7b.cli.evaluate",
    "qwen7b.cli.train",
    "rich",
    "sympy",
    "tokenizers",
    "torch._dynamo",
    "torch._inductor",
    "transformers",
)
PROGRAM = f"""
import gc, sys
class Watch:
    enabled, read = [], []
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            self.enabled.append(gc.isenabled())
        if name == "torch._C":
            self.read[:] = [bool(kept)]
sys.meta_path.insert(0, Watch())
from qwen7b.packing import kept_tokenizer as tokenizer
kept, find = [], tokenizer.find_kept_tokenizer
def find_kept_tokenizer(source):
    found = find(source)
    kept.extend([] if found is None else [found])
    return found
tokenizer.find_kept_tokenizer = find_kept_tokenizer
sys.argv = ["qwen7b", *sys.argv[1:]]
from qwen7b.cli.app import main
try:
    main()
finally:
    needless = sorted(set({NOT_NEEDED!r}) & set(sys.modules))
    print(Watch.enabled and not any(Watch.enabled), gc.isenabled(), Watch.read, needless, file=sys.stderr)
"""
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@pytest.fixture
def checkpoint(tiny_chat_checkpoint: Path, tmp_path: Path) -> Path:
    """With a chat template, which the first start compares with ChatML."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_chat_checkpoint, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def test_the_second_start_of_a_packed_chat(checkpoint: Path, tmp_path: Path) -> None:
    arguments = ["chat", "hello", "--model", str(checkpoint), "--quantize", "q8", "--greedy", "--json"]
    replies, said = [], []
    for _ in range(2):
        environment = {**os.environ, "QWEN7B_CACHE": str(tmp_path / "cache")}
        command = [sys.executable, "-c", PROGRAM, *arguments]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        replies.append(json.loads(done.stdout)["token_ids"])
        said.append(done.stderr.splitlines()[-1])
    assert replies[0] == replies[1]
    assert said[0].startswith("True True [False] ") and said[1] == "True True [True] []"


ENDING = """
import atexit, sys
class Cycle:
    def __init__(self):
        self.itself = self
    def __del__(self):
        print("a search for garbage")
atexit.register(print, "a duty done")
sys.argv = ["qwen7b", "--version"]
from qwen7b.cli.app import main
try:
    main()
finally:
    Cycle()
"""


def test_the_end_of_a_process_does_its_duties_and_looks_for_no_garbage() -> None:
    done = subprocess.run([sys.executable, "-c", ENDING], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[1:] == ["a duty done"]
