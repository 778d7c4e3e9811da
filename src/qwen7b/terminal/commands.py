"""The commands of a conversation: lines that begin with a slash, and what each of them does."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qwen7b.errors import SettingError
from qwen7b.terminal.clipboard import copy
from qwen7b.terminal.conversation import Conversation
from qwen7b.terminal.kept_conversations import read_file, read_messages, write_messages
from qwen7b.terminal.language import translated as _
from qwen7b.terminal.parts import as_part, shown_message, split_parts
from qwen7b.terminal.set_command import change_setting, is_greedy, remedy_for_sameness, shown_settings
from qwen7b.terminal.visible import unfiltered

if TYPE_CHECKING:
    from qwen7b import Qwen

KEYS_HELP = """\
Enter sends a message. For several lines press Alt-Enter (or Esc, then Enter),
end a line with a backslash, or put the message between triple quotes.
Arrow keys bring back earlier messages; Ctrl-X Ctrl-E opens the line in $EDITOR.
Ctrl-C ends a reply, or clears the line you are typing. Ctrl-D leaves.
A line that begins with a blank is never a command."""

USAGES = {
    "/set [NAME [VALUE]]": "show the settings, or change temperature, speculate, …",
    "/model [NAME]": "show the model, or go on with another one",
    "/adapter [NAME]": "show the adapters, or go on with another one, or with none",
    "/system [TEXT]": "show the system prompt, or set it",
    "/file PATH": "put a text file before your next message",
    "/tools": "list the tools that the model may call",
    "/retry": "have the last message answered anew",
    "/edit": "change the last message and send it again",
    "/undo": "take back the last message and its reply",
    "/copy": "copy the last reply to the clipboard",
    "/reset": "forget the conversation, keep the system prompt",
    "/save FILE": "write the conversation to a JSON file",
    "/load FILE": "go on with a conversation from such a file",
    "/help": "show this",
    "/quit": "leave; so do /exit and /bye",
}
ALIASES = {"/exit": "/quit", "/bye": "/quit", "/?": "/help"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """Functions that commands need beside the conversation.

    find_model  looks up a model by its name, and returns a function that loads it; raises Qwen7bError if there is none
    confirm     asks the user a question, and returns whether the answer is yes
    """

    find_model: Callable[[str], Callable[[], Qwen]]
    confirm: Callable[[str], bool]


class Commands:
    """The commands of one conversation."""

    def __init__(self, conversation: Conversation, services: Services) -> None:
        self.conversation = conversation
        self.services = services
        self.table: dict[str, Callable[[str], None]] = {
            "/set": self.set,
            "/model": self.switch_model,
            "/adapter": self.choose_adapter,
            "/system": self.set_system,
            "/file": self.add_file,
            "/tools": self.list_tools,
            "/retry": self.retry,
            "/edit": self.edit,
            "/undo": self.undo,
            "/copy": self.copy,
            "/reset": self.reset,
            "/save": self.save,
            "/load": self.load,
            "/help": self.show_help,
            "/quit": self.leave,
        }

    def run(self, line: str) -> bool:
        """Run the command in a line; return False if the line is a message, for example one that begins with a path.

        Raises SettingError for an unknown command, and EOFError to leave.
        """
        if not re.match(r"/[A-Za-z?]+(\s|$)", line):
            return False
        name, *rest = line.split(maxsplit=1)
        command = ALIASES.get(name.lower(), name.lower())
        if command in self.table:
            self.table[command](rest[0].strip() if rest else "")
            return True
        if os.path.exists(name):
            return False
        close_matches = difflib.get_close_matches(command, [*self.table, *ALIASES], n=1)
        hint = _("did you mean {command}?").format(command=close_matches[0]) if close_matches else _("see /help.")
        raise SettingError(
            _("there is no command {name}: {hint} To send the line as a message, put a blank before it").format(
                name=name, hint=hint
            )
        )

    def set(self, argument: str) -> None:
        conversation = self.conversation
        if argument:
            name, *value = argument.split(maxsplit=1)
            was_greedy = is_greedy(conversation.reply_settings, conversation.qwen)
            conversation.reply_settings = change_setting(
                conversation.reply_settings, name, value[0] if value else None, generation=conversation.qwen.generation
            )
            if was_greedy and not is_greedy(conversation.reply_settings, conversation.qwen):
                conversation.note(
                    _("Until now the likeliest token was always taken; from now on tokens are drawn at random.")
                )
        conversation.note(shown_settings(conversation.reply_settings, conversation.qwen))

    def switch_model(self, argument: str) -> None:
        conversation = self.conversation
        if argument:
            conversation.switch_model(self.services.find_model(argument))
        conversation.note(_("The model is {name}.").format(name=conversation.qwen.name))

    def choose_adapter(self, argument: str) -> None:
        conversation = self.conversation
        if argument:
            conversation.qwen.adapters.find(argument)  # raises for an unknown one
            conversation.reply_settings["adapter"] = argument
        if names := ", ".join(conversation.qwen.adapters):
            current = conversation.reply_settings.get("adapter") or "none"
            conversation.note(
                _("The adapter is {name}; there are {names}, and none.").format(name=current, names=names)
            )
        else:
            conversation.note(_("The model has no adapters beside it: start with --adapter NAME=FOLDER."))

    def set_system(self, argument: str) -> None:
        conversation = self.conversation
        if argument:
            others = [message for message in conversation.messages if message["role"] != "system"]
            conversation.change([{"role": "system", "content": argument}, *others])
        system = [message["content"] for message in conversation.messages if message["role"] == "system"]
        conversation.note(
            _("System prompt: {text}").format(text=system[0])
            if system
            else _("No system prompt is set: the model's default holds.")
        )

    def add_file(self, argument: str) -> None:
        path = Path(os.path.expanduser(argument))
        if argument and not path.exists():
            with suppress(ValueError):  # quoted or with escaped blanks, as for a shell
                path = Path(os.path.expanduser(" ".join(shlex.split(argument))))
        text = read_file(_path(str(path) if argument else "", command="/file", example="notes.txt"))
        self.conversation.files.append(as_part(path.name, text))
        added = (
            _("{name} goes before your next message (1 character).")
            if len(text) == 1
            else _("{name} goes before your next message ({count:,} characters).")
        )
        self.conversation.note(added.format(name=path.name, count=len(text)))

    def list_tools(self, argument: str) -> None:
        tool_use = self.conversation.tool_use
        listing = "" if tool_use is None else tool_use.listing()
        self.conversation.note(listing or _("The model has no tools: start with --tools, --mcp or --allow-code."))

    def retry(self, argument: str) -> None:
        conversation = self.conversation
        conversation.last_question()  # raises if there is none
        if remedy := remedy_for_sameness(conversation.reply_settings, conversation.qwen):
            conversation.note(
                _("Nothing is left to chance, so it may be the same: {remedy} varies it.").format(remedy=remedy)
            )
        conversation.retry()

    def edit(self, argument: str) -> None:
        conversation = self.conversation
        conversation.draft = split_parts(conversation.messages[conversation.last_question()]["content"])[1]
        conversation.is_editing = True

    def undo(self, argument: str) -> None:
        first_line = shown_message(self.conversation.undo()).split("\n")[0]
        self.conversation.note(_("Taken back: {line}").format(line=first_line))

    def copy(self, argument: str) -> None:
        conversation = self.conversation
        conversation.note(copy(conversation.last_reply(), unfiltered(conversation.console.file)))

    def reset(self, argument: str) -> None:
        messages = self.conversation.messages
        self.conversation.begin_anew(messages[:1] if messages and messages[0]["role"] == "system" else [])
        self.conversation.files = []
        self.conversation.note(_("Forgotten."))

    def save(self, argument: str) -> None:
        path = _path(argument, command="/save")
        if path.is_file() and not self.services.confirm(_("{path} exists. Overwrite it?").format(path=path)):
            self.conversation.note(_("Not saved."))
            return
        messages = self.conversation.messages
        write_messages(path, messages)
        saved = _("1 message saved to {path}.") if len(messages) == 1 else _("{count} messages saved to {path}.")
        self.conversation.note(saved.format(count=len(messages), path=path))

    def load(self, argument: str) -> None:
        path = _path(argument, command="/load")
        self.conversation.begin_anew(read_messages(path))
        self.conversation.show_last_exchange()
        count = len(self.conversation.messages)
        loaded = _("1 message loaded from {path}.") if count == 1 else _("{count} messages loaded from {path}.")
        self.conversation.note(loaded.format(count=count, path=path))

    def show_help(self, argument: str) -> None:
        width = max(map(len, USAGES)) + 2
        rows = [usage.ljust(width) + _(meaning) for usage, meaning in USAGES.items()]
        self.conversation.note("\n".join([_(KEYS_HELP), "", *rows]))

    def leave(self, argument: str) -> None:
        raise EOFError


def _path(argument: str, *, command: str, example: str = "talk.json") -> Path:
    if not argument:
        message = _("{command} needs the name of a file, as in {command} {example}")
        raise SettingError(message.format(command=command, example=example))
    return Path(os.path.expanduser(argument))  # which leaves an unknown ~user as it is
