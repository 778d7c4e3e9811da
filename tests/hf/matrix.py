"""Runs tests/hf against many releases of Transformers and prints a table; not itself a test.

    python tests/hf/matrix.py                    # the newest patch of each minor from 5.6 on that the registry offers
    python tests/hf/matrix.py 5.6.0 5.23.0       # these releases

Each release, with the huggingface_hub and tokenizers that it asks for and what these need, goes into a folder of its
own that is put before the libraries of the running Python: all others are those.

In November 2026:

| transformers | tests/hf |
| --- | --- |
| 5.24.0 | 300 passed |
| 5.6.2, 5.9.0, 5.12.1, 5.16.1, 5.18.0, 5.20.2, 5.21.1, 5.23.0 | 299 passed |
| 5.14.1 | 252 passed, before tests of hostile texts were added |

Before 5.24 gave the cache its second name, all tests of the time passed on the newest patch of each minor from 5.6 to
5.23. With the check in `qwen7b.hf` taken out, 5.5.4 loads an adapter's folder without the adapter, 5.4.0 runs code of
the checkpoint, and 5.0.0 lacks most of what is used.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

from qwen7b.hf.release import OLDEST

ROOT = Path(__file__).resolve().parents[2]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
COMPANIONS = ("huggingface-hub", "tokenizers")


def newest_patches() -> list[str]:
    """The newest release of each minor, oldest first."""
    listing = subprocess.run([*PIP, "index", "versions", "transformers"], capture_output=True, text=True, check=True)
    newest: dict[tuple[int, ...], tuple[int, ...]] = {}
    for found in re.findall(r"\b\d+\.\d+\.\d+\b(?=,|$)", listing.stdout, flags=re.MULTILINE):
        version = tuple(map(int, found.split(".")))
        if version[:2] >= OLDEST:
            newest[version[:2]] = max(version, newest.get(version[:2], version))
    return [".".join(map(str, newest[minor])) for minor in sorted(newest)]


def install(release: str, folder: Path) -> None:
    command = [*PIP, "install", "--quiet", "--upgrade", "--target", str(folder)]
    subprocess.run([*command, "--no-deps", f"transformers=={release}"], check=True)
    [transformers] = [found for found in distributions(path=[str(folder)]) if found.name == "transformers"]
    wanted = [line for line in transformers.requires or () if line.startswith(COMPANIONS) and "extra" not in line]
    # Its complaints are of the libraries that the folder goes before.
    subprocess.run([*command, *wanted], check=True, stderr=subprocess.DEVNULL)


def run_tests(folder: Path) -> tuple[str, list[str]]:
    """pytest's last line, and the tests that failed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "src")])}
    imported = subprocess.run(
        [sys.executable, "-c", "import qwen7b.hf"], env=environment, capture_output=True, text=True
    )
    if imported.returncode:
        return imported.stderr.strip().splitlines()[-1], []
    command = [sys.executable, "-m", "pytest", "-q", "tests/hf"]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", result.stdout, flags=re.MULTILINE)
    lines = result.stdout.strip().splitlines() or result.stderr.strip().splitlines() or ["nothing ran"]
    return lines[-1].strip("= "), failed


def main(releases: list[str]) -> None:
    print("| transformers | tests/hf |\n| --- | --- |", flush=True)
    for release in releases or newest_patches():
        with TemporaryDirectory() as folder:
            install(release, Path(folder))
            summary, failed = run_tests(Path(folder))
        print(f"| {release} | {summary} |", flush=True)
        for name in failed:
            print(f"    {name}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
