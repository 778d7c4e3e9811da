"""Files out of archives: only those asked for, no links, no bombs."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from qwen7b.errors import DownloadError
from qwen7b.hub import archives
from qwen7b.hub.archives import read_archive

WANTED = re.compile(r"(?:\w+/)?((?:dev|test)/[a-z_]+\.csv)")
FILES = {"data/test/law_test.csv": b"in", "data/dev/law_dev.csv": b"there", "data/README.txt": b"no"}


def tar(path: Path, *members: tarfile.TarInfo, files: dict[str, bytes] = FILES) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return path


def zipped(path: Path, files: dict[str, bytes] = FILES) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("make", [tar, zipped])
def test_only_files_asked_for_are_read(tmp_path: Path, make: object) -> None:
    assert callable(make)
    others = {"/dev/abs.csv": b"x", "../dev/up.csv": b"x", "data/../dev/up.csv": b"x", "a/b/dev/deep.csv": b"x"}
    path = make(tmp_path / "archive", files=FILES | others)
    assert read_archive(path, WANTED) == {"test/law_test.csv": b"in", "dev/law_dev.csv": b"there"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("data/dev/law_dev.csv")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(DownloadError, match=r"archive has 'data/dev/law_dev.csv' as a link or a device"):
        read_archive(tar(tmp_path / "archive", member), WANTED)


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        link = zipfile.ZipInfo("dev/law.csv")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DownloadError, match=r"as a link or a device"):
        read_archive(tmp_path / "archive", WANTED)


@pytest.mark.parametrize("make", [tar, zipped])
def test_more_than_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object) -> None:
    assert callable(make)
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    path = make(tmp_path / "archive", files={"dev/a.csv": bytes(600), "dev/b.csv": bytes(500)})
    with pytest.raises(DownloadError, match=r"have more than 1,000 bytes"):
        read_archive(path, WANTED)


@pytest.mark.parametrize("content", [b"<html>not here</html>", b""])
def test_something_else_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(DownloadError, match=r"archive is damaged"):
        read_archive(tmp_path / "archive", WANTED)


@pytest.mark.parametrize("make", [tar, zipped])
def test_a_damaged_archive_is_said(tmp_path: Path, make: object) -> None:
    assert callable(make)
    path = make(tmp_path / "archive", files={"dev/a.csv": bytes(range(256)) * 40})
    content = bytearray(path.read_bytes())
    content = content[: len(content) // 2] if make is tar else content
    if make is zipped:
        content[60] ^= 255
    path.write_bytes(content)
    with pytest.raises(DownloadError, match=r"archive is damaged"):
        read_archive(path, WANTED)
