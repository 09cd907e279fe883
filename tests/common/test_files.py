"""Atomic writing of files and folders."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.common.files import empty_folder, lock_file, whole_file, write_text


def write_half(path: Path) -> None:
    with whole_file(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt


def fail_with(number: int, path: Path) -> None:
    with whole_file(path) as temporary:
        temporary.write_text("half")
        raise OSError(number, os.strerror(number))


def test_the_file_appears_on_success(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    with whole_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert os.listdir(tmp_path) == ["scores.csv"]  # noqa: PTH208  # hidden files too


def test_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "ä\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == b"\xc3\xa4\n"


def test_the_temporary_name_keeps_the_suffixes_and_is_hidden(tmp_path: Path) -> None:
    with whole_file(tmp_path / "mask.nii.gz") as temporary:
        assert temporary.name.startswith(".")
        assert temporary.name.endswith("mask.nii.gz")
        assert temporary.parent == tmp_path


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "mask.nii")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "mask.nii"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_the_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("a long old report")
    write_text(path, "new")
    assert path.read_text() == "new"


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    """Temporary files are private to their owner; the final files must not be."""
    before = os.umask(0o002)
    try:
        write_text(tmp_path / "report.html", "")
        assert os.umask(0o002) == 0o002
    finally:
        os.umask(before)
    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o664


@pytest.mark.parametrize("below", ["file/mask.nii", "file/deeper/mask.nii"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with (
        pytest.raises(InputError, match=rf"cannot write .*{below}: .*choose a folder that can be"),
        whole_file(tmp_path / below),
    ):
        pytest.fail("the work must not start for a file that cannot be written")


def test_a_folder_with_the_name_is_rejected_before_the_work(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=f"cannot write {tmp_path}: a folder has that name"),
        whole_file(tmp_path),
    ):
        pytest.fail("the work must not start for a file that cannot be written")


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (errno.ENOSPC, "No space left on device; free some space there"),
        (errno.EDQUOT, "Disk quota exceeded; free some space there"),
        (errno.EROFS, "Read-only file system; choose a folder that can be written"),
    ],
)
def test_a_full_disk_is_one_line_that_names_the_file(
    tmp_path: Path, number: int, line: str
) -> None:
    path = tmp_path / "mask.nii"
    path.write_text("old")
    with pytest.raises(InputError) as caught:
        fail_with(number, path)
    assert str(caught.value) == f"cannot write {path}: {line}"
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_read_errors_of_the_body_are_not_converted(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match=r"scan\.nii"),
        whole_file(tmp_path / "mask.nii"),
    ):
        (tmp_path / "scan.nii").read_bytes()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_removed_during_the_work_is_named(tmp_path: Path) -> None:
    path = tmp_path / "masks" / "mask.nii"
    with pytest.raises(InputError, match=f"cannot write {path}: No such file"), whole_file(path):
        empty_folder(path.parent)


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "mask.nii"
    with whole_file(path) as first:
        first.write_text("first")
        with whole_file(path) as second:
            second.write_text("second")
            assert first != second
        assert path.read_text() == "second"
    assert [file.read_text() for file in tmp_path.iterdir()] == ["first"]


KILLED = """
import os, signal, sys
from pathlib import Path
from thorax.common.files import whole_file

with whole_file(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of something long")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_file_of_a_killed_program_is_reused_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "mask.nii"
    killed = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [file.name for file in tmp_path.iterdir()] == [".part-mask.nii"]
    write_text(path, "whole")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("mask.nii", "whole")]


def test_a_folder_that_cannot_be_emptied_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(InputError, match=f"cannot write {tmp_path}: Read-only file system; choose"):
        empty_folder(tmp_path)


def test_without_locks_of_the_system_files_are_written_atomically(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, which has no `fcntl`."""
    monkeypatch.setattr("thorax.common.files._HAS_LOCKS", False)
    path = tmp_path / "mask.nii"
    with whole_file(path) as first, whole_file(path) as second:
        assert first != second
        second.write_text("second")
        first.write_text("first")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("mask.nii", "first")]
    with path.open() as stream, pytest.raises(OSError, match="No locks available"):
        lock_file(stream.fileno())


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_drives_without_locks_keep_no_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    def refuse(handle: int, **how: bool) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr("thorax.common.files.lock_file", refuse)
    write_text(tmp_path / "answer.txt", "42")
    assert [path.name for path in tmp_path.iterdir()] == ["answer.txt"]
