"""The command line: what it prints, what it refuses, and what it leaves as it was."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import nibabel
import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from numpy.typing import ArrayLike

from thorax.cli import main

SaveNifti = Callable[..., Path]

AIR, SOFT, BONE = -1000, 40, 400
AFFINE = np.array([[-0.7, 0, 0, 90], [0, -0.7, 0, 80], [0, 0, 2.5, -300], [0, 0, 0, 1]])

# One plane of 8×8 voxels: soft tissue around bone.
PLANE = [
    [AIR, AIR, AIR, AIR, AIR, AIR, AIR, AIR],
    [AIR, AIR, AIR, AIR, AIR, AIR, AIR, AIR],
    [AIR, AIR, SOFT, SOFT, SOFT, SOFT, AIR, AIR],
    [AIR, AIR, SOFT, BONE, BONE, SOFT, AIR, AIR],
    [AIR, AIR, SOFT, BONE, BONE, SOFT, AIR, AIR],
    [AIR, AIR, SOFT, SOFT, SOFT, SOFT, AIR, AIR],
    [AIR, AIR, AIR, AIR, AIR, AIR, AIR, AIR],
    [AIR, AIR, AIR, AIR, AIR, AIR, AIR, AIR],
]
# So few values could be those of a mask, too.
PREDICT = ("predict", "--intensity", "hu")
LABELS = np.digitize(np.array(PLANE), [SOFT, BONE])


def thorax(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="thorax")


def refusal(*arguments: object, status: int = 1) -> str:
    """Return the one line with which a command ends that cannot be done."""
    result = thorax(*arguments)
    assert result.exit_code == status
    assert result.stdout == ""
    assert isinstance(result.exception, SystemExit)
    *_, last = result.stderr.splitlines()
    assert status == 2 or result.stderr == f"{last}\n"
    return last.removeprefix("Error: ")


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


# Help


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


COMMANDS = [pytest.param(path, it, id=" ".join(path) or "thorax") for path, it in commands(main)]


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_help_tells_of_every_option_and_gives_an_example(
    path: tuple[str, ...], command: click.Command
) -> None:
    result = thorax(*path, "--help")
    assert result.exit_code == 0
    assert thorax(*path, "-h").stdout == result.stdout
    if not isinstance(command, click.Group):
        assert f"Example:\n    {' '.join(['thorax', *path])}" in result.stdout
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help
            assert parameter.opts[-1] in result.stdout


@pytest.mark.parametrize("path", [(), ("data",)])
def test_lists_of_commands_are_not_cut_short(path: tuple[str, ...]) -> None:
    assert "..." not in thorax(*path, "--help").stdout.split("Commands:")[1]


def test_neither_help_nor_scores_wait_for_a_deep_learning_framework(
    save_nifti: SaveNifti,
) -> None:
    mask = save_nifti("mask.nii", np.ones((2, 2, 2), np.uint8))
    program = f"""
import sys
from click.testing import CliRunner
from thorax.cli import main
for arguments in ("--help", "predict --help", "data list", "score {mask} {mask}"):
    assert CliRunner().invoke(main, arguments).exit_code == 0
print(*sorted({{"keras", "tensorflow", "jax", "dvc", "matplotlib"}} & set(sys.modules)))
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "\n"


