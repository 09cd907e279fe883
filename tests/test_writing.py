"""Files are there whole or not at all."""

import os
from pathlib import Path

import pytest

from thorax.errors import InputError
from thorax.writing import whole_file, write_text


def write_half(path: Path) -> None:
    with whole_file(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt


def test_the_file_appears_when_all_went_well(tmp_path: Path) -> None:
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


def test_a_failure_in_the_middle_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "mask.nii")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_in_the_middle_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "mask.nii"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


def test_the_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("a long old report")
    write_text(path, "new")
    assert path.read_text() == "new"


def test_others_may_read_the_file_as_the_umask_says(tmp_path: Path) -> None:
    """Temporary files are for their owner alone; what they become must not be."""
    before = os.umask(0o002)
    try:
        write_text(tmp_path / "report.html", "")
        assert os.umask(0o002) == 0o002
    finally:
        os.umask(before)
    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o664


@pytest.mark.parametrize("below", ["file/mask.nii", "file/deeper/mask.nii"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("I am no folder")
    with (
        pytest.raises(InputError, match=rf"cannot write .*{below}: .*choose a folder that can be"),
        whole_file(tmp_path / below),
    ):
        pytest.fail("nothing must be worked out for a file that cannot be written")


def test_a_folder_of_that_name_is_refused_before_the_work(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=f"cannot write {tmp_path}: a folder has that name"),
        whole_file(tmp_path),
    ):
        pytest.fail("nothing must be worked out for a file that cannot be written")
