"""Which masks belong together."""

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


def test_two_files_are_a_pair_whatever_their_names() -> None:
    files("a/truth.nii.gz", "b/found.nrrd")
    pair = MaskFiles("truth.nii.gz", Path("a/truth.nii.gz"), Path("b/found.nrrd"))
    assert find_pairs(pair.truth, pair.predicted) == [pair]


def test_files_of_folders_are_paired_by_name_whatever_their_formats() -> None:
    files(
        "t/b.nii.gz", "t/a.nii", "p/a.mha", "p/b.nii.gz", "p/more.nii", "t/notes.txt", "t/._a.nii"
    )
    assert find_pairs(Path("t"), Path("p")) == [
        MaskFiles("a", Path("t/a.nii"), Path("p/a.mha")),
        MaskFiles("b", Path("t/b.nii.gz"), Path("p/b.nii.gz")),
    ]


def test_predictions_that_are_missing_are_named_unless_they_may_be() -> None:
    files("t/a.nii", "t/b.nii", "t/c.nii", "p/b.nii")
    with pytest.raises(
        InputError, match=r"^2 of 3 true masks have no prediction in p \(a, c\); give --allow-mis"
    ):
        find_pairs(Path("t"), Path("p"))
    assert [pair.case for pair in find_pairs(Path("t"), Path("p"), missing=True)] == ["b"]


def test_of_many_that_are_missing_some_are_named() -> None:
    files(*(f"t/{number}.nii" for number in range(9)), "p/8.nii")
    with pytest.raises(InputError, match=r"\(0, 1, 2, 3, 4 and 3 more\)"):
        find_pairs(Path("t"), Path("p"))


def test_a_file_and_a_folder_do_not_go_together() -> None:
    files("t/a.nii", "a.nii")
    with pytest.raises(InputError, match=r"only one of t and a\.nii is a folder"):
        find_pairs(Path("t"), Path("a.nii"))


def test_folders_without_a_name_in_common_are_told_of() -> None:
    files("t/a.nii", "p/b.nii")
    with pytest.raises(InputError, match="no mask in p has the name of one in t"):
        find_pairs(Path("t"), Path("p"))


def test_two_masks_of_one_name_are_refused() -> None:
    files("t/a.nii", "t/a.mha", "p/a.nii")
    with pytest.raises(InputError, match=r"two masks are named `a`: t/a\.mha and t/a\.nii"):
        find_pairs(Path("t"), Path("p"))
