"""A batch of valid and broken scans: each broken scan has an error, each valid one a mask."""

import csv
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

from thorax.io import write_volume
from thorax.phantom import chest

from ..io.conftest import one_slice
from ..learning import save_dark_model

pytestmark = pytest.mark.slow

GOOD = 3
Break = Callable[[Path, np.ndarray, np.ndarray], object]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model whose lung is everything below -500 HU."""
    return save_dark_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def patient() -> tuple[np.ndarray, np.ndarray]:
    """Return a synthetic chest and its affine."""
    scan = chest(0, seed=0).scan
    return scan.voxels.astype(np.int16), scan.grid.affine


def save(path: Path, voxels: Any, affine: Any) -> None:
    """Write an image that `write_volume` rejects."""
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def cut(path: Path, share: float) -> None:
    """Truncate a file."""
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def broken_gzip(damage: Callable[[Path], object]) -> Break:
    def write(path: Path, hu: np.ndarray, affine: np.ndarray) -> None:
        write_volume(path, hu, affine)
        damage(path)

    return write


def changed(change: Callable[[np.ndarray], np.ndarray]) -> Break:
    """Return a writer of a complete file with changed voxels."""
    return lambda path, hu, affine: save(path, change(hu.astype(np.float32)), affine)


def affine_of(damaged: Any) -> Break:
    def write(path: Path, hu: np.ndarray, affine: np.ndarray) -> None:
        image = nibabel.Nifti1Image(hu, affine)
        image.set_sform(damaged, code=1)
        image.set_qform(None, code=0)
        nibabel.save(image, path)

    return write


def colours(path: Path, hu: np.ndarray, affine: np.ndarray) -> None:
    rgb = np.zeros(hu.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    save(path, rgb, affine)


def dicom(**tags: Any) -> Break:
    """Return a writer of a series with the same fault in all slices."""

    def write(path: Path, hu: np.ndarray, affine: np.ndarray) -> None:
        path.mkdir()
        for z in range(4):
            slice_ = one_slice(np.full((8, 8), z, np.uint16), (0, 0, 2.5 * z), **tags)
            slice_.save_as(path / f"{z}.dcm", enforce_file_format=True)

    return write


def zipped(name: str) -> Break:
    def write(path: Path, hu: np.ndarray, affine: np.ndarray) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"nothing of the kind")

    return write


def without_voxels(path: Path, hu: np.ndarray, affine: np.ndarray) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(hu), str(path))
    path.with_suffix(".raw").unlink()


def cut_nrrd(path: Path, hu: np.ndarray, affine: np.ndarray) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(hu), str(path))
    cut(path, 0.5)


NOISE = np.random.default_rng(0)
BROKEN: dict[str, tuple[Break, str]] = {
    "empty.nii.gz": (lambda path, hu, affine: path.touch(), "is not a NIfTI image|cut short"),
    "short.nii.gz": (broken_gzip(lambda path: cut(path, 0.6)), "is cut short or damaged"),
    "header.nii.gz": (broken_gzip(lambda path: cut(path, 0.0005)), "cut short|not a NIfTI"),
    "bit.nii.gz": (broken_gzip(flip), "is cut short or damaged"),
    "text.nii.gz": (
        lambda path, hu, affine: path.write_text("404: not found"),
        "is not a NIfTI image",
    ),
    "plain.nii": (broken_gzip(lambda path: cut(path, 0.9)), "cut short|cannot be read"),
    "four.nii.gz": (changed(lambda hu: np.stack([hu, hu], -1)), "a scan must be 3D"),
    "flat.nii.gz": (changed(lambda hu: hu[..., 0]), "a scan must be 3D"),
    "colours.nii.gz": (colours, "must have one number per voxel"),
    "complex.nii.gz": (
        changed(lambda hu: hu.astype(np.complex64)),
        "must have one number per voxel",
    ),
    "nowhere.nii.gz": (affine_of(np.diag([1, 1, 0, 1])), "must state the position of its voxels"),
    "labels.nii.gz": (changed(lambda hu: (hu > -500).astype(np.float32)), "looks like a mask"),
    "constant.nii.gz": (changed(lambda hu: np.full_like(hu, 7)), "all its voxels are 7"),
    "static.nii.gz": (
        changed(lambda hu: NOISE.normal(500, 200, hu.shape).astype(np.float32)),
        "as in noise",
    ),
    "scores.nii.gz": (changed(lambda hu: (hu - hu.mean()) / hu.std()), "must be in HU"),
    "window.nii.gz": (changed(lambda hu: np.clip(hu, -160, 240)), "must show the lungs"),
    "no_position": (dicom(ImagePositionPatient=None), "position|placed"),
    "same_place": (dicom(ImagePositionPatient=[0, 0, 0]), "same|one position|apart"),
    "slip.zip": (zipped("../../outside.dcm"), "zip"),
    "other.zip": (zipped("notes.txt"), "DICOM|zip"),
    "cut.nrrd": (cut_nrrd, "cut short or damaged"),
    "gone.mhd": (without_voxels, "the file of its voxels is missing"),
}


@pytest.fixture
def scans(tmp_path: Path, patient: tuple[np.ndarray, np.ndarray]) -> Path:
    """Return a folder of valid and broken scans."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(GOOD):
        write_volume(folder / f"good_{number}.nii.gz", patient[0], patient[1])
    for name, (write, _) in BROKEN.items():
        write(folder / name, *patient)
    return folder


