"""`qwen7b chat`: one reply to a prompt, or a conversation at the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from qwen7b.cli import options, tool_options
from qwen7b.cli.answer_file import Input, Output, answer_file, check_files
from qwen7b.cli.loading_options import Loading
from qwen7b.cli.option_groups import expand
from qwen7b.cli.response_option import ResponseFormatFile, read_response_option
from qwen7b.cli.sampling_options import SamplingOptions
from qwen7b.errors import SettingError
from qwen7b.terminal.prompts import read_prompt
from qwen7b.terminal.streams import is_open_for

if TYPE_CHECKING:
    from qwen7b import Qwen
    from qwen7b.generate.call_settings import ChatSettings
    from qwen7b.terminal.kept_conversations import KeptConversation, Messages
    from qwen7b.tools.toolbox import Toolbox


@expand(loading=Loading, sampling=SamplingOptions)
def chat(
    context: typer.Context,
    prompt: Annotated[
        str | None,
        typer.Argument(help="What to ask; without it, standard input or a conversation.", show_default=False),
    ] = None,
    *,
    system: Annotated[str | None, typer.Option("--system", help="The system prompt.")] = None,
    continue_last: Annotated[
        bool, typer.Option("--continue", "-c", help="Go on with the conversation that was kept last, and its model.")
    ] = False,
    autosave: Annotated[
        bool, typer.Option("--autosave/--no-autosave", help="Keep the conversation for --continue.")
    ] = True,
    input: Input = None,
    output: Output = None,
    loading: Loading,
    max_new_tokens: options.MaxNewTokens = None,
    stop: options.Stop = None,
    response_format: ResponseFormatFile = None,
    sampling: SamplingOptions,
    ntk: options.Ntk = "recompute",
    tools: tool_options.Tools = None,
    mcp: tool_options.Mcp = None,
    allow_code: tool_options.AllowCode = False,
    yes: tool_options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Chat: with a prompt one reply, at a terminal a conversation.

    With --tools, --mcp or --allow-code the model may call tools, and goes on with their results until it has an answer.

    With --input every request of a file is answered, many at a time. A line is a question as a JSON text, an object
    such as {"messages": […], "temperature": 0}, or a request as in OpenAI's batch files. Options fill in what a line
    leaves out. A line that cannot be answered gets an error, and the exit code is then 1.
    """
    check_files(prompt, input, output, as_json=as_json)
    if input is not None and continue_last:
        raise SettingError("--continue goes on with one conversation: leave it out where --input has many")
    tools_given = tool_options.ToolOptions(files=tools or (), servers=mcp or (), allow_code=allow_code, yes=yes)
    if input is not None and tools_given.are_given:
        raise SettingError(
            "--tools, --mcp and --allow-code run calls in one conversation: a line of --input has its own 'tools'"
        )
    converse = prompt is None and input is None and sys.stdin.isatty()
    if converse and not sys.stdout.isatty():
        raise SettingError("a conversation needs a terminal for its output too: give a prompt to get a single reply")
    if converse and not (is_open_for(sys.stdin, os.O_RDONLY) and is_open_for(sys.stdout, os.O_WRONLY)):
        raise SettingError("a conversation needs a terminal to read from and to write to: give a prompt instead")
    if converse and as_json:
        raise SettingError("--json prints one reply: give a prompt as an argument or on standard input")
    question = "" if converse or input is not None else read_prompt(prompt)
    messages: Messages = []
    if continue_last:
        source = context.get_parameter_source("model")
        messages, model = _last_conversation(loading.model, is_given=source is not None and source.name != "DEFAULT")
        loading = replace(loading, model=model)
    if system is not None:
        messages = [{"role": "system", "content": system}, *(m for m in messages if m["role"] != "system")]
    reply_settings: ChatSettings = {"max_new_tokens": max_new_tokens, "stop": tuple(stop or ()), "ntk": ntk}
    if loading.adapters:
        reply_settings["adapter"] = next(iter(loading.adapters))
    reply_settings = {**reply_settings, **sampling.keywords(), **read_response_option(response_format)}
    load = partial(loading.load, must_chat=True)
    if input is not None:
        # A setting of the replies, by which answers are told from others when a run goes on.
        if loading.dialect is not None:
            reply_settings = {**reply_settings, "dialect": loading.dialect}
        answer_file(
            load, call="chat", input=input, output=output, settings=reply_settings, system=system, as_json=as_json
        )
        return
    with tools_given.opened() as toolbox:  # a mistake in them is told before a model is loaded
        qwen = load()
        kept = _new_kept_conversation() if autosave and (converse or continue_last) else None
        if converse:
            converse_at_terminal(
                qwen, messages, reply_settings=reply_settings, kept=kept, loading=loading, toolbox=toolbox, yes=yes
            )
            return
        messages.append({"role": "user", "content": question})
        answered = answer_prompt(
            qwen,
            messages,
            reply_settings=reply_settings,
            model=loading.model,
            toolbox=toolbox,
            yes=yes,
            as_json=as_json,
        )
    if kept is not None and len(answered) > len(messages):
        kept.write(answered, model=loading.model)


