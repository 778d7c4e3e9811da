"""The public homes of the benchmarks' official files: their addresses, and where the files are kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from qwen7b.system.environment import cache_folder

CSV_IN_ARCHIVE = re.compile(r"(?:\w[\w.-]*/)?((?:dev|test|val)/[a-z_]+\.csv)")
"""The tables in the archives of the tasks of multiple choice, of which one has them in a folder more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicFile:
    """A file of a home: one of the benchmark's, or an archive of them."""

    address: str
    name: str
    """What it is called in the folder; empty for an archive."""
    sha256: str | None
    """None for an archive that its owners may replace."""
    inside: str = ""
    """The folder of an archive that has the files."""
    is_collapsed: bool = False
    """Whether each run of blanks becomes one space, as sacrebleu does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Home:
    """Where the files of one or several tasks come from."""

    name: str
    tasks: tuple[str, ...]
    files: tuple[PublicFile, ...]

    def default_folder(self) -> Path:
        """Where they are kept unless the user names a folder."""
        return benchmark_folder(self.name)

    def advice(self, folder: Path) -> str:
        """How to get the files into a folder."""
        data = "" if folder == self.default_folder() else f" --data {folder}"
        return f"fetch the files by 'qwen7b eval --fetch {self.name}{data}', or {self.by_hand()} there"

    def by_hand(self) -> str:
        """
        >>> HOMES["mmlu"].by_hand()
        'unpack the folder data of https://people.eecs.berkeley.edu/~hendrycks/data.tar'
        """
        if any(file.name for file in self.files):
            return f"save {' and '.join(f'{file.address} as {file.name}' for file in self.files)}"
        parts = (f"the folder {file.inside} of {file.address}" if file.inside else file.address for file in self.files)
        return f"unpack {' and '.join(parts)}"


def benchmark_folder(name: str) -> Path:
    """Where files of this name are kept unless the user names a folder."""
    return cache_folder() / "benchmarks" / name


def _wmt22(path: str, *, name: str, sha256: str) -> PublicFile:
    address = f"https://raw.githubusercontent.com/wmt-conference/wmt22-news-systems/v1.1/txt/{path}"
    return PublicFile(address=address, name=name, sha256=sha256, is_collapsed=True)


def _github(repository: str, path: str, *, sha256: str) -> PublicFile:
    address = f"https://raw.githubusercontent.com/{repository}/{path}"
    return PublicFile(address=address, name=path.rpartition("/")[2], sha256=sha256)


_GSM8K = "3101c7d5072418e28b9008a6636bde82a006892c/grade_school_math/data"
_ALL = (
    Home(
        name="mmlu",
        tasks=("mmlu",),
        files=(
            PublicFile(
                address="https://people.eecs.berkeley.edu/~hendrycks/data.tar",
                name="",
                inside="data",
                sha256="bec563ba4bac1d6aaf04141cd7d1605d7a5ca833e38f994051e818489592989b",
            ),
        ),
    ),
    Home(
        name="ceval",
        tasks=("ceval",),
        files=(
            PublicFile(
                address="https://huggingface.co/datasets/ceval/ceval-exam/resolve/main/ceval-exam.zip",
                name="",
                sha256=None,
            ),
        ),
    ),
    Home(
        name="cmmlu",
        tasks=("cmmlu",),
        files=(
            PublicFile(
                address="https://huggingface.co/datasets/haonan-li/cmmlu/resolve/main/cmmlu_v1_0_1.zip",
                name="",
                sha256=None,
            ),
        ),
    ),
    Home(
        name="gsm8k",
        tasks=("gsm8k",),
        files=(
            _github(
                "openai/grade-school-math",
                f"{_GSM8K}/test.jsonl",
                sha256="3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
            ),
            _github(
                "openai/grade-school-math",
                f"{_GSM8K}/train.jsonl",
                sha256="17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
            ),
        ),
    ),
    Home(
        name="humaneval",
        tasks=("humaneval",),
        files=(
            _github(
                "openai/human-eval",
                "463c980b59e818ace59f6f9803cd92c749ceae61/data/HumanEval.jsonl.gz",
                sha256="b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
            ),
        ),
    ),
    Home(
        name="wmt22",
        tasks=("wmt22-en-zh", "wmt22-zh-en"),
        files=(
            _wmt22(
                "sources/generaltest2022.en-zh.src.en",
                name="en-zh.src.en",
                sha256="daaa48521733fcc78ad7ad07edc4ac9c33eb8682fe55bd98096f01175834b872",
            ),
            _wmt22(
                "references/generaltest2022.en-zh.ref.A.zh",
                name="en-zh.ref.zh",
                sha256="34c6ad879b2f0c42d696baea3348a1e83f00229f4591f9832dc8629fe87835f9",
            ),
            _wmt22(
                "sources/generaltest2022.zh-en.src.zh",
                name="zh-en.src.zh",
                sha256="cd97ff7b65974ef6637f07d3de0b5d8ec8c2978ae7073ae6e92f66c6aa223c09",
            ),
            _wmt22(
                "references/generaltest2022.zh-en.ref.A.en",
                name="zh-en.ref.en",
                sha256="ae4830781cf59d46cc7fd1c39620742b0711d8d8535558bd751019ad85c0e3d7",
            ),
        ),
    ),
)
HOMES = {home.name: home for home in _ALL}


def home_of(task: str) -> Home | None:
    """The home of a task's files, if its files have one."""
    return next((home for home in HOMES.values() if task in home.tasks), None)
