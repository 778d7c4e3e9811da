"""`qwen7b complete`: continues a text, without any chat format."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from qwen7b.cli import options
from qwen7b.cli.answer_file import Input, Output, answer_file, check_files
from qwen7b.cli.loading_options import Loading
from qwen7b.cli.option_groups import expand, without
from qwen7b.cli.response_option import ResponseFormatFile, read_response_option
from qwen7b.cli.sampling_options import SamplingOptions
from qwen7b.terminal.prompts import read_prompt


@expand(loading=without(Loading, "chat", "dialect"), sampling=SamplingOptions)
def complete(
    prompt: Annotated[
        str | None, typer.Argument(help="The text to continue; without it, standard input.", show_default=False)
    ] = None,
    *,
    input: Input = None,
    output: Output = None,
    loading: Loading,
    control_tokens: options.ControlTokens = None,
    max_new_tokens: options.MaxNewTokens = None,
    stop: options.Stop = None,
    response_format: ResponseFormatFile = None,
    sampling: SamplingOptions,
    ntk: options.Ntk = "recompute",
    as_json: options.Json = False,
) -> None:
    """Continue a text as it is, and print only the continuation.

    With --input every text of a file is continued, many at a time. A line is a JSON text, an object such as
    {"prompt": "…", "temperature": 0}, or a request as in OpenAI's batch files. Options fill in what a line leaves out.
    A line that cannot be continued gets an error, and the exit code is then 1.
    """
    check_files(prompt, input, output, as_json=as_json)
    text = "" if input is not None else read_prompt(prompt)
    asking: dict[str, Any] = {"max_new_tokens": max_new_tokens, "stop": tuple(stop or ()), "ntk": ntk}
    if loading.adapters:
        asking["adapter"] = next(iter(loading.adapters))
    asking = {**asking, "control_tokens": control_tokens, **sampling.keywords()}
    asking |= read_response_option(response_format)
    if input is not None:
        answer_file(loading.load, call="complete", input=input, output=output, settings=asking, as_json=as_json)
        return
    qwen = loading.load()
    from qwen7b.terminal.plain import PlainDisplay
    from qwen7b.terminal.replies import show_reply

    display = None if as_json else PlainDisplay()
    on_prompt = None if display is None else display.show_reading
    show_reply(qwen.stream_completion(text, on_prompt=on_prompt, **asking), display, model=loading.model, prompt=text)
