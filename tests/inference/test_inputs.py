"""What is segmented into what."""

import os
import re
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.inference.inputs import ScanTask, find_tasks, scan_name


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All paths of a test are below its own folder."""
    monkeypatch.chdir(tmp_path)


def files(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")


def dicom(*names: str) -> None:
    files(*names)
    for name in names:
        Path(name).write_bytes(bytes(128) + b"DICM")


def found(*paths: str, suffix: str = "") -> dict[str, tuple[str, str]]:
    """Case → scan and mask, for what stands on the command line."""
    *sources, target = map(Path, paths)
    jobs = find_tasks(sources, target, suffix=suffix)
    cases = {job.case: (str(job.scan), str(job.mask)) for job in jobs}
    assert len(cases) == len(jobs)
    return cases


def refused(*paths: str, suffix: str = "") -> str:
    with pytest.raises(InputError) as error:
        found(*paths, suffix=suffix)
    assert "\n" not in str(error.value)
    return str(error.value)


# One scan to a file


def test_one_file_goes_to_one_file() -> None:
    files("ct.nii.gz")
    assert find_tasks([Path("ct.nii.gz")], Path("out/lungs.nrrd")) == [
        ScanTask("ct", Path("ct.nii.gz"), Path("out/lungs.nrrd"))
    ]


def test_a_dicom_folder_goes_to_one_file() -> None:
    dicom("P1/IM1", "P1/IM2")
    assert found("P1", "lungs.dcm") == {"P1": ("P1", "lungs.dcm")}


def test_a_study_of_several_series_is_left_to_the_reader_of_dicom() -> None:
    dicom("study/a/IM1", "study/b/IM1")
    assert found("study", "lungs.nii") == {"study": ("study", "lungs.nii")}


def test_a_folder_or_pattern_of_one_scan_goes_to_one_file() -> None:
    files("in/ct.nii.gz")
    assert found("in", "lungs.nii.gz") == {"ct": ("in/ct.nii.gz", "lungs.nii.gz")}
    assert found("in/*.nii.gz", "lungs.nii.gz") == {"ct": ("in/ct.nii.gz", "lungs.nii.gz")}


def test_several_scans_do_not_go_to_one_file() -> None:
    files("in/a.nii", "in/b.nii")
    message = "several scans need a folder for their masks, got the file lungs.nii.gz"
    assert refused("in/a.nii", "in/b.nii", "lungs.nii.gz") == message
    assert refused("in", "lungs.nii.gz") == message
    assert refused("in/*.nii", "lungs.nii.gz") == message


@pytest.mark.parametrize("target", ["lungs.NII.GZ", "lungs.mhd", "lungs.nhdr", "lungs.gz", "x.csv"])
def test_a_file_that_no_mask_can_be_is_refused_and_not_taken_for_a_folder(target: str) -> None:
    files("ct.nii.gz")
    assert refused("ct.nii.gz", target) == (
        f"a mask file must end in .nii.gz, .nii, .nrrd, .mha or .dcm, got {target}"
    )


def test_a_file_of_another_kind_is_no_target() -> None:
    files("ct.nii.gz", "notes.txt")
    assert refused("ct.nii.gz", "notes.txt") == (
        "masks go to a folder or a mask file, but notes.txt is another file"
    )


def test_without_a_target_there_is_no_mask() -> None:
    files("ct.nii.gz")
    with pytest.raises(
        InputError, match="where the mask goes is missing: thorax predict SCAN MASK"
    ):
        find_tasks([Path("ct.nii.gz")], None)


# To a folder


def test_files_go_to_a_folder_in_their_order() -> None:
    files("b.nii.gz", "a.nii", "out/old.nii.gz")
    assert list(found("b.nii.gz", "a.nii", "out").items()) == [
        ("b", ("b.nii.gz", "out/b.nii.gz")),
        ("a", ("a.nii", "out/a.nii")),
    ]


def test_one_file_goes_to_a_folder_too_even_if_it_has_a_name_of_a_file() -> None:
    files("ct.nii.gz", "masks.nii/old.txt")
    assert found("ct.nii.gz", "out") == {"ct": ("ct.nii.gz", "out/ct.nii.gz")}
    assert found("ct.nii.gz", "out.v2") == {"ct": ("ct.nii.gz", "out.v2/ct.nii.gz")}
    assert found("ct.nii.gz", "masks.nii") == {"ct": ("ct.nii.gz", "masks.nii/ct.nii.gz")}


def test_folders_at_any_depth_keep_their_folders() -> None:
    files("in/b.nii.gz", "in/a/y.nrrd", "in/a/deep/x.nii", "in/a/notes.txt", "in/readme.md")
    assert list(found("in", "out").items()) == [
        ("b", ("in/b.nii.gz", "out/b.nii.gz")),
        ("a/y", ("in/a/y.nrrd", "out/a/y.nrrd")),
        ("a/deep/x", ("in/a/deep/x.nii", "out/a/deep/x.nii")),
    ]


def test_a_folder_that_holds_dicom_is_one_scan_at_any_depth() -> None:
    dicom("in/anna/2021.05/IM1", "in/anna/2021.05/IM2", "in/anna/2021.05/more/IM3", "in/ben/1.dcm")
    files("in/anna/2021.05/readme.txt", "in/carl.nii.gz")
    assert found("in", "out") == {
        "anna/2021.05": ("in/anna/2021.05", "out/anna/2021.05.nii.gz"),
        "ben": ("in/ben", "out/ben.nii.gz"),
        "carl": ("in/carl.nii.gz", "out/carl.nii.gz"),
    }
    assert found("in/ben", "out") == {"ben": ("in/ben", "out/ben.nii.gz")}


def test_dicom_without_a_preamble_is_found_too() -> None:
    folder = Path("in/old")
    folder.mkdir(parents=True)
    (folder / "IM1").write_bytes(b"\x08\x00" + bytes(200))
    assert found("in", "out") == {"old": ("in/old", "out/old.nii.gz")}


def test_dots_stand_for_the_folder_that_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    dicom("P1/IM1")
    Path("P1/sub").mkdir()
    monkeypatch.chdir("P1")
    assert found(".", "../out") == {"P1": (".", "../out/P1.nii.gz")}
    monkeypatch.chdir("sub")
    assert found("..", "../../out") == {"P1": ("..", "../../out/P1.nii.gz")}


def test_what_is_hidden_is_left_out() -> None:
    """For instance the forks that macOS puts beside files."""
    files("in/ct.nii.gz", "in/._ct.nii.gz", "in/.cache/old.nii.gz", "in/.part-1-ct.nii.gz")
    dicom("in/.trash/IM1")
    assert list(found("in", "out")) == ["ct"]
    assert list(found("in/*.nii.gz", "out")) == ["ct"]
    assert list(found("in/*", "out")) == ["ct"]


@pytest.mark.parametrize("target", ["in/masks", "in/a/masks", "in/../in/masks"])
def test_masks_inside_the_source_are_no_scans(target: str) -> None:
    files("in/ct.nii.gz", "in/masks/ct.nii.gz", "in/a/ct.nii.gz", "in/a/masks/ct.nii.gz")
    scans = {scan for scan, _ in found("in", target).values()}
    assert scans == {
        "in/ct.nii.gz",
        "in/a/ct.nii.gz",
        "in/masks/ct.nii.gz" if target == "in/a/masks" else "in/a/masks/ct.nii.gz",
    }


def test_masks_behind_a_link_are_no_scans() -> None:
    files("in/ct.nii.gz", "elsewhere/ct.nii.gz")
    Path("in/masks").symlink_to(Path("elsewhere").resolve())
    assert list(found("in", "elsewhere")) == ["ct"]


@pytest.mark.parametrize("sources", [["in/*"], ["in/ct.nii.gz", "in/masks"], ["in/**/*.nii.gz"]])
def test_a_pattern_that_matches_the_target_leaves_it_out(sources: list[str]) -> None:
    files("in/ct.nii.gz", "in/masks/ct.nii.gz")
    assert found(*sources, "in/masks") == {"ct": ("in/ct.nii.gz", "in/masks/ct.nii.gz")}


def test_masks_do_not_go_among_their_scans() -> None:
    files("in/ct.nii.gz")
    assert refused("in", "in/../in") == (
        "masks must not go among their scans, got in/../in for both; name another folder"
    )


def test_masks_may_go_above_their_scans() -> None:
    files("out/in/ct.nii.gz")
    assert found("out/in", "out") == {"ct": ("out/in/ct.nii.gz", "out/ct.nii.gz")}
    assert found("out/in/*.gz", "out") == {"ct": ("out/in/ct.nii.gz", "out/ct.nii.gz")}


def test_links_are_followed_and_loops_are_not() -> None:
    files("store/anna/ct.nii.gz")
    dicom("store/ben/IM1")
    Path("in").mkdir()
    for name in ("anna", "ben"):
        Path("in", name).symlink_to(Path("store", name).resolve())
    Path("store/anna/loop").symlink_to(Path("in").resolve())
    assert list(found("in", "out")) == ["ben", "anna/ct"]


def test_a_link_that_leads_nowhere_fails_by_itself() -> None:
    files("in/a.nii.gz")
    Path("in/gone.nii.gz").symlink_to("nowhere.nii.gz")
    Path("in/loop.nii.gz").symlink_to("loop.nii.gz")
    assert list(found("in", "out")) == ["a", "gone", "loop"]


# Names and suffixes


def test_names_in_other_scripts_and_with_spaces_stay() -> None:
    files("in/Müller Ł/胸部 CT 1.nii.gz", "in/scan [1].nii.gz")
    assert found("in", "out dir") == {
        "Müller Ł/胸部 CT 1": ("in/Müller Ł/胸部 CT 1.nii.gz", "out dir/Müller Ł/胸部 CT 1.nii.gz"),
        "scan [1]": ("in/scan [1].nii.gz", "out dir/scan [1].nii.gz"),
    }
    assert found("in/scan [1].nii.gz", "out") == {
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
def test_a_mask_has_the_suffix_of_its_scan_where_it_can(scan: str, mask: str) -> None:
    files(f"in/{scan}")
    assert [written for _, written in found("in", "out").values()] == [mask]
    assert [written for _, written in found(f"in/{scan}", "out").values()] == [mask]


def test_one_file_of_a_series_stands_for_it_and_gets_an_ordinary_mask() -> None:
    dicom("P1/IM1.dcm", "P1/IM2.dcm", "P2/IM3", "P2/IM4")
    assert found("P1/IM1.dcm", "P2/IM3", "out") == {
        "IM1": ("P1/IM1.dcm", "out/IM1.nii.gz"),
        "IM3": ("P2/IM3", "out/IM3.nii.gz"),
    }


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".dcm"])
def test_a_suffix_that_was_asked_for_is_taken(suffix: str) -> None:
    files("in/a.nii.gz", "in/b.MHA")
    dicom("in/P1/IM1")
    masks = {mask for _, mask in found("in", "out", suffix=suffix).values()}
    assert masks == {f"out/{name}{suffix}" for name in ("a", "b", "P1")}


@pytest.mark.parametrize("suffix", ["nrrd", "nii.gz", ".png", ".gz", ".NRRD", ".", "-x.nii.gz"])
def test_a_suffix_that_no_mask_can_have_is_refused(suffix: str) -> None:
    files("in/a.nii.gz")
    assert refused("in", "out", suffix=suffix) == (
        f"--suffix must be one of .nii.gz, .nii, .nrrd, .mha, .dcm, got {suffix}"
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


def test_a_pattern_names_files() -> None:
    files("in/b.nii.gz", "in/a.nii.gz", "in/c.nrrd", "in/deep/d.nii.gz")
    assert list(found("in/*.nii.gz", "out")) == ["a", "b"]
    assert list(found("in/[bc].*", "out")) == ["b", "c"]
    assert list(found("in/?.nrrd", "out")) == ["c"]


def test_a_pattern_keeps_the_folders_that_it_matches() -> None:
    files("in/P1/ct.nii.gz", "in/P2/ct.nii.gz", "in/P2/mr.nii.gz")
    expected = {
        "P1/ct": ("in/P1/ct.nii.gz", "out/P1/ct.nii.gz"),
        "P2/ct": ("in/P2/ct.nii.gz", "out/P2/ct.nii.gz"),
    }
    assert found("in/*/ct.nii.gz", "out") == expected
    assert found("in/**/ct.nii.gz", "out") == expected
    assert found(str(Path("in/P?/ct*").resolve()), "out").keys() == expected.keys()


def test_folders_that_match_are_gone_through() -> None:
    files("in/P1/a/ct.nii.gz", "in/x.nrrd")
    dicom("in/P2/IM1", "in/P3/series/IM1")
    assert found("in/*", "out") == {
        "P1/a/ct": ("in/P1/a/ct.nii.gz", "out/P1/a/ct.nii.gz"),
        "P2": ("in/P2", "out/P2.nii.gz"),
        "P3/series": ("in/P3/series", "out/P3/series.nii.gz"),
        "x": ("in/x.nrrd", "out/x.nrrd"),
    }


# What is not there


def test_a_missing_file_is_a_job_that_fails_by_itself() -> None:
    files("a.nii.gz")
    assert found("a.nii.gz", "gone.nii.gz", "out") == {
        "a": ("a.nii.gz", "out/a.nii.gz"),
        "gone": ("gone.nii.gz", "out/gone.nii.gz"),
    }
    assert list(found("gone.nii.gz", "out")) == ["gone"]
    assert list(found("gone.nii.gz", "lungs.nii.gz")) == ["gone"]


@pytest.mark.parametrize("source", ["empty", "in/*.nrrd", "in/masks*"])
def test_no_scan_at_all_is_said(source: str) -> None:
    files("in/a.nii.gz")
    Path("empty/.hidden/deeper").mkdir(parents=True)
    assert refused(source, "out") == f"there is no scan in {source}"
    if "*" in source:
        assert refused(source, "lungs.nii") == f"there is no scan in {source}"


def test_no_scan_in_several_places_names_them() -> None:
    files("notes/readme.txt")
    assert refused("notes", "b*", "out") == "there is no scan in notes, b*"


def test_a_source_without_a_scan_beside_others_fails_by_itself() -> None:
    """It must neither be passed over in silence nor take the others along."""
    files("a.nii.gz", "notes/readme.txt")
    assert found("a.nii.gz", "notes", "b*.nrrd", "out") == {
        "a": ("a.nii.gz", "out/a.nii.gz"),
        "notes": ("notes", "out/notes.nii.gz"),
        "b*": ("b*.nrrd", "out/b*.nrrd"),
    }


# Two of a kind


def test_two_scans_do_not_go_to_one_mask() -> None:
    files("in/P1/ct.nii.gz", "in/P2/ct.nii.gz")
    assert refused("in/P1/ct.nii.gz", "in/P2/ct.nii.gz", "out") == (
        "in/P1/ct.nii.gz and in/P2/ct.nii.gz would both go to out/ct.nii.gz; give the folder above "
        "them, whose folders are kept, or a CSV of scan,mask"
    )
    assert list(found("in", "out")) == ["P1/ct", "P2/ct"]


def test_two_scans_of_one_name_are_refused_even_if_their_masks_differ() -> None:
    """Their rows in the manifest, statistics and pictures would be the same."""
    files("in/ct.nii.gz", "in/ct.nrrd")
    assert refused("in", "out") == (
        "in/ct.nii.gz and in/ct.nrrd are both the case ct; rename one of them"
    )


@pytest.mark.parametrize("names", [("IM1.dcm", "IM2.dcm"), ("IM1", "IM2")])
@pytest.mark.parametrize("target", ["out", "lungs.nii.gz"])
def test_a_series_is_not_segmented_once_a_file(names: tuple[str, str], target: str) -> None:
    one, two = (f"P1/{name}" for name in names)
    dicom(one, two)
    message = (
        f"a DICOM series is one scan, but {one} and {two} are two of its files; give the folder P1"
    )
    assert refused(one, two, target) == message
    assert refused("P1/*", target) == message


def test_files_that_are_no_dicom_may_lie_in_one_folder() -> None:
    files("in/a.img", "in/b.img")
    assert list(found("in/a.img", "in/b.img", "out")) == ["a.img", "b.img"]


# A CSV of pairs


def pairs(content: str | bytes, name: str = "study/pairs.csv") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused_pairs(content: str | bytes) -> str:
    with pytest.raises(InputError) as error:
        find_tasks([pairs(content)], None)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_table_names_scans_and_masks_relative_to_itself() -> None:
    table = pairs("scan,mask\na.nii.gz,out/a.nii.gz\n../b,/masks/b.nrrd\n")
    assert find_tasks([table], None) == [
        ScanTask("a.nii.gz", Path("study/a.nii.gz"), Path("study/out/a.nii.gz")),
        ScanTask("../b", Path("study/../b"), Path("/masks/b.nrrd")),
    ]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("\ufeffscan,mask\na.nii,b.nii\n", id="with a BOM"),
        pytest.param("scan,mask\r\na.nii,b.nii\r\n", id="lines of Windows"),
        pytest.param("mask,age,scan\nb.nii,61,a.nii\n", id="more columns, another order"),
        pytest.param("scan, mask\na.nii, b.nii \n", id="spaces"),
        pytest.param('"scan","mask"\n"a.nii","b.nii"', id="quotes"),
        pytest.param("scan,mask\n\na.nii,b.nii\n\n", id="empty lines"),
    ],
)
def test_tables_as_programs_write_them(content: str) -> None:
    assert find_tasks([pairs(content)], None) == [
        ScanTask("a.nii", Path("study/a.nii"), Path("study/b.nii"))
    ]


def test_names_in_tables_may_hold_commas_and_other_scripts() -> None:
    table = pairs('scan,mask\n"Ł, 胸.nii","m 1.nii"\n', name="PAIRS.CSV")
    assert find_tasks([table], None) == [ScanTask("Ł, 胸.nii", Path("Ł, 胸.nii"), Path("m 1.nii"))]


@pytest.mark.parametrize("header", ["scan", "scan;mask", "Scan,Mask", "a,b,c"])
def test_a_table_without_the_columns_shows_those_that_it_has(header: str) -> None:
    assert refused_pairs(f"{header}\na.nii,b.nii\n") == (
        "study/pairs.csv must have the columns scan,mask, parted by commas, but its first line is "
        f"'{header}'"
    )


@pytest.mark.parametrize("line", ["a.nii", "a.nii,", ",b.nii", "a.nii, "])
def test_a_missing_value_is_told_with_its_line(line: str) -> None:
    assert refused_pairs(f"scan,mask\nx.nii,y.nii\n\n{line}\n") == (
        "study/pairs.csv must have the columns scan,mask, but line 4 lacks one of them"
    )


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_table_that_is_not_in_utf_8_is_refused(encoding: str) -> None:
    assert refused_pairs("scan,mask\nMüller.nii,b.nii\n".encode(encoding)) == (
        "study/pairs.csv is not in UTF-8; save it as CSV in UTF-8"
    )


def test_a_table_that_is_damaged_or_missing_is_named() -> None:
    assert re.match(r"study/pairs\.csv cannot be read: ", refused_pairs('scan,mask\n"a.nii,b\n'))
    with pytest.raises(InputError, match=r"^there is no file gone\.csv$"):
        find_tasks([Path("gone.csv")], None)


def test_a_table_without_rows_has_no_scan() -> None:
    assert refused_pairs("scan,mask\n") == "there is no scan in study/pairs.csv"


def test_masks_in_a_table_must_be_files_that_can_be_written() -> None:
    assert refused_pairs("scan,mask\na.nii,b.png\n") == (
        "a mask file must end in .nii.gz, .nii, .nrrd, .mha or .dcm, got study/b.png"
    )


def test_two_rows_do_not_go_to_one_mask_however_it_is_spelled() -> None:
    assert refused_pairs("scan,mask\na.nii,m.nii\nb.nii,x/../m.nii\n").startswith(
        "study/a.nii and study/b.nii would both go to study/x/../m.nii; "
    )


def test_a_mask_is_not_the_scan_of_another_row() -> None:
    assert refused_pairs("scan,mask\na.nii,b.nii\nb.nii,c.nii\n") == (
        "study/b.nii is a scan, but also the mask of study/a.nii; rename one"
    )


def test_a_scan_is_named_once() -> None:
    assert refused_pairs("scan,mask\na.nii,b.nii\na.nii,c.nii\n") == (
        "study/a.nii and study/a.nii are both the case a.nii; rename one of them"
    )


@pytest.mark.parametrize("others", [["out"], ["ct.nii.gz", "out"]])
def test_a_table_stands_alone(others: list[str]) -> None:
    pairs("scan,mask\na.nii,b.nii\n")
    assert refused("study/pairs.csv", *others) == (
        f"study/pairs.csv names scans and masks itself, got {others[0]} beside it; give it alone"
    )


def test_a_folder_may_be_called_as_a_table() -> None:
    files("in.csv/a.nii.gz")
    assert list(found("in.csv", "out")) == ["a"]


# What cannot be read


def test_a_folder_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not be passed over in silence, as `os.walk` does."""
    files("in/a.nii.gz", "in/locked/b.nii.gz")
    listed = os.scandir

    def scandir(path: str | os.PathLike[str]) -> "os._ScandirIterator":  # type: ignore[name-defined]
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr("thorax.inference.inputs.holds_dicom", lambda folder: False)
    assert refused("in", "out") == (
        "in/locked cannot be read: Permission denied; see who may read it"
    )


def test_a_folder_that_may_hold_dicom_but_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def locked(folder: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(folder))

    files("in/a.nii.gz")
    monkeypatch.setattr("thorax.inference.inputs.holds_dicom", locked)
    assert refused("in", "out") == "in cannot be read: Permission denied; see who may read it"
