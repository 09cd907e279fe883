"""The command line: output, errors, and files that must not change."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import click
import nibabel
import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from numpy.typing import ArrayLike

from thorax.cli import main
from thorax.cli.defaults import EVALUATE
from thorax.cli.score import CONVENTIONS
from thorax.common.files import write_text
from thorax.common.params import Convention

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
# With so few values, the intensity cannot be detected.
PREDICT = ("predict", "--intensity", "hu")
LABELS = np.digitize(np.array(PLANE), [SOFT, BONE])


def thorax(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="thorax")


def error_of(*arguments: object, status: int = 1) -> str:
    """Return the one-line error of a command."""
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
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


COMMANDS = [pytest.param(path, it, id=" ".join(path) or "thorax") for path, it in commands(main)]


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_help_lists_every_option_and_has_an_example(
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
def test_summaries_of_commands_are_complete(path: tuple[str, ...]) -> None:
    assert "..." not in thorax(*path, "--help").stdout.split("Commands:")[1]


def test_help_and_scores_need_no_deep_learning_framework(
    save_nifti: SaveNifti,
) -> None:
    mask = save_nifti("mask.nii", np.ones((2, 2, 2), np.uint8))
    program = f"""
import sys
from click.testing import CliRunner
from thorax.cli import main
from thorax.cli.defaults import EVALUATE
from thorax.cli.score import CONVENTIONS
from thorax.common.files import write_text
from thorax.common.params import Convention
for arguments in ("--help", "predict --help", "data list", "score {mask} {mask}"):
    assert CliRunner().invoke(main, arguments).exit_code == 0
print(*sorted({{"keras", "tensorflow", "jax", "dvc", "matplotlib"}} & set(sys.modules)))
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "\n"


def test_the_version_is_that_of_the_package() -> None:
    result = thorax("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("thorax, version 0.")


def test_an_unknown_command_gives_a_suggestion() -> None:
    assert error_of("prdict", status=2) == "No such command 'prdict'. Did you mean 'predict'?"


# predict


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model with -300 HU as the threshold of tissue and 260 HU as that of bone."""
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
    save_trained(folder, network, spec)
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


def test_the_default_model_is_the_packaged_one(
    scan: Path, packaged: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a project with a model of its own."""
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "models/segmenter.onnx", "never read")
    result = thorax(*PREDICT, scan, "mask.nii")
    assert result.stdout == "mask.nii\n"
    notes = [line for line in result.stderr.splitlines() if "model" in line]
    assert notes == [
        f"Note: the model is `lungs` of thorax {version('thorax')} (SHA-256 {packaged[:12]}), a "
        "general model; --model names another"
    ]
    np.testing.assert_array_equal(voxels(tmp_path / "mask.nii"), stack_of(LABELS, np.uint8))


@pytest.mark.usefixtures("packaged")
def test_a_packaged_model_is_named_without_a_note(scan: Path, tmp_path: Path) -> None:
    result = thorax(*PREDICT, scan, tmp_path / "mask.nii", "--model", "lungs")
    assert result.exit_code == 0
    assert "general model" not in result.stderr


