"""The loop of a conversation at a terminal: it reads a line, and answers it or runs it as a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen7b.errors import Qwen7bError
from qwen7b.terminal.commands import Commands
from qwen7b.terminal.conversation import Conversation
from qwen7b.terminal.keyboard import quiet_keyboard
from qwen7b.terminal.language import translated as _
from qwen7b.terminal.terminal import read_line, unquoted
from qwen7b.text.normalization import without_surrogates

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession


def converse(conversation: Conversation, commands: Commands, session: PromptSession[str]) -> None:
    """Read lines and answer them until the user leaves."""
    name = conversation.qwen.name
    conversation.note(_("Chat with {name}. /help shows what you can do, Ctrl-D leaves.").format(name=name))
    conversation.show_last_exchange()
    while True:
        try:
            draft, conversation.draft = conversation.draft, ""
            line = without_surrogates(read_line(session, draft=draft))
            if line.startswith("/"):
                conversation.is_editing = False
                with quiet_keyboard():
                    if commands.run(line):
                        continue
            conversation.ask(unquoted(line))
        except KeyboardInterrupt:
            conversation.is_editing = False
        except EOFError:
            return
        except Qwen7bError as error:
            conversation.note(_("error: {error}").format(error=error), style="red")
