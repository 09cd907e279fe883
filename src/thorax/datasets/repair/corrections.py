"""What can be put right in a file without a guess: one pure function a fault.

Each takes a volume as its file stores it, and returns it corrected together with the `Step` that
was taken, or as it is and None. HU stay the same HU, and a voxel of a mask stays in the same place
of the patient; what could not be told from the files alone is left.
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
from thorax.imaging.grid import Grid, volume
from thorax.imaging.intensity import LOWEST_HU, IntensityScale
from thorax.imaging.intensity_detection import NO_HU, DetectedIntensity, detect_intensity_of_scan
from thorax.imaging.regions import MOST_LABELS
from thorax.io.stored_image import ImageArray

ROUNDED = 0.25
"""Voxels that a mask may lie beside its scan: every voxel of it is then nearest to its own twin."""

CHEST_MM = (50.0, 2500.0)
"""What the longest side of a scan may measure."""

SPACING_MM = (0.1, 20.0)
"""What a voxel of a chest CT may measure."""

FITTING = 0.75
"""How sharp the border of a mask is on its scan, at least, against the sharpest mirror image."""


@dataclass(frozen=True)
class Step:
    """One thing that was put right.

    Args:
        what: What was wrong.
        before: As it was.
        after: As it is now.
    """

    what: str
    before: str
    after: str


Corrected = tuple[ImageArray, Step | None]

CorrectFunction = Callable[[ImageArray], Corrected]


def correct(
    stored: ImageArray, corrections: Iterable[CorrectFunction]
) -> tuple[ImageArray, list[Step]]:
    """Apply corrections one after the other."""
    taken = []
    for correction in corrections:
        stored, step = correction(stored)
        if step:
            taken.append(step)
    return stored, taken


def without_fourth_axis(stored: ImageArray) -> Corrected:
    """Take off axes of one voxel behind the third.

    Example:
        >>> whole, step = without_fourth_axis(ImageArray(np.zeros((5, 4, 3, 1)), np.eye(4)))
        >>> whole.shape, step.before
        ((5, 4, 3), '5×4×3×1 voxels')
    """
    shape = stored.shape
    if len(shape) <= 3 or any(size != 1 for size in shape[3:]):
        return stored, None
    voxels = stored.voxels.reshape(shape[:3])
    return ImageArray(voxels, stored.affine), Step(
        "axes without extent", f"{_sizes(shape)} voxels", f"{_sizes(shape[:3])} voxels"
    )


def in_millimetres(stored: ImageArray) -> Corrected:
    """Turn metres into millimetres, where only that makes a chest of the scan.

    Example:
        >>> tiny = ImageArray(np.zeros((512, 512, 60)), np.diag([0.0007, 0.0007, 0.005, 1]))
        >>> in_millimetres(tiny)[1].after
        '0.7×0.7×5 mm'
    """
    spacing = np.linalg.norm(stored.affine[:3, :3], axis=0)
    if _is_chest(spacing, stored.shape) or not _is_chest(spacing * 1000, stored.shape):
        return stored, None
    affine = np.diag([1000.0, 1000.0, 1000.0, 1.0]) @ stored.affine
    step = Step("spacing in metres", _spacing(spacing), _spacing(spacing * 1000))
    return ImageArray(stored.voxels, affine), step


def recognised(stored: ImageArray) -> DetectedIntensity | None:
    """What the values of a scan mean, NaN left out; None where that cannot be told."""
    try:
        return detect_intensity_of_scan(_coarse(stored))
    except InputError:
        return None


def offset_removed(domain: IntensityScale) -> CorrectFunction:
    """Take the offset of a domain off the values, so that they are HU."""

    def correction(stored: ImageArray) -> Corrected:
        if not domain.offset_hu:
            return stored, None
        voxels = compact(domain.to_hu(stored.voxels))
        before = f"HU {'+' if domain.offset_hu > 0 else '-'} {abs(domain.offset_hu)}"
        return ImageArray(voxels, stored.affine), Step("intensity", before, "HU")

    return correction


def nan_filled(domain: IntensityScale) -> CorrectFunction:
    """Put air, -1024 HU, where voxels of a scan are NaN or infinite; not in 8-bit exports."""

    def correction(stored: ImageArray) -> Corrected:
        if domain.window_hu or stored.dtype.kind != "f":
            return stored, None
        finite = np.isfinite(stored.voxels)
        if finite.all():
            return stored, None
        air = stored.dtype.type(LOWEST_HU + domain.offset_hu)
        voxels = compact(np.where(finite, stored.voxels, air))
        before = f"{(~finite).sum()} NaN or infinite"
        step = Step("voxels without a value", before, f"{LOWEST_HU} HU")
        return ImageArray(voxels, stored.affine), step

    return correction


def padding_raised(domain: IntensityScale) -> CorrectFunction:
    """Raise padding to -1024 HU, which is as low as HU go in practice; not in 8-bit exports."""

    def correction(stored: ImageArray) -> Corrected:
        lowest_hu = float(stored.voxels.min()) - domain.offset_hu
        if domain.window_hu or not lowest_hu < NO_HU:
            return stored, None
        air = stored.dtype.type(LOWEST_HU + domain.offset_hu)
        step = Step("padding", f"{lowest_hu:g} HU", f"{LOWEST_HU} HU")
        return ImageArray(compact(np.maximum(stored.voxels, air)), stored.affine), step

    return correction


def labels_whole(stored: ImageArray) -> Corrected:
    """Store labels as whole numbers, where fractions could be stored but there are none.

    Example:
        >>> labels_whole(ImageArray(np.ones((2, 2, 2), np.float32), np.eye(4)))[0].dtype
        dtype('uint8')
        >>> labels_whole(ImageArray(np.full((2, 2, 2), 0.5), np.eye(4)))[1] is None
        True
    """
    voxels = stored.voxels
    if voxels.dtype.kind != "f" or not np.isfinite(voxels).all():
        return stored, None
    if not 0 <= voxels.min() <= voxels.max() < MOST_LABELS or (voxels != np.rint(voxels)).any():
        return stored, None
    return ImageArray(voxels.astype(np.uint8), stored.affine), Step(
        "type", str(voxels.dtype), "uint8"
    )


def laid_onto(scan: ImageArray) -> CorrectFunction:
    """Lay a mask on the grid of its scan, where each of its voxels has a twin there.

    That is so where only the order or the direction of the stored axes differs, and where the
    positions differ by less than `ROUNDED` of a voxel.
    """

    def correction(mask: ImageArray) -> Corrected:
        if not (usable(mask) and usable(scan)):
            return mask, None
        # From the voxels of the mask to those of the scan.
        way = np.linalg.inv(scan.affine) @ mask.affine
        turn = orientations.io_orientation(way)
        turned = orientations.apply_orientation(mask.voxels, turn)
        affine = mask.affine @ orientations.inv_ornt_aff(turn, mask.shape)
        if turned.shape != scan.shape or _apart(scan.affine, affine, scan.shape) > ROUNDED:
            return mask, None
        found = ImageArray(np.ascontiguousarray(turned), scan.affine)
        if not np.array_equal(turn, _UNTURNED):
            return found, Step("order of the axes", _axes(mask), _axes(scan))
        if _grid(mask).matches(_grid(scan)):
            return mask, None
        off_mm = np.abs((mask.affine - scan.affine) @ _corners(scan.shape))[:3].max()
        step = Step("affine", f"up to {off_mm:.2g} mm off", _THE_SCANS)
        return found, step

    return correction


def placed_on(scan: ImageArray, lungs: Iterable[int], *, oriented: bool) -> CorrectFunction:
    """Give a mask that says not where it lies the affine of its scan, of which it has the shape.

    Not so where a mirror image of it would fit the scan much better: then its voxels were turned.

    Args:
        scan: The scan.
        lungs: Label values of the first region.
        oriented: Whether the file of the mask says where its voxels lie.
    """
    known = list(lungs)

    def correction(mask: ImageArray) -> Corrected:
        missing = not oriented or np.allclose(mask.affine, np.eye(4))
        if not missing or mask.shape != scan.shape or not usable(scan):
            return mask, None
        if usable(mask) and _grid(mask).matches(_grid(scan)):
            return mask, None
        found = ImageArray(mask.voxels, scan.affine)
        if not _fits(scan, found, known):
            return mask, None
        before = "none" if not oriented else "identity"
        return found, Step("affine", before, _THE_SCANS)

    return correction


def usable(stored: ImageArray) -> bool:
    """Whether a volume is 3D and says where its voxels lie."""
    matrix = stored.affine[:3, :3]
    finite = np.isfinite(stored.affine).all()
    return len(stored.shape) == 3 and bool(finite) and abs(np.linalg.det(matrix)) > 0


def compact(voxels: NDArray[Any]) -> NDArray[Any]:
    """The same values in the smallest type for HU that loses nothing.

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


