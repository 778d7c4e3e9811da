"""A conversation at the terminal: messages go to the model, lines that begin with a slash are commands."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qwen7b.cli.display import MarkdownDisplay, chat_console
from qwen7b.cli.prompts import without_surrogates
from qwen7b.cli.replies import follow
from qwen7b.cli.terminal import unquoted
from qwen7b.errors import PromptError, Qwen7bError, SettingError
from qwen7b.whole_file import write_text_whole

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from rich.console import Console

    from qwen7b import Qwen
    from qwen7b.generate.request import Settings

HELP = """\
Enter sends a message. For several lines press Alt-Enter (or Esc, then Enter),
end a line with a backslash, or put the message between triple quotes.
Arrow keys bring back earlier messages. Ctrl-C ends a reply, or clears the line
you are typing. Ctrl-D leaves.

/reset          forget the conversation, keep the system prompt
/system [TEXT]  show the system prompt, or set it
/save FILE      write the conversation to a JSON file
/load FILE      go on with a conversation from such a file
/help           show this
/quit           leave"""


class Conversation:
    """The messages so far and the model that answers them."""

    def __init__(
        self, qwen: Qwen, messages: list[dict[str, str]], *, asking: Settings, console: Console | None = None
    ) -> None:
        self.qwen = qwen
        self.messages = messages
        self.asking = asking
        self.console = console or chat_console()
        self.commands: dict[str, Callable[[str], None]] = {
            "/help": self.show_help,
            "/reset": self.reset,
            "/system": self.set_system,
            "/save": self.save,
            "/load": self.load,
            "/quit": self.leave,
        }

    def run(self, session: PromptSession[str]) -> None:
        """Read and answer until the user leaves."""
        self.note(f"Chat with {self.qwen.name}. /help shows what you can do, Ctrl-D leaves.")
        while True:
            try:
                line = without_surrogates(session.prompt())
                if line.startswith("/"):
                    self.obey(line.strip())
                else:
                    self.ask(unquoted(line))
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            except Qwen7bError as error:
                self.note(f"error: {error}", style="red")

    def ask(self, text: str) -> None:
        """Answer one message. Interrupted, what was said so far stays; where nothing was said, the message goes too."""
        if not text:
            return
        messages = [*self.messages, {"role": "user", "content": text}]
        self.console.print()
        timed = follow(self.qwen.stream(messages, **self.asking), MarkdownDisplay(self.console))
        if timed.reply.text:
            self.messages = [*messages, {"role": "assistant", "content": timed.reply.text}]
        self.note(timed.summary)

    def obey(self, line: str) -> None:
        name, _, argument = line.partition(" ")
        if name not in self.commands:
            raise SettingError(f"there is no command {name}: see /help, or begin with a blank to send it as a message")
        self.commands[name](argument.strip())

    def note(self, text: str, *, style: str = "dim") -> None:
        self.console.print(text, style=style)
        self.console.print()

    def show_help(self, argument: str) -> None:
        self.note(HELP)

    def reset(self, argument: str) -> None:
        self.messages = self.messages[:1] if self.messages and self.messages[0]["role"] == "system" else []
        self.note("Forgotten.")

    def set_system(self, argument: str) -> None:
        if argument:
            others = [message for message in self.messages if message["role"] != "system"]
            self.messages = [{"role": "system", "content": argument}, *others]
        system = [message["content"] for message in self.messages if message["role"] == "system"]
        self.note(f"System prompt: {system[0]}" if system else "No system prompt is set: the model's default holds.")

    def save(self, argument: str) -> None:
        path = _path(argument, command="/save")
        try:
            write_text_whole(path, json.dumps(self.messages, ensure_ascii=False, indent=2) + "\n")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise SettingError(f"{path} cannot be written ({reason}): choose another place") from error
        self.note(f"{len(self.messages)} messages saved to {path}.")

    def load(self, argument: str) -> None:
        path = _path(argument, command="/load")
        self.messages = read_messages(path)
        self.note(f"{len(self.messages)} messages loaded from {path}.")

    def leave(self, argument: str) -> None:
        raise EOFError


def read_messages(path: Path) -> list[dict[str, str]]:
    """The messages of a JSON file. Raises PromptError where it cannot be read or holds something else."""
    try:
        messages = json.loads(without_surrogates(json.dumps(json.loads(path.read_bytes()), ensure_ascii=False)))
    except OSError as error:
        raise PromptError(f"{path} cannot be read ({error.strerror}): check the name") from error
    except (ValueError, RecursionError) as error:
        raise PromptError(f"{path} is not JSON ({error}): give a file written by /save") from error
    if not isinstance(messages, list) or not all(_is_message(message) for message in messages):
        raise PromptError(f'{path} must hold a JSON list of {{"role": …, "content": …}}: give a file written by /save')
    if any(message["role"] == "system" for message in messages[1:]):
        raise PromptError(f"{path} has a system message that is not the first: join them into one")
    return messages


def _is_message(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"role", "content"}
        and value["role"] in ("system", "user", "assistant")
        and isinstance(value["content"], str)
    )


def _path(argument: str, *, command: str) -> Path:
    if not argument:
        raise SettingError(f"{command} needs the name of a file, as in {command} talk.json")
    return Path(os.path.expanduser(argument))  # which leaves an unknown ~user as it is
