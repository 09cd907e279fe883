"""Datasets of a user, added to projects made by the real DVC."""

import gzip
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.datasets.add import add_dataset
from thorax.datasets.audit.audit import audit_dataset
from thorax.datasets.dataset import DatasetSpec, load_dataset, load_spec, save_spec
from thorax.datasets.listing import DatasetSummary, list_datasets
from thorax.imaging.intensity import IntensityScale
from thorax.io import Scan

SPEC = DatasetSpec(
    regions={"lung": [1, 2], "infection": [3]}, title="Ward 5", patient="([a-z]+)[0-9]*"
)
AFFINE = np.diag([-0.7, -0.7, 5.0, 1.0])
AIR, SOFT = -1000, 40


@pytest.fixture(autouse=True)
def _separate_dvc_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    for folder in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE"):
        monkeypatch.setenv(f"DVC_{folder}_DIR", str(tmp_path / "dvc" / folder))


def dvc(*arguments: str, root: Path) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def empty_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    dvc("init", "--quiet", "--no-scm", root=root)
    return root


@pytest.fixture
def project(empty_project: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(empty_project, tmp_path / "project"))


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def chest(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(AIR, SOFT, (6, 5, 40)).astype(np.int16)


def voxels_of(path: Path) -> np.ndarray:
    return np.array(nib.load(path, mmap=False).dataobj)


def labels(*values: int) -> np.ndarray:
    return np.resize(np.array(values, np.uint8), (6, 5, 40))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Cases `ann1`, `ann2` and `bob`: two patients."""
    folder = tmp_path / "source"
    for seed, case in enumerate(("ann1", "ann2", "bob")):
        save(folder / "scans" / f"{case}.nii.gz", chest(seed))
        save(folder / "masks" / f"{case}.nii.gz", labels(0, 1, 2, 3))
    return folder


AUTO = DatasetSpec(regions={"lung": [1]}, intensity="auto")


@pytest.fixture
def chests(tmp_path: Path) -> Path:
    """Boxes of tissue with two lungs, in air: `a[1]` in HU + 1024, `b` and `c` in HU."""
    folder = tmp_path / "chests"
    for case, offset, depth in (("a[1]", 1024, 12), ("b", 0, 13), ("c", 0, 14)):
        rng = np.random.default_rng(depth)
        body = np.full((24, 24, depth), AIR, np.int16)
        body[3:21, 5:19] = rng.normal(SOFT, 20, (18, 14, depth))
        lungs = np.zeros(body.shape, np.uint8)
        lungs[5:11, 7:13] = lungs[13:19, 7:13] = 1
        body[lungs > 0] = rng.normal(-820, 20, lungs.sum())
        save(folder / "scans" / f"{case}.nii", body + np.int16(offset))
        save(folder / "masks" / f"{case}.nii", lungs)
    return folder


def refusal(source: Path, project: Path, *, name: str = "ward5", spec: DatasetSpec = SPEC) -> str:
    """Return the message of a refusal, and check that no file is left."""
    before = sorted(project.rglob("*"))
    with pytest.raises(InputError) as refused:
        add_dataset(source, root=project, name=name, spec=spec)
    new = set(project.rglob("*")) - set(before) - {project / "data"}
    assert {path for path in new if project / ".dvc" not in path.parents} == set()
    return str(refused.value)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_added_dataset_has_the_same_voxels_and_is_tracked(
    source: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    added = add_dataset(source, root=project, name="ward5", spec=SPEC)

    folder = project / "data" / "ward5"
    assert names_in(folder) == ["dataset.yaml", "masks", "masks.dvc", "scans", "scans.dvc"]
    assert added == load_dataset(folder)
    assert [(case.name, case.patient) for case in added.cases] == [
        ("ann1", "ann"),
        ("ann2", "ann"),
        ("bob", "bob"),
    ]
    assert dict(added.regions.labels) == {"lung": (1, 2), "infection": (3,)}
    for seed, case in enumerate(added.cases):
        # The affine of the files flips x and y.
        assert (Scan(case.scan).voxels() == chest(seed)[::-1, ::-1]).all()
        assert (Scan(case.mask).voxels() == labels(0, 1, 2, 3)[::-1, ::-1]).all()
    assert "up to date" in dvc("status", root=project)
    assert capsys.readouterr().out == ""


def test_in_a_git_project_only_the_small_files_are_new_and_nothing_is_staged(
    source: Path, tmp_path: Path
) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    git("init", "--quiet")
    root = tmp_path / "sub"
    root.mkdir()
    dvc("init", "--quiet", "--subdir", root=root)

    add_dataset(source, root=root, name="ward5", spec=SPEC)

    status = git("status", "--short", "--untracked-files=all", "--", "sub/data").splitlines()
    files = (".gitignore", "dataset.yaml", "masks.dvc", "scans.dvc")
    assert status == [f"?? sub/data/ward5/{file}" for file in files]


def test_without_tracking_no_dvc_is_needed(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "plain"
    root.mkdir()
    add_dataset(source, root=root, name="ward5", spec=SPEC, track=False)
    assert names_in(root / "data") == ["ward5"]
    assert names_in(root / "data" / "ward5") == ["dataset.yaml", "masks", "scans"]


def test_a_relative_root_and_the_umask_are_kept(
    source: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    added = add_dataset(source, root=Path(), name="ward5", spec=SPEC)
    assert added.cases[0].scan == Path("data/ward5/scans/ann1.nii.gz")
    umask = os.umask(0)
    os.umask(umask)
    assert Path("data/ward5").stat().st_mode & 0o777 == 0o777 & ~umask


@pytest.mark.parametrize(
    ("scan", "mask", "case"),
    [
        pytest.param("imagesTr/c1_0000.nii.gz", "labelsTr/c1.nii.gz", "c1", id="nnU-Net"),
        pytest.param("imagesTr/c1.nii.gz", "labelsTr/c1.nii.gz", "c1", id="Decathlon"),
        pytest.param("images/c1.nii", "labels/c1.nii.gz", "c1", id=".nii is kept"),
        pytest.param("scans/c1_ct.nii.gz", "masks/c1_seg.nii.gz", "c1", id="both have an ending"),
        pytest.param("scans/c1.nii", "masks/c1-mask.nii", "c1", id="the mask has an ending"),
        pytest.param("scans/c_0000.nii", "masks/c_0000.nii", "c_0000", id="0000 is the name"),
        pytest.param(
            "imagesTr/c_0000_0000.nii", "labelsTr/c_0000.nii", "c_0000", id="0000 and a channel"
        ),
        pytest.param("scans/c_0000.nii", "masks/c_0000_seg.nii", "c_0000", id="0000 and an ending"),
    ],
)
def test_masks_are_matched_to_scans_by_name(
    tmp_path: Path, scan: str, mask: str, case: str
) -> None:
    source, root = tmp_path / "source", tmp_path / "plain"
    save(source / scan, chest())
    save(source / mask, labels(0, 1))
    (source / scan).with_name("README.md").write_text("not an image")

    added = add_dataset(source, root=root, name="ward5", spec=SPEC, track=False)

    (copy,) = added.cases
    folder = root / "data" / "ward5"
    assert copy.name == case
    assert copy.scan == folder / "scans" / f"{case}{''.join(Path(scan).suffixes)}"
    assert copy.mask == folder / "masks" / f"{case}{''.join(Path(mask).suffixes)}"
    assert copy.scan.read_bytes() == (source / scan).read_bytes()
    assert copy.mask.read_bytes() == (source / mask).read_bytes()


def truncate(path: Path, *, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def test_truncated_files_are_found(source: Path, project: Path) -> None:
    truncate(source / "scans" / "ann1.nii.gz", share=0.9)
    noise = np.random.default_rng(0).integers(0, 4, (6, 5, 40)).astype(np.uint8)
    truncate(save(source / "masks" / "bob.nii.gz", noise), share=0.9)
    message = refusal(source, project)
    assert message.splitlines() == [
        f"2 of 3 cases in {source} cannot be used; nothing was added:",
        "  ann1: scan: ann1.nii.gz is cut short or damaged; copy it again from its source",
        "  bob: mask: bob.nii.gz is cut short or damaged; copy it again from its source",
    ]


def test_a_truncated_uncompressed_file_is_found(source: Path, project: Path) -> None:
    compressed = source / "scans" / "bob.nii.gz"
    (source / "scans" / "bob.nii").write_bytes(gzip.decompress(compressed.read_bytes()))
    compressed.unlink()
    truncate(source / "scans" / "bob.nii", share=0.9)
    message = refusal(source, project)
    assert message.startswith(f"1 of 3 cases in {source} ")
    assert "bob: scan: bob.nii is cut short or damaged" in message
    assert len(message.splitlines()) == 2


def test_every_problem_of_every_case_is_named(source: Path, project: Path) -> None:
    for seed, case in enumerate(("alone", "far", "float", "offset", "other", "wide", "2"), start=9):
        save(source / "scans" / f"{case}.nii", chest(seed))
        save(source / "masks" / f"{case}.nii", labels(0, 1))
    (source / "masks" / "alone.nii").unlink()
    save(source / "masks" / "far.nii", labels(0, 1), AFFINE + np.eye(4, k=3))
    save(source / "masks" / "float.nii", np.linspace(0, 1, 1200).reshape(6, 5, 40))
    save(source / "scans" / "offset.nii", chest() + np.int16(1024))
    save(source / "masks" / "wide.nii", np.append(labels(7), labels(1, 9, 4), axis=0))
    (source / "scans" / "other.nii").rename(source / "scans" / "other.nrrd")
    shutil.copy(source / "scans" / "bob.nii.gz", source / "scans" / "bob_ct.nii.gz")

    headline, *lines = refusal(source, project).splitlines()

    assert headline == f"8 of 10 cases in {source} cannot be used; nothing was added:"
    expected = [
        "2: `patient: ([a-z]+)[0-9]*` must have a group that matches the patient",
        "alone: there is a scan, but no mask of this name; add its mask, or remove the scan",
        "bob: 2 files in scans/ have this name: bob.nii.gz and bob_ct.nii.gz",
        "far: the mask is at another position than its scan, by 1 mm",
        "float: label values must be whole numbers 0..255, got 0.50041701 (float64)",
        "offset: `intensity` is hu, but the values ",
        "other: scan: other.nrrd must be a .nii or .nii.gz file; convert it",
        "wide: label values belong to no region: 4 (400 voxels), 7 (1200 voxels), 9 (400 voxels)",
        "wide: the mask has 12×5×40 voxels, its scan 6×5×40",
    ]
    for line, start in zip(lines, expected, strict=True):
        assert line.strip().startswith(start)


def test_no_case_in_another_format_is_passed_over(source: Path, project: Path) -> None:
    """A pair of two files is one scan; a case of which scan and mask are pairs is a case."""
    for part, voxels in (("scans", chest(9)), ("masks", labels(0, 1))):
        nib.save(nib.Nifti1Pair(voxels, AFFINE), source / part / "dora.hdr")
        nib.save(nib.Nifti1Image(voxels, AFFINE), source / part / "eve.nii")
        (source / part / "eve.nii").rename(source / part / "eve.nhdr")
        nib.save(nib.Nifti1Pair(voxels, AFFINE), source / part / "finn.hdr")
        (source / part / "finn.hdr").unlink()
    headline, *lines = refusal(source, project).splitlines()
    assert headline == f"3 of 6 cases in {source} cannot be used; nothing was added:"
    assert [line.strip().partition(" must be")[0] for line in lines] == [
        f"{file.partition('.')[0]}: {part}: {file}"
        for file in ("dora.hdr", "eve.nhdr", "finn.img")
        for part in ("mask", "scan")
    ]


def test_an_invalid_header_is_named_once(source: Path, project: Path) -> None:
    (source / "scans" / "bob.nii.gz").write_bytes(gzip.compress(b"not a header"))
    assert len(refusal(source, project).splitlines()) == 2


def test_an_8_bit_export_needs_values_that_fit_its_range(source: Path, project: Path) -> None:
    export = DatasetSpec(regions=SPEC.regions, intensity=(-1250, 250))
    message = refusal(source, project, spec=export)
    assert message.startswith("3 of 3 cases")
    assert "bob: `intensity` is -1250,250, but the values -999..39 look like HU; " in message

    for seed, case in enumerate(("ann1", "ann2", "bob")):
        save(source / "scans" / f"{case}.nii.gz", (chest(seed) % 256).astype(np.uint8))
    added = add_dataset(source, root=project, name="ward5", spec=export, track=False)
    assert added.cases[0].intensity == IntensityScale((-1250, 250))


def test_intensities_are_detected_unless_they_are_given(
    chests: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    added = add_dataset(chests, root=project, name="ward5", spec=AUTO, track=False)

    assert load_spec(project / "data/ward5/dataset.yaml").intensity == {
        "a[[]1]": "hu+1024",
        "*": "hu",
    }
    assert [str(case.intensity) for case in added.cases] == ["hu+1024", "hu", "hu"]
    lines = [line for line in capsys.readouterr().err.splitlines() if "1024" in line]
    assert len(lines) == 1
    assert lines[0].startswith("a[1]: ")


def test_one_intensity_is_written_if_all_scans_have_it(chests: Path, project: Path) -> None:
    for folder in ("scans", "masks"):
        (chests / folder / "a[1].nii").unlink()
    add_dataset(chests, root=project, name="ward5", spec=AUTO, track=False)
    assert load_spec(project / "data/ward5/dataset.yaml").intensity == "hu"


def test_a_constant_scan_is_refused(chests: Path, project: Path) -> None:
    save(chests / "scans" / "b.nii", np.ones((24, 24, 12), np.int16))
    message = refusal(chests, project, spec=AUTO)
    assert message.startswith("1 of 3 cases")
    assert "b: all voxels of the scan are 1; " in message


def test_a_scan_of_unknown_intensity_is_refused_unless_it_is_given(
    chests: Path, project: Path
) -> None:
    noise = np.random.default_rng(0).normal(0, 400, (24, 24, 13)).astype(np.int16)
    save(chests / "scans" / "b.nii", noise)
    message = refusal(chests, project, spec=AUTO)
    assert message.startswith("1 of 3 cases")
    assert message.splitlines()[1].startswith("  b: ")
    assert message.endswith(
        "look at the scan; if it is a CT, check its `intensity` in dataset.yaml"
    )

    spec = replace(AUTO, intensity={"a*": "hu+1024", "*": "hu"})
    added = add_dataset(chests, root=project, name="ward5", spec=spec, track=False)
    assert [str(case.intensity) for case in added.cases] == ["hu+1024", "hu", "hu"]


def test_the_errors_of_an_audit_are_refused(chests: Path, project: Path) -> None:
    """A mask with front and back swapped, and one scan under the names of two patients."""
    mask = chests / "masks" / "b.nii"
    save(mask, np.flip(voxels_of(mask), 1))
    message = refusal(chests, project, spec=AUTO)
    assert message.startswith("1 of 3 cases")
    assert "b: the mask fits the scan only with front and back swapped" in message

    save(mask, np.flip(voxels_of(mask), 1))
    for part in ("scans", "masks"):
        shutil.copy(chests / part / "b.nii", chests / part / "d.nii")
    message = refusal(chests, project, spec=AUTO)
    assert message.startswith("1 of 4 cases")
    assert "d: the scan is the same file as that of `b`; " in message


def test_a_warning_of_an_audit_is_accepted(chests: Path, project: Path) -> None:
    """A flipped copy counts as suspicious, not as certainly wrong."""
    for part in ("scans", "masks"):
        flipped = np.flip(voxels_of(chests / part / "b.nii"), 2)
        save(chests / part / "d.nii", flipped)
    added = add_dataset(chests, root=project, name="ward5", spec=AUTO, track=False)
    audit = audit_dataset(project / "data" / "ward5", workers=1)
    assert ("scan-duplicate", "d") in {(warning.check, warning.case) for warning in audit.warnings}
    assert len(added.cases) == 4


def test_an_interrupted_copy_leaves_nothing(
    source: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at the second file."""
    copied: list[str] = []

    def copyfile(path: Path, target: Path) -> None:
        if copied:
            raise KeyboardInterrupt
        copied.append(target.name)
        target.write_bytes(path.read_bytes())

    monkeypatch.setattr("thorax.datasets.add.shutil.copyfile", copyfile)
    with pytest.raises(KeyboardInterrupt):
        add_dataset(source, root=project, name="ward5", spec=SPEC)
    assert copied == ["ann1.nii.gz"]
    assert list((project / "data").iterdir()) == []


def test_an_invalid_pattern_is_reported_once(source: Path, project: Path) -> None:
    message = refusal(source, project, spec=DatasetSpec(regions=SPEC.regions, patient="("))
    assert message.startswith("3 of 3 cases")
    assert message.count("`patient: (` is no regular expression") == 1


def test_a_case_without_a_site_is_reported(source: Path, project: Path) -> None:
    message = refusal(source, project, spec=DatasetSpec(regions=SPEC.regions, site="(ann)"))
    assert message.startswith("1 of 3 cases")
    assert message.count("`site: (ann)` must have a group that matches the site in every") == 1
    assert "matches nothing in `bob`" in message


@pytest.mark.parametrize("name", ["", "5ward", "../ward", "ward 5", ".ward", "records", "null"])
def test_invalid_names(source: Path, project: Path, name: str) -> None:
    assert f", got `{name}`" in refusal(source, project, name=name)


def test_a_name_that_exists(source: Path, project: Path) -> None:
    (project / "data" / "ward5").mkdir(parents=True)
    (project / "data" / "ward5" / "precious").touch()
    assert f"but {project}/data/ward5 exists" in refusal(source, project)
    (project / "data" / "ward6.dvc").touch()
    assert f"but {project}/data/ward6.dvc exists" in refusal(source, project, name="ward6")


def test_invalid_options_are_reported_before_any_scan_is_opened(
    source: Path, tmp_path: Path
) -> None:
    (source / "scans" / "bob.nii.gz").write_bytes(b"")
    root = tmp_path / "no project"
    root.mkdir()
    message = refusal(source, root, name="5", spec=DatasetSpec(regions={"lung": [0]}))
    name, no_project, regions = message.splitlines()
    assert "got `5`" in name
    assert "run this in the folder that contains `.dvc`" in no_project
    assert no_project.endswith(str(root))
    assert "region `lung` must be made of label values 1..255" in regions


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        pytest.param([], "there is no folder", id="no folder"),
        pytest.param(["a.txt"], "imagesTr/ and labelsTr/, but", id="another layout"),
        pytest.param(["a/", "b/", "c/", "d/", "e/", "f/"], "a, b, c, d, e, …", id="many others"),
        pytest.param(["scans/x.nii.gz"], "contains scans", id="no masks"),
        pytest.param(["scans/a.txt", "masks/"], "there is no NIfTI scan in", id="no scans"),
    ],
)
def test_invalid_folders(tmp_path: Path, project: Path, paths: list[str], reason: str) -> None:
    for path in paths:
        (tmp_path / "odd" / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (tmp_path / "odd" / path).mkdir(exist_ok=True)
        else:
            (tmp_path / "odd" / path).touch()
    message = refusal(tmp_path / "odd", project)
    assert reason in message
    assert "\n" not in message


def test_the_copy_is_removed_if_dvc_refuses_it(source: Path, project: Path) -> None:
    (project / ".dvcignore").write_text("data/\n")
    message = refusal(source, project)
    assert message.startswith("`dvc add` must succeed, but DVC reports: ")
    assert "is ignored by .dvcignore" in message
    assert "\n" not in message


def test_a_folder_that_cannot_be_created(source: Path, project: Path) -> None:
    (project / "data").write_text("a file instead of a folder")
    assert "data/ward5 could not be filled and was removed" in refusal(source, project)


def test_the_list_shows_every_dataset_and_its_problem(source: Path, project: Path) -> None:
    add_dataset(source, root=project, name="ward5", spec=SPEC)
    data = project / "data"
    save_spec(data / "plain" / "dataset.yaml", SPEC)
    save_spec(data / "made" / "dataset.yaml", SPEC)
    (data / "made" / "dvc.yaml").touch()
    save_spec(data / "whole" / "dataset.yaml", SPEC)
    (data / "whole.dvc").touch()
    save_spec(data / "unpaired" / "dataset.yaml", SPEC)
    save(data / "unpaired" / "scans" / "x.nii", chest())
    save_spec(data / "zero" / "dataset.yaml", DatasetSpec(regions={"lung": [0]}, title="Zero"))
    for name, text in (("broken", "regions: ["), ("empty", "")):
        (data / name).mkdir()
        (data / name / "dataset.yaml").write_text(text)
    save_spec(data / ".part-x" / "dataset.yaml", SPEC)
    (data / "records").mkdir()

    lines = {line.name: line for line in list_datasets(project)}

    both = ("lung", "infection")
    assert list(lines) == ["broken", "empty", "made", "plain", "unpaired", "ward5", "whole", "zero"]
    assert lines["ward5"] == DatasetSummary("ward5", "Ward 5", 3, both, "tracked")
    assert lines["made"] == DatasetSummary("made", "Ward 5", None, both, "made by a stage")
    assert lines["plain"] == DatasetSummary("plain", "Ward 5", None, both, "not tracked")
    assert lines["whole"] == DatasetSummary("whole", "Ward 5", None, both, "tracked")
    assert (lines["unpaired"].cases, lines["unpaired"].regions) == (None, both)
    assert "there is no folder" in lines["unpaired"].problem
    assert "label values 1..255, got [0]" in lines["zero"].problem
    assert "is not valid YAML" in lines["broken"].problem
    assert "empty/dataset.yaml" in lines["empty"].problem
    assert not any("\n" in line.problem for line in lines.values())


def test_a_project_without_data_has_no_datasets(tmp_path: Path) -> None:
    assert list_datasets(tmp_path) == []
