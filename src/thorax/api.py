"""Segmenting from Python: a file, a nibabel image, or an array with its affine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import ArrayLike, NDArray

from thorax.common.errors import InputError
from thorax.imaging.intensity import LOWEST_HU, parse_intensity
from thorax.inference.measurements import RegionMeasurements, volumes_ml
from thorax.inference.outputs import outputs_of, restored_slabs, write_outputs
from thorax.inference.segmenter import Prediction, Segmenter
from thorax.inference.segmenter import load as load_model
from thorax.io import Scan, check_name
from thorax.models.engines import Device, EngineName, Precision
from thorax.models.spec import ExpectedDice


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What was found in a scan.

    Args:
        mask: Label values in the axis order of the scan as it was given, uint8.
        affine: From the indices of the mask to RAS+ millimetres; that of the scan.
        statistics: Volumes and the like, as in the JSON of ``thorax predict --statistics``.
        notes: What to know of the scan, and why to look at the mask.
    """

    mask: NDArray[np.uint8]
    affine: NDArray[np.float64]
    statistics: dict[str, Any]
    notes: tuple[str, ...]
    _found: Prediction

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Volume of each region in millilitres."""
        return volumes_ml(self.statistics)

    @property
    def expected_dice(self) -> dict[str, ExpectedDice]:
        """The Dice to expect of each region, where the model knows it of held-out cases."""
        return self._found.expected_dice

    @property
    def image(self) -> Any:
        """The mask as a nibabel image."""
        return nibabel.Nifti1Image(self.mask, self.affine)

    def save(self, path: str | Path, *, preview: bool = False) -> list[Path]:
        """Write the mask, whole or not at all.

        Args:
            path: Ends in ``.nii.gz``, ``.nii``, ``.nrrd``, ``.mha``, or ``.dcm`` for DICOM scans.
            preview: Also draw a picture beside it.

        Returns:
            The files written.

        Raises:
            InputError: The name ends otherwise, or the folder cannot be written.
        """
        check_name(Path(path))
        outputs = outputs_of(Path(path), self._found.regions.names, preview=preview)
        write_outputs(self._found, outputs)
        return list(outputs.files)


class Predictor:
    """A model that is loaded once and segments many scans.

    Args:
        segmenter: One model, or several.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self.spec = segmenter.spec

    def segment(
        self,
        scan: str | Path | Any,
        affine: ArrayLike | None = None,
        *,
        intensity: str = "auto",
        threshold: float | None = None,
    ) -> Segmentation:
        """Segment a chest CT.

        Args:
            scan: A file or folder as for ``thorax predict``, a nibabel image, or an array of shape
                ``(I, J, K)`` beside its affine.
            affine: Of an array: 4×4 matrix from indices to RAS+ millimetres.
            intensity: What voxel values mean: ``auto``, ``hu``, ``hu+1024`` or ``LOW,HIGH``.
            threshold: Instead of the model's own.

        Raises:
            InputError: The scan cannot be read, or is none that can be segmented.
        """
        segmenter = self._segmenter
        opened = segmenter.open(_scan(scan, affine), domain=parse_intensity(intensity))
        found = segmenter.find(opened, threshold=threshold)
        shown = opened.held.scan
        labels = np.empty(shown.grid.shape, dtype=np.uint8)
        volumes = RegionMeasurements(segmenter.regions.names, shown.grid)
        for slab in restored_slabs(found):
            planes = segmenter.regions.merge(slab.masks)
            labels[:, :, slab.start : slab.start + len(planes)] = np.moveaxis(planes, 0, 2)
            volumes.add(slab.start, slab.hu, slab.masks, slab.sides)
        statistics = found.statistics(volumes)
        return Segmentation(
            np.ascontiguousarray(shown.to_stored(labels)),
            np.array(shown.stored.affine, dtype=np.float64),
            statistics,
            (*opened.notes, *found.notes, *found.warnings(statistics)),
            found,
        )


def load(
    *models: str | Path,
    engine: EngineName | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    tta: bool = False,
) -> Predictor:
    """Load a model, or several that make an ensemble.

    Args:
        models: Files that ``thorax export`` wrote, or folders that training left.
        engine: What runs them. Unless given: OpenVINO for a file, Keras for a folder.
        device: What it runs on.
        precision: ``float32`` forbids half precision.
        tta: Also segment shifted variants, and mirrored ones if the model was trained so, and
            take the mean.

    Raises:
        InputError: A model cannot be loaded, or they do not go together.
    """
    if not models:
        raise InputError("there must be a model to load, such as models/segmenter.onnx")
    loaded: Sequence[Any] = [
        load_model(Path(path), engine=engine, device=device, precision=precision) for path in models
    ]
    return Predictor(Segmenter(loaded, tta=tta))


def _scan(scan: Any, affine: ArrayLike | None) -> Scan:
    if isinstance(scan, str | Path):
        return Scan(Path(scan), nan=LOWEST_HU)
    if isinstance(scan, nibabel.spatialimages.SpatialImage):
        return Scan.in_memory(
            np.asanyarray(scan.dataobj), scan.affine, name="the image", nan=LOWEST_HU
        )
    if affine is None:
        raise InputError("an array needs its affine: segment(voxels, affine)")
    matrix = np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise InputError(f"an affine must have shape (4, 4), got {matrix.shape}")
    return Scan.in_memory(np.asanyarray(scan), matrix, name="the array", nan=LOWEST_HU)