@pytest.fixture
def packaged(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a model the packaged one, and return the digest of its file."""
    from thorax.models.export import export_model

    path = tmp_path / "weights" / "lungs.onnx"
    export_model(model, path, licence="CC0", summary="3 cubes")
    monkeypatch.setattr("thorax.models.packaged.WEIGHTS", path.parent)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_packaged_models_are_listed(packaged: str) -> None:
    header, row = thorax("model", "list").stdout.splitlines()
    columns = ("model", "regions", "trained on", "mean Dice", "licence", "size", "SHA-256")
    assert re.split(r" {2,}", header.strip()) == list(columns)
    assert re.split(r" {2,}", row.strip()) == [
        *("lungs", "tissue, bone", "3 cubes", "not measured", "CC0", "0.0 MB"),
        packaged[:12],
    ]
    (listed,) = json.loads(thorax("model", "list", "--json").stdout)
    assert listed["sha256"] == packaged
    assert listed["regions"] == {"tissue": [1, 2], "bone": [2]}
    assert (listed["training_data"], listed["licence"]) == ("3 cubes", "CC0")


@pytest.mark.parametrize("name", [(), ("lungs",)])
def test_a_packaged_model_is_shown(packaged: str, name: tuple[str, ...]) -> None:
    shown = dict(
        line.split(maxsplit=1) for line in thorax("model", "show", *name).stdout.splitlines()
    )
    assert shown["licence"] == "CC0"
    assert shown["trained"] == "on     3 cubes"
    assert shown["SHA-256"] == packaged


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [
        pytest.param(0.03, [0, 2, 2], id="0.03: soft tissue is bone"),
        pytest.param(0.9, [0, 1, 1], id="0.9: bone is tissue only"),
        pytest.param(0.995, [0, 0, 1], id="0.995: soft tissue is background"),
    ],
)
def test_threshold_option(
    scan: Path, model: Path, tmp_path: Path, threshold: float, labels: list[int]
) -> None:
    mask = tmp_path / "mask.nii"
    thorax(*PREDICT, scan, mask, "--model", model, "--threshold", threshold)
    np.testing.assert_array_equal(voxels(mask), stack_of(np.array(labels)[LABELS], np.uint8))


def test_probabilities_are_written_next_to_the_mask(
    scan: Path, model: Path, tmp_path: Path
) -> None:
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


def test_an_existing_mask_is_kept_without_force(scan: Path, model: Path, tmp_path: Path) -> None:
    mask = tmp_path / "mask.nii.gz"
    mask.write_text("the work of a week")
    message = error_of(*PREDICT, scan, mask, "--model", model)
    assert message == f"{mask} already exists; use --force to overwrite"
    assert mask.read_text() == "the work of a week"
    assert thorax(*PREDICT, scan, mask, "--model", model, "--force").exit_code == 0
    np.testing.assert_array_equal(voxels(mask), stack_of(LABELS, np.uint8))


def test_an_existing_probability_map_is_kept(scan: Path, model: Path, tmp_path: Path) -> None:
    existing = tmp_path / "mask_bone.nii.gz"
    existing.write_text("the work of a week")
    mask = tmp_path / "mask.nii.gz"
    message = error_of(*PREDICT, scan, mask, "--model", model, "--probabilities")
    assert message == f"{existing} already exists; use --force to overwrite"
    assert not mask.exists()
    assert existing.read_text() == "the work of a week"


def test_a_scan_is_never_overwritten(scan: Path, model: Path) -> None:
    before = scan.read_bytes()
    message = error_of(*PREDICT, scan, scan, "--model", model, "--force")
    assert message == (
        f"a mask cannot replace its scan, got {scan} for both; choose another file name"
    )
    assert scan.read_bytes() == before


@pytest.fixture
def folder(scan: Path, tmp_path: Path) -> Path:
    """Return a folder with a scan and a truncated one."""
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
def test_invalid_files_are_reported_and_nothing_is_written(
    folder: Path, model: Path, scan_name: str, mask_name: str, line: str
) -> None:
    before = sorted(folder.iterdir())
    message = error_of(*PREDICT, folder / scan_name, folder / mask_name, "--model", model)
    assert message == line.format(folder)
    assert sorted(folder.iterdir()) == before


def test_a_missing_model_is_reported(scan: Path, tmp_path: Path) -> None:
    message = error_of(*PREDICT, scan, tmp_path / "mask.nii", "--model", tmp_path / "none")
    assert message == (
        f"there is no model {tmp_path}/none; train one with `dvc repro`, or name one with --model"
    )


@pytest.mark.parametrize("threshold", [0, 1, -0.5, "half"])
def test_a_threshold_must_be_between_0_and_1(threshold: object) -> None:
    message = error_of("predict", "ct.nii", "mask.nii", "--threshold", threshold, status=2)
    assert message.startswith("Invalid value for '--threshold'")


# score

CENTIMETRES = np.diag([10, 10, 10, 1])


@pytest.fixture
def masks(save_nifti: SaveNifti) -> tuple[Path, Path]:
    """Return two masks of 4×2×1 voxels of 1 mL: labels 1 and 2, and 3 in the truth only."""
    truth = [[1, 1], [1, 1], [2, 2], [3, 0]]
    predicted = [[1, 1], [0, 0], [2, 0], [2, 2]]
    return (
        save_nifti("truth.nii", np.array(truth, np.uint8)[..., None], CENTIMETRES),
        save_nifti("predicted.nii", np.array(predicted, np.uint8)[..., None], CENTIMETRES),
    )


def test_every_label_value_is_a_region_by_default(masks: tuple[Path, Path]) -> None:
    # Label 1: 2 of 4 and 2. Label 2: 1 of 2 and 3. Label 3: 0 of 1 and 0.
    title, *rows = thorax("score", *masks).stdout.splitlines()
    assert title.split()[:2] == ["case", "region"]
    assert [row.split()[:4] + row.split()[-2:] for row in rows] == [
        ["truth.nii", "label_1", "0.666667", "0.500000", "4.0", "2.0"],
        ["truth.nii", "label_2", "0.400000", "0.250000", "2.0", "3.0"],
        ["truth.nii", "label_3", "0.000000", "0.000000", "1.0", "0.0"],
    ]
    assert rows[2].split()[5] == "inf", "HD95 of a region without a prediction"


def test_regions_combine_label_values(masks: tuple[Path, Path]) -> None:
    # Lung: 4 of 7 and 5.
    regions = ("--region", "lung=1,2,3", "--region", "lesion=2")
    metrics = json.loads(thorax("score", *masks, *regions, "--json").stdout)
    names = ("dice", "iou", "truth_ml", "predicted_ml")
    assert {region: [values[name] for name in names] for region, values in metrics.items()} == {
        "lung": [0.666667, 0.5, 7.0, 5.0],
        "lesion": [0.4, 0.25, 2.0, 3.0],
    }
    assert metrics["lesion"]["truth_share"] == 0.285714


def test_the_prediction_may_have_other_label_values(masks: tuple[Path, Path]) -> None:
    """Lung is 1 to 3 in the truth, and 1 and 2 in the prediction."""
    regions = ("--region", "lung=1,2,3", "--predicted-region", "lung=1,2", "--json")
    assert json.loads(thorax("score", *masks, *regions).stdout)["lung"]["dice"] == 0.666667
    assert error_of("score", *masks, "--predicted-region", "lung=1,2").startswith(
        "--predicted-region needs --region"
    )
    message = error_of("score", *masks, "--region", "lung=1,2,3", "--predicted-region", "scar=1,2")
    assert message == (
        "--predicted-region must name the regions of --region, lung, in the same order, got scar"
    )


def test_folders_are_scored_case_by_case(save_nifti: SaveNifti, tmp_path: Path) -> None:
    for case, label in (("ann", 1), ("ben", 0)):
        save_nifti(f"t/{case}.nii.gz", np.ones((4, 4, 2), np.uint8), CENTIMETRES)
        save_nifti(f"p/{case}.nii", np.full((4, 4, 2), label, np.uint8), CENTIMETRES)
    table = tmp_path / "scores.csv"
    folders = (tmp_path / "t", tmp_path / "p")
    printed = thorax("score", *folders, "--region", "lung=1", "--csv", table).stdout
    assert [line.split()[:3] for line in printed.splitlines()[1:]] == [
        ["ann", "lung", "1.000000"], ["ben", "lung", "0.000000"],
    ]  # fmt: skip
    rows = table.read_text().splitlines()
    assert rows[0].startswith("case,site,region,dice,")
    assert [row.split(",")[:4] for row in rows[1:]] == [
        ["ann", "", "lung", "1"], ["ben", "", "lung", "0"],
    ]  # fmt: skip
    metrics = json.loads(thorax("score", *folders, "--region", "lung=1", "--json").stdout)
    assert (metrics["ben"]["lung"]["dice"], metrics["ben"]["lung"]["hd95_mm"]) == (0, "inf")


def test_a_missing_prediction_is_an_error(save_nifti: SaveNifti, tmp_path: Path) -> None:
    for path in ("t/ann.nii", "t/ben.nii", "p/ann.nii"):
        save_nifti(path, np.ones((4, 4, 2), np.uint8), CENTIMETRES)
    folders = (tmp_path / "t", tmp_path / "p")
    assert "1 of 2 true masks have no prediction" in error_of("score", *folders)
    assert thorax("score", *folders, "--allow-missing").exit_code == 0


def test_tolerance_option(save_nifti: SaveNifti) -> None:
    """The prediction lacks one slice of 10 mm."""
    truth = np.ones((4, 4, 4), np.uint8)
    short = truth.copy()
    short[..., 3] = 0
    masks = [save_nifti(f"{n}.nii", v, CENTIMETRES) for n, v in (("t", truth), ("p", short))]
    nsd = {
        tolerance: json.loads(
            thorax("score", *masks, "--region", "lung=1", *tolerance, "--json").stdout
        )["lung"]["nsd"]
        for tolerance in ((), ("--tolerance", "lung=10"))
    }
    assert nsd[()] < 1
    assert nsd["--tolerance", "lung=10"] == 1
    for wrong in ("lung", "lung=thin", "lung=-1", "lung=inf", "lung=nan", "=3"):
        message = error_of("score", *masks, "--tolerance", wrong)
        assert message == f"--tolerance must be NAME=MM, for example lung=1.5, got `{wrong}`"


def test_lesions_option(masks: tuple[Path, Path]) -> None:
    options = ("--region", "lung=1,2,3", "--region", "lesion=2", "--lesions", "lesion", "--json")
    metrics = json.loads(thorax("score", *masks, *options).stdout)
    assert (metrics["lesion"]["lesions"], metrics["lesion"]["lesions_found"]) == (1, 1)
    assert "lesions" not in metrics["lung"]


@pytest.mark.parametrize("option", [("--lesions", "leison"), ("--tolerance", "leison=2")])
def test_a_setting_of_an_unknown_region_is_rejected(
    masks: tuple[Path, Path], option: tuple[str, str]
) -> None:
    regions = ("--region", "lung=1,2,3", "--region", "lesion=2")
    assert error_of("score", *masks, *regions, *option) == (
        f"{option[0]} must name one of the regions, lung, lesion, got `leison`"
    )
    assert error_of("score", *masks, *option).endswith(
        "regions, label_1, label_2, label_3, got `leison`"
    )


def test_labels_without_a_region_are_rejected_unless_ignored(
    masks: tuple[Path, Path],
) -> None:
    message = error_of("score", *masks, "--region", "lesion=2")
    assert message.startswith("label values [1, 3] belong to no region")
    ignored = ("--ignore", 1, "--ignore", 3)
    metrics = json.loads(thorax("score", *masks, "--region", "lesion=2", *ignored, "--json").stdout)
    assert metrics["lesion"]["dice"] == pytest.approx(0.4)


def test_ignored_labels_are_no_regions_by_default(masks: tuple[Path, Path]) -> None:
    metrics = json.loads(thorax("score", *masks, "--ignore", 1, "--json").stdout)
    assert list(metrics) == ["label_2", "label_3"]


def test_a_label_may_be_ignored_in_one_mask_and_belong_to_a_region_of_the_other(
    masks: tuple[Path, Path],
) -> None:
    """Label 2 is no lung in the truth. Lung: 4 true voxels, 5 predicted, 2 in both."""
    regions = ("--region", "lung=1", "--predicted-region", "lung=1,2")
    ignored = ("--ignore", 2, "--ignore", 3)
    metrics = json.loads(thorax("score", *masks, *regions, *ignored, "--json").stdout)
    assert metrics["lung"]["dice"] == 0.444444
    assert error_of("score", *masks, *regions, "--ignore", 1, *ignored).startswith(
        "labels [1] cannot be both ignored and in a region"
    )


def test_undefined_metrics_are_null_in_json(save_nifti: SaveNifti) -> None:
    empty = save_nifti("empty.nii", np.zeros((2, 2, 2), np.uint8))
    metrics = json.loads(thorax("score", empty, empty, "--region", "lung=1", "--json").stdout)
    assert (metrics["lung"]["dice"], metrics["lung"]["truth_ml"]) == (None, 0.0)


def test_masks_on_different_grids_are_rejected(
    masks: tuple[Path, Path], save_nifti: SaveNifti
) -> None:
    shifted = CENTIMETRES + np.array([[0, 0, 0, 5]] + [[0] * 4] * 3)
    shorter = save_nifti("shorter.nii", np.zeros((4, 1, 1), np.uint8), CENTIMETRES)
    moved = save_nifti("moved.nii", np.zeros((4, 2, 1), np.uint8), shifted)
    assert "a mask must have the shape of its scan" in error_of("score", masks[0], shorter)
    assert "a mask must have the affine of its scan" in error_of("score", masks[0], moved)


@pytest.mark.parametrize("region", ["lung", "lung=", "lung=one", "=1", "lung=0", "lung=256"])
def test_an_invalid_region_is_rejected(masks: tuple[Path, Path], region: str) -> None:
    assert error_of("score", *masks, "--region", region)


def test_a_ct_is_not_a_mask(scan: Path) -> None:
    assert "label values" in error_of("score", scan, scan)


def test_the_defaults_are_those_of_params_yaml() -> None:
    """`thorax score` also runs outside a project."""
    params = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
    assert params["evaluate"] == EVALUATE


def test_the_conventions_are_those_of_params_yaml() -> None:
    assert get_args(Convention) == CONVENTIONS


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


def test_a_dataset_is_added_and_listed(study: Path, here: Path) -> None:
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
    assert thorax("data", "list").stdout.splitlines() == [
        "dataset  cases  files    regions          title",
        "ward     3      tracked  lung, infection  Ward 5",
    ]


def test_an_invalid_dataset_is_rejected(study: Path, here: Path) -> None:
    (here / ".dvc").mkdir()
    (study / "masks" / "ben-1.nii.gz").unlink()
    result = thorax("data", "add", study, "--name", "ward", "--region", "lung=1,2")
    assert result.exit_code == 1
    assert "ben-1: there is a scan, but no mask of this name; " in result.stderr
    assert not (here / "data").exists()


def test_a_damaged_dataset_is_listed_with_its_problem(here: Path) -> None:
    (here / "data/ward").mkdir(parents=True)
    (here / "data/ward/dataset.yaml").write_text("title: Ward 5\n")
    result = thorax("data", "list")
    assert result.stdout.splitlines()[1].split() == ["ward", "no", "data", "not", "tracked"]
    assert result.stderr == "Error: data/ward/dataset.yaml: key `regions` is missing\n"


@pytest.mark.usefixtures("here")
def test_a_folder_without_datasets_gives_a_note() -> None:
    result = thorax("data", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        "Note: there is no dataset under data/; run this in the folder of a project\n"
    )
