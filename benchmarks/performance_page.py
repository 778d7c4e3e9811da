"""The results of peers.py as a Markdown table and a chart in docs/performance.md.

    python benchmarks/performance_page.py RESULTS.json --work FOLDER

does what the option --docs of peers.py does, from what peers.py printed; FOLDER is where matplotlib's environment is
made.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

from environments import make_environment

HERE = Path(__file__).parent
BEGIN, END = "<!-- peers: written by benchmarks/peers.py -->", "<!-- end of peers -->"
TITLES = {"demo": "The demo model (Qwen2.5-Coder-0.5B)", "7b": "The shape of Qwen-7B"}


def write_page(report: dict[str, Any], *, docs: Path, work: Path) -> None:
    chart = docs / "performance.svg"
    python = make_environment(work / "matplotlib", "matplotlib>=3.8")
    subprocess.run([python, HERE / "chart.py", chart], input=json.dumps(report), text=True, check=True)
    page = docs / "performance.md"
    before, rest = page.read_text("utf-8").split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{section(report)}\n{END}{after}", "utf-8")


def section(report: dict[str, Any]) -> str:
    lines = [
        f"Written by `{report['command']}` on {report['processor']} with {report['threads']} threads: a prompt of "
        f"{report['prompt_tokens']} tokens, then {report['new_tokens']} tokens decoded behind {report['context']}; "
        f"medians of {report['rounds']} interleaved rounds.",
        "",
        "![tokens per second of each program](performance.svg)",
    ]
    for model in dict.fromkeys(result["model"] for result in report["results"]):
        results = [result for result in report["results"] if result["model"] == model]
        lines += ["", f"### {TITLES[model]}", "", *table(results), *limits(results)]
    lines += [f"\n{name} failed: {why}" for name, why in report["failed"].items()]
    return "\n".join([*lines, "", f"Versions: {', '.join(report['requirements'])}."])


def table(results: list[dict[str, Any]]) -> list[str]:
    """A table with a row per program; "×" says how many times as fast qwen7b is with the same number of bits."""
    lines = [
        "| program | weights | prefill tokens/s | × | decode tokens/s | × | loading | memory |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    ours = {result["bits"]: result for result in results if result["program"] == "qwen7b"}
    for result in results:
        cells = [result["program"], result["weights"]]
        for what in ("prefill", "decode"):
            twin = ours.get(result["bits"])
            cells.append(f"{result[what]:.1f}")
            cells.append(f"{twin[what] / result[what]:.1f}" if twin and twin is not result else "")
        seconds = result["load_seconds"]
        cells += ["" if seconds is None else f"{seconds:.1f} s", f"{result['peak_memory_bytes'] / 1e9:.1f} GB"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def limits(results: list[dict[str, Any]]) -> list[str]:
    """Sentences on how close qwen7b comes to the machine's peaks, measured in the same runs."""
    return [
        f"\nqwen7b {result['weights']} reads {result['decode_bandwidth_share']:.0%} of the "
        f"{result['read_bytes_per_second'] / 1e9:.1f} GB/s that memory gives while it decodes, and reads a prompt with "
        f"{result['prefill_int8_share']:.0%} of the {result['int8_ops_per_second'] / 1e12:.2f} TOP/s of int8 "
        "arithmetic."
        for result in results
        if result.get("read_bytes_per_second")
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    write_page(json.loads(arguments.results.read_text()), docs=HERE.parent / "docs", work=arguments.work)


if __name__ == "__main__":
    main()
