"""Commands of a conversation, as they are typed."""

from __future__ import annotations

import ast
import base64
import json
import re
import string
from pathlib import Path
from typing import Any

import pytest

import qwen7b
from qwen7b.generate.named_adapters import NamedAdapters
from qwen7b.terminal import clipboard
from qwen7b.terminal.chinese import CHINESE
from qwen7b.terminal.commands import KEYS_HELP, USAGES
from qwen7b.terminal.conversation import Conversation
from qwen7b.terminal.kept_conversations import MAX_KEPT, KeptConversation, read_latest, read_messages
from talking import CTRL_C, ENTER, Talk, assistant, system, user

pytestmark = pytest.mark.usefixtures("english")

HI = [user("Hi"), assistant("Hello there.")]


def test_commands_have_no_case(talk: Talk) -> None:
    assert talk("/SYSTEM Be brief.", ENTER)[0].messages == [system("Be brief.")]


@pytest.mark.parametrize(
    "line", ["/etc/hosts says what?", "/tmp", "/usr is full", "//", "/* a comment */", "/1", " /help", "/", "/help/me"]
)
def test_a_path_at_the_start_is_a_message(talk: Talk, line: str) -> None:
    assert talk(line, ENTER)[0].messages == [user(line.strip()), assistant("Hello there.")]


@pytest.mark.parametrize(("line", "near"), [("/sve x", "/save"), ("/exti", "/exit"), ("/xyz", "/help")])
def test_what_looks_like_a_command_names_the_nearest(talk: Talk, fake, line: str, near: str) -> None:
    assert near in talk(line, ENTER)[1] and fake.asked == []


def test_settings_are_shown_changed_and_given_back(talk: Talk, fake) -> None:
    fake.generation = qwen7b.checkpoint.GenerationSettings(sampling={"temperature": 0.7, "top_p": 0.8})
    conversation, screen = talk(
        "/set", ENTER, "/set temperature 1.5", ENTER, "/SET Seed 7", ENTER, "/set max-tokens 20", ENTER, "Hi", ENTER,
        "/set temperature default", ENTER, "/set stop \\n\\n", ENTER,
    )  # fmt: skip
    assert "temperature          0.7  (default)\n" in screen and "max_new_tokens       9\n" in screen
    assert "temperature          1.5\n" in screen
    assert fake.asked[0][1] == {"temperature": 1.5, "seed": 7, "max_new_tokens": 20}
    assert conversation.reply_settings == {"seed": 7, "max_new_tokens": 20, "stop": ("\\n\\n",)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/set tempreature 1", "did you mean temperature?"),
        ("/set temperature", "/set temperature needs a value"),
        ("/set temperature hot", "temperature takes a number, found hot"),
        ("/set temperature -1", "temperature"),
        ("/set temperature nan", "temperature"),
        ("/set seed 1.5", "seed takes a whole number, found 1.5"),
        ("/set top_p 2", "top_p must"),
        ("/set presence_penalty 3", "presence_penalty must be a number from -2 to 2"),
        ("/set frequency-penalty 1,5", "frequency_penalty takes a number, found 1,5"),
        ("/set max_new_tokens 0", "max_new_tokens"),
        ("/set colour red", "there is no setting colour: temperature, top_k"),
        ("/set speculate", "/set speculate needs a value"),
        ("/set speculate Qwen-1_8B", "a draft model is loaded once, by qwen7b.load(…, speculate=…) or --speculate"),
        ("/set speculation ngram", "did you mean speculate?"),
    ],
)
def test_wrong_settings_change_nothing(talk: Talk, line: str, message: str) -> None:
    conversation, screen = talk(line, ENTER)
    assert "error: " in screen and message in screen and conversation.reply_settings == {"max_new_tokens": 9}


def test_temperature_0_is_greedy_and_refuses_what_it_cannot_use(talk: Talk) -> None:
    conversation, screen = talk("/set temperature 0", ENTER, "/set top_p 0.5", ENTER)
    assert conversation.reply_settings["temperature"] == 0 and "top_p" not in conversation.reply_settings
    assert (
        "always the likeliest token" in screen
        and "error: top_p cannot be 0.5 here: temperature 0 leaves nothing to chance" in screen
    )


