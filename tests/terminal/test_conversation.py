"""A conversation at the terminal, driven by keystrokes."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from prompt_toolkit.history import InMemoryHistory

import qwen7b
from qwen7b.system.signals import EndedBySignal
from qwen7b.terminal.commands import USAGES
from qwen7b.terminal.display import MarkdownDisplay
from qwen7b.terminal.kept_conversations import KeptConversation, read_latest
from qwen7b.terminal.terminal import kept_history
from talking import ALT_ENTER, CTRL_C, CTRL_D, ENTER, Talk, assistant, system, user

pytestmark = pytest.mark.usefixtures("english")


def test_a_turn_is_answered_remembered_and_measured(talk: Talk, fake) -> None:
    conversation, screen = talk("Hi", ENTER, "你好", ENTER)
    assert conversation.messages == [user("Hi"), assistant("Hello there."), user("你好"), assistant("Hello there.")]
    assert fake.asked[1] == ([user("Hi"), assistant("Hello there."), user("你好")], {"max_new_tokens": 9})
    assert "Hello there.\n" in screen and "2 tokens, " in screen and " tokens/s, first after " in screen
    assert "9 of 32,768 tokens of context\n" in screen and "stop" not in screen


@pytest.mark.parametrize(("num_prompt_tokens", "is_said"), [(7, False), (8, True)])
def test_messages_without_room_are_said_to_be_left_out(talk: Talk, fake, num_prompt_tokens: int, is_said: bool) -> None:
    fake.num_prompt_tokens = num_prompt_tokens  # the reply was given 7
    assert ("the oldest messages left out" in talk("Hi", ENTER)[1]) == is_said


@pytest.mark.parametrize(
    "keys",
    [
        ("a", ALT_ENTER, "b", ENTER),
        ("a\\", ENTER, "b", ENTER),
        ('"""a', ENTER, 'b"""', ENTER),
        ('"""', ENTER, "a", ENTER, "b", ENTER, '"""', ENTER),
        ("\x1b[200~a\nb\x1b[201~", ENTER),  # pasted
    ],
    ids=["alt-enter", "backslash", "quotes", "quotes on their own lines", "paste"],
)
def test_messages_of_several_lines(talk: Talk, keys: tuple[str, ...]) -> None:
    assert talk(*keys)[0].messages[0] == user("a\nb")


def test_a_blank_message_is_not_sent(talk: Talk, fake) -> None:
    conversation, screen = talk(ENTER, "  ", ENTER)
    assert conversation.messages == [] == fake.asked
    assert screen.count("\n") == 2  # the greeting: such a line leaves nothing on the screen


def test_ctrl_c_clears_the_line(talk: Talk) -> None:
    assert talk("forget this", CTRL_C, "Hi", ENTER)[0].messages[0] == user("Hi")


@pytest.mark.parametrize("leave", [("/quit", ENTER), ("/Exit ", ENTER), ("/BYE", ENTER), (CTRL_D,)])
def test_leaving(talk: Talk, fake, leave: tuple[str, ...]) -> None:
    talk(*leave, "Hi", ENTER)
    assert fake.asked == []


def test_an_interrupted_reply_keeps_what_was_said(talk: Talk, fake) -> None:
    fake.pieces = ["Hel", KeyboardInterrupt(), "lo"]
    conversation, screen = talk("Hi", ENTER)
    assert conversation.messages == [user("Hi"), assistant("Hel")]
    assert "interrupted" in screen


def test_ctrl_c_while_a_piece_is_shown_keeps_what_was_said(talk: Talk, fake, monkeypatch: pytest.MonkeyPatch) -> None:
    def push(display: MarkdownDisplay, text: str) -> None:
        shown(display, text)
        raise KeyboardInterrupt

    shown = MarkdownDisplay.push
    monkeypatch.setattr(MarkdownDisplay, "push", push)
    assert talk("Hi", ENTER)[0].messages == [user("Hi"), assistant("Hello")]


def test_a_conversation_is_kept_under_what_finds_its_model_again(talk: Talk, fake, tmp_path: Path) -> None:
    fake.name, fake.source = "demo with run", "demo"
    talk("Hi", ENTER, kept=KeptConversation(tmp_path))
    assert read_latest(tmp_path)[1] == "demo"


def test_what_was_said_when_the_system_ends_the_command_is_kept(talk: Talk, fake, tmp_path: Path) -> None:
    fake.pieces = ["Hel", EndedBySignal(15), "lo"]
    with pytest.raises(EndedBySignal):
        talk("Hi", ENTER, kept=KeptConversation(tmp_path))
    assert read_latest(tmp_path) == ([user("Hi"), assistant("Hel")], "fake")


def test_a_reply_interrupted_before_its_first_word_takes_the_message_back(talk: Talk, fake) -> None:
    fake.pieces = [KeyboardInterrupt()]
    assert talk("Hi", ENTER)[0].messages == []


def test_a_cut_off_reply_says_so(talk: Talk, fake) -> None:
    fake.finish_reason = "length"
    assert "cut off at the token limit" in talk("Hi", ENTER)[1]


def test_an_error_takes_the_message_back_and_the_conversation_goes_on(talk: Talk, fake) -> None:
    fake.pieces = [qwen7b.PromptError("too long: shorten it")]
    conversation, screen = talk("Hi", ENTER, "/help", ENTER)
    assert conversation.messages == []
    assert "error: too long: shorten it\n" in screen and "/reset" in screen


def test_help_names_every_command_in_eighty_columns(talk: Talk) -> None:
    screen = talk("/help", ENTER)[1]
    names = [usage.split()[0] for usage in USAGES]
    assert all(f"\n{name} " in screen for name in names)
    assert max(map(len, screen.splitlines())) <= 80


def test_unknown_commands_are_named(talk: Talk, fake) -> None:
    screen = talk("/sve x", ENTER)[1]
    assert "error: there is no command /sve" in screen and fake.asked == []


def test_reset_keeps_the_system_prompt(talk: Talk) -> None:
    conversation, _ = talk("Hi", ENTER, "/reset", ENTER, messages=[system("Be brief.")])
    assert conversation.messages == [system("Be brief.")]


def test_system_sets_and_shows(talk: Talk) -> None:
    conversation, screen = talk("/system", ENTER, "Hi", ENTER, "/system Be kind.", ENTER, "/system Be brief.", ENTER)
    assert conversation.messages == [system("Be brief."), user("Hi"), assistant("Hello there.")]
    assert "No system prompt is set" in screen and "System prompt: Be brief." in screen


def test_what_is_saved_can_be_loaded(talk: Talk, tmp_path: Path) -> None:
    path = tmp_path / "a talk.json"
    saved, _ = talk("你好", ENTER, f"/save {path}", ENTER)
    assert "你好" in path.read_text(encoding="utf-8")
    loaded, screen = talk(f"/load {path}", ENTER)
    assert loaded.messages == saved.messages != []
    assert "2 messages loaded" in screen


def test_two_terminals_that_save_do_not_share_a_file(talk: Talk, tmp_path: Path) -> None:
    theirs = tmp_path / "talk.json.part"
    theirs.write_text("half of another terminal's")
    talk("Hi", ENTER, f"/save {tmp_path / 'talk.json'}", ENTER)
    assert theirs.read_text() == "half of another terminal's"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "talk.json", theirs]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"{", "is not JSON"),
        (b"\xff", "is not UTF-8"),
        (b"{}", "must hold a JSON list"),
        (json.dumps([{"role": "user"}]).encode(), "must hold a JSON list"),
        (json.dumps([{"role": "user", "content": 1}]).encode(), "must hold a JSON list"),
        (json.dumps([{"role": "robot", "content": "x"}]).encode(), "must hold a JSON list"),
    ],
)
def test_loading_something_else_changes_nothing(
    talk: Talk, tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "talk.json"
    if content is not None:
        path.write_bytes(content)
    conversation, screen = talk(f"/load {path}", ENTER, messages=[system("Be brief.")])
    assert conversation.messages == [system("Be brief.")]
    assert f"error: {path}" in screen and message in screen


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("/save", "/save needs the name of a file"),
        ("/load", "/load needs"),
        ("/save /none/x", "/none/x cannot be written"),
    ],
)
def test_files_that_cannot_be(talk: Talk, command: str, message: str) -> None:
    assert f"error: {message}" in talk(command, ENTER)[1]


def test_the_line_history_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "chat_history"
    kept_history(path).append_string("earlier")
    assert list(kept_history(path).load_history_strings()) == ["earlier"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_history_that_cannot_be_kept_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert isinstance(kept_history(tmp_path / "file" / "chat_history"), InMemoryHistory)
