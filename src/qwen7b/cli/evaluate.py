"""`qwen7b eval …`: tests of a model's abilities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qwen7b.cli import evaluate_lm_eval, options
from qwen7b.cli.evaluate_all import OF_ONE_TASK, run_all
from qwen7b.cli.evaluate_code import humaneval
from qwen7b.cli.evaluate_tasks import add_tasks, ceval, choose, cmmlu, gsm8k, mmlu
from qwen7b.cli.evaluate_tools import bfcl, hf_agent, plugin
from qwen7b.cli.evaluate_translation import wmt22_en_zh, wmt22_zh_en
from qwen7b.cli.examples import examples
from qwen7b.cli.explain import explain
from qwen7b.cli.measuring import (
    Methods,
    Plot,
    Precisions,
    Resume,
    TrainedLength,
    open_subject,
    parse_numbers,
    report,
)
from qwen7b.cli.option_groups import expand, without
from qwen7b.cli.report_runs import report_runs
from qwen7b.errors import SettingError

if TYPE_CHECKING:
    from qwen7b.evals import Retrieval

evaluate = typer.Typer(rich_markup_mode=None)
add_tasks(evaluate, mmlu, ceval, cmmlu, gsm8k, humaneval, wmt22_en_zh, wmt22_zh_en)
add_tasks(evaluate, plugin, but=("chat", "shots", "subjects"))
add_tasks(evaluate, bfcl, but=("procedure", "chat", "shots", "split", "subjects"))
add_tasks(evaluate, hf_agent, but=("shots", "subjects"))
evaluate.command("all", epilog=examples("all"))(expand(chosen=without(choose, *OF_ONE_TASK))(run_all))
evaluate.command("lm-eval", context_settings=evaluate_lm_eval.SETTINGS, epilog=examples("lm-eval"))(
    evaluate_lm_eval.lm_eval
)
evaluate.command(epilog=examples("explain"))(explain)
evaluate.command("report", epilog=examples("report"))(report_runs)


@evaluate.callback(invoke_without_command=True)
def fetch_or_help(
    context: typer.Context,
    fetch: Annotated[
        str | None,
        typer.Option("--fetch", metavar="TASK", help="Fetch the official files of a task from their public home."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="Where --fetch puts them; by default where the task looks for them."
        ),
    ] = None,
    offline: options.Offline = False,
) -> None:
    """Test what a model can do."""
    if context.invoked_subcommand is not None:
        if fetch is not None or data is not None or offline:
            raise SettingError(f"options of a task follow its name: qwen7b eval {context.invoked_subcommand} …")
        return
    if fetch is None:
        if data is not None:
            raise SettingError("--data names a folder for --fetch TASK, or for a task: qwen7b eval TASK --data DIR")
        typer.echo(context.get_help())
        return
    from qwen7b.evals import fetch_benchmark

    typer.echo(fetch_benchmark(fetch, data, offline=offline or None))


@evaluate.command(epilog=examples("needle"))
def needle(
    haystack: Annotated[
        Path, typer.Option("--haystack", metavar="FILE", help="A long text in UTF-8, English or Chinese.")
    ],
    model: options.Model = "demo",
    lengths: Annotated[
        str, typer.Option("--lengths", metavar="LIST", help="Tokens of prompt and reply together.")
    ] = "1024,2048,4096",
    depths: Annotated[
        str, typer.Option("--depths", metavar="LIST", help="Percent of the text before the fact.")
    ] = "0,25,50,75,100",
    methods: Methods = "none",
    trained_length: TrainedLength = None,
    quantize: Precisions = "none",
    trials: Annotated[int, typer.Option("--trials", metavar="N", min=1, help="Facts at each length and depth.")] = 3,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Chooses the facts and the parts of the text.")] = 0,
    chats: options.Chats = None,
    plot: Plot = None,
    resume: Resume = None,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Find a number in a long text.

    At each depth a fact is inserted between two sentences of a part of the haystack: the secret number of some thing.
    The model is asked for it: a chat model by a question after the text, a base model by the beginning of a sentence.
    A greedy reply that contains the number is correct. The prompt and the reserve for the reply have exactly the
    length together; a trial has the same fact and part of the text at all lengths and depths.

    The format "none" leaves the weights in --dtype. The method "none" treats all positions alike, whatever the
    checkpoint says of NTK, LogN and windows.
    """
    window_lengths = parse_numbers("--lengths", lengths, minimum=2)
    percents = parse_numbers("--depths", depths, minimum=0, maximum=100)
    from qwen7b.evals import measure_retrieval, plot_retrieval

    subject = open_subject(
        model,
        quantize=quantize,
        methods=methods,
        lengths=window_lengths,
        trained_length=trained_length,
        dtype=dtype,
        device=device,
        threads=threads,
        offline=offline,
        plot=plot,
    )
    results = report(
        measure_retrieval(subject, haystack, depths=percents, trials=trials, seed=seed, resume=resume, chat=chats),
        lambda result: (
            f"{result.precision}  {result.method}  length {result.length}, depth {result.depth}%: "
            f"{result.accuracy:.0%} of {result.trials} in {result.seconds:.0f} s"
        ),
        as_json=as_json,
    )
    if not as_json:
        show_tables(results)
    if plot is not None:
        plot_retrieval(results, plot)


def show_tables(results: list[Retrieval]) -> None:
    """Print a table for each format and method."""
    from qwen7b.evals import retrieval_table

    for precision, method in dict.fromkeys((result.precision, result.method) for result in results):
        chosen = [result for result in results if (result.precision, result.method) == (precision, method)]
        typer.echo(f"\n{precision}, {method}, trained length {chosen[0].trained_length:,}\n")
        typer.echo(retrieval_table(chosen))