def test_who_drafts_is_shown_and_changed(talk: Talk, fake) -> None:
    fake.speculate = "model"
    _, screen = talk(
        "/set", ENTER, "/set speculate NGRAM", ENTER, "Hi", ENTER, "/set speculate none", ENTER, "Hi", ENTER,
        "/set speculate default", ENTER, "Hi", ENTER,
    )  # fmt: skip
    shown = re.findall(r"^speculate +(.*)$", screen, re.MULTILINE)
    assert shown == ["by a draft model  (default)", "ngram", "none", "by a draft model  (default)"]
    assert [asked.get("speculate") for _, asked in fake.asked] == ["ngram", "none", None]


def test_another_model_goes_on_with_the_conversation(talk: Talk, fake) -> None:
    other = type(fake)(pieces=["Bonjour."], name="other")
    conversation, screen = talk(
        "Hi", ENTER, "/model", ENTER, "/model other", ENTER, "Again", ENTER, find_model=lambda name: lambda: other
    )
    assert conversation.messages == [*HI, user("Again"), assistant("Bonjour.")]
    assert other.asked[0][0] == [*HI, user("Again")] and "The model is fake." in screen and "is other." in screen


def test_a_model_that_is_not_there_leaves_the_one_that_is(talk: Talk, fake) -> None:
    def find_model(name: str):
        raise qwen7b.ModelNotFoundError(f"unknown model {name}")

    conversation, screen = talk("/model none", ENTER, "Hi", ENTER, find_model=find_model)
    assert conversation.messages == HI and "error: unknown model none" in screen


@pytest.mark.parametrize("trouble", [qwen7b.CheckpointError("damaged"), KeyboardInterrupt()])
def test_a_model_that_does_not_load_leaves_the_one_before(talk: Talk, fake, trouble: BaseException) -> None:
    def load():
        raise trouble

    conversation, _ = talk("/model broken", ENTER, "Hi", ENTER, find_model=lambda name: load)
    assert conversation.messages == HI and conversation.qwen is fake


def test_a_model_that_does_not_load_leaves_the_adapter_and_another_drops_it(fake) -> None:
    def broken() -> Any:
        raise qwen7b.CheckpointError("damaged")

    loads: list[str] = []

    def load() -> Any:
        loads.append("former")
        if len(loads) == 1:
            raise KeyboardInterrupt
        return fake

    conversation = Conversation(fake, [], load=load, reply_settings={"adapter": "mine"})
    with pytest.raises(qwen7b.CheckpointError):
        conversation.switch_model(broken)
    with pytest.raises(KeyboardInterrupt):  # the former is loaded when it is needed, and is so again
        conversation.qwen  # noqa: B018
    assert conversation.qwen is fake and loads == ["former"] * 2 and conversation.reply_settings == {"adapter": "mine"}
    conversation.switch_model(lambda: fake)
    assert conversation.reply_settings == {}


def test_retry_asks_the_last_question_anew(talk: Talk, fake) -> None:
    conversation, _ = talk("Hi", ENTER, "/retry", ENTER)
    assert conversation.messages == HI and [asked for asked, _ in fake.asked] == [[user("Hi")], [user("Hi")]]


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        (["temperature 0"], "/set temperature 0.8"),
        (["temperature 0.8"], None),
        (["seed 3"], "/set seed default"),
        (["temperature 0.8", "seed 3"], "/set seed default"),
    ],
)
def test_retry_says_where_nothing_can_change_and_how_it_could(
    talk: Talk, settings: list[str], remedy: str | None
) -> None:
    changes = [key for setting in settings for key in (f"/set {setting}", ENTER)]
    screen = talk("Hi", ENTER, *changes, "/retry", ENTER)[1]
    assert ("Nothing is left to chance" in screen) == (remedy is not None)
    assert remedy is None or f"{remedy} varies it." in screen


def test_retry_before_a_message_says_only_that(talk: Talk) -> None:
    screen = talk("/retry", ENTER)[1]
    assert "there is no message yet" in screen and "left to chance" not in screen