_UNTURNED = np.array([[0, 1], [1, 1], [2, 1]])

_THE_SCANS = "that of the scan"


def _coarse(stored: ImageArray) -> NDArray[Any]:
    """Canonical planes with few of their voxels, shape ``(N, X', Y')``."""
    voxels = stored.voxels
    if usable(stored):
        turn = orientations.io_orientation(stored.affine)
        voxels = orientations.apply_orientation(voxels, turn)
    planes = np.moveaxis(voxels, 2, 0)
    step = coarse_step((planes.shape[1], planes.shape[2]))
    return planes[:, ::step, ::step]


def _fits(scan: ImageArray, mask: ImageArray, lungs: list[int]) -> bool:
    found = np.abs(border_contrast(_coarse(scan), np.isin(_coarse(mask), lungs)))
    return not found.size or bool(found[0] >= FITTING * found.max())


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


def _apart(
    affine: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, ...]
) -> float:
    """How many voxels, along any axis, corner voxels lie apart that ought to be one."""
    corners = _corners(shape)
    return float(np.abs(np.linalg.inv(affine) @ other @ corners - corners).max())


def _grid(stored: ImageArray) -> Grid:
    return volume(stored.voxels, stored.affine).grid


def _axes(stored: ImageArray) -> str:
    return "".join(orientations.aff2axcodes(stored.affine))


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _spacing(spacing_mm: NDArray[np.float64]) -> str:
    return "×".join(f"{step:.4g}" for step in spacing_mm) + " mm"
