"""Studies of one's own, added to projects that the real DVC has made."""

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.datasets.add import add_dataset
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
def _own_dvc_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def labels(*values: int) -> np.ndarray:
    return np.resize(np.array(values, np.uint8), (6, 5, 40))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Cases `ann1`, `ann2` and `bob`: two patients."""
    folder = tmp_path / "study"
    for seed, case in enumerate(("ann1", "ann2", "bob")):
        save(folder / "scans" / f"{case}.nii.gz", chest(seed))
        save(folder / "masks" / f"{case}.nii.gz", labels(0, 1, 2, 3))
    return folder


AUTO = DatasetSpec(regions={"lung": [1]}, intensity="auto")


@pytest.fixture
def chests(tmp_path: Path) -> Path:
    """Cases `a[1]`, to whose HU 1024 was added, `b` and `c`: boxes of tissue with lungs in air."""
    body = np.full((24, 24, 12), AIR, np.int16)
    body[3:21, 5:19] = np.random.default_rng(0).normal(SOFT, 20, (18, 14, 12))
    body[5:11, 8:16] = body[13:19, 8:16] = np.random.default_rng(1).normal(-820, 20, (6, 8, 12))
    folder = tmp_path / "chests"
    for case, offset in (("a[1]", 1024), ("b", 0), ("c", 0)):
        save(folder / "scans" / f"{case}.nii", body + np.int16(offset))
        save(folder / "masks" / f"{case}.nii", (body < -600).astype(np.uint8))
    return folder


def refusal(study: Path, project: Path, *, name: str = "ward5", spec: DatasetSpec = SPEC) -> str:
    """The message with which a study is refused, once it is sure that nothing is left behind."""
    before = sorted(project.rglob("*"))
    with pytest.raises(InputError) as refused:
        add_dataset(study, root=project, name=name, spec=spec)
    left = set(project.rglob("*")) - set(before) - {project / "data"}
    assert {path for path in left if project / ".dvc" not in path.parents} == set()
    return str(refused.value)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_added_study_is_a_dataset_with_the_same_voxels_and_is_tracked(
    study: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    added = add_dataset(study, root=project, name="ward5", spec=SPEC)

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
        # The affine of the files turns x and y over.
        assert (Scan(case.scan).voxels() == chest(seed)[::-1, ::-1]).all()
        assert (Scan(case.mask).voxels() == labels(0, 1, 2, 3)[::-1, ::-1]).all()
    assert "up to date" in dvc("status", root=project)
    assert capsys.readouterr().out == ""


def test_in_a_git_project_git_sees_the_small_files_alone_and_nothing_is_staged(
    study: Path, tmp_path: Path
) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    git("init", "--quiet")
    root = tmp_path / "sub"
    root.mkdir()
    dvc("init", "--quiet", "--subdir", root=root)

    add_dataset(study, root=root, name="ward5", spec=SPEC)

    seen = git("status", "--short", "--untracked-files=all", "--", "sub/data").splitlines()
    files = (".gitignore", "dataset.yaml", "masks.dvc", "scans.dvc")
    assert seen == [f"?? sub/data/ward5/{file}" for file in files]


def test_without_tracking_no_dvc_is_needed(study: Path, tmp_path: Path) -> None:
    root = tmp_path / "plain"
    root.mkdir()
    add_dataset(study, root=root, name="ward5", spec=SPEC, track=False)
    assert names_in(root / "data") == ["ward5"]
    assert names_in(root / "data" / "ward5") == ["dataset.yaml", "masks", "scans"]


def test_a_relative_root_and_the_umask_are_kept(
    study: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    added = add_dataset(study, root=Path(), name="ward5", spec=SPEC)
    assert added.cases[0].scan == Path("data/ward5/scans/ann1.nii.gz")
    umask = os.umask(0)
    os.umask(umask)
    assert Path("data/ward5").stat().st_mode & 0o777 == 0o777 & ~umask


@pytest.mark.parametrize(
    ("scan", "mask", "case"),
    [
        pytest.param("imagesTr/c1_0000.nii.gz", "labelsTr/c1.nii.gz", "c1", id="nnU-Net"),
        pytest.param("imagesTr/c1.nii.gz", "labelsTr/c1.nii.gz", "c1", id="Decathlon"),
        pytest.param("images/c1.nii", "labels/c1.nii.gz", "c1", id=".nii stays as it is"),
        pytest.param("scans/c1_ct.nii.gz", "masks/c1_seg.nii.gz", "c1", id="both end in a word"),
        pytest.param("scans/c1.nii", "masks/c1-mask.nii", "c1", id="the mask ends in a word"),
        pytest.param(
            "scans/c_0000.nii", "masks/c_0000.nii", "c_0000", id="a number that is the name"
        ),
        pytest.param(
            "imagesTr/c_0000_0000.nii", "labelsTr/c_0000.nii", "c_0000", id="a number and a channel"
        ),
        pytest.param(
            "scans/c_0000.nii", "masks/c_0000_seg.nii", "c_0000", id="a number and a word"
        ),
    ],
)
def test_masks_find_their_scans_by_name(tmp_path: Path, scan: str, mask: str, case: str) -> None:
    source, root = tmp_path / "study", tmp_path / "plain"
    save(source / scan, chest())
    save(source / mask, labels(0, 1))
    (source / scan).with_name("README.md").write_text("no image")

    added = add_dataset(source, root=root, name="ward5", spec=SPEC, track=False)

    (only,) = added.cases
    folder = root / "data" / "ward5"
    assert only.name == case
    assert only.scan == folder / "scans" / f"{case}{''.join(Path(scan).suffixes)}"
    assert only.mask == folder / "masks" / f"{case}{''.join(Path(mask).suffixes)}"
    assert only.scan.read_bytes() == (source / scan).read_bytes()
    assert only.mask.read_bytes() == (source / mask).read_bytes()


def cut(path: Path, *, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])


def test_files_cut_short_are_found(study: Path, project: Path) -> None:
    cut(study / "scans" / "ann1.nii.gz", share=0.9)
    drawn = np.random.default_rng(0).integers(0, 4, (6, 5, 40)).astype(np.uint8)
    cut(save(study / "masks" / "bob.nii.gz", drawn), share=0.9)
    message = refusal(study, project)
    assert message.splitlines() == [
        f"2 of 3 cases in {study} cannot be used; nothing was added:",
        f"  {study}/scans/ann1.nii.gz is cut short or damaged; copy it again from its source",
        f"  {study}/masks/bob.nii.gz is cut short or damaged; copy it again from its source",
    ]


def test_an_unpacked_file_cut_short_is_found(study: Path, project: Path) -> None:
    packed = study / "scans" / "bob.nii.gz"
    (study / "scans" / "bob.nii").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    cut(study / "scans" / "bob.nii", share=0.9)
    message = refusal(study, project)
    assert message.startswith(f"1 of 3 cases in {study} ")
    assert f"{study}/scans/bob.nii is cut short or damaged" in message
    assert len(message.splitlines()) == 2


def test_every_problem_of_every_case_is_named(study: Path, project: Path) -> None:
    for case in ("alone", "far", "float", "offset", "other", "wide", "2"):
        save(study / "scans" / f"{case}.nii", chest())
        save(study / "masks" / f"{case}.nii", labels(0, 1))
    (study / "masks" / "alone.nii").unlink()
    save(study / "masks" / "far.nii", labels(0, 1), AFFINE + np.eye(4, k=3))
    save(study / "masks" / "float.nii", np.linspace(0, 1, 1200).reshape(6, 5, 40))
    save(study / "scans" / "offset.nii", chest() + np.int16(1024))
    save(study / "masks" / "wide.nii", np.append(labels(7), labels(1, 9, 4), axis=0))
    (study / "scans" / "other.nii").rename(study / "scans" / "other.nrrd")
    shutil.copy(study / "scans" / "bob.nii.gz", study / "scans" / "bob_ct.nii.gz")

    headline, *lines = refusal(study, project).splitlines()

    assert headline == f"8 of 10 cases in {study} cannot be used; nothing was added:"
    expected = [
        "finds none in `2`",
        f"`alone` has 1 and 0: {study}/scans/alone.nii",
        f"`bob` has 2 and 1: {study}/scans/bob.nii.gz, {study}/scans/bob_ct.nii.gz, ",
        "far.nii lies elsewhere in the patient",
        "float.nii: label values must be whole numbers",
        "the lowest value in",
        f"must be a .nii or .nii.gz file, got {study}/scans/other.nrrd",
        "wide.nii: label values [4, 7, 9] belong to no region",
        "wide.nii has (12, 5, 40) and",
    ]
    for line, part in zip(lines, expected, strict=True):
        assert part in line


def test_a_header_that_is_none_is_named_once(study: Path, project: Path) -> None:
    (study / "scans" / "bob.nii.gz").write_bytes(gzip.compress(b"no header"))
    assert len(refusal(study, project).splitlines()) == 2


def test_an_8_bit_export_needs_values_that_fit_its_range(study: Path, project: Path) -> None:
    export = DatasetSpec(regions=SPEC.regions, intensity=(-1250, 250))
    message = refusal(study, project, spec=export)
    assert message.startswith("3 of 3 cases")
    assert "must hold values 0..255" in message

    for case in ("ann1", "ann2", "bob"):
        save(study / "scans" / f"{case}.nii.gz", (chest() % 256).astype(np.uint8))
    added = add_dataset(study, root=project, name="ward5", spec=export, track=False)
    assert added.cases[0].domain == IntensityScale((-1250, 250))


def test_intensities_are_recognised_where_they_are_not_given(
    chests: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    added = add_dataset(chests, root=project, name="ward5", spec=AUTO, track=False)

    assert load_spec(project / "data/ward5/dataset.yaml").intensity == {
        "a[[]1]": "hu+1024",
        "*": "hu",
    }
    assert [str(case.domain) for case in added.cases] == ["hu+1024", "hu", "hu"]
    told = [line for line in capsys.readouterr().err.splitlines() if "1024" in line]
    assert len(told) == 1
    assert told[0].startswith("a[1]: ")


def test_where_all_scans_are_alike_one_word_says_so(chests: Path, project: Path) -> None:
    for folder in ("scans", "masks"):
        (chests / folder / "a[1].nii").unlink()
    add_dataset(chests, root=project, name="ward5", spec=AUTO, track=False)
    assert load_spec(project / "data/ward5/dataset.yaml").intensity == "hu"


def test_a_scan_that_is_not_recognised_is_refused_with_the_others(
    chests: Path, project: Path
) -> None:
    save(chests / "scans" / "b.nii", np.ones((24, 24, 12), np.int16))
    message = refusal(chests, project, spec=AUTO)
    assert message.startswith("1 of 3 cases")
    assert "scans/b.nii: a scan must show a patient, but all its voxels are 1" in message


def test_a_pattern_that_is_none_is_told_once(study: Path, project: Path) -> None:
    message = refusal(study, project, spec=DatasetSpec(regions=SPEC.regions, patient="("))
    assert message.startswith("3 of 3 cases")
    assert message.count("`patient: (` is no regular expression") == 1


def test_a_site_that_a_case_lacks_is_told(study: Path, project: Path) -> None:
    message = refusal(study, project, spec=DatasetSpec(regions=SPEC.regions, site="(ann)"))
    assert message.startswith("1 of 3 cases")
    assert message.count("`site: (ann)` must have a group that finds the site in every") == 1
    assert "finds none in `bob`" in message


@pytest.mark.parametrize("name", ["", "5ward", "../ward", "ward 5", ".ward", "records", "null"])
def test_names_that_are_none(study: Path, project: Path, name: str) -> None:
    assert f", got `{name}`" in refusal(study, project, name=name)


def test_a_name_that_is_taken(study: Path, project: Path) -> None:
    (project / "data" / "ward5").mkdir(parents=True)
    (project / "data" / "ward5" / "precious").touch()
    assert f"there is {project}/data/ward5 already" in refusal(study, project)
    (project / "data" / "ward6.dvc").touch()
    assert f"there is {project}/data/ward6.dvc already" in refusal(study, project, name="ward6")


def test_slips_are_told_before_any_scan_is_opened(study: Path, tmp_path: Path) -> None:
    (study / "scans" / "bob.nii.gz").write_bytes(b"")
    root = tmp_path / "no project"
    root.mkdir()
    message = refusal(study, root, name="5", spec=DatasetSpec(regions={"lung": [0]}))
    name, outside, regions = message.splitlines()
    assert "got `5`" in name
    assert "run this in the folder that holds `.dvc`" in outside
    assert outside.endswith(str(root))
    assert "region `lung` must be made of label values 1..255" in regions


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        pytest.param([], "is no folder that can be read: No such file", id="no folder"),
        pytest.param(["a.txt"], "imagesTr/ and labelsTr/, but", id="another layout"),
        pytest.param(["a/", "b/", "c/", "d/", "e/", "f/"], "a, b, c, d, e, …", id="many others"),
        pytest.param(["scans/x.nii.gz"], "holds scans", id="no masks"),
        pytest.param(["scans/a.txt", "masks/"], "there is no NIfTI scan in", id="no scans"),
    ],
)
def test_folders_that_are_no_study(
    tmp_path: Path, project: Path, made: list[str], reason: str
) -> None:
    for path in made:
        (tmp_path / "odd" / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (tmp_path / "odd" / path).mkdir(exist_ok=True)
        else:
            (tmp_path / "odd" / path).touch()
    message = refusal(tmp_path / "odd", project)
    assert reason in message
    assert "\n" not in message


def test_what_dvc_refuses_is_taken_back(study: Path, project: Path) -> None:
    (project / ".dvcignore").write_text("data/\n")
    message = refusal(study, project)
    assert message.startswith("`dvc add data/ward5/scans data/ward5/masks` must succeed, ")
    assert "is ignored by .dvcignore" in message
    assert "\n" not in message


def test_a_folder_that_cannot_be_filled(study: Path, project: Path) -> None:
    (project / "data").write_text("a file stands in the way")
    assert "data/ward5 could not be filled, nothing was kept" in refusal(study, project)


def test_the_list_tells_of_every_dataset_and_of_what_is_wrong(study: Path, project: Path) -> None:
    add_dataset(study, root=project, name="ward5", spec=SPEC)
    data = project / "data"
    save_spec(data / "plain" / "dataset.yaml", SPEC)
    save_spec(data / "made" / "dataset.yaml", SPEC)
    (data / "made" / "dvc.yaml").touch()
    save_spec(data / "whole" / "dataset.yaml", SPEC)
    (data / "whole.dvc").touch()
    save_spec(data / "torn" / "dataset.yaml", SPEC)
    save(data / "torn" / "scans" / "x.nii", chest())
    save_spec(data / "zero" / "dataset.yaml", DatasetSpec(regions={"lung": [0]}, title="Zero"))
    for name, text in (("broken", "regions: ["), ("empty", "")):
        (data / name).mkdir()
        (data / name / "dataset.yaml").write_text(text)
    save_spec(data / ".part-x" / "dataset.yaml", SPEC)
    (data / "records").mkdir()

    lines = {line.name: line for line in list_datasets(project)}

    both = ("lung", "infection")
    assert list(lines) == ["broken", "empty", "made", "plain", "torn", "ward5", "whole", "zero"]
    assert lines["ward5"] == DatasetSummary("ward5", "Ward 5", 3, both, "tracked")
    assert lines["made"] == DatasetSummary("made", "Ward 5", None, both, "made by a stage")
    assert lines["plain"] == DatasetSummary("plain", "Ward 5", None, both, "not tracked")
    assert lines["whole"] == DatasetSummary("whole", "Ward 5", None, both, "tracked")
    assert (lines["torn"].cases, lines["torn"].regions) == (None, both)
    assert "there is no folder" in lines["torn"].problem
    assert "label values 1..255, got [0]" in lines["zero"].problem
    assert "is not valid YAML" in lines["broken"].problem
    assert "empty/dataset.yaml" in lines["empty"].problem
    assert not any("\n" in line.problem for line in lines.values())


def test_no_data_no_list(tmp_path: Path) -> None:
    assert list_datasets(tmp_path) == []