def test_edit_puts_the_message_back_into_the_line(talk: Talk, fake) -> None:
    conversation, _ = talk("Hi", ENTER, "/edit", ENTER, "!", ENTER, "More", ENTER)
    assert conversation.messages == [user("Hi!"), HI[1], user("More"), HI[1]]


def test_an_edit_that_is_given_up_changes_nothing(talk: Talk, fake) -> None:
    conversation, _ = talk("Hi", ENTER, "/edit", ENTER, CTRL_C, "More", ENTER)
    assert conversation.messages == [*HI, user("More"), HI[1]]


def test_an_exchange_that_was_taken_back_is_not_kept(talk: Talk, tmp_path: Path) -> None:
    talk("Secret", ENTER, "/undo", ENTER, kept=KeptConversation(tmp_path))
    assert [*tmp_path.iterdir()] == []
    talk("Secret", ENTER, "/undo", ENTER, "Hi", ENTER, kept=KeptConversation(tmp_path))
    assert read_latest(tmp_path)[0] == HI


def test_undo_takes_back_the_last_exchange(talk: Talk) -> None:
    conversation, screen = talk("Hi", ENTER, "More", ENTER, "/undo", ENTER, "/retry", ENTER)
    assert conversation.messages == HI and "Taken back: More\n" in screen


@pytest.mark.parametrize("command", ["/retry", "/edit", "/undo", "/copy"])
def test_commands_that_need_a_message_say_so(talk: Talk, command: str) -> None:
    conversation, screen = talk(command, ENTER, messages=[system("Be brief.")])
    assert "yet: write" in screen and conversation.messages == [system("Be brief.")]