def predict(scans: Path, masks: Path, model: Path) -> list[str]:
    command = [sys.executable, "-m", "thorax.cli", "predict", str(scans), str(masks)]
    return [*command, "--model", str(model)]


def test_every_broken_scan_has_an_error_and_every_valid_one_a_mask(
    scans: Path, model: Path, tmp_path: Path
) -> None:
    masks = tmp_path / "masks"
    result = subprocess.run(
        predict(scans, masks, model), capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert sorted(result.stdout.splitlines()) == [
        f"{masks}/good_{number}.nii.gz" for number in range(GOOD)
    ]
    assert f"{GOOD} done, {len(BROKEN)} failed" in result.stderr
    assert "Traceback" not in result.stderr
    with (masks / "manifest.csv").open() as stream:
        rows = {Path(row["scan"]).name: row for row in csv.DictReader(stream)}
    assert set(rows) == {*BROKEN, *(f"good_{number}.nii.gz" for number in range(GOOD))}
    for name, (_, message) in BROKEN.items():
        assert rows[name]["status"] == "failed", name
        assert _matches(message, rows[name]["error"]), (name, rows[name]["error"])
        assert "\n" not in rows[name]["error"]
    names = sorted(path.name for path in masks.iterdir())
    assert names == sorted(
        [
            "manifest.csv",
            "manifest.json",
            "timings.csv",
            *(f"good_{number}.nii.gz" for number in range(GOOD)),
        ]
    )


def _matches(alternatives: str, error: str) -> bool:
    return any(part in error for part in alternatives.split("|"))


def test_a_killed_batch_resumes(
    model: Path, tmp_path: Path, patient: tuple[np.ndarray, np.ndarray]
) -> None:
    """SIGKILL after two masks; the same command segments only the other scans."""
    scans, masks = tmp_path / "scans", tmp_path / "masks"
    scans.mkdir()
    for number in range(6):
        write_volume(scans / f"{number}.nii.gz", *patient)
    with subprocess.Popen(
        predict(scans, masks, model), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        while len(list(masks.glob("[0-9].nii.gz"))) < 2 and running.poll() is None:
            time.sleep(0.005)
        os.kill(running.pid, signal.SIGKILL)
    before = {path: path.stat().st_mtime_ns for path in masks.glob("[0-9].nii.gz")}
    assert 2 <= len(before) < 6
    again = subprocess.run(predict(scans, masks, model), capture_output=True, text=True, check=True)
    assert "6 done, 0 failed" in again.stderr
    kept = [path for path in before if path.stat().st_mtime_ns == before[path]]
    assert len(kept) >= len(before) - 1
    masks_after = [
        np.asarray(nibabel.load(masks / f"{number}.nii.gz").dataobj) for number in range(6)
    ]
    assert masks_after[0].any()
    assert all(np.array_equal(masks_after[0], mask) for mask in masks_after)
    assert not list(masks.glob(".part*"))
