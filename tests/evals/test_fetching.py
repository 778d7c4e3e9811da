"""Benchmarks' files from their public homes, of which a server of our own stands in."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from qwen7b.errors import DownloadError, PromptError, ResourceError, SettingError
from qwen7b.evals import fetch_benchmark
from qwen7b.tasks import TASKS, TaskPlan
from qwen7b.tasks.homes import HOMES
from standins import FilesHandler, StandIn, serving

CEVAL = "/datasets/ceval/ceval-exam/resolve/main/ceval-exam.zip"
CMMLU = "/datasets/haonan-li/cmmlu/resolve/main/cmmlu_v1_0_1.zip"


@pytest.fixture
def site(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """All homes at once: Hugging Face by its own setting, the others by their addresses here."""
    with serving(FilesHandler) as server:
        server.repositories[""] = {}
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        for name, home in HOMES.items():
            files = [
                replace(file, address=server.url + urlsplit(file.address).path)
                if "huggingface.co" not in file.address
                else file
                for file in home.files
            ]
            monkeypatch.setitem(HOMES, name, replace(home, files=tuple(files)))
        yield server


def give(site: StandIn, monkeypatch: pytest.MonkeyPatch, name: str, *contents: bytes) -> None:
    """Have the site serve these files of a home, and their hashes be the right ones."""
    home, files = HOMES[name], []
    for file, content in zip(home.files, contents, strict=True):
        site.repositories[""][urlsplit(file.address).path] = content
        files.append(replace(file, sha256=file.sha256 and hashlib.sha256(content).hexdigest()))
    monkeypatch.setitem(HOMES, name, replace(home, files=tuple(files)))


def tables(*, split: str, header: str = "", suffix: str = "") -> dict[str, bytes]:
    rows = "".join(
        f"{n},in {n},the,inn,hell,there,A\n" if header else f"in {n},the,inn,hell,there,A\n" for n in range(5)
    )
    return {f"{folder}/law{f'_{folder}' if suffix else ''}.csv": (header + rows).encode() for folder in ("dev", split)}


def zip_of(files: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tar_of(files: dict[str, bytes]) -> bytes:
    with tarfile.open(fileobj=(file := io.BytesIO()), mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_mmlu_comes_out_of_its_archive(site: StandIn, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    row = b"in,the,inn,hell,there,A\n"
    files = {
        f"data/{split}/{subject}_{split}.csv": row * 5
        for split in ("dev", "test")
        for subject in ("anatomy", "virology")
    }
    give(site, monkeypatch, "mmlu", tar_of(files | {"data/auxiliary_train/arc_easy.csv": row, "data/README.txt": b"x"}))
    folder = fetch_benchmark("mmlu")
    assert folder == cache / "benchmarks" / "mmlu"
    assert names_in(folder) == [".lock", *sorted(name.removeprefix("data/") for name in files)]
    task = TASKS["mmlu"]
    plan = task.completed(TaskPlan(subjects=("anatomy", "virology")))
    assert len(task.found_items(folder, plan)) == 10


@pytest.mark.parametrize(("name", "path"), [("ceval", CEVAL), ("cmmlu", CMMLU)])
def test_chinese_tasks_come_from_hugging_face(site: StandIn, tmp_path: Path, name: str, path: str) -> None:
    is_ceval = name == "ceval"
    split, header = ("val", "id,question,A,B,C,D,answer\n") if is_ceval else ("test", ",Question,A,B,C,D,Answer\n")
    subject = "law" if is_ceval else "college_law"
    files = {
        file.replace("law", subject): content
        for file, content in tables(split=split, header=header, suffix="_" if is_ceval else "").items()
    }
    site.repositories[""][path] = zip_of(files | {"__MACOSX/dev/._law.csv": b"x", "cmmlu.py": b"import os"})
    folder = fetch_benchmark(name, tmp_path / "data")
    assert names_in(folder) == [".lock", *sorted(files)]
    task = TASKS[name]
    assert len(task.found_items(folder, task.completed(TaskPlan(subjects=(subject,))))) == 5


def test_plain_files_are_kept_as_they_are(site: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    give(site, monkeypatch, "gsm8k", b'{"question": "?"}\n', b"\xef\xbb\xbf\r\n")
    folder = fetch_benchmark("gsm8k", tmp_path)
    assert (folder / "test.jsonl").read_bytes() == b'{"question": "?"}\n'
    assert (folder / "train.jsonl").read_bytes() == b"\xef\xbb\xbf\r\n"
    give(site, monkeypatch, "humaneval", b"\x1f\x8b")
    assert (fetch_benchmark("humaneval", tmp_path) / "HumanEval.jsonl.gz").read_bytes() == b"\x1f\x8b"


@pytest.mark.parametrize("name", ["wmt22", "wmt22-en-zh", "wmt22-zh-en"])
def test_translations_are_as_sacrebleu_writes_them(
    site: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
    name: str,
) -> None:
    chinese, english = "在 那里\u3000 吗\n\n".encode(), b" in  there \r\n\n"
    give(site, monkeypatch, "wmt22", english, chinese, chinese, english)
    folder = fetch_benchmark(name)
    assert folder == cache / "benchmarks" / "wmt22"
    assert (folder / "en-zh.src.en").read_bytes() == (folder / "zh-en.ref.en").read_bytes() == b"in there\n\n"
    assert (folder / "en-zh.ref.zh").read_text("utf-8") == "在 那里 吗\n\n"


def test_a_broken_download_is_continued(site: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    give(site, monkeypatch, "humaneval", bytes(range(250)) * 40)
    site.cuts = [3000, 0]
    with pytest.raises(DownloadError, match=r"broke off the download"):
        fetch_benchmark("humaneval", tmp_path)
    assert [path.stat().st_size for path in tmp_path.glob(".*.part")] == [3000]
    site.requests.clear()
    fetch_benchmark("humaneval", tmp_path)
    assert [request.partition(" bytes=")[2] for request in site.requests] == ["3000-"]
    assert (tmp_path / "HumanEval.jsonl.gz").read_bytes() == bytes(range(250)) * 40
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("length", [10, 100_000])
def test_the_beginning_of_another_file_is_dropped(
    site: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, length: int
) -> None:
    give(site, monkeypatch, "humaneval", bytes(range(250)) * 40)
    (tmp_path / ".HumanEval.jsonl.gz.part").write_bytes(b"x" * length)
    fetch_benchmark("humaneval", tmp_path)
    assert (tmp_path / "HumanEval.jsonl.gz").read_bytes() == bytes(range(250)) * 40


def test_a_file_with_another_hash_is_not_used(site: StandIn, tmp_path: Path) -> None:
    site.repositories[""][urlsplit(HOMES["humaneval"].files[0].address).path] = b"<html>"
    with pytest.raises(DownloadError, match=r"HumanEval.jsonl.gz sent a file with sha256 \w+ instead of b796127e"):
        fetch_benchmark("humaneval", tmp_path)
    assert names_in(tmp_path) == [".lock"]


def test_an_archive_without_tables_is_not_used(site: StandIn, tmp_path: Path) -> None:
    site.repositories[""][CEVAL] = zip_of({"ceval.txt": b"x"})
    with pytest.raises(DownloadError, match=r"ceval-exam.zip has no tables"):
        fetch_benchmark("ceval", tmp_path)
    assert names_in(tmp_path) == [".lock"]


def test_another_file_in_the_way_stays(site: StandIn, tmp_path: Path) -> None:
    files = tables(split="val", header="id,question,A,B,C,D,answer\n", suffix="_")
    site.repositories[""][CEVAL] = zip_of(files)
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "law_val.csv").write_bytes(b"mine")
    with pytest.raises(SettingError, match=r"law_val.csv is another file than the one from its public home"):
        fetch_benchmark("ceval", tmp_path)
    assert names_in(tmp_path) == [".lock", "val/law_val.csv"]
    (tmp_path / "val" / "law_val.csv").write_bytes(files["val/law_val.csv"])
    fetch_benchmark("ceval", tmp_path)
    fetch_benchmark("ceval", tmp_path)  # nothing is in the way of the same
    assert names_in(tmp_path) == [".lock", *sorted(files)]


def test_errors_name_the_way_out(site: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match=r"no public home of 'mmlo' to fetch from: choose mmlu, ceval"):
        fetch_benchmark("mmlo", tmp_path)
    with pytest.raises(DownloadError, match=r"is not fetched, as qwen7b is offline: unset QWEN7B_OFFLINE"):
        fetch_benchmark("mmlu", tmp_path, offline=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"qwen7b is offline"):
        fetch_benchmark("mmlu", tmp_path)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(DownloadError, match=r"http://127.0.0.1:\d+ broke off the download \(.*404"):
        fetch_benchmark("mmlu", tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResourceError, match=r"cannot write to .*file.* choose another folder"):
        fetch_benchmark("mmlu", tmp_path / "file")


@pytest.mark.parametrize("name", ["mmlu", "ceval", "cmmlu", "gsm8k", "humaneval", "wmt22-en-zh", "wmt22-zh-en"])
def test_a_missing_file_says_how_to_get_it(name: str, tmp_path: Path) -> None:
    pytest.importorskip("sacrebleu", reason="translations are scored by the extra eval")
    task = TASKS[name]
    home = task.home()
    assert home is not None
    plan = task.completed(TaskPlan())
    with pytest.raises(PromptError) as caught:
        task.found_items(tmp_path, plan)
    message = str(caught.value)
    assert f"is not there: fetch the files by 'qwen7b eval --fetch {home.name} --data {tmp_path}', or " in message
    assert all(file.address in message for file in home.files) and str(tmp_path) in message
    assert f"'qwen7b eval --fetch {home.name}'" in home.advice(home.default_folder())
