"""A conversation: the messages so far, the model that answers them, and what the terminal shows of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen7b.errors import SettingError
from qwen7b.system.signals import EndedBySignal
from qwen7b.terminal.display import MarkdownDisplay, chat_console
from qwen7b.terminal.kept_conversations import KeptConversation, Messages
from qwen7b.terminal.language import translated as _
from qwen7b.terminal.parts import join_parts, shown_message, split_parts
from qwen7b.terminal.replies import follow

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from qwen7b import Qwen
    from qwen7b.generate.call_settings import ChatSettings
    from qwen7b.generate.offered_tools import ToolSettings
    from qwen7b.terminal.tool_use import ToolUse


class Conversation:
    """The messages so far and the model that answers them.

    load            loads the model again, which happens when another could not take its place
    reply_settings  the settings of every reply
    kept            the file that messages are saved to after each turn; None saves them nowhere
    tool_use        the tools that the model may call; None where it has none
    """

    def __init__(
        self,
        qwen: Qwen,
        messages: Messages,
        *,
        load: Callable[[], Qwen],
        reply_settings: ChatSettings,
        console: Console | None = None,
        kept: KeptConversation | None = None,
        tool_use: ToolUse | None = None,
    ) -> None:
        self._qwen: Qwen | None = qwen
        self._load = load
        self.messages = messages
        self.reply_settings = reply_settings
        self.console = console or chat_console()
        self.kept = kept
        self.tool_use = tool_use
        self.draft = ""
        """The text that is already in the input line when the user is asked next."""
        self.is_editing = False
        """True if the next message replaces the last one."""
        self.files: list[str] = []
        """The texts that go before the next message."""

    @property
    def qwen(self) -> Qwen:
        """The model that answers."""
        if self._qwen is None:
            self._qwen = self._load()
        return self._qwen

    def switch_model(self, load: Callable[[], Qwen]) -> None:
        """Have another model answer. Where it cannot be loaded, the one before does, loaded when it is next needed."""
        former, adapter = self._load, self.reply_settings.pop("adapter", None)
        self._qwen, self._load = None, load  # memory may not suffice for both
        try:
            self._qwen = load()
        except BaseException:
            self._load = former
            if adapter is not None:
                self.reply_settings["adapter"] = adapter
            raise

    def ask(self, text: str) -> None:
        """Answer one message. After an interrupt the reply so far is kept; if it is empty, the message is taken back
        too."""
        if not text:
            return
        earlier, files = self.messages, self.files
        if self.is_editing:
            question = self.last_question()
            earlier, files = earlier[:question], split_parts(earlier[question]["content"])[0] + files
        self._answer([*earlier, {"role": "user", "content": join_parts(files, text)}])
        self.is_editing = False
        self.files = []

    def retry(self) -> None:
        """Answer the last message again."""
        self._answer(self.messages[: self.last_question() + 1])

    def undo(self) -> str:
        """Remove the last message and its answer, and return the message."""
        question = self.last_question()
        text: str = self.messages[question]["content"]
        self.change(self.messages[:question])
        return text

    def last_question(self) -> int:
        """The index of the user's last message. Raises SettingError if there is none."""
        for index in reversed(range(len(self.messages))):
            if self.messages[index]["role"] == "user":
                return index
        raise SettingError(_("there is no message yet: write one first"))

    def last_reply(self) -> str:
        if not self.messages or self.messages[-1]["role"] != "assistant":
            raise SettingError(_("there is no reply yet: write a message first"))
        text: str = self.messages[-1]["content"]
        return text

    def begin_anew(self, messages: Messages) -> None:
        """Continue from other messages; the file of the conversation until now stays as it is."""
        self.messages = messages
        if self.kept is not None:
            self.kept = self.kept.next_file()

    def change(self, messages: Messages) -> None:
        """Replace the messages by these, and save them."""
        self.messages = messages
        if self.kept is not None:
            try:
                if any(message["role"] != "system" for message in messages):
                    self.kept.write(messages, model=self.qwen.source)
                else:
                    self.kept.remove()
            except SettingError as error:  # reported once; the conversation itself continues
                self.kept = None
                self.note(_("This conversation is not kept: {error}").format(error=error), style="yellow")

    def show_last_exchange(self) -> None:
        """Show the last message and its answer as they were shown at first."""
        try:
            exchange = self.messages[self.last_question() :]
        except SettingError:
            return
        for message in exchange:
            if message["role"] == "user":
                self.console.print(f"> {shown_message(message['content'])}", style="bold")
                self.console.print()
                continue
            if message["role"] == "assistant":
                display = MarkdownDisplay(self.console)
                display.push(message["content"])
                display.close()
                self.console.print()
            if message["role"] == "tool" or message.get("tool_calls"):
                from qwen7b.terminal.tool_use import show_message

                show_message(message, self.show)

    def note(self, text: str, *, style: str = "dim") -> None:
        self.console.print(text, style=style)
        self.console.print()

    def show(self, line: str) -> None:
        """Show a line about a call or its result."""
        self.console.print(line, style="cyan")

    def _answer(self, messages: Messages) -> None:
        self.console.print()
        display = MarkdownDisplay(self.console)

        def new_display() -> MarkdownDisplay:
            nonlocal display
            display = MarkdownDisplay(self.console)
            return display

        def show_reading(tokens_read: int, tokens: int) -> None:
            display.show_reading(tokens_read, tokens)

        reply_settings: ChatSettings = {**self.reply_settings, "on_prompt": show_reading}
        about_tools: ToolSettings = {}
        try:
            if self.tool_use is None:
                timed, note = follow(self.qwen.stream(messages, **reply_settings), display), ""
                first, answered = timed.reply, [*messages]
                answered += [{"role": "assistant", "content": timed.reply.text}] if timed.reply.text else []
            else:
                timed, run = self.tool_use.answer(self.qwen, messages, reply_settings, new_display)
                first, answered, note = (
                    run.replies[0],
                    [dict(each) for each in run.messages],
                    self.tool_use.outcome_note(run),
                )
                about_tools = {"tools": self.tool_use.toolbox.definitions, "dialect": reply_settings.get("dialect")}
        except EndedBySignal:  # what was said is saved, for a conversation that continues later
            if display.text:
                self.change([*messages, {"role": "assistant", "content": display.text}])
            raise
        is_shortened = self.qwen.count_prompt_tokens(messages, **about_tools) > first.usage.prompt_tokens
        summary = timed.summary(context_length=self.qwen.context_length, is_shortened=is_shortened)
        self.note(_(", ").join([summary, note]) if note else summary)
        if len(answered) > len(messages):
            self.change(answered)
