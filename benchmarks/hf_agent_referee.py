"""Scores replies that `qwen7b eval hf-agent --out DIR` recorded by transformers 4.31's own program, beside ours.

That release needs old libraries; only the files that score are taken, out of a folder of their own:

    pip install --no-deps --target referee transformers==4.31.0
    python benchmarks/hf_agent_referee.py --referee referee --results results
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qwen7b.tasks import tool_script
from qwen7b.tasks.hf_agent import CODE, OWN_FOLDER, SELECTED, USED

_THEIRS = {SELECTED: "tool selection score", USED: "tool used score", CODE: "code score"}
_REFEREE = """
import importlib.util, json, sys, types
from pathlib import Path

root, told = Path(sys.argv[1]) / "transformers", json.load(sys.stdin)

def stand_in(name, **names):
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = [str(root / name.partition(".")[2].replace(".", "/"))]
    vars(module).update(names)

nothing = lambda *arguments, **settings: None
stand_in("requests")
stand_in("huggingface_hub", HfFolder=None, hf_hub_download=nothing, list_spaces=nothing)
stand_in("transformers")
stand_in("transformers.models")
stand_in("transformers.models.auto", AutoTokenizer=None)
logging = types.SimpleNamespace(get_logger=nothing)
stand_in("transformers.utils", cached_file=nothing, is_openai_available=nothing, is_torch_available=nothing,
         logging=logging)
stand_in("transformers.tools")
stand_in("transformers.tools.base", TASK_MAPPING={}, TOOL_CONFIG_FILE="", Tool=object, load_tool=nothing,
         supports_remote=nothing)
from transformers.tools import evaluate_agent as their

ours = {}
exec(compile(told["script"], "tool_script", "exec"), ours)
their.TEST_TOOLS = {tool["name"]: ours["tool_function"](tool) for tool in told["tools"]}

class Agent:
    toolbox = their.TEST_TOOLS

    def __init__(self, reply):
        self.reply = reply

    def format_prompt(self, task):
        return task

    def generate_many(self, prompts, stop):
        return [self.reply] * len(prompts)

scores = []
for problem, reply in told["replies"]:
    answers = problem["answers"]
    answer = answers if len(answers) > 1 else answers[0]
    their.EVALUATION_TASKS = [their.Problem(["a task"], problem["inputs"], answer)]
    import contextlib, io
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            scores.append(their.evaluate_agent(Agent(reply)))
        except (ValueError, IndexError) as error:
            scores.append(None)
print(json.dumps(scores))
"""


def referee_scores(
    referee: Path, tools: Sequence[Mapping[str, Any]], replies: Sequence[tuple[Mapping[str, Any], str]]
) -> list[dict[str, float] | None]:
    """The scores that transformers' program gives to replies to problems, from 0 to 1; None where it stops."""
    script = Path(tool_script.__file__).read_text("utf-8")
    told = json.dumps({"script": script, "tools": tools, "replies": replies})
    done = subprocess.run(
        [sys.executable, "-I", "-c", _REFEREE, str(referee)], input=told, capture_output=True, text=True, check=True
    )
    return [
        None if scores is None else {own: scores[their] / 100 for own, their in _THEIRS.items()}
        for scores in json.loads(done.stdout)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--referee", type=Path, required=True, help="the folder with transformers 4.31.0")
    parser.add_argument("--results", type=Path, required=True, help="what hf-agent wrote with --out")
    arguments = parser.parse_args()
    tasks = json.loads((OWN_FOLDER / "tasks.json").read_text("utf-8"))
    problems = [problem for problem in tasks["problems"] for _ in problem["tasks"]]
    lines = (arguments.results / "hf-agent.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    theirs = referee_scores(
        arguments.referee, tasks["tools"], [(problems[record["row"]], record["output"]) for record in records]
    )
    differing = [
        record["id"]
        for record, scores in zip(records, theirs, strict=True)
        if record["scores"] != (scores or dict.fromkeys(_THEIRS, 0.0))
    ]
    stopped = theirs.count(None)
    print(json.dumps({"replies": len(records), "their program stops": stopped, "other scores": differing}, indent=2))


if __name__ == "__main__":
    main()
