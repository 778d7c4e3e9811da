"""A file is there whole or as it was, whatever happens while it is written and whoever else writes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from qwen7b.system.whole_file import write_text_whole, written_whole


@contextmanager
def small_files() -> Iterator[None]:
    """No file may grow beyond 100 bytes, as on a full disk."""
    resource = pytest.importorskip("resource", reason="needs limits of the system")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("before", [None, "old"])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_text(before)
    with pytest.raises(OSError, match="large"), small_files():
        write_text_whole(path, "new" * 1000)
    assert [file.read_text() for file in tmp_path.iterdir()] == ([] if before is None else [before])


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_an_interruption_leaves_what_was_there(tmp_path: Path, interruption: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write_half() -> None:
        with written_whole(path) as partial:
            partial.write_text("half")
            raise interruption

    with pytest.raises(interruption):
        write_half()
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_writers_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    path, texts = tmp_path / "file", [str(n) * 10_000 for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            list(pool.map(lambda text: write_text_whole(path, text), texts))
            assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]


def test_the_longest_name_that_a_folder_takes(tmp_path: Path) -> None:
    write_text_whole(tmp_path / ("n" * 255), "text")
    assert (tmp_path / ("n" * 255)).read_text() == "text"


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions and links")
def test_permissions_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to(path)
    before = os.umask(0o027)
    try:
        write_text_whole(link, "new")  # to a link that leads nowhere yet
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    write_text_whole(link, "newer")
    assert link.is_symlink() and path.read_text() == "newer"
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.skipif(os.name != "posix", reason="needs pipes with names")
def test_what_is_no_file_is_refused_and_stays(tmp_path: Path) -> None:
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    for path in (pipe, folder):
        with pytest.raises(OSError, match=r"directory|regular"):
            write_text_whole(path, "text")
    assert pipe.is_fifo() and sorted(tmp_path.iterdir()) == [folder, pipe]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_write_protected_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(PermissionError):
        write_text_whole(path, "new")
    assert path.read_text() == "old"


def test_a_private_file_is_the_user_s_alone_from_its_beginning(tmp_path: Path) -> None:
    with written_whole(tmp_path / "file", durable=False, private=True) as partial:
        modes = [stat.S_IMODE(partial.stat().st_mode)]
        partial.write_text("new")
    modes.append(stat.S_IMODE((tmp_path / "file").stat().st_mode))
    assert (tmp_path / "file").read_text() == "new"
    if os.name == "posix":
        assert modes == [0o600, 0o600]