def test_the_version_is_that_of_the_package() -> None:
    result = thorax("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("thorax, version 0.")


def test_an_unknown_command_is_answered_with_what_was_meant() -> None:
    assert refusal("prdict", status=2) == "No such command 'prdict'. Did you mean 'predict'?"


# predict


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model that finds what is above -300 HU, and as bone what is above 260 HU."""
    from thorax.models.engines.keras_engine import KerasEngine
    from thorax.models.keras_file import save_trained
    from thorax.models.spec import ModelSpec

    from ..learning import pointwise

    # The network sees SOFT as 0.743 and BONE as 1: logits 4.86 and 10, -3.14 and 2.
    network = pointwise([[0, 0], [20, 20], [0, 0]], [-10, -18], canvas=8)
    spec = ModelSpec(
        canvas=8,
        crop="none",
        context=1,
        window_hu=(-1000, 400),
        regions={"tissue": (1, 2), "bone": (2,)},
    )
    folder = tmp_path_factory.mktemp("models") / "segmenter"
    save_trained(folder, KerasEngine(network), spec)
    return folder


@pytest.fixture
def scan(save_nifti: SaveNifti) -> Path:
    return save_nifti("ct.nii.gz", stack_of(PLANE, np.int16), AFFINE)


def stack_of(plane: ArrayLike, dtype: Any, depth: int = 3) -> np.ndarray:
    return np.stack([np.asarray(plane, dtype)] * depth, axis=2)


def test_a_mask_is_written_on_the_grid_of_the_scan(scan: Path, model: Path, tmp_path: Path) -> None:
    mask = tmp_path / "new" / "mask.nii.gz"
    result = thorax(*PREDICT, scan, mask, "--model", model)
    assert (result.exit_code, result.stdout) == (0, f"{mask}\n")
    np.testing.assert_array_equal(voxels(mask), stack_of(LABELS, np.uint8))
    np.testing.assert_allclose(nibabel.load(mask).affine, AFFINE, rtol=1e-6)
    assert [path.name for path in mask.parent.iterdir()] == ["mask.nii.gz"]


def test_the_model_of_the_project_is_taken_unless_another_is_named(
    scan: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thorax.models.export import export

    monkeypatch.chdir(tmp_path)
    export(model, tmp_path / "models/segmenter.onnx")
    assert thorax(*PREDICT, scan, "mask.nii").stdout == "mask.nii\n"


@pytest.mark.parametrize(
    ("threshold", "found"),
    [
        pytest.param(0.03, [0, 2, 2], id="0.03: soft tissue is bone, too"),
        pytest.param(0.9, [0, 1, 1], id="0.9: bone is sure to be tissue alone"),
        pytest.param(0.995, [0, 0, 1], id="0.995: soft tissue is none"),
    ],
)
def test_the_threshold_is_taken_from_the_command(
    scan: Path, model: Path, tmp_path: Path, threshold: float, found: list[int]
) -> None:
    mask = tmp_path / "mask.nii"
    thorax(*PREDICT, scan, mask, "--model", model, "--threshold", threshold)
    np.testing.assert_array_equal(voxels(mask), stack_of(np.array(found)[LABELS], np.uint8))


def test_probabilities_are_written_beside_the_mask(scan: Path, model: Path, tmp_path: Path) -> None:
    mask = tmp_path / "out" / "mask.nii.gz"
    result = thorax(*PREDICT, scan, mask, "--model", model, "--probabilities")
    names = ["mask.nii.gz", "mask_tissue.nii.gz", "mask_bone.nii.gz"]
    assert [Path(line).name for line in result.stdout.splitlines()] == names
    assert sorted(path.name for path in mask.parent.iterdir()) == sorted(names)
    tissue = nibabel.load(mask.with_name("mask_tissue.nii.gz"))
    bone = nibabel.load(mask.with_name("mask_bone.nii.gz"))
    # AIR, SOFT and BONE, in steps of 1/255.
    np.testing.assert_allclose(
        tissue.get_fdata()[[0, 2, 3], [0, 2, 3], 1], [0, 0.992, 1], atol=0.003
    )
    np.testing.assert_allclose(
        bone.get_fdata()[[0, 2, 3], [0, 2, 3], 1], [0, 0.041, 0.881], atol=0.003
    )
    np.testing.assert_allclose(tissue.affine, AFFINE, rtol=1e-6)


def test_an_output_that_exists_is_left_alone_unless_forced(
    scan: Path, model: Path, tmp_path: Path
) -> None:
    mask = tmp_path / "mask.nii.gz"
    mask.write_text("the work of a week")
    said = refusal(*PREDICT, scan, mask, "--model", model)
    assert said == f"{mask} exists already; give --force to write over it"
    assert mask.read_text() == "the work of a week"
    assert thorax(*PREDICT, scan, mask, "--model", model, "--force").exit_code == 0
    np.testing.assert_array_equal(voxels(mask), stack_of(LABELS, np.uint8))


def test_a_probability_file_that_exists_is_left_alone_too(
    scan: Path, model: Path, tmp_path: Path
) -> None:
    there = tmp_path / "mask_bone.nii.gz"
    there.write_text("the work of a week")
    mask = tmp_path / "mask.nii.gz"
    said = refusal(*PREDICT, scan, mask, "--model", model, "--probabilities")
    assert said == f"{there} exists already; give --force to write over it"
    assert not mask.exists()
    assert there.read_text() == "the work of a week"


def test_a_scan_is_never_written_over(scan: Path, model: Path) -> None:
    before = scan.read_bytes()
    said = refusal(*PREDICT, scan, scan, "--model", model, "--force")
    assert said == f"a mask must not take the place of its scan, got {scan} for both"
    assert scan.read_bytes() == before


@pytest.fixture
def folder(scan: Path, tmp_path: Path) -> Path:
    """Return a folder with a scan, as scans come, and one that is cut short."""
    noisy = np.random.default_rng(0).integers(-1000, 400, (8, 8, 60)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(noisy, AFFINE), tmp_path / "noise.nii.gz")
    whole = (tmp_path / "noise.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "noise.nii.gz").unlink()
    (tmp_path / "file").write_text("I am no folder")
    return tmp_path


@pytest.mark.parametrize(
    ("scan_name", "mask_name", "line"),
    [
        ("nowhere.nii.gz", "mask.nii.gz", "there is no file {0}/nowhere.nii.gz"),
        (
            "cut.nii.gz",
            "mask.nii.gz",
            "{0}/cut.nii.gz is cut short or damaged; copy it again from its source",
        ),
        ("file", "mask.nii.gz", "{0}/file is not a NIfTI image, or its header is damaged"),
        (
            "ct.nii.gz",
            "mask.png",
            "a mask file must end in .nii.gz, .nii, .nrrd, .mha or .dcm, got {0}/mask.png",
        ),
        (
            "ct.nii.gz",
            "file/mask.nii.gz",
            "cannot write {0}/file/mask.nii.gz: File exists; choose a folder that can be written",
        ),
    ],
)
def test_files_that_will_not_do_are_told_of_and_leave_nothing(
    folder: Path, model: Path, scan_name: str, mask_name: str, line: str
) -> None:
    before = sorted(folder.iterdir())
    said = refusal(*PREDICT, folder / scan_name, folder / mask_name, "--model", model)
    assert said == line.format(folder)
    assert sorted(folder.iterdir()) == before


def test_a_model_that_is_not_there_is_told_of(scan: Path, tmp_path: Path) -> None:
    said = refusal(*PREDICT, scan, tmp_path / "mask.nii", "--model", tmp_path / "none")
    assert said == (
        f"there is no model {tmp_path}/none; train one with `dvc repro`, or name one with --model"
    )


@pytest.mark.parametrize("threshold", [0, 1, -0.5, "half"])
def test_a_threshold_must_lie_between_0_and_1(threshold: object) -> None:
    said = refusal("predict", "ct.nii", "mask.nii", "--threshold", threshold, status=2)
    assert said.startswith("Invalid value for '--threshold'")


# score

CENTIMETRES = np.diag([10, 10, 10, 1])


@pytest.fixture
def masks(save_nifti: SaveNifti) -> tuple[Path, Path]:
    """Return two masks of 4×2×1 voxels of 1 mL: labels 1 and 2, and 3 in the truth alone."""
    truth = [[1, 1], [1, 1], [2, 2], [3, 0]]
    found = [[1, 1], [0, 0], [2, 0], [2, 2]]
    return (
        save_nifti("truth.nii", np.array(truth, np.uint8)[..., None], CENTIMETRES),
        save_nifti("found.nii", np.array(found, np.uint8)[..., None], CENTIMETRES),
    )


def test_each_label_is_a_region_unless_regions_are_named(masks: tuple[Path, Path]) -> None:
    # Label 1: 2 of 4 and 2. Label 2: 1 of 2 and 3. Label 3: 0 of 1 and 0.
    title, *rows = thorax("score", *masks).stdout.splitlines()
    assert title.split()[:2] == ["case", "region"]
    assert [row.split()[:4] + row.split()[-2:] for row in rows] == [
        ["truth.nii", "label_1", "0.666667", "0.500000", "4.0", "2.0"],
        ["truth.nii", "label_2", "0.400000", "0.250000", "2.0", "3.0"],
        ["truth.nii", "label_3", "0.000000", "0.000000", "1.0", "0.0"],
    ]
    assert rows[2].split()[5] == "inf", "the HD95 of what was not found"


def test_regions_are_made_of_the_labels_named(masks: tuple[Path, Path]) -> None:
    # Lung: 4 of 7 and 5.
    regions = ("--region", "lung=1,2,3", "--region", "lesion=2")
    figures = json.loads(thorax("score", *masks, *regions, "--json").stdout)
    names = ("dice", "iou", "truth_ml", "predicted_ml")
    assert {region: [found[name] for name in names] for region, found in figures.items()} == {
        "lung": [0.666667, 0.5, 7.0, 5.0],
        "lesion": [0.4, 0.25, 2.0, 3.0],
    }
    assert figures["lesion"]["truth_share"] == 0.285714


def test_another_tool_may_number_its_labels_otherwise(masks: tuple[Path, Path]) -> None:
    """Its lung is 1 and 2, as that of the truth is 1 to 3."""
    known = ("--region", "lung=1,2,3", "--predicted-region", "lung=1,2", "--json")
    assert json.loads(thorax("score", *masks, *known).stdout)["lung"]["dice"] == 0.666667
    assert refusal("score", *masks, "--predicted-region", "lung=1,2").startswith(
        "--predicted-region needs --region"
    )
    said = refusal("score", *masks, "--region", "lung=1,2,3", "--predicted-region", "scar=1,2")
    assert said == (
        "--predicted-region must name the regions of --region, lung, in the same order, got scar"
    )


def test_folders_are_scored_case_by_case_into_a_table(
    save_nifti: SaveNifti, tmp_path: Path
) -> None:
    for case, found in (("ann", 1), ("ben", 0)):
        save_nifti(f"t/{case}.nii.gz", np.ones((4, 4, 2), np.uint8), CENTIMETRES)
        save_nifti(f"p/{case}.nii", np.full((4, 4, 2), found, np.uint8), CENTIMETRES)
    table = tmp_path / "scores.csv"
    folders = (tmp_path / "t", tmp_path / "p")
    printed = thorax("score", *folders, "--region", "lung=1", "--output", table).stdout
    assert [line.split()[:3] for line in printed.splitlines()[1:]] == [
        ["ann", "lung", "1.000000"], ["ben", "lung", "0.000000"],
    ]  # fmt: skip
    rows = table.read_text().splitlines()
    assert rows[0].startswith("case,site,region,dice,")
    assert [row.split(",")[:4] for row in rows[1:]] == [
        ["ann", "", "lung", "1"], ["ben", "", "lung", "0"],
    ]  # fmt: skip
    figures = json.loads(thorax("score", *folders, "--region", "lung=1", "--json").stdout)
    assert (figures["ben"]["lung"]["dice"], figures["ben"]["lung"]["hd95_mm"]) == (0, "inf")


def test_a_missing_prediction_is_no_silent_omission(save_nifti: SaveNifti, tmp_path: Path) -> None:
    for path in ("t/ann.nii", "t/ben.nii", "p/ann.nii"):
        save_nifti(path, np.ones((4, 4, 2), np.uint8), CENTIMETRES)
    folders = (tmp_path / "t", tmp_path / "p")
    assert "1 of 2 true masks have no prediction" in refusal("score", *folders)
    assert thorax("score", *folders, "--allow-missing").exit_code == 0


def test_the_tolerance_of_a_region_can_be_set(save_nifti: SaveNifti) -> None:
    """The prediction ends one plane of 10 mm short."""
    truth = np.ones((4, 4, 4), np.uint8)
    short = truth.copy()
    short[..., 3] = 0
    masks = [save_nifti(f"{n}.nii", v, CENTIMETRES) for n, v in (("t", truth), ("p", short))]
    figures = {
        tolerance: json.loads(
            thorax("score", *masks, "--region", "lung=1", *tolerance, "--json").stdout
        )["lung"]["nsd"]
        for tolerance in ((), ("--tolerance", "lung=10"))
    }
    assert figures[()] < 1
    assert figures["--tolerance", "lung=10"] == 1
    for wrong in ("lung", "lung=thin", "lung=-1", "=3"):
        said = refusal("score", *masks, "--tolerance", wrong)
        assert said == f"a tolerance must look like lung=1.5, in mm, got `{wrong}`"


def test_lesions_are_counted_where_that_is_asked_for(masks: tuple[Path, Path]) -> None:
    wanted = ("--region", "lung=1,2,3", "--region", "lesion=2", "--lesions", "lesion", "--json")
    figures = json.loads(thorax("score", *masks, *wanted).stdout)
    assert (figures["lesion"]["lesions"], figures["lesion"]["lesions_found"]) == (1, 1)
    assert "lesions" not in figures["lung"]


def test_labels_that_no_region_names_are_refused_unless_ignored(
    masks: tuple[Path, Path],
) -> None:
    said = refusal("score", *masks, "--region", "lesion=2")
    assert said.startswith("label values [1, 3] belong to no region")
    ignored = ("--ignore", 1, "--ignore", 3)
    figures = json.loads(thorax("score", *masks, "--region", "lesion=2", *ignored, "--json").stdout)
    assert figures["lesion"]["dice"] == pytest.approx(0.4)


def test_what_is_undefined_is_null_in_json(save_nifti: SaveNifti) -> None:
    empty = save_nifti("empty.nii", np.zeros((2, 2, 2), np.uint8))
    figures = json.loads(thorax("score", empty, empty, "--region", "lung=1", "--json").stdout)
    assert (figures["lung"]["dice"], figures["lung"]["truth_ml"]) == (None, 0.0)


def test_masks_on_different_grids_are_refused(
    masks: tuple[Path, Path], save_nifti: SaveNifti
) -> None:
    beside = CENTIMETRES + np.array([[0, 0, 0, 5]] + [[0] * 4] * 3)
    shorter = save_nifti("shorter.nii", np.zeros((4, 1, 1), np.uint8), CENTIMETRES)
    moved = save_nifti("moved.nii", np.zeros((4, 2, 1), np.uint8), beside)
    assert "a mask must have the shape of its scan" in refusal("score", masks[0], shorter)
    assert "a mask must have the affine of its scan" in refusal("score", masks[0], moved)


@pytest.mark.parametrize("region", ["lung", "lung=", "lung=one", "=1", "lung=0", "lung=256"])
def test_a_region_that_cannot_be_read_is_refused(masks: tuple[Path, Path], region: str) -> None:
    assert refusal("score", *masks, "--region", region)


def test_a_ct_is_no_mask(scan: Path) -> None:
    assert "label values" in refusal("score", scan, scan)


# data


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    for name in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE"):
        monkeypatch.setenv(f"DVC_{name}_DIR", str(tmp_path / "dvc" / name))
    root = tmp_path / "here"
    root.mkdir()
    monkeypatch.chdir(root)
    return root


def test_a_study_is_added_and_then_listed(study: Path, here: Path) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], check=True)
    regions = ("--region", "lung=1,2", "--region", "infection=2")
    about = ("--title", "Ward 5", "--patient", "([a-z]+)-", "--ignore", 9, "--licence", "CC0")
    site = ("--site", ".*-([0-9])", "--intensity", "hu")
    added = thorax("data", "add", study, "--name", "ward", *regions, *about, *site)
    assert added.exit_code == 0, added.output
    assert added.stdout == (
        "data/ward: 3 cases. Next: git add data/ward; dvc exp run -S dataset=ward\n"
    )
    assert yaml.safe_load((here / "data/ward/dataset.yaml").read_text()) == {
        "regions": {"lung": [1, 2], "infection": [2]},
        "title": "Ward 5",
        "licence": "CC0",
        "ignored": [9],
        "patient": "([a-z]+)-",
        "site": ".*-([0-9])",
        "intensity": "hu",
    }
    assert (here / "data/ward/scans.dvc").exists()
    listed = thorax("data", "list").stdout
    assert listed.split() == ["ward", "3", "cases", "tracked", "lung,", "infection", "Ward", "5"]


def test_a_study_that_will_not_do_is_refused(study: Path, here: Path) -> None:
    (here / ".dvc").mkdir()
    (study / "masks" / "ben-1.nii.gz").unlink()
    said = thorax("data", "add", study, "--name", "ward", "--region", "lung=1,2")
    assert said.exit_code == 1
    assert "`ben-1` has 1 and 0" in said.stderr
    assert not (here / "data").exists()


def test_a_damaged_dataset_is_listed_with_what_is_wrong(here: Path) -> None:
    (here / "data/ward").mkdir(parents=True)
    (here / "data/ward/dataset.yaml").write_text("title: Ward 5\n")
    first, second = thorax("data", "list").stdout.splitlines()
    assert first.split() == ["ward", "no", "data", "yet", "not", "tracked"]
    assert second.strip() == "data/ward/dataset.yaml: key `regions` is missing"


@pytest.mark.usefixtures("here")
def test_a_folder_without_datasets_says_so() -> None:
    result = thorax("data", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no dataset is under data/; run this in the folder of a project\n"
