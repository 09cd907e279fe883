"""Scans and masks from the paths on the command line."""

import os
import re
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.inference.inputs import ScanTask, find_tasks
from thorax.inference.scan_folders import scan_name


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in its own folder."""
    monkeypatch.chdir(tmp_path)


def files(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")


def dicom(*names: str) -> None:
    files(*names)
    for name in names:
        Path(name).write_bytes(bytes(128) + b"DICM")


def matched(*paths: str, suffix: str = "") -> dict[str, tuple[str, str]]:
    """Return case → scan and mask for the arguments of a command line."""
    *sources, target = map(Path, paths)
    tasks = find_tasks(sources, target, suffix=suffix)
    cases = {task.case: (str(task.scan), str(task.mask)) for task in tasks}
    assert len(cases) == len(tasks)
    return cases


def rejected(*paths: str, suffix: str = "") -> str:
    with pytest.raises(InputError) as error:
        matched(*paths, suffix=suffix)
    assert "\n" not in str(error.value)
    return str(error.value)


# One scan to a file


def test_one_scan_has_a_mask_file() -> None:
    files("ct.nii.gz")
    assert find_tasks([Path("ct.nii.gz")], Path("out/lungs.nrrd")) == [
        ScanTask("ct", Path("ct.nii.gz"), Path("out/lungs.nrrd"))
    ]


def test_a_dicom_folder_has_a_mask_file() -> None:
    dicom("P1/IM1", "P1/IM2")
    assert matched("P1", "lungs.dcm") == {"P1": ("P1", "lungs.dcm")}


def test_a_study_of_several_series_is_one_scan() -> None:
    dicom("study/a/IM1", "study/b/IM1")
    assert matched("study", "lungs.nii") == {"study": ("study", "lungs.nii")}


def test_a_folder_or_pattern_of_one_scan_has_a_mask_file() -> None:
    files("in/ct.nii.gz")
    assert matched("in", "lungs.nii.gz") == {"ct": ("in/ct.nii.gz", "lungs.nii.gz")}
    assert matched("in/*.nii.gz", "lungs.nii.gz") == {"ct": ("in/ct.nii.gz", "lungs.nii.gz")}


def test_several_scans_cannot_have_one_mask_file() -> None:
    files("in/a.nii", "in/b.nii")
    message = (
        "several scans need a folder for their masks, got the file lungs.nii.gz; name a folder"
    )
    assert rejected("in/a.nii", "in/b.nii", "lungs.nii.gz") == message
    assert rejected("in", "lungs.nii.gz") == message
    assert rejected("in/*.nii", "lungs.nii.gz") == message


@pytest.mark.parametrize("target", ["lungs.NII.GZ", "lungs.mhd", "lungs.nhdr", "lungs.gz", "x.csv"])
def test_a_file_of_another_format_is_rejected_and_is_not_a_folder(target: str) -> None:
    files("ct.nii.gz")
    assert rejected("ct.nii.gz", target) == (
        f"a mask file must end in .nii.gz, .nii, .nrrd, .mha or .dcm, got {target}"
    )


def test_an_existing_file_of_another_format_is_rejected() -> None:
    files("ct.nii.gz", "notes.txt")
    assert rejected("ct.nii.gz", "notes.txt") == (
        "the target must be a mask file or a folder, got the file notes.txt; choose another name"
    )


def test_a_mask_is_required() -> None:
    files("ct.nii.gz")
    with pytest.raises(InputError, match="the mask is missing: use thorax predict SCAN MASK"):
        find_tasks([Path("ct.nii.gz")], None)


# To a folder


def test_files_keep_their_order() -> None:
    files("b.nii.gz", "a.nii", "out/old.nii.gz")
    assert list(matched("b.nii.gz", "a.nii", "out").items()) == [
        ("b", ("b.nii.gz", "out/b.nii.gz")),
        ("a", ("a.nii", "out/a.nii")),
    ]


def test_a_target_can_be_a_folder_with_a_file_suffix() -> None:
    files("ct.nii.gz", "masks.nii/old.txt")
    assert matched("ct.nii.gz", "out") == {"ct": ("ct.nii.gz", "out/ct.nii.gz")}
    assert matched("ct.nii.gz", "out.v2") == {"ct": ("ct.nii.gz", "out.v2/ct.nii.gz")}
    assert matched("ct.nii.gz", "masks.nii") == {"ct": ("ct.nii.gz", "masks.nii/ct.nii.gz")}


def test_subfolders_are_kept() -> None:
    files("in/b.nii.gz", "in/a/y.nrrd", "in/a/deep/x.nii", "in/a/notes.txt", "in/readme.md")
    assert list(matched("in", "out").items()) == [
        ("b", ("in/b.nii.gz", "out/b.nii.gz")),
        ("a/y", ("in/a/y.nrrd", "out/a/y.nrrd")),
        ("a/deep/x", ("in/a/deep/x.nii", "out/a/deep/x.nii")),
    ]


def test_a_folder_of_dicom_files_is_one_scan_at_any_depth() -> None:
    dicom("in/anna/2021.05/IM1", "in/anna/2021.05/IM2", "in/anna/2021.05/more/IM3", "in/ben/1.dcm")
    files("in/anna/2021.05/readme.txt", "in/carl.nii.gz")
    assert matched("in", "out") == {
        "anna/2021.05": ("in/anna/2021.05", "out/anna/2021.05.nii.gz"),
        "ben": ("in/ben", "out/ben.nii.gz"),
        "carl": ("in/carl.nii.gz", "out/carl.nii.gz"),
    }
    assert matched("in/ben", "out") == {"ben": ("in/ben", "out/ben.nii.gz")}


def test_a_dicom_file_does_not_hide_other_scans() -> None:
    files("in/s1.nii.gz", "in/s2.nrrd", "in/deep/s3.nii.gz")
    dicom("in/report.dcm", "in/anna/IM1", "in/anna/IM2")
    assert matched("in", "out") == {
        "anna": ("in/anna", "out/anna.nii.gz"),
        "report": ("in/report.dcm", "out/report.nii.gz"),
        "s1": ("in/s1.nii.gz", "out/s1.nii.gz"),
        "s2": ("in/s2.nrrd", "out/s2.nrrd"),
        "deep/s3": ("in/deep/s3.nii.gz", "out/deep/s3.nii.gz"),
    }


def test_a_dicom_file_does_not_hide_the_folders_of_patients() -> None:
    dicom("in/report.dcm", "in/anna/IM1", "in/anna/IM2", "in/ben/IM1", "in/ben/IM2")
    assert matched("in", "out") == {
        "anna": ("in/anna", "out/anna.nii.gz"),
        "ben": ("in/ben", "out/ben.nii.gz"),
        "report": ("in/report.dcm", "out/report.nii.gz"),
    }
    assert rejected("in", "lungs.nii.gz") == (
        "several scans need a folder for their masks, got the file lungs.nii.gz; name a folder"
    )


def test_files_of_other_formats_in_a_dicom_folder_are_scans() -> None:
    """The series of a CD are one scan; `IM3.img` is one of its files."""
    dicom("cd/DICOMDIR", "cd/IMAGES/IM1", "cd/IMAGES/IM2", "P1/IM1", "P1/IM2", "P1/IM3.img")
    files("cd/IMAGES/copy.nii.gz", "P1/old/ct.nrrd")
    assert matched("cd", "P1", "out") == {
        "cd": ("cd", "out/cd.nii.gz"),
        "IMAGES/copy": ("cd/IMAGES/copy.nii.gz", "out/IMAGES/copy.nii.gz"),
        "P1": ("P1", "out/P1.nii.gz"),
        "old/ct": ("P1/old/ct.nrrd", "out/old/ct.nrrd"),
    }
    assert matched("P1", "lungs.nii.gz") == {"P1": ("P1", "lungs.nii.gz")}


@pytest.mark.parametrize("target", ["P1", "P1/masks"])
def test_masks_in_a_dicom_folder_are_ignored(target: str) -> None:
    dicom("P1/IM1", "P1/IM2")
    files(f"{target}/P1.nii.gz")
    assert matched("P1", target) == {"P1": ("P1", f"{target}/P1.nii.gz")}


def test_dicom_without_a_preamble_is_recognised() -> None:
    folder = Path("in/old")
    folder.mkdir(parents=True)
    (folder / "IM1").write_bytes(b"\x08\0\x05\0CS\x80\0" + bytes(200))
    assert matched("in", "out") == {"old": ("in/old", "out/old.nii.gz")}


def test_dots_have_the_name_of_their_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    dicom("P1/IM1")
    Path("P1/sub").mkdir()
    monkeypatch.chdir("P1")
    assert matched(".", "../out") == {"P1": (".", "../out/P1.nii.gz")}
    monkeypatch.chdir("sub")
    assert matched("..", "../../out") == {"P1": ("..", "../../out/P1.nii.gz")}


def test_hidden_files_are_ignored() -> None:
    """For instance the resource forks of macOS."""
    files("in/ct.nii.gz", "in/._ct.nii.gz", "in/.cache/old.nii.gz", "in/.part-1-ct.nii.gz")
    dicom("in/.trash/IM1")
    assert list(matched("in", "out")) == ["ct"]
    assert list(matched("in/*.nii.gz", "out")) == ["ct"]
    assert list(matched("in/*", "out")) == ["ct"]


@pytest.mark.parametrize("target", ["in/masks", "in/a/masks", "in/../in/masks"])
def test_masks_inside_the_source_are_ignored(target: str) -> None:
    files("in/ct.nii.gz", "in/masks/ct.nii.gz", "in/a/ct.nii.gz", "in/a/masks/ct.nii.gz")
    scans = {scan for scan, _ in matched("in", target).values()}
    assert scans == {
        "in/ct.nii.gz",
        "in/a/ct.nii.gz",
        "in/masks/ct.nii.gz" if target == "in/a/masks" else "in/a/masks/ct.nii.gz",
    }


def test_masks_behind_a_link_are_ignored() -> None:
    files("in/ct.nii.gz", "elsewhere/ct.nii.gz")
    Path("in/masks").symlink_to(Path("elsewhere").resolve())
    assert list(matched("in", "elsewhere")) == ["ct"]


@pytest.mark.parametrize("sources", [["in/*"], ["in/ct.nii.gz", "in/masks"], ["in/**/*.nii.gz"]])
def test_a_pattern_ignores_the_target(sources: list[str]) -> None:
    files("in/ct.nii.gz", "in/masks/ct.nii.gz")
    assert matched(*sources, "in/masks") == {"ct": ("in/ct.nii.gz", "in/masks/ct.nii.gz")}


def test_masks_cannot_be_written_to_the_folder_of_their_scans() -> None:
    files("in/ct.nii.gz")
    assert rejected("in", "in/../in") == (
        "masks cannot be written to the folder of their scans, got in/../in for both; choose "
        "another folder"
    )


def test_masks_can_be_written_above_their_scans() -> None:
    files("out/in/ct.nii.gz")
    assert matched("out/in", "out") == {"ct": ("out/in/ct.nii.gz", "out/ct.nii.gz")}
    assert matched("out/in/*.gz", "out") == {"ct": ("out/in/ct.nii.gz", "out/ct.nii.gz")}


def test_links_are_followed_once() -> None:
    files("store/anna/ct.nii.gz")
    dicom("store/ben/IM1")
    Path("in").mkdir()
    for name in ("anna", "ben"):
        Path("in", name).symlink_to(Path("store", name).resolve())
    Path("store/anna/loop").symlink_to(Path("in").resolve())
    assert list(matched("in", "out")) == ["ben", "anna/ct"]


def test_a_broken_link_is_a_task_that_fails() -> None:
    files("in/a.nii.gz")
    Path("in/gone.nii.gz").symlink_to("nowhere.nii.gz")
    Path("in/loop.nii.gz").symlink_to("loop.nii.gz")
    assert list(matched("in", "out")) == ["a", "gone", "loop"]


# Names and suffixes


def test_names_with_spaces_and_other_scripts_are_kept() -> None:
    files("in/Müller Ł/胸部 CT 1.nii.gz", "in/scan [1].nii.gz")
    assert matched("in", "out dir") == {
        "Müller Ł/胸部 CT 1": ("in/Müller Ł/胸部 CT 1.nii.gz", "out dir/Müller Ł/胸部 CT 1.nii.gz"),
        "scan [1]": ("in/scan [1].nii.gz", "out dir/scan [1].nii.gz"),
    }
    assert matched("in/scan [1].nii.gz", "out") == {
        "scan [1]": ("in/scan [1].nii.gz", "out/scan [1].nii.gz")
    }


@pytest.mark.parametrize(
    ("scan", "mask"),
    [
        ("a.nii.gz", "out/a.nii.gz"),
        ("a.nii", "out/a.nii"),
        ("a.nrrd", "out/a.nrrd"),
        ("a.mha", "out/a.mha"),
        ("a.mhd", "out/a.nii.gz"),
        ("a.nhdr", "out/a.nii.gz"),
        ("a.zip", "out/a.nii.gz"),
        ("A.NII.GZ", "out/A.nii.gz"),
        ("A.NRRD", "out/A.nrrd"),
        ("a.v2.nii.gz", "out/a.v2.nii.gz"),
    ],
)
def test_a_mask_has_the_suffix_of_its_scan_if_possible(scan: str, mask: str) -> None:
    files(f"in/{scan}")
    assert [written for _, written in matched("in", "out").values()] == [mask]
    assert [written for _, written in matched(f"in/{scan}", "out").values()] == [mask]


def test_one_file_of_a_series_is_the_series_and_has_a_nifti_mask() -> None:
    dicom("P1/IM1.dcm", "P1/IM2.dcm", "P2/IM3", "P2/IM4")
    assert matched("P1/IM1.dcm", "P2/IM3", "out") == {
        "IM1": ("P1/IM1.dcm", "out/IM1.nii.gz"),
        "IM3": ("P2/IM3", "out/IM3.nii.gz"),
    }


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".dcm"])
def test_suffix_of_masks(suffix: str) -> None:
    files("in/a.nii.gz", "in/b.MHA")
    dicom("in/P1/IM1")
    masks = {mask for _, mask in matched("in", "out", suffix=suffix).values()}
    assert masks == {f"out/{name}{suffix}" for name in ("a", "b", "P1")}


@pytest.mark.parametrize("suffix", ["nrrd", "nii.gz", ".png", ".gz", ".NRRD", ".", "-x.nii.gz"])
def test_an_invalid_suffix_is_rejected(suffix: str) -> None:
    files("in/a.nii.gz")
    assert rejected("in", "out", suffix=suffix) == (
        f"--suffix must be one of .nii.gz, .nii, .nrrd, .mha, .rtss.dcm, .dcm, got {suffix}"
    )


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("in/S1.nii.gz", "S1"),
        ("S1.NII", "S1"),
        ("S1.2.mhd", "S1.2"),
        ("IM1.dcm", "IM1"),
        ("IM1.IMA", "IM1"),
        ("IM0001", "IM0001"),
        ("notes.txt", "notes.txt"),
        ("nii", "nii"),
    ],
)
def test_names_of_scans(path: str, name: str) -> None:
    assert scan_name(Path(path)) == name


# Patterns


def test_a_pattern_matches_files() -> None:
    files("in/b.nii.gz", "in/a.nii.gz", "in/c.nrrd", "in/deep/d.nii.gz")
    assert list(matched("in/*.nii.gz", "out")) == ["a", "b"]
    assert list(matched("in/[bc].*", "out")) == ["b", "c"]
    assert list(matched("in/?.nrrd", "out")) == ["c"]


def test_a_pattern_keeps_matching_folders() -> None:
    files("in/P1/ct.nii.gz", "in/P2/ct.nii.gz", "in/P2/mr.nii.gz")
    expected = {
        "P1/ct": ("in/P1/ct.nii.gz", "out/P1/ct.nii.gz"),
        "P2/ct": ("in/P2/ct.nii.gz", "out/P2/ct.nii.gz"),
    }
    assert matched("in/*/ct.nii.gz", "out") == expected
    assert matched("in/**/ct.nii.gz", "out") == expected
    assert matched(str(Path("in/P?/ct*").resolve()), "out").keys() == expected.keys()


def test_matching_folders_are_searched() -> None:
    files("in/P1/a/ct.nii.gz", "in/x.nrrd")
    dicom("in/P2/IM1", "in/P3/series/IM1")
    assert matched("in/*", "out") == {
        "P1/a/ct": ("in/P1/a/ct.nii.gz", "out/P1/a/ct.nii.gz"),
        "P2": ("in/P2", "out/P2.nii.gz"),
        "P3/series": ("in/P3/series", "out/P3/series.nii.gz"),
        "x": ("in/x.nrrd", "out/x.nrrd"),
    }


# Missing scans


def test_a_missing_file_is_a_task_that_fails() -> None:
    files("a.nii.gz")
    assert matched("a.nii.gz", "gone.nii.gz", "out") == {
        "a": ("a.nii.gz", "out/a.nii.gz"),
        "gone": ("gone.nii.gz", "out/gone.nii.gz"),
    }
    assert list(matched("gone.nii.gz", "out")) == ["gone"]
    assert list(matched("gone.nii.gz", "lungs.nii.gz")) == ["gone"]


@pytest.mark.parametrize("source", ["empty", "in/*.nrrd", "in/masks*"])
def test_a_source_without_scans_is_rejected(source: str) -> None:
    files("in/a.nii.gz")
    Path("empty/.hidden/deeper").mkdir(parents=True)
    assert rejected(source, "out") == f"there is no scan in {source}"
    if "*" in source:
        assert rejected(source, "lungs.nii") == f"there is no scan in {source}"


def test_several_sources_without_scans_are_named() -> None:
    files("notes/readme.txt")
    assert rejected("notes", "b*", "out") == "there is no scan in notes, b*"


def test_a_source_without_scans_among_others_is_a_task_that_fails() -> None:
    """It is neither ignored nor does it stop the others."""
    files("a.nii.gz", "notes/readme.txt")
    assert matched("a.nii.gz", "notes", "b*.nrrd", "out") == {
        "a": ("a.nii.gz", "out/a.nii.gz"),
        "notes": ("notes", "out/notes.nii.gz"),
        "b*": ("b*.nrrd", "out/b*.nrrd"),
    }


# Conflicts


def test_two_scans_cannot_have_one_mask() -> None:
    files("in/P1/ct.nii.gz", "in/P2/ct.nii.gz")
    assert rejected("in/P1/ct.nii.gz", "in/P2/ct.nii.gz", "out") == (
        "in/P1/ct.nii.gz and in/P2/ct.nii.gz would have the same mask out/ct.nii.gz; name their "
        "parent folder, whose subfolders are kept, or a CSV of scan,mask"
    )
    assert list(matched("in", "out")) == ["P1/ct", "P2/ct"]


def test_two_scans_cannot_have_one_name_even_if_their_masks_differ() -> None:
    """Their manifest rows, statistics and previews would be the same."""
    files("in/ct.nii.gz", "in/ct.nrrd")
    assert rejected("in", "out") == (
        "in/ct.nii.gz and in/ct.nrrd have the same name ct; rename one of them"
    )


@pytest.mark.parametrize("names", [("IM1.dcm", "IM2.dcm"), ("IM1", "IM2")])
@pytest.mark.parametrize("target", ["out", "lungs.nii.gz"])
def test_the_files_of_a_series_cannot_be_named_one_by_one(
    names: tuple[str, str], target: str
) -> None:
    first, second = (f"P1/{name}" for name in names)
    dicom(first, second)
    message = (
        f"a DICOM series is one scan, but {first} and {second} are two of its files; name the "
        "folder P1"
    )
    assert rejected(first, second, target) == message
    assert rejected("P1/*", target) == message


def test_files_that_are_not_dicom_can_be_in_one_folder() -> None:
    files("in/a.raw", "in/b.raw")
    assert list(matched("in/a.raw", "in/b.raw", "out")) == ["a.raw", "b.raw"]


PAIRS = ("in/a.hdr", "in/a.img", "in/b.HDR.gz", "in/b.IMG.gz", "in/c.hdr", "in/c.img.gz")
MASKS_OF_PAIRS = {
    "a": ("in/a.hdr", "out/a.nii.gz"),
    "b": ("in/b.HDR.gz", "out/b.nii.gz"),
    "c": ("in/c.hdr", "out/c.nii.gz"),
}


@pytest.mark.parametrize(
    "sources", [("in",), ("in/*",), PAIRS, PAIRS[::-1], ("in/*.hdr", "in/b.HDR.gz")]
)
def test_a_pair_is_one_scan(sources: tuple[str, ...]) -> None:
    files(*PAIRS)
    assert matched(*sources, "out") == MASKS_OF_PAIRS


def test_a_pair_may_be_named_by_its_voxels_and_have_a_mask_file() -> None:
    files("in/a.hdr", "in/a.img")
    assert matched("in/a.img", "lungs.nii") == {"a": ("in/a.img", "lungs.nii")}
    assert matched("in/a.hdr", "in/a.img", "lungs.nii") == {"a": ("in/a.hdr", "lungs.nii")}
    assert matched("in", "lungs.nii") == {"a": ("in/a.hdr", "lungs.nii")}


def test_half_of_a_pair_is_a_scan_that_will_fail() -> None:
    files("in/a.hdr", "in/b.img")
    assert list(matched("in", "out")) == ["a", "b"]


def test_a_header_is_no_mask_file() -> None:
    assert "a mask file must end in .nii.gz" in rejected("a.nii", "mask.hdr")


# A CSV of pairs


def pairs(content: str | bytes, name: str = "study/pairs.csv") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rejected_pairs(content: str | bytes) -> str:
    with pytest.raises(InputError) as error:
        find_tasks([pairs(content)], None)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_paths_in_a_table_are_relative_to_it() -> None:
    table = pairs("scan,mask\na.nii.gz,out/a.nii.gz\n../b,/masks/b.nrrd\n")
    assert find_tasks([table], None) == [
        ScanTask("a.nii.gz", Path("study/a.nii.gz"), Path("study/out/a.nii.gz")),
        ScanTask("../b", Path("study/../b"), Path("/masks/b.nrrd")),
    ]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("\ufeffscan,mask\na.nii,b.nii\n", id="with a BOM"),
        pytest.param("scan,mask\r\na.nii,b.nii\r\n", id="Windows line ends"),
        pytest.param("mask,age,scan\nb.nii,61,a.nii\n", id="more columns, another order"),
        pytest.param("scan, mask\na.nii, b.nii \n", id="spaces"),
        pytest.param('"scan","mask"\n"a.nii","b.nii"', id="quotes"),
        pytest.param("scan,mask\n\na.nii,b.nii\n\n", id="empty lines"),
    ],
)
def test_tables_of_other_programs_are_read(content: str) -> None:
    assert find_tasks([pairs(content)], None) == [
        ScanTask("a.nii", Path("study/a.nii"), Path("study/b.nii"))
    ]


def test_names_in_tables_may_have_commas_and_other_scripts() -> None:
    table = pairs('scan,mask\n"Ł, 胸.nii","m 1.nii"\n', name="PAIRS.CSV")
    assert find_tasks([table], None) == [ScanTask("Ł, 胸.nii", Path("Ł, 胸.nii"), Path("m 1.nii"))]


@pytest.mark.parametrize("header", ["scan", "scan;mask", "Scan,Mask", "a,b,c"])
def test_a_table_without_the_columns_is_rejected(header: str) -> None:
    assert rejected_pairs(f"{header}\na.nii,b.nii\n") == (
        "study/pairs.csv must have the columns scan,mask, separated by commas, but its first "
        f"line is '{header}'"
    )


@pytest.mark.parametrize("line", ["a.nii", "a.nii,", ",b.nii", "a.nii, "])
def test_a_missing_value_is_reported_with_its_line(line: str) -> None:
    assert rejected_pairs(f"scan,mask\nx.nii,y.nii\n\n{line}\n") == (
        "study/pairs.csv must have the columns scan,mask, but line 4 lacks a value"
    )


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_table_that_is_not_utf_8_is_rejected(encoding: str) -> None:
    assert rejected_pairs("scan,mask\nMüller.nii,b.nii\n".encode(encoding)) == (
        "study/pairs.csv is not UTF-8; save it as CSV in UTF-8"
    )


def test_a_damaged_or_missing_table_is_named() -> None:
    assert re.match(r"study/pairs\.csv cannot be read: ", rejected_pairs('scan,mask\n"a.nii,b\n'))
    with pytest.raises(InputError, match=r"^there is no file gone\.csv$"):
        find_tasks([Path("gone.csv")], None)


def test_a_table_without_rows_has_no_scan() -> None:
    assert rejected_pairs("scan,mask\n") == "there is no scan in study/pairs.csv"


def test_masks_in_a_table_must_have_a_valid_suffix() -> None:
    assert rejected_pairs("scan,mask\na.nii,b.png\n") == (
        "a mask file must end in .nii.gz, .nii, .nrrd, .mha or .dcm, got study/b.png"
    )


def test_two_rows_cannot_have_one_mask_in_two_spellings() -> None:
    assert rejected_pairs("scan,mask\na.nii,m.nii\nb.nii,x/../m.nii\n").startswith(
        "study/a.nii and study/b.nii would have the same mask study/x/../m.nii; "
    )


def test_a_mask_cannot_be_the_scan_of_another_row() -> None:
    assert rejected_pairs("scan,mask\na.nii,b.nii\nb.nii,c.nii\n") == (
        "study/b.nii is both a scan and the mask of study/a.nii; rename one of them"
    )


def test_a_scan_cannot_be_listed_twice() -> None:
    assert rejected_pairs("scan,mask\na.nii,b.nii\na.nii,c.nii\n") == (
        "study/a.nii and study/a.nii have the same name a.nii; rename one of them"
    )


@pytest.mark.parametrize("others", [["out"], ["ct.nii.gz", "out"]])
def test_a_table_is_the_only_argument(others: list[str]) -> None:
    pairs("scan,mask\na.nii,b.nii\n")
    assert rejected("study/pairs.csv", *others) == (
        f"a table of scans and masks must be the only argument, got study/pairs.csv and {others[0]}"
    )


def test_a_folder_can_have_the_suffix_of_a_table() -> None:
    files("in.csv/a.nii.gz")
    assert list(matched("in.csv", "out")) == ["a"]


# Unreadable folders


def test_an_unreadable_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not ignored, as `os.walk` does by default."""
    files("in/a.nii.gz", "in/locked/b.nii.gz")
    real_scandir = os.scandir

    def scandir(path: str | os.PathLike[str]) -> "os._ScandirIterator":  # type: ignore[name-defined]
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr("thorax.inference.scan_folders.holds_dicom", lambda folder: False)
    assert rejected("in", "out") == (
        "in/locked cannot be read: Permission denied; check its permissions"
    )


def test_an_unreadable_folder_that_may_contain_dicom_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def locked(folder: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(folder))

    files("in/a.nii.gz")
    monkeypatch.setattr("thorax.inference.scan_folders.holds_dicom", locked)
    assert rejected("in", "out") == "in cannot be read: Permission denied; check its permissions"
