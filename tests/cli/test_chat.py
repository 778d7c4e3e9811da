"""`chat` at a terminal: what a conversation is given to work with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import qwen7b
from qwen7b.cli.chat import converse_at_terminal
from qwen7b.cli.loading_options import Loading
from qwen7b.errors import SettingError
from qwen7b.terminal.commands import Commands

pytestmark = pytest.mark.usefixtures("english")


def test_another_model_goes_on_with_a_draft_model_that_fits(
    tiny_chat_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, other = (shutil.copytree(tiny_chat_checkpoint, tmp_path / name) for name in ("first", "other"))
    tokens = other / "tokenizer.json"
    tokens.write_text(tokens.read_text().replace("<|im_end|>", "<|im_stop|>"))
    drafters = []

    def converse(conversation: object, commands: Commands, session: object) -> None:
        commands.run(f"/model {first}")
        drafters.append(commands.conversation.qwen.speculate)
        with pytest.raises(SettingError, match=r"a draft model must have the same vocabulary.* or 'none'$"):
            commands.run(f"/model {other}")
        drafters.append(commands.conversation.qwen.speculate)
        commands.run("/set speculate none")
        commands.run(f"/model {other}")
        drafters.append(commands.conversation.qwen.speculate)

    monkeypatch.setattr("qwen7b.terminal.chatting.converse", converse)
    qwen = qwen7b.load(tiny_chat_checkpoint, quantize="q8")
    loading = Loading(
        model="-", device="cpu", dtype=None, threads=None, offline=True, quantize="q8", speculate=str(first), chat=True
    )
    converse_at_terminal(qwen, [], reply_settings={}, kept=None, loading=loading)
    assert drafters == ["model", "model", None]
    assert f"The model is {other}." in capsys.readouterr().out.replace("\n", "")
