"""The Python interface: segment a file, a nibabel image, or an array with its affine."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import ArrayLike, NDArray

from thorax.common.errors import InputError
from thorax.imaging.intensity import parse_intensity
from thorax.inference.outputs import RestoredSlab, name_outputs, restore, write_outputs
from thorax.inference.segmenter import Prediction, Segmenter
from thorax.inference.segmenter import load as load_model
from thorax.inference.statistics import ScanStatistics
from thorax.io import Scan, check_name
from thorax.io.nifti import header_warnings, image_affine
from thorax.models.engines import Device, EngineName, Precision
from thorax.models.packaged import DEFAULT_MODEL, find_model
from thorax.models.spec import ExpectedDice


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The segmentation of a scan.

    Args:
        mask: Label values in the axis order of the given scan, uint8.
        affine: 4×4 matrix from mask indices to RAS+ millimetres; that of the given scan.
        statistics: Volume, density and extent of each region. `ScanStatistics.as_dict` returns the
            content of the JSON file of ``thorax predict --statistics``.
        notes: Notes on the scan and the postprocessing, and reasons to review the mask.
    """

    mask: NDArray[np.uint8]
    affine: NDArray[np.float64]
    statistics: ScanStatistics
    notes: tuple[str, ...]
    _prediction: Prediction

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Region name → volume in millilitres."""
        return self.statistics.volumes_ml

    @property
    def expected_dice(self) -> dict[str, ExpectedDice]:
        """Region name → expected Dice, for regions where the model can estimate it."""
        return self._prediction.expected_dice

    @property
    def image(self) -> Any:
        """The mask as a nibabel image."""
        return nibabel.Nifti1Image(self.mask, self.affine)

    def save(self, path: str | Path, *, preview: bool = False) -> list[Path]:
        """Write the mask, atomically.

        Args:
            path: Ends in ``.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha``; for DICOM scans also in
                ``.dcm`` (segmentation) or ``.rtss.dcm`` (structure set).
            preview: Also write a preview picture next to it.

        Returns:
            The files written.

        Raises:
            InputError: The suffix is another one, or the file cannot be written.
        """
        check_name(Path(path))
        outputs = name_outputs(Path(path), self._prediction.regions.names, preview=preview)
        write_outputs(self._prediction, outputs)
        return list(outputs.files)


class Predictor:
    """A model, or an ensemble, that is loaded once and segments many scans.

    Args:
        segmenter: The loaded model or ensemble.
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
        series: str | int | None = None,
        allow_incomplete: bool = False,
    ) -> Segmentation:
        """Segment a chest CT.

        Args:
            scan: A file or folder as for ``thorax predict``, a nibabel image, or an array of shape
                ``(I, J, K)``. Axes of length 1 after the third are dropped.
            affine: Only for an array: 4×4 matrix from indices to RAS+ millimetres.
            intensity: Meaning of the voxel values: ``auto``, ``hu``, ``hu+1024`` or ``LOW,HIGH``.
            threshold: Probability threshold for a voxel to belong to a region, above 0 and below 1;
                None: that of the model.
            series: DICOM series to read, by number or UID.
            allow_incomplete: Accept a DICOM series that lacks more than a tenth of its slices.

        Raises:
            InputError: The scan cannot be read, or is not a CT that can be segmented; or the
                threshold is not between 0 and 1.
        """
        if threshold is not None and not 0 < threshold < 1:
            raise InputError(f"`threshold` must be between 0 and 1, got {threshold:g}")
        segmenter = self._segmenter
        preprocessed = segmenter.preprocess(
            _scan(scan, affine, series=series, allow_incomplete=allow_incomplete),
            intensity=parse_intensity(intensity),
        )
        prediction = segmenter.predict(preprocessed, threshold=threshold)
        depth = prediction.grid.shape[2]
        stored, labels = prediction.scan.stored_zeros(depth, np.dtype(np.uint8))

        def keep(slab: RestoredSlab) -> None:
            labels[slab.start : slab.start + len(slab.labels), *slab.box] = slab.labels

        statistics = restore(prediction, keep)
        return Segmentation(
            np.ascontiguousarray(stored),
            np.array(prediction.scan.stored_affine),
            statistics,
            (
                *preprocessed.notes,
                *prediction.notes,
                *statistics.notes,
                *statistics.quality_warnings,
            ),
            prediction,
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
        models: Names of packaged models, files written by ``thorax export``, or folders of trained
            models; the packaged model ``lungs`` by default.
        engine: Engine that runs the models; None: OpenVINO if it is installed, otherwise ONNX
            Runtime, for a file; Keras for a folder.
        device: ``auto`` is the CPU, except that Keras uses a GPU if there is one, and then
            refuses ``cpu``.
        precision: ``float32`` forbids half precision; Keras computes in that of the network.
        tta: Test-time augmentation: also segment shifted copies, and mirrored ones if the model was
            trained with mirroring, and average.

    Raises:
        InputError: A model cannot be loaded, or the models differ in canvas, crop or regions.
    """
    loaded = [
        load_model(find_model(model), engine=engine, device=device, precision=precision)
        for model in models or (DEFAULT_MODEL,)
    ]
    return Predictor(Segmenter(loaded, tta=tta))


def _scan(
    scan: Any, affine: ArrayLike | None, *, series: str | int | None, allow_incomplete: bool
) -> Scan:
    if isinstance(scan, str | Path):
        return Scan(Path(scan), series=series, nan=math.nan, allow_incomplete=allow_incomplete)
    if isinstance(scan, nibabel.spatialimages.SpatialImage):
        return Scan.in_memory(
            np.asanyarray(scan.dataobj),
            image_affine(scan),
            name="the image",
            nan=math.nan,
            warnings=header_warnings(scan),
        )
    if affine is None:
        raise InputError("an array needs its affine: segment(voxels, affine)")
    matrix = np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise InputError(f"an affine must have shape (4, 4), got {matrix.shape}")
    return Scan.in_memory(np.asanyarray(scan), matrix, name="the array", nan=math.nan)
