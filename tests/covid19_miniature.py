"""A miniature of the COVID-19 CT Lung and Infection Segmentation Dataset: 20 tiny phantoms.

Names, folders, labels, intensities and the flat zip files are those of the published dataset.
"""

import gzip
import hashlib
import io
import zipfile
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from thorax.datasets.published_folds import COVID19_FOLDS
from thorax.phantom import chest

CASES = sorted(case for fold in COVID19_FOLDS for case in fold)

ARCHIVES = {"scans": "COVID-19-CT-Seg_20cases.zip", "masks": "Lung_and_Infection_Mask.zip"}

STEP = np.array([3, 3, 2])
"""One voxel of so many is kept along each axis."""


def write_miniature(folder: Path) -> dict[str, str]:
    """Write both archives to a folder; return the SHA-256 digest of each by its part."""
    pairs = [_case(number, case) for number, case in enumerate(CASES)]
    folder.mkdir(parents=True, exist_ok=True)
    digests = {}
    for part, files in zip(ARCHIVES, zip(*pairs, strict=True), strict=True):
        path = folder / ARCHIVES[part]
        with zipfile.ZipFile(path, "w") as archive:
            for case, content in zip(CASES, files, strict=True):
                archive.writestr(f"{case}.nii.gz", content)
        digests[part] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


def _case(number: int, case: str) -> tuple[bytes, bytes]:
    """Return the files of a scan and of its mask."""
    synthetic = chest(number, seed=0)
    affine = synthetic.scan.grid.affine @ np.diag([*STEP, 1])
    keep = tuple(slice(None, None, step) for step in STEP)
    scan, mask = synthetic.scan.voxels[keep], synthetic.mask.voxels[keep]
    if case.startswith("radiopaedia"):
        scan = _windowed(scan)
    return _nifti(scan, affine), _nifti(mask, affine)


def _windowed(hu: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Map -1250..250 HU to 0..255."""
    return np.rint((np.clip(hu, -1250, 250) + 1250.0) * 255 / 1500).astype(np.uint8)


def _nifti(voxels: NDArray[np.generic], affine: NDArray[np.float64]) -> bytes:
    image = nibabel.Nifti1Image(voxels, affine)
    content = io.BytesIO()
    with gzip.GzipFile(fileobj=content, mode="wb", mtime=0) as stream:
        stream.write(image.to_bytes())
    return content.getvalue()
