"""Documents are written in parts, and a folder of them appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen7b.data import Document, Intake, PartWriter, Sources, read_documents
from qwen7b.system.whole_file import written_folder

DOCUMENTS = [Document(id=str(n), text=f"文本 {n}" * 30, source="s", metadata={"url": f"u{n}"}) for n in range(50)]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    with PartWriter(tmp_path / "out", part_bytes=2000) as writer:
        for document in DOCUMENTS:
            writer.write(document)
    assert writer.num_parts == len(list((tmp_path / "out").iterdir())) > 5
    assert list(read_documents(Sources.parsed([str(tmp_path / "out")]), Intake())) == DOCUMENTS


def test_what_is_no_json_is_not_written(tmp_path: Path) -> None:
    with PartWriter(tmp_path / "out") as writer, pytest.raises(ValueError, match="not JSON compliant"):
        writer.write(Document(id="a", text="b", source="s", metadata={"n": float("nan")}))


def test_the_same_documents_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        with PartWriter(tmp_path / name) as writer:
            writer.write(DOCUMENTS[0])
    assert len({(tmp_path / name / "part-00000.jsonl.gz").read_bytes() for name in "ab"}) == 1


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def interrupted() -> None:
        with written_folder(tmp_path / "out") as folder:
            (folder / "a").write_text("x")
            assert not (tmp_path / "out").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with written_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("x")
    assert (tmp_path / "out" / "a").read_text() == "x"
    with pytest.raises(FileExistsError), written_folder(tmp_path / "out"):
        pass