def answer_prompt(
    qwen: Qwen,
    messages: Messages,
    *,
    reply_settings: ChatSettings,
    model: str,
    toolbox: Toolbox | None = None,
    yes: bool = False,
    as_json: bool = False,
) -> Messages:
    """Print one reply, or with tools those of a run, and return the conversation with them."""
    from qwen7b.terminal.plain import reply_display
    from qwen7b.terminal.replies import show_reply

    display = None if as_json else reply_display()
    if display is not None:
        reply_settings = {**reply_settings, "on_prompt": display.show_reading}
    if toolbox is None:
        reply = show_reply(qwen.stream(messages, **reply_settings), display, model=model, messages=messages)
        return [*messages, *([{"role": "assistant", "content": reply.text}] if reply.text else [])]
    from qwen7b.terminal.tool_use import ToolUse, show_run

    approve = tool_options.approval_of_one_reply(yes=yes)
    tool_use = ToolUse(toolbox=toolbox, approve=approve, show=lambda line: typer.echo(line, err=True))
    return show_run(tool_use, qwen, messages, reply_settings, None if as_json else reply_display, model=model)


def _last_conversation(model: str, *, is_given: bool) -> tuple[Messages, str]:
    """The conversation that was saved last, and the model to continue with: the given one, or else its own."""
    from qwen7b.terminal.kept_conversations import kept_folder, read_latest

    messages, last_model = read_latest(kept_folder())
    return messages, model if is_given or last_model is None else last_model


def _new_kept_conversation() -> KeptConversation:
    from qwen7b.terminal.kept_conversations import KeptConversation, kept_folder

    return KeptConversation(kept_folder())


def converse_at_terminal(
    qwen: Qwen,
    messages: Messages,
    *,
    reply_settings: ChatSettings,
    kept: KeptConversation | None,
    loading: Loading,
    toolbox: Toolbox | None = None,
    yes: bool = False,
) -> None:
    from qwen7b.terminal.chatting import converse
    from qwen7b.terminal.commands import USAGES, Commands, Services
    from qwen7b.terminal.conversation import Conversation
    from qwen7b.terminal.terminal import ask, confirm, open_session

    def find_model(name: str) -> Callable[[], Qwen]:
        speculate = conversation.reply_settings.get("speculate") or loading.speculate
        # A draft model that is not used need not fit.
        other = replace(loading, model=name, adapter=None, speculate=speculate)
        other.find()
        return partial(other.load, must_chat=True)

    session = open_session([usage.split()[0] for usage in USAGES])
    load = partial(loading.load, must_chat=True)
    conversation = Conversation(qwen, messages, load=load, reply_settings=reply_settings, kept=kept)
    if toolbox is not None:
        from qwen7b.terminal.tool_use import ToolUse, ask_first

        approve = None if yes else ask_first(partial(ask, session), conversation.note)
        conversation.tool_use = ToolUse(toolbox=toolbox, approve=approve, show=conversation.show)
    services = Services(find_model=find_model, confirm=partial(confirm, session))
    converse(conversation, Commands(conversation, services), session)
