"""Pairing of mask files."""

from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.evaluation.mask_pairs import MaskFiles, find_pairs


def files(*paths: str) -> None:
    for path in map(Path, paths):
        path.parent.mkdir(exist_ok=True)
        path.touch()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_two_files_are_a_pair_with_any_names() -> None:
    files("a/truth.nii.gz", "b/lungmask.nrrd")
    pair = MaskFiles("truth.nii.gz", Path("a/truth.nii.gz"), Path("b/lungmask.nrrd"))
    assert find_pairs(pair.truth, pair.predicted) == [pair]


def test_files_of_folders_are_paired_by_name_in_any_format() -> None:
    files(
        "t/b.nii.gz", "t/a.nii", "p/a.mha", "p/b.nii.gz", "p/more.nii", "t/notes.txt", "t/._a.nii"
    )
    assert find_pairs(Path("t"), Path("p")) == [
        MaskFiles("a", Path("t/a.nii"), Path("p/a.mha")),
        MaskFiles("b", Path("t/b.nii.gz"), Path("p/b.nii.gz")),
    ]


def test_every_format_that_is_read_is_paired() -> None:
    """Pairs are one mask, named by the header; suffixes may have any case."""
    files("t/a.hdr", "t/a.img", "t/b.img.gz", "t/c.nhdr", "t/c.raw", "t/d.NII.GZ", "t/e.rtss.DCM")
    files("p/a.mhd", "p/a.raw", "p/b.nii", "p/c.nii", "p/d.nii", "p/e.nii", "p/e.zip")
    pairs = find_pairs(Path("t"), Path("p"))
    assert [(pair.case, pair.truth.name, pair.predicted.name) for pair in pairs] == [
        ("a", "a.hdr", "a.mhd"),
        ("b", "b.img.gz", "b.nii"),
        ("c", "c.nhdr", "c.nii"),
        ("d", "d.NII.GZ", "d.nii"),
        ("e", "e.rtss.DCM", "e.nii"),
    ]


def test_missing_predictions_are_an_error_unless_allowed() -> None:
    files("t/a.nii", "t/b.nii", "t/c.nii", "p/b.nii")
    with pytest.raises(
        InputError,
        match=r"^2 of 3 true masks have no prediction in p \(a and c\); give --allow-mis",
    ):
        find_pairs(Path("t"), Path("p"))
    assert [pair.case for pair in find_pairs(Path("t"), Path("p"), missing=True)] == ["b"]


def test_an_error_lists_five_missing_predictions() -> None:
    files(*(f"t/{number}.nii" for number in range(9)), "p/8.nii")
    with pytest.raises(InputError, match=r"\(0, 1, 2, 3, 4 and 3 more\)"):
        find_pairs(Path("t"), Path("p"))


def test_a_file_and_a_folder_are_rejected() -> None:
    files("t/a.nii", "a.nii")
    with pytest.raises(InputError, match=r"only one of t and a\.nii is a folder"):
        find_pairs(Path("t"), Path("a.nii"))


def test_folders_without_a_common_name_are_rejected() -> None:
    files("t/a.nii", "p/b.nii")
    with pytest.raises(InputError, match="same name in both folders, but p has no name of t"):
        find_pairs(Path("t"), Path("p"))


def test_two_masks_of_the_same_name_are_rejected() -> None:
    files("t/a.nii", "t/a.mha", "p/a.nii")
    with pytest.raises(InputError, match=r"two masks are named `a`: t/a\.mha and t/a\.nii"):
        find_pairs(Path("t"), Path("p"))
