"""Programs that decide whether an output is right: they run in the sandbox, while the model goes on answering."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from typing import TypeAlias

from qwen7b.errors import SandboxError, counted
from qwen7b.evals.outputs import Output
from qwen7b.sandbox import ProgramOutcome, run_python
from qwen7b.system.progress import say
from qwen7b.tasks.item import Item, Program, Reading
from qwen7b.tasks.procedure import TaskPlan
from qwen7b.tasks.task import Task

Judged: TypeAlias = tuple[Item, Output, Reading, ProgramOutcome | None]
"""An item's output, what it answers, and what became of the program that decided so."""

_MAX_WORKERS = 4
"""How many programs run at once, at most."""
_ATTEMPTS = 3


def run_program(program: Program, *, allow_unprotected: bool) -> ProgramOutcome:
    """What becomes of a program. Raises SandboxError where the sandbox fails again and again.

    It worked when the run began, and hours of answers should not end with a moment in which memory is short.
    """
    for _ in range(_ATTEMPTS - 1):
        with suppress(SandboxError):
            return run_python(program.code, check=program.check, allow_unprotected=allow_unprotected)
    return run_python(program.code, check=program.check, allow_unprotected=allow_unprotected)


def judged(
    news: Iterable[tuple[Item, Output]],
    read: Callable[[Item, str], Reading],
    *,
    task: Task,
    plan: TaskPlan,
    allow_unprotected: bool,
) -> Generator[Judged, None, None]:
    """Yield each item with its output and reading, in the order in which these are known.

    `read` reads an output as the task does; what follows from its program's outcome the task decides. What was answered
    before an interrupt is still judged and yielded.
    """
    pending: dict[Future[ProgramOutcome], tuple[Item, Output, Reading]] = {}

    def finished(futures: Iterable[Future[ProgramOutcome]]) -> Iterator[Judged]:
        for future in futures:
            outcome = future.result()
            item, output, reading = pending.pop(future)
            decided = task.decide(item, output.text, plan, reading, passed=outcome.passed, printed=outcome.stdout)
            yield item, output, decided, outcome

    with ThreadPoolExecutor(min(_MAX_WORKERS, os.cpu_count() or 1)) as pool:
        try:
            for item, output in news:
                reading = read(item, output.text)
                if reading.program is None:
                    yield item, output, reading, None
                    continue
                future = pool.submit(run_program, reading.program, allow_unprotected=allow_unprotected)
                pending[future] = item, output, reading
                yield from finished([future for future in pending if future.done()])
            yield from finished(as_completed(list(pending)))
        except KeyboardInterrupt:
            if pending:
                say(f"{counted(len(pending), 'program')} of answers so far left to run; Ctrl-C again leaves them out.")
            yield from finished(as_completed(list(pending)))
            raise
        finally:
            for future in pending:
                future.cancel()