@pytest.mark.parametrize("name", ["notes.txt", "my notes.txt"])
def test_a_file_goes_before_the_next_message_once(talk: Talk, fake, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes("\ufeffone\n```\ntwo".encode())
    talk(f"/file {tmp_path / name}", ENTER, "What is this?", ENTER, "And?", ENTER)
    sent = [messages[-1]["content"] for messages, _ in fake.asked]
    assert sent == [f"{name}:\n````\none\n```\ntwo\n````\n\nWhat is this?", "And?"]


def test_a_quoted_path_is_read_too(talk: Talk, fake, tmp_path: Path) -> None:
    (tmp_path / "my notes.txt").write_text("one")
    talk(f"/file '{tmp_path}/my notes.txt'", ENTER, "?", ENTER)
    assert "one" in fake.asked[0][0][0]["content"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "/file needs the name of a file"),
        ("none.txt", "cannot be read (No such file"),
        ("folder", "cannot be read (it is a folder, not a file)"),
        ("pipe", "cannot be read (it is a pipe, not a file)"),
        ("picture.png", "is not UTF-8 (byte 0 is 0x89)"),
        ("huge", "cannot be read (it has more than 67,108,864 bytes)"),
    ],
)
def test_files_that_are_no_text(talk: Talk, fake, tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(1 << 40)
    if name == "pipe":
        os = pytest.importorskip("os")
        if not hasattr(os, "mkfifo"):
            pytest.skip("needs named pipes")
        os.mkfifo(tmp_path / "pipe")
    conversation, screen = talk(f"/file {tmp_path / name if name else ''}", ENTER)
    assert message in screen and conversation.files == []


@pytest.mark.parametrize(
    ("answer", "is_saved"), [("y", True), ("YES", True), ("n", False), ("", False), (CTRL_C, False)]
)
def test_save_asks_before_it_overwrites(talk: Talk, tmp_path: Path, answer: str, is_saved: bool) -> None:
    path = tmp_path / "talk.json"
    path.write_text("precious")
    keys = (answer,) if answer == CTRL_C else (answer, ENTER)
    _, screen = talk("Hi", ENTER, f"/save {path}", ENTER, *keys)
    assert (path.read_text() != "precious") == is_saved
    assert ("2 messages saved" in screen) == is_saved and ("Not saved." in screen) != is_saved


def test_loading_shows_the_last_exchange(talk: Talk, tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_text(json.dumps([user("First"), assistant("1."), user("Second\x1b[2J"), assistant("Two")]))
    screen = talk(f"/load {path}", ENTER)[1]
    assert "> Second␛[2J\n\nTwo\n" in screen and "First" not in screen


def test_every_turn_is_kept(talk: Talk, tmp_path: Path) -> None:
    talk("Hi", ENTER, kept=KeptConversation(tmp_path))
    assert read_latest(tmp_path) == (HI, "fake")
    talk("Hi", ENTER, "More", ENTER, "/undo", ENTER, "/reset", ENTER, "Anew", ENTER, kept=KeptConversation(tmp_path))
    kept = sorted((read_messages(path) for path in tmp_path.glob("*.json")), key=str)
    assert kept == sorted([HI, HI, [user("Anew"), HI[1]]], key=str)
    assert read_latest(tmp_path)[0] == [user("Anew"), HI[1]]


def test_what_is_kept_is_the_users_alone_and_of_bounded_number(talk: Talk, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "conversations"
    for _ in range(MAX_KEPT + 3):
        KeptConversation(folder).write(HI, model="fake")
    assert len(list(folder.iterdir())) == MAX_KEPT and folder.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_written_is_named_once(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    conversation, screen = talk("Hi", ENTER, "More", ENTER, kept=KeptConversation(tmp_path / "file" / "folder"))
    assert len(conversation.messages) == 4 and screen.count("This conversation is not kept: ") == 1


def test_nothing_to_go_on_with_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(qwen7b.PromptError, match="no earlier conversation is kept"):
        read_latest(tmp_path / "none")


class Terminal:
    def __init__(self, *, isatty: bool = True) -> None:
        self.written = ""
        self.isatty = lambda: isatty

    def write(self, text: str) -> None:
        self.written += text

    def flush(self) -> None:
        pass


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A terminal without a desktop around it."""
    for name in ("TMUX", "SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(clipboard.sys, "platform", "linux")  # type: ignore[attr-defined]
    return monkeypatch


def test_a_terminal_is_asked_to_copy(bare: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    assert "few terminals" in clipboard.copy("你好\x1b[2J", terminal)
    payload = re.fullmatch("\x1b]52;c;(.*)\x07", terminal.written)
    assert payload and base64.b64decode(payload[1]).decode() == "你好\x1b[2J"


def test_a_program_is_asked_before_the_terminal(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "wl-copy"
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/copied\n")
    program.chmod(0o755)
    bare.setenv("PATH", str(tmp_path), prepend=":")
    bare.setenv("WAYLAND_DISPLAY", "wayland-0")
    terminal = Terminal()
    assert clipboard.copy("你好", terminal) == "Copied to the clipboard." and terminal.written == ""
    assert (tmp_path / "copied").read_text(encoding="utf-8") == "你好"


def test_copying_that_cannot_be_is_said(bare: pytest.MonkeyPatch) -> None:
    with pytest.raises(qwen7b.SettingError, match="there is no clipboard here"):
        clipboard.copy("x", Terminal(isatty=False))
    with pytest.raises(qwen7b.SettingError, match="longer than"):
        clipboard.copy("你" * 30_000, Terminal())
    bare.setenv("TERM", "linux")
    with pytest.raises(qwen7b.SettingError, match="there is no clipboard here"):
        clipboard.copy("x", Terminal())


@pytest.mark.parametrize(
    ("environment", "is_chinese"),
    [
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LC_ALL": "zh_TW", "LANG": "en_US.UTF-8"}, True),
        ({"LC_MESSAGES": "zh_SG.UTF-8", "LANG": "en_US.UTF-8"}, True),
        ({"LANGUAGE": "zh:en", "LANG": "en_US.UTF-8"}, True),
        ({"LANGUAGE": "zh", "LANG": "C.UTF-8"}, False),
        ({"LC_ALL": "C.UTF-8", "LANG": "zh_CN.UTF-8"}, False),
        ({"LANG": "en_US.UTF-8"}, False),
        ({"LANG": "de_CH.UTF-8"}, False),
    ],
)
def test_a_chinese_locale_speaks_chinese(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], is_chinese: bool
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "LANGUAGE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    screen = talk("/help", ENTER, "Hi", ENTER, "/sve", ENTER)[1]
    for chinese, message in [("按回车发送", "Enter sends"), ("个词元", "tokens of"), ("错误：", "error: ")]:
        assert (chinese in screen) == is_chinese and (message in screen) != is_chinese


def test_every_message_has_its_chinese_with_the_same_places() -> None:
    used = {KEYS_HELP, *USAGES.values()}
    for path in Path(qwen7b.terminal.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", "") == "_"
                and isinstance(node.args[0], ast.Constant)
            ):
                used.add(node.args[0].value)
    assert used == CHINESE.keys()

    def places(message: str) -> set[tuple[str | None, str | None]]:
        return {place[1:3] for place in string.Formatter().parse(message) if place[1] is not None}

    for english_message, chinese in CHINESE.items():
        assert places(english_message) == places(chinese) and english_message != chinese


def test_undo_and_edit_after_a_file_are_about_what_was_typed(talk: Talk, fake, tmp_path: Path) -> None:
    for name, text in [("a.txt", "Alpha\n```\n"), ("b.txt", ""), ("c: d.txt", "no newline")]:
        (tmp_path / name).write_text(text)
    add = [key for name in ("a.txt", "b.txt", "c: d.txt") for key in (f"/file {tmp_path / name}", ENTER)]
    conversation, screen = talk(*add, "What?", ENTER, "/edit", ENTER, " Now?", ENTER, "/undo", ENTER)
    first, second = (messages[-1]["content"] for messages, _ in fake.asked)
    assert first.endswith("\n\nWhat?") and "Alpha" in first
    assert second == first + " Now?"
    assert "Taken back: [a.txt] [b.txt] [c: d.txt] What? Now?\n" in screen
    assert conversation.messages == [] and "Alpha" not in screen


def test_a_loaded_conversation_shows_names_of_files_not_their_texts(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("word " * 1000)
    saved = tmp_path / "talk.json"
    talk(f"/file {tmp_path / 'long.txt'}", ENTER, "Short?", ENTER, f"/save {saved}", ENTER)
    screen = talk(f"/load {saved}", ENTER)[1]
    assert "> [long.txt] Short?\n" in screen and "word word" not in screen


@pytest.mark.parametrize(
    ("line", "is_said"),
    [("seed 3", True), ("top_p 0.9", True), ("temperature 1", True), ("max_tokens 3", False), ("temperature 0", False)],
)
def test_a_setting_that_ends_greedy_choice_says_so(talk: Talk, line: str, is_said: bool) -> None:
    assert ("from now on tokens are drawn at random" in talk(f"/set {line}", ENTER)[1]) == is_said


def test_one_message_is_not_called_several(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps([user("Hi")]))
    (tmp_path / "one.txt").write_text("1")
    screen = talk(
        f"/load {tmp_path / 'one.json'}",
        ENTER,
        f"/save {tmp_path / 'two.json'}",
        ENTER,
        f"/file {tmp_path / 'one.txt'}",
        ENTER,
    )[1]
    assert "1 message loaded" in screen and "1 message saved" in screen and "(1 character)" in screen


@pytest.mark.parametrize(
    "line",
    ["/set top_p 2", "/set temperature -1", "/set seed 99999999999999999999", "/set seed x", "/set stop", "/file"],
)
def test_errors_of_commands_are_chinese_in_a_chinese_locale(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    screen = talk(line, ENTER)[1]
    assert "错误：" in screen and re.search("在此不能设为|应为|后面要有", screen)


def test_adapters_are_shown_and_chosen(talk: Talk, fake) -> None:
    fake.adapters = NamedAdapters(None)  # type: ignore[arg-type]
    assert "The model has no adapters beside it: start with --adapter NAME=FOLDER." in talk("/adapter", ENTER)[1]
    fake.adapters._by_name |= dict.fromkeys("ab", object())
    _, screen = talk(
        "/adapter b", ENTER, "Hi", ENTER, "/adapter", ENTER, "/adapter c", ENTER, "/adapter none", ENTER, "Hi", ENTER
    )
    assert "The adapter is b; there are a, b, and none." in screen and "there is no adapter 'c'" in screen
    assert [asked["adapter"] for _, asked in fake.asked] == ["b", "none"]
