"""Commands that need neither the packages of `thorax[train]` nor modules of Unix."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from thorax.models.export import export_model
from thorax.models.keras_file import save_trained
from thorax.models.spec import ModelSpec

from ..learning import pointwise

SaveNifti = Callable[..., Path]

EXTRA = (
    *(
        "albumentations",
        "cv2",
        "dask",
        "dask_jobqueue",
        "distributed",
        "dvc",
        "dvclive",
        "google_crc32c",
        "h5py",
        "keras",
    ),
    *("jax", "keras_hub", "openvino", "pooch", "SimpleITK", "skimage", "tensorflow"),
)
UNIX = ("crypt", "fcntl", "grp", "nis", "pwd", "spwd", "syslog", "termios", "tty")
"""Without `resource`, which psutil imports on Linux."""

BLOCK = f"""
import atexit, sys
sys.modules.update(dict.fromkeys({EXTRA + UNIX}))
atexit.register(lambda: print("loaded:", *sorted(
    name for name in {EXTRA + UNIX} if sys.modules.get(name)), file=sys.stderr))
"""
SCORES = "case,region,dice\na,lung,0.9\nb,lung,0.8\nc,lung,0.7\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_trained(
        folder / "trained",
        pointwise([[80]], [-20], canvas=8),
        ModelSpec(8, "none", 0, (0, 1000), {"lung": (1,)}),
    )
    export_model(folder / "trained", folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture
def place(tmp_path: Path, study: Path, model: Path, save_nifti: SaveNifti) -> Path:
    """Return a folder with files for all commands, and with modules that cannot be imported."""
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked/sitecustomize.py").write_text(BLOCK)
    (tmp_path / "model.onnx").symlink_to(model)
    (tmp_path / "other.csv").write_text(SCORES)
    (tmp_path / "scores.csv").write_text(SCORES)
    scan = np.full((8, 8, 4), -1000, np.int16)
    scan[2:6, 2:6] = 500
    save_nifti("ct.nii.gz", scan)
    save_nifti("mask.nii.gz", (scan == 500).astype(np.uint8))
    return study.parent


def run(place: Path, command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "thorax.cli", *command.split()],
        cwd=place,
        env=os.environ | {"PYTHONPATH": f"{place}/blocked:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("predict ct.nii.gz new.nii.gz --model model.onnx --intensity hu --preview", "new.png"),
        ("predict ct.nii.gz new.mha --model model.onnx --intensity hu --statistics", "new.json"),
        ("predict . masks --model model.onnx --intensity hu --force", "masks/ct.nii.gz"),
        ("score mask.nii.gz mask.nii.gz", "Dice"),
        ("compare scores.csv other.csv", "lung"),
        ("view ct.nii.gz mask.nii.gz --output page.html", ""),
        ("data check chests --output audit.html", "anna-1"),
        ("model show model.onnx", "1 slices of 8×8, 0..1000 HU"),
        ("--help", "Segment the lungs"),
    ],
)
def test_commands_need_neither_training_packages_nor_unix(
    place: Path, command: str, expected: str
) -> None:
    answer = run(place, command)
    assert answer.stderr.splitlines()[-1] == "loaded:"
    assert "Traceback" not in answer.stderr, answer.stderr
    assert expected in answer.stdout


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("cross-validate", "`thorax cross-validate` needs dvc, keras, tensorflow, which are"),
        ("sweep -S loss=bce,dice", "`thorax sweep` needs dvc, keras, tensorflow, which are"),
        (
            "benchmark covid19",
            "`thorax benchmark` needs dvc, pooch, keras, tensorflow, which are",
        ),
        ("export new.onnx", "`thorax export` needs keras, tensorflow, which are"),
        ("data download covid19", "`thorax data download` needs dvc, pooch, which are"),
        ("data add chests --name a --region lung=1", "`thorax data add` needs dvc, which is"),
    ],
)
def test_other_commands_name_the_remedy(place: Path, command: str, line: str) -> None:
    answer = run(place, command)
    assert answer.returncode == 1
    error = f"Error: {line} not installed; run `pip install 'thorax[train]'`"
    assert answer.stderr.splitlines() == [error, "loaded:"]


def test_a_cluster_names_the_remedy(place: Path) -> None:
    answer = run(place, "predict . masks --model model.onnx --cluster tcp://127.0.0.1:8786")
    assert answer.stderr.splitlines() == [
        "Error: `--cluster` needs dask, distributed, which are not installed; run `pip install "
        "'thorax[cluster]'`",
        "loaded:",
    ]


def test_engines_name_the_remedy(place: Path, model: Path) -> None:
    predict = "predict ct.nii.gz new.nii.gz --intensity hu"
    folder = run(place, f"{predict} --model {model.parent}/trained")
    assert folder.stderr.splitlines()[0] == (
        "Error: a Keras model needs keras, tensorflow, which are not installed; run `pip install "
        "'thorax[train]'`"
    )
    engine = run(place, f"{predict} --model {model} --engine openvino")
    assert engine.stderr.splitlines()[0] == (
        "Error: --engine openvino needs openvino, which is not installed; run `pip install "
        "'thorax[openvino]'`"
    )
