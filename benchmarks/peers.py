"""The same work on qwen7b, llama.cpp, OpenVINO GenAI and Transformers: prefill, decode, loading, memory.

    python benchmarks/peers.py --work FOLDER [--models demo 7b] [--bits 4 8 16 32] [--rounds 3] [--docs]

reads a prompt of 512 random tokens, and decodes 64 tokens after 16, each program in a new process that loads the model
again. Rounds are interleaved: every program runs once before any runs again. Prints JSON with the medians;
with --docs also writes the table and the chart into docs/. FOLDER keeps the environments, which the script makes, and
the files: for "demo" the demo model converted to GGUF Q4_0 and Q8_0 (embedding and head Q8_0, as llama.cpp has them)
and to a folder for Transformers; for "7b" random weights shaped as Qwen-7B, all of them Q4_0 or Q8_0 for the peers.
--programs may also name llama-cpp-python, the same llama.cpp compiled for this processor: that takes a compiler and
half an hour. Both models take 5 GB on the disk for 4 bits and 9 GB for 8; Transformers needs 16 GB of memory for "7b".
Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from typing import Any

from environments import make_environment
from performance_page import write_page

HERE = Path(__file__).parent
REQUIREMENTS = {
    "llama.cpp": ["xllamacpp==2026.10.11549"],
    "llama-cpp-python": ["llama-cpp-python==0.3.36"],
    "OpenVINO GenAI": ["openvino-genai==2026.4.1.0", "numpy"],
    "Transformers": ["transformers==5.23.0", "torch==2.13.0"],
}
SCRIPTS = {
    "llama.cpp": "run_llama_cpp.py",
    "llama-cpp-python": "run_llama_cpp_python.py",
    "OpenVINO GenAI": "run_openvino.py",
    "Transformers": "run_transformers.py",
}
QWEN7B = [sys.executable, "-m", "qwen7b"]
# As Transformers reads it; Qwen-7B is a Qwen2 with as many key-value heads as heads.
CONFIG_7B = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "num_hidden_layers": 32,
    "vocab_size": 151936,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A program with a model and a weight format, and the command that measures it."""

    program: str
    model: str
    weights: str
    """The format of the weights, as the program calls it."""
    bits: int
    command: list[str]

    def __str__(self) -> str:
        return f"{self.model}, {self.program} {self.weights}"


def contestants(arguments: argparse.Namespace) -> Iterator[Contestant]:
    """Yield the contestants, after making the files and environments that they need."""
    work: Path = arguments.work
    for model in arguments.models:
        for bits in arguments.bits:
            if (model, bits) == ("7b", 32):
                continue  # 31 GB
            for program in arguments.programs:
                if (program == "Transformers") != (bits > 8):
                    continue
                if program == "qwen7b":
                    weights, command = f"q{bits}", qwen7b_command(model, f"q{bits}", arguments)
                else:
                    weights = {4: "Q4_0", 8: "Q8_0", 16: "bfloat16", 32: "float32"}[bits]
                    python = make_environment(work / program.replace(" ", "-").lower(), *REQUIREMENTS[program])
                    task = {
                        "file": str(gguf_file(work, model, weights) if bits <= 8 else folder(work, model)),
                        "precision": weights,
                        "threads": arguments.threads,
                        "prompt_tokens": arguments.prompt_tokens,
                        "new_tokens": arguments.new_tokens,
                        "context": arguments.context,
                    }
                    command = [str(python), str(HERE / "contestants" / SCRIPTS[program]), json.dumps(task)]
                yield Contestant(program=program, model=model, weights=weights, bits=bits, command=command)


def qwen7b_command(model: str, quantize: str, arguments: argparse.Namespace) -> list[str]:
    which = ["--model", model] if model == "demo" else ["--shape", model]
    if model == "demo":  # so that no timed run has to pack it
        run([*QWEN7B, "complete", "1+1=", "--quantize", quantize, "--max-new-tokens", "1"])
    names = ("threads", "prompt_tokens", "new_tokens", "context")
    work = [word for name in names for word in (f"--{name.replace('_', '-')}", str(getattr(arguments, name)))]
    return [*QWEN7B, "bench", "--json", "--repeat", "1", "--quantize", quantize, *which, *work]


