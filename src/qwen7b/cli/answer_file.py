"""`--input FILE --output FILE` of `chat` and `complete`: many requests, answered together."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from qwen7b.errors import PromptError, SettingError, counted
from qwen7b.system.progress import progress, say
from qwen7b.system.regular_file import open_regular
from qwen7b.terminal.streams import print_json

if TYPE_CHECKING:
    from qwen7b import Qwen
    from qwen7b.batch.answering import FileRun
    from qwen7b.generate.call_settings import Call

Input = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="FILE",
        help="Answer every line of a JSON Lines file, in OpenAI's batch form or plain; - for standard input.",
        show_default=False,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        metavar="FILE",
        help="The file for the answers to --input, a line of JSON each, by default standard output; the same command "
        "again answers what is missing.",
        show_default=False,
    ),
]


def check_files(prompt: str | None, input: str | None, output: str | None, *, as_json: bool) -> None:
    """Refuse options that do not go together, before a model is loaded."""
    if input is None and output is not None:
        raise SettingError("--output is where the answers to --input go: give that too, or leave it out")
    if input is not None and prompt is not None:
        raise SettingError("a prompt and --input are two things to answer: give one of them")
    if input is not None and as_json and _is_standard(output):
        raise SettingError("--json prints one document on standard output, where the answers go: give an --output")


def answer_file(
    load: Callable[[], Qwen],
    *,
    call: Call,
    input: str,
    output: str | None,
    settings: Mapping[str, Any],
    system: str | None = None,
    as_json: bool = False,
) -> None:
    """Answer a file's requests; the exit code is 1 if any failed."""
    from qwen7b.batch.request_files import ReplyFile

    with ExitStack() as files:
        source = files.enter_context(_opened(input))
        target = None if _is_standard(output) else files.enter_context(ReplyFile(Path(str(output))))
        qwen = load()
        from qwen7b.batch.answering import FileRun, make_job

        start = time.perf_counter()
        run = FileRun(qwen, source, target, make_job(qwen, call=call, system=system, settings=settings))
        try:
            _follow(run, prints=target is None)
        except KeyboardInterrupt:
            if target is not None:
                say(f"{_summary(run, output)}; the same command goes on with the others.")
            raise
        if as_json:
            counts = {"requests": run.num_requests, "answered": run.num_answered, "failed": run.num_failed}
            times = {"answered_before": len(run.earlier), "seconds": round(time.perf_counter() - start, 4)}
            print_json({"input": input, "output": output, **counts, **times})
        failed = f"; {run.num_failed} failed, and their lines say why" if run.num_failed else ""
        say(f"{_summary(run, output)}{failed}.")
        if run.num_failed:
            raise typer.Exit(1)


def _follow(run: FileRun, *, prints: bool) -> None:
    """Have all requests answered, and show how far that is."""
    num_left = run.num_requests - len(run.earlier)
    what = f"Answering {counted(num_left, 'request')}"
    if run.earlier:
        what += f", {len(run.earlier)} of {run.num_requests} being answered already"
    with progress(what, num_left, " requests") as advance, closing(run.answers()) as answers:
        for answer in answers:
            if prints:
                print_json(answer)
                sys.stdout.flush()
            advance(1)


def _summary(run: FileRun, output: str | None) -> str:
    where = "" if _is_standard(output) else f" in {output}"
    return f"{run.num_answered} of {counted(run.num_requests, 'request')} are answered{where}"


def _is_standard(output: str | None) -> bool:
    return output is None or output == "-"


@contextmanager
def _opened(input: str) -> Iterator[BinaryIO]:
    """The file of that name; standard input is copied, as the requests are gone through more than once."""
    if input == "-":
        with tempfile.TemporaryFile() as copy:
            try:
                shutil.copyfileobj(sys.stdin.buffer, copy)
            except OSError as error:
                raise PromptError(f"standard input cannot be read ({error.strerror}): give a file") from error
            yield copy
        return
    try:
        file = BufferedReader(open_regular(input))
    except OSError as error:
        raise SettingError(f"--input {input} cannot be read: {error.strerror or error}") from error
    with file:
        yield file
