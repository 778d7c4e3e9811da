"""Files become documents: every kind, compressed or not, with what is known of them; damage has its place."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from qwen7b.data import Document, Intake, Sources, read_documents
from qwen7b.data.reading import ReadingSettings
from qwen7b.errors import DataError, ModelNotFoundError, SettingError

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402


def zstd(data: bytes) -> bytes:
    return pyarrow.Codec("zstd").compress(data, asbytes=True)


def read(*arguments: Path | str, skips: bool = False, **reading) -> tuple[list[Document], Intake]:
    intake = Intake(skips=skips)
    sources = Sources.parsed([str(argument) for argument in arguments], ReadingSettings(**reading))
    return list(read_documents(sources, intake)), intake


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}


@pytest.mark.parametrize("ending", COMPRESSED)
def test_json_lines_keep_id_and_all_that_is_known(tmp_path: Path, ending: str) -> None:
    lines = [
        {"id": 7, "text": "你好 world", "url": "https://a.example", "metadata": {"language": "zh"}},
        {"text": "second", "id": "b"},
        {"text": "third"},
    ]
    data = b"\xef\xbb\xbf" + b"\r\n\n".join(json.dumps(line).encode() for line in lines)
    (tmp_path / f"web.jsonl{ending}").write_bytes(COMPRESSED[ending](data))
    documents, intake = read(tmp_path / f"web.jsonl{ending}")
    assert documents == [
        Document(id="7", text="你好 world", source="web", metadata={"language": "zh", "url": "https://a.example"}),
        Document(id="b", text="second", source="web"),
        Document(id=f"web/web.jsonl{ending}:5", text="third", source="web"),
    ]
    assert (intake.documents, intake.files, intake.skipped) == (3, {"jsonl": 1}, {})


@pytest.mark.parametrize("ending", COMPRESSED)
def test_a_text_file_is_a_document(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a.txt{ending}").write_bytes(COMPRESSED[ending]("﻿一行\r\n两行\n".encode()))
    (document,), _ = read(tmp_path / f"a.txt{ending}")
    assert document == Document(id=f"a/a.txt{ending}", text="一行\n两行\n", source="a")


def test_a_program_says_in_which_language_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("print(1)\n")
    (document,), _ = read(tmp_path)
    assert document.language == "code" and document.metadata["code"] == "python"


def test_the_main_text_of_a_page_is_read_with_title_and_address(tmp_path: Path) -> None:
    body = "".join(f"<p>Paragraph {n} tells of the history of the town and of its river.</p>" for n in range(8))
    head = '<head><title>The town</title><link rel="canonical" href="https://town.example/history"></head>'
    page = f"<html>{head}<body><nav><a href='/'>Home</a></nav><article>{body}</article></body></html>"
    (tmp_path / "town.html").write_text(page)
    (document,), _ = read(tmp_path / "town.html")
    assert document.text.count("history of the town") == 8 and "Home" not in document.text
    assert document.metadata["url"] == "https://town.example/history" and document.metadata["title"] == "The town"


def test_a_page_in_gb18030_is_recognised(tmp_path: Path) -> None:
    body = "".join(f"<p>第{n}段讲的是这座城市的历史，以及城里的那条大河与两岸的人家。</p>" for n in range(8))
    page = f'<html><head><meta charset="gb18030"></head><body><article>{body}</article></body></html>'
    (tmp_path / "a.htm").write_bytes(page.encode("gb18030"))
    (document,), _ = read(tmp_path / "a.htm")
    assert document.text.count("这座城市的历史") == 8


def test_parquet_rows_are_documents(tmp_path: Path) -> None:
    table = pyarrow.table(
        {"text": ["one", "two"], "url": ["u", None], "when": [date(2024, 1, 2), None], "n": [{"a": 1}, None]}
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    documents, _ = read(f"crawl={tmp_path / 't.parquet'}")
    assert documents == [
        Document(
            id="crawl/t.parquet:1",
            text="one",
            source="crawl",
            metadata={"url": "u", "when": "2024-01-02", "n": {"a": 1}},
        ),
        Document(id="crawl/t.parquet:2", text="two", source="crawl"),
    ]


def test_a_row_s_limit_is_in_bytes_as_everywhere(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"text": ["字" * 300, "字" * 400, "a" * 1000]}), tmp_path / "t.parquet")
    documents, intake = read(tmp_path / "t.parquet", skips=True, max_document_mb=0.001)
    assert [document.text for document in documents] == ["字" * 300, "a" * 1000]
    assert intake.skipped == {"too long": 1}


def test_numbers_that_json_has_not_are_null(tmp_path: Path) -> None:
    line = (
        '{"text": "a", "score": NaN, "more": {"least": -Infinity, "list": [1e999, 2.5]}, "metadata": {"n": Infinity}}'
    )
    (tmp_path / "x.jsonl").write_text(line)
    parquet.write_table(pyarrow.table({"text": ["b"], "n": [[1.0, float("nan")]]}), tmp_path / "y.parquet")
    documents, _ = read(tmp_path)
    assert [document.metadata for document in documents] == [
        {"score": None, "more": {"least": None, "list": [None, 2.5]}, "n": None},
        {"n": [1.0, None]},
    ]


def test_folders_are_read_by_name_and_other_files_counted(tmp_path: Path) -> None:
    for name in ("b/2.txt", "a/1.txt", "0.txt", ".hidden.txt", ".git/x.txt", "image.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(name)
    documents, intake = read(tmp_path / "in")
    assert [document.id for document in documents] == ["in/0.txt", "in/a/1.txt", "in/b/2.txt"]
    assert intake.other_files == {".png": 1}


def test_a_name_that_the_user_gives_counts_for_all_lines(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a", "source": "inner"}\n')
    (document,), _ = read(tmp_path / "x.jsonl")
    assert document.source == "inner"
    (document,), _ = read(f"mine={tmp_path / 'x.jsonl'}")
    assert document.source == "mine" and document.metadata["original_source"] == "inner"


def test_an_empty_file_has_no_document_and_is_counted(tmp_path: Path) -> None:
    for name in ("a.txt", "b.jsonl", "c.html", "d.parquet", "e.jsonl.gz", "f.txt.zst"):
        (tmp_path / name).write_bytes(b"")
    documents, intake = read(tmp_path)
    assert not documents and intake.empty_files == 6 and not intake.problems


def test_a_gzip_of_nothing_has_no_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b""))
    assert read(tmp_path / "a.txt.gz")[0] == []


GOOD = b'{"text": "good"}\n'
DAMAGED_LINES = {
    "NUL bytes": (b'{"text": "a\0b"}\n', "line 2 (byte 17): byte 28 is NUL"),
    "not UTF-8": (b'{"text": "caf\xe9"}\n', "line 2 (byte 17): byte 30 is 0xe9, which is not UTF-8"),
    "not JSON": (b'{"text": "a"\n', "line 2 (byte 17): it is not JSON"),
    "no text": (b'{"content": "a"}\n', "found content: name it by --text-field"),
    "too long": (b'{"text": "' + b"a" * 3000 + b'"}\n', "it is longer than 0.0 MB (--max-document-mb)"),
}
MORE_WITHOUT_TEXT = [b'{"text": "a\\u0000b"}\n', b'{"text": "\\ud800"}\n', b'{"text": 5}\n']


@pytest.mark.parametrize("problem", DAMAGED_LINES)
def test_a_damaged_line_is_named_or_skipped_alone(tmp_path: Path, problem: str) -> None:
    line, message = DAMAGED_LINES[problem]
    path = tmp_path / "x.jsonl"
    path.write_bytes(GOOD + line + GOOD)
    with pytest.raises(DataError, match="--errors skip") as caught:
        read(path, max_document_mb=0.002)
    assert message in str(caught.value) and str(path) in str(caught.value)
    documents, intake = read(path, skips=True, max_document_mb=0.002)
    assert [document.text for document in documents] == ["good", "good"]
    assert intake.skipped == {problem: 1} and len(intake.problems) == 1


@pytest.mark.parametrize("line", MORE_WITHOUT_TEXT)
def test_a_field_that_is_no_text_is_skipped(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "x.jsonl").write_bytes(line + GOOD)
    documents, intake = read(tmp_path, skips=True)
    assert len(documents) == 1 and intake.skipped == {"no text": 1}


def test_a_list_is_not_json_lines(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('[\n{"text": "a"}\n]\n')
    with pytest.raises(DataError, match="a list begins here"):
        read(tmp_path)


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_a_file_cut_off_gives_what_came_before(tmp_path: Path, ending: str) -> None:
    # Text that cannot be compressed well, so that half of the bytes hold about half of the lines.
    lines = b"".join(b'{"text": "%0256x"}\n' % (number * 0x9E3779B97F4A7C15**15) for number in range(8000))
    path = tmp_path / f"x.jsonl{ending}"
    whole = COMPRESSED[ending](lines)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged or cut off"):
        read(path)
    documents, intake = read(path, skips=True)
    assert intake.skipped["damaged compression"] == 1
    if ending != ".bz2":  # whose blocks are large
        assert documents


@pytest.mark.parametrize(("name", "data"), [("x.txt", b"fine\nbroken \xff\n"), ("x.txt", b"\0"), ("x.py", b"\xff")])
def test_a_text_that_is_none_is_named_by_its_byte(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=r"byte \d+ is"):
        read(tmp_path)
    documents, intake = read(tmp_path, skips=True)
    assert not documents and intake.skipped.total() == 1


@pytest.mark.parametrize("data", [b"no parquet", b"PAR1\0\0\0\0PAR1"])
def test_a_damaged_parquet_file_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(data)
    with pytest.raises(DataError, match="no Parquet file"):
        read(tmp_path)


def test_a_table_without_the_column_is_named(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"body": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no column 'text', found body"):
        read(tmp_path)
    assert read(tmp_path, text_field="body")[0][0].text == "a"


def test_a_long_text_is_cut_at_line_ends(tmp_path: Path) -> None:
    text = "".join(f"第{number}行\n" for number in range(1000))
    (tmp_path / "a.txt").write_text(text)
    documents, _ = read(tmp_path, max_document_mb=0.001)
    assert "".join(document.text for document in documents) == text and len(documents) >= 10
    assert all(document.text.endswith("\n") and len(document.text.encode()) <= 1000 for document in documents)
    assert [document.id for document in documents[:2]] == [f"{tmp_path.name}/a.txt", f"{tmp_path.name}/a.txt#2"]


@pytest.mark.parametrize("limit", [1000, 1001, 1002])
def test_a_line_longer_than_a_document_is_cut_between_characters(tmp_path: Path, limit: int) -> None:
    text = "字" * 5000
    (tmp_path / "a.txt").write_text(text)
    documents, _ = read(tmp_path, max_document_mb=limit / 1e6)
    assert "".join(document.text for document in documents) == text


def test_a_long_page_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<p>" + "a" * 2000)
    with pytest.raises(DataError, match="longer than"):
        read(tmp_path, max_document_mb=0.001)


def test_what_cannot_be_read_is_said_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        read(tmp_path / "nothing.txt")
    (tmp_path / "x.dat").write_text("text")
    with pytest.raises(SettingError, match="does not say what it is"):
        read(tmp_path / "x.dat")
    with pytest.raises(SettingError, match="no file that can be read"):
        read(tmp_path)
    assert read(tmp_path / "x.dat", kind="text")[0][0].text == "text"
    with pytest.raises(SettingError, match="given twice"):
        read(tmp_path / "x.dat", f"a={tmp_path / 'x.dat'}")
    with pytest.raises(SettingError, match="format must be one of"):
        ReadingSettings(kind="csv")
    with pytest.raises(SettingError):
        ReadingSettings(max_document_mb=0)


def test_a_page_without_main_text_is_counted_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<html><head><title>T</title></head><body><img src='a.png'></body></html>")
    documents, intake = read(tmp_path)
    assert not documents and intake.pages_without_text == 1 and not intake.skipped