def gguf_file(work: Path, model: str, type: str) -> Path:
    file = work / f"{model}-{type}.gguf"
    if not file.exists():
        if model == "demo":
            run([*QWEN7B, "convert", "demo", str(file), "--to", "gguf", "--quantize", type.lower()])
        else:
            run([sys.executable, str(HERE / "random_gguf.py"), str(file), "--type", type])
    return file


def folder(work: Path, model: str) -> Path:
    path = work / f"{model}-qwen2"
    if not path.exists():
        if model == "demo":
            run([*QWEN7B, "convert", "demo", str(path), "--to", "qwen2", "--dtype", "bfloat16"])
        else:
            path.mkdir()
            (path / "config.json").write_text(json.dumps(CONFIG_7B))
    return path


def run(command: list[str]) -> tuple[str, int]:
    """Run a process, and return its output and its peak bytes. Raises CalledProcessError if it fails."""
    # Output goes to files, as a full pipe would block a program that prints a lot.
    with TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        for file in (output, errors):
            file.seek(0)
        printed = output.read()
        if status:
            raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), command, printed, errors.read())
    return printed, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(contestant: Contestant) -> dict[str, Any]:
    printed, peak = run(contestant.command)
    result = json.loads(printed.splitlines()[-1])
    if contestant.program != "qwen7b":
        return {**result, "peak_memory_bytes": peak}
    return {
        "prefill": result["prefill"]["tokens_per_second"],
        "decode": result["decode"]["tokens_per_second"],
        # Random weights are generated, not loaded. The process also samples the machine's peaks, which takes memory.
        "load_seconds": result["load_seconds"] if contestant.model == "demo" else None,
        "peak_memory_bytes": result["peak_memory_bytes"],
        "prefill_int8_share": result["prefill"]["int8_share"],
        "decode_bandwidth_share": result["decode"]["bandwidth_share"],
        **result["limits"],
    }


def run_rounds(entries: list[Contestant], rounds: int) -> dict[str, Any]:
    measured: dict[str, list[dict[str, Any]]] = {str(entry): [] for entry in entries}
    failed: dict[str, str] = {}
    for number in range(1, rounds + 1):
        for entry in (entry for entry in entries if str(entry) not in failed):
            try:
                result = measure(entry)
            except subprocess.CalledProcessError as error:
                failed[str(entry)] = (error.stderr.strip().splitlines() or [str(error)])[-1]
                print(f"{entry} failed:\n{error.stderr}", file=sys.stderr)
                continue
            measured[str(entry)].append(result)
            speeds = f"prefill {result['prefill']:.1f}, decode {result['decode']:.2f} tokens/s"
            print(f"round {number} of {rounds}: {entry}: {speeds}", file=sys.stderr, flush=True)
    results = []
    for entry in entries:
        if runs := measured[str(entry)]:
            about = {"program": entry.program, "model": entry.model, "weights": entry.weights, "bits": entry.bits}
            medians = {name: _median([run[name] for run in runs]) for name in runs[0]}
            results.append({**about, **medians, "rounds": runs})
    return {"results": results, "failed": failed}


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--models", nargs="+", choices=["demo", "7b"], default=["demo", "7b"])
    parser.add_argument("--bits", nargs="+", type=int, choices=[4, 8, 16, 32], default=[4, 8, 16, 32])
    programs = ["qwen7b", *SCRIPTS]
    default = [program for program in programs if program != "llama-cpp-python"]
    parser.add_argument("--programs", nargs="+", choices=programs, default=default)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--context", type=int, default=16)
    parser.add_argument("--docs", action="store_true", help="write the table and the chart into docs/")
    arguments = parser.parse_args()
    words = ["FOLDER" if word == str(arguments.work) else word for word in sys.argv[1:]]
    arguments.work = arguments.work.resolve()
    arguments.work.mkdir(parents=True, exist_ok=True)
    report = {
        "command": " ".join(["python benchmarks/peers.py", *words]),
        "processor": processor(),
        **{name: getattr(arguments, name) for name in ("threads", "prompt_tokens", "new_tokens", "context")},
        "rounds": arguments.rounds,
        "requirements": [name for program in arguments.programs for name in REQUIREMENTS.get(program, [])],
        **run_rounds(list(contestants(arguments)), arguments.rounds),
    }
    print(json.dumps(report, indent=2))
    if arguments.docs:
        write_page(report, docs=HERE.parent / "docs", work=arguments.work)


if __name__ == "__main__":
    main()
