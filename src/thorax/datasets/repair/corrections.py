"""Safe corrections of a file: one pure function per problem.

Each takes a stored volume and returns the corrected volume with its `Step`, or the same volume and
None. HU values and the positions of mask voxels in the patient stay the same. Problems that need
more information than the two files are left alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.datasets.audit.mask_fit import border_contrast
from thorax.imaging.body import coarse_step
from thorax.imaging.grid import Grid, make_volume
from thorax.imaging.intensity import LOWEST_HU, IntensityScale
from thorax.imaging.intensity_detection import NO_HU, DetectedIntensity, detect_intensity_of_scan
from thorax.imaging.regions import whole_labels
from thorax.io.stored_image import ImageArray

ROUNDED = 0.25
"""Largest offset of a mask from its scan, in voxels: each mask voxel is then still nearest to the
corresponding scan voxel."""

CHEST_MM = (50.0, 2500.0)
"""Plausible length of the longest side of a scan."""

SPACING_MM = (0.1, 20.0)
"""Plausible spacing of a chest CT."""

FITTING = 0.75
"""Smallest ratio of the border contrast of a mask to that of its best mirror image."""


@dataclass(frozen=True)
class Step:
    """One correction.

    Args:
        property: The corrected property.
        before: Its value before.
        after: Its value after.
    """

    property: str
    before: str
    after: str


Corrected = tuple[ImageArray, Step | None]

Correct = Callable[[ImageArray], Corrected]


def apply_corrections(
    stored: ImageArray, corrections: Iterable[Correct]
) -> tuple[ImageArray, list[Step]]:
    """Apply corrections in order."""
    steps = []
    for correct in corrections:
        stored, step = correct(stored)
        if step:
            steps.append(step)
    return stored, steps


def to_millimetres(stored: ImageArray) -> Corrected:
    """Convert metres to millimetres if only then the scan has the size of a chest.

    Example:
        >>> tiny = ImageArray(np.zeros((512, 512, 60)), np.diag([0.0007, 0.0007, 0.005, 1]))
        >>> to_millimetres(tiny)[1].after
        '0.7×0.7×5 mm'
    """
    spacing = np.linalg.norm(stored.affine[:3, :3], axis=0)
    if _is_chest(spacing, stored.shape) or not _is_chest(spacing * 1000, stored.shape):
        return stored, None
    affine = np.diag([1000.0, 1000.0, 1000.0, 1.0]) @ stored.affine
    step = Step("spacing in metres", _spacing(spacing), _spacing(spacing * 1000))
    return ImageArray(stored.voxels, affine), step


def detect_scale(stored: ImageArray) -> DetectedIntensity | None:
    """Detect the intensity scale of a scan, ignoring NaN; None if detection fails."""
    try:
        return detect_intensity_of_scan(_coarse(stored))
    except InputError:
        return None


def remove_offset(scale: IntensityScale) -> Correct:
    """Subtract the offset of a scale, so that the values are HU."""

    def correction(stored: ImageArray) -> Corrected:
        if not scale.offset_hu:
            return stored, None
        voxels = compact(scale.to_hu(stored.voxels))
        before = f"HU {'+' if scale.offset_hu > 0 else '-'} {abs(scale.offset_hu)}"
        return ImageArray(voxels, stored.affine), Step("intensity", before, "HU")

    return correction


def fill_undefined(scale: IntensityScale) -> Correct:
    """Replace NaN and infinite voxels of a scan by air, -1024 HU; not in 8-bit exports."""

    def correction(stored: ImageArray) -> Corrected:
        if scale.window_hu or stored.dtype.kind != "f":
            return stored, None
        finite = np.isfinite(stored.voxels)
        if finite.all():
            return stored, None
        air = stored.dtype.type(LOWEST_HU + scale.offset_hu)
        voxels = compact(np.where(finite, stored.voxels, air))
        before = f"{(~finite).sum()} NaN or infinite"
        step = Step("undefined voxels", before, f"{LOWEST_HU} HU")
        return ImageArray(voxels, stored.affine), step

    return correction


def raise_padding(scale: IntensityScale) -> Correct:
    """Raise padding to -1024 HU, the lowest HU in practice; not in 8-bit exports."""

    def correction(stored: ImageArray) -> Corrected:
        lowest_hu = float(stored.voxels.min()) - scale.offset_hu
        if scale.window_hu or not lowest_hu < NO_HU:
            return stored, None
        air = stored.dtype.type(LOWEST_HU + scale.offset_hu)
        step = Step("padding", f"{lowest_hu:g} HU", f"{LOWEST_HU} HU")
        return ImageArray(compact(np.maximum(stored.voxels, air)), stored.affine), step

    return correction


def to_integer_labels(stored: ImageArray) -> Corrected:
    """Store labels as integers if the type is floating-point but all values are whole.

    Values are whole as in `whole_labels`.

    Example:
        >>> to_integer_labels(ImageArray(np.ones((2, 2, 2), np.float32), np.eye(4)))[0].dtype
        dtype('uint8')
        >>> to_integer_labels(ImageArray(np.full((2, 2, 2), 0.5), np.eye(4)))[1] is None
        True
    """
    voxels = stored.voxels
    if voxels.dtype.kind != "f" or not np.isfinite(voxels).all():
        return stored, None
    try:
        labels = whole_labels(voxels)
    except InputError:
        return stored, None
    return ImageArray(labels, stored.affine), Step("type", str(voxels.dtype), "uint8")


def align_with(scan: ImageArray) -> Correct:
    """Put a mask on the grid of its scan if each of its voxels has a corresponding one there.

    This is so if only the order or direction of the stored axes differs, or if the positions
    differ by less than `ROUNDED` of a voxel.
    """

    def correction(mask: ImageArray) -> Corrected:
        if not (usable(mask) and usable(scan)):
            return mask, None
        mask_to_scan = np.linalg.inv(scan.affine) @ mask.affine
        axes = orientations.io_orientation(mask_to_scan)
        voxels = orientations.apply_orientation(mask.voxels, axes)
        affine = mask.affine @ orientations.inv_ornt_aff(axes, mask.shape)
        if voxels.shape != scan.shape or _offset(scan.affine, affine, scan.shape) > ROUNDED:
            return mask, None
        aligned = ImageArray(np.ascontiguousarray(voxels), scan.affine)
        if not np.array_equal(axes, _SAME_AXES):
            return aligned, Step("order of the axes", _axes(mask), _axes(scan))
        if _grid(mask).matches(_grid(scan)):
            return mask, None
        offset_mm = np.abs((mask.affine - scan.affine) @ _corners(scan.shape))[:3].max()
        return aligned, Step("affine", f"up to {offset_mm:.2g} mm off", _THAT_OF_SCAN)

    return correction


def copy_affine(scan: ImageArray, lungs: Iterable[int], *, oriented: bool) -> Correct:
    """Give a mask without an affine that of its scan, if both have the same shape.

    The mask is left alone if a mirror image of it fits the scan much better, because its voxels
    were flipped then.

    Args:
        scan: The scan.
        lungs: Label values of the lungs.
        oriented: False if the file of the mask has no orientation.
    """
    lung_values = list(lungs)

    def correction(mask: ImageArray) -> Corrected:
        missing = not oriented or np.allclose(mask.affine, np.eye(4))
        if not missing or mask.shape != scan.shape or not usable(scan):
            return mask, None
        if usable(mask) and _grid(mask).matches(_grid(scan)):
            return mask, None
        placed = ImageArray(mask.voxels, scan.affine)
        if not _fits(scan, placed, lung_values):
            return mask, None
        before = "none" if not oriented else "identity"
        return placed, Step("affine", before, _THAT_OF_SCAN)

    return correction


def usable(stored: ImageArray) -> bool:
    """Check that a volume is 3D and has an invertible affine."""
    matrix = stored.affine[:3, :3]
    finite = np.isfinite(stored.affine).all()
    return len(stored.shape) == 3 and bool(finite) and abs(np.linalg.det(matrix)) > 0


def compact(voxels: NDArray[Any]) -> NDArray[Any]:
    """Convert values to the smallest type for HU that stores them exactly.

    Example:
        >>> [compact(np.array(values)).dtype.name for values in ([-1000.0], [0.5], [0.1])]
        ['int16', 'float32', 'float64']
    """
    for dtype in (np.int16, np.float32):
        with np.errstate(invalid="ignore", over="ignore"):
            small = voxels.astype(dtype)
        if (small == voxels).all():
            return small
    return voxels


def storable(voxels: NDArray[Any]) -> NDArray[Any]:
    """Convert integers of 64 bits, which few programs read from NIfTI, to a type that they read.

    Example:
        >>> [storable(np.array([value])).dtype.name for value in (3, 2**40)]
        ['int32', 'float64']
    """
    if voxels.dtype.kind not in "iu" or voxels.dtype.itemsize < 8:
        return voxels
    limits = np.iinfo(np.int32)
    fits = limits.min <= voxels.min() and voxels.max() <= limits.max
    return voxels.astype(np.int32 if fits else np.float64)


_SAME_AXES = np.array([[0, 1], [1, 1], [2, 1]])

_THAT_OF_SCAN = "that of the scan"


def _coarse(stored: ImageArray) -> NDArray[Any]:
    """Canonical planes with a few of their voxels, shape ``(N, X', Y')``."""
    voxels = stored.voxels
    if usable(stored):
        axes = orientations.io_orientation(stored.affine)
        voxels = orientations.apply_orientation(voxels, axes)
    planes = np.moveaxis(voxels, 2, 0)
    step = coarse_step((planes.shape[1], planes.shape[2]))
    return planes[:, ::step, ::step]


def _fits(scan: ImageArray, mask: ImageArray, lungs: list[int]) -> bool:
    contrasts = np.abs(border_contrast(_coarse(scan), np.isin(_coarse(mask), lungs)))
    return not contrasts.size or bool(contrasts[0] >= FITTING * contrasts.max())


def _is_chest(spacing_mm: NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    longest_mm = (spacing_mm * shape[:3]).max()
    return bool(
        (spacing_mm >= SPACING_MM[0]).all()
        and (spacing_mm <= SPACING_MM[1]).all()
        and CHEST_MM[0] <= longest_mm <= CHEST_MM[1]
    )


def _corners(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Homogeneous indices of the corner voxels, shape ``(4, 8)``."""
    corners = np.indices((2, 2, 2)).reshape(3, -1) * (np.array(shape)[:, None] - 1)
    return np.vstack([corners, np.ones(8)])


def _offset(
    affine: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, ...]
) -> float:
    """Largest offset of corresponding corner voxels along any axis, in voxels."""
    corners = _corners(shape)
    return float(np.abs(np.linalg.inv(affine) @ other @ corners - corners).max())


def _grid(stored: ImageArray) -> Grid:
    return make_volume(stored.voxels, stored.affine).grid


def _axes(stored: ImageArray) -> str:
    return "".join(orientations.aff2axcodes(stored.affine))


def _spacing(spacing_mm: NDArray[np.float64]) -> str:
    return "×".join(f"{step:.4g}" for step in spacing_mm) + " mm"
