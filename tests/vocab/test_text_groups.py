"""Texts by language: what is one, what is left out, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen7b.errors import SettingError
from qwen7b.vocab.text_groups import find_groups, named_group


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    texts = tmp_path / "texts"
    (texts / "code" / "deep").mkdir(parents=True)
    (texts / "code" / ".git").mkdir()
    (texts / "empty").mkdir()
    (texts / "el.txt").write_text("καλημέρα", encoding="utf-8")
    (texts / "code" / "a.py").write_text("import this\n")
    (texts / "code" / "deep" / "b.py").write_text("print(1)\n")
    (texts / "code" / ".git" / "config").write_text("not a text of code")
    (texts / ".hidden").write_text("hidden")
    return texts


def test_entries_of_a_folder_are_languages(folder: Path) -> None:
    groups = find_groups([folder])
    assert [group.name for group in groups] == ["code", "el"]
    assert [file.name for file in groups[0].files] == ["a.py", "b.py"]
    assert [*groups[1].texts()] == ["καλημέρα"]


def test_files_are_languages_and_names_can_be_given(folder: Path) -> None:
    groups = find_groups([folder / "el.txt", f"python={folder / 'code'}", f"greek={folder / 'el.txt'}"])
    assert [group.name for group in groups] == ["el", "python", "greek"]
    assert [*groups[1].texts()] == ["import this\n", "print(1)\n"]


def test_a_file_with_an_equals_sign_in_its_name_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a=b.txt").write_text("text")
    assert [group.name for group in find_groups([tmp_path / "a=b.txt"])] == ["a=b"]


def test_a_name_that_comes_twice_is_refused(folder: Path) -> None:
    with pytest.raises(SettingError, match=r"are both called 'el': give one another name"):
        find_groups([folder, folder / "el.txt"])


@pytest.mark.parametrize("place", ["none.txt", "name=none.txt"])
def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=r"none\.txt does not exist"):
        find_groups([place])


def test_a_folder_without_files_is_refused(folder: Path) -> None:
    for find in (find_groups, lambda places: named_group(places[0])):
        with pytest.raises(SettingError, match="is a folder without files"):
            find([folder / "empty"])


def test_a_named_file_must_be_utf8(tmp_path: Path) -> None:
    (tmp_path / "broken.txt").write_bytes(b"good \xff bad")
    (group,) = find_groups([tmp_path / "broken.txt"])
    with pytest.raises(SettingError, match=r"broken\.txt cannot be read as UTF-8 text: byte 5 is 0xff"):
        list(group.texts())


def test_of_a_folder_what_is_no_text_is_left_out_aloud(folder: Path) -> None:
    (folder / "code" / "c.pyc").write_bytes(b"\xff\x00")
    (folder / "code" / "d.bin").write_bytes(b"a\0b")
    group = named_group(folder / "code")
    with pytest.warns(UserWarning, match=r"left out 2 files of 4 that are no text in UTF-8, the first is .*c\.pyc"):
        texts = list(group.texts())
    assert texts == ["import this\n", "print(1)\n"]
    (folder / "bytes").mkdir()
    (folder / "bytes" / "c.pyc").write_bytes(b"\xff")
    with pytest.raises(SettingError, match=r"has no text in UTF-8 among its 1 file, such as .*c\.pyc"):
        list(named_group(folder / "bytes").texts())
