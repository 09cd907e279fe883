"""Read a DICOM structure set (RTSTRUCT, PS3.3 A.19): contours of regions of interest."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from thorax.common.errors import InputError
from thorax.common.text import counted
from thorax.io.dicom_objects.polygons import fill, overlapping
from thorax.io.dicom_objects.rois import RoiMask, RoiName
from thorax.io.dicom_objects.slice_stack import SliceStack, plane_normal

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")

_MAX_SLOPE = 0.25
"""Largest height of a contour along the normal of the slices, in slice distances."""

_SAME_PLANE_MM = 1e-2

_PADDING = b" \0"
"""Bytes that programs append to a value of odd length; NUL is not allowed in text, but common."""

Contour = NDArray[np.float64]
"""Points of a closed contour, LPS+ in millimetres, shape ``(P, 3)``."""


@dataclass(frozen=True, eq=False)
class _Roi:
    name: RoiName
    contours: tuple[Contour, ...]
    not_closed: int
    repeated: int

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes about contours that were left out."""
        notes = []
        if self.not_closed:
            notes.append(f"open contours and points left out: {self.not_closed}")
        if self.repeated:
            notes.append(f"repeated contours left out: {self.repeated}")
        return tuple(notes)


class StructureSet:
    """A structure set.

    Args:
        path: The file.
        header: Its header.

    Raises:
        InputError: It has no closed contour, or is damaged.
    """

    def __init__(self, path: Path, header: Dataset) -> None:
        self.path = path
        try:
            self._rois = _rois(header)
            self.series_uids = _series_uids(header)
        # pydicom raises errors of many kinds for damaged values.
        except Exception:
            raise InputError(
                f"the contours of {path} cannot be read; copy it again from its source"
            ) from None
        self.names = tuple(roi.name for roi in self._rois.values())
        self.normal = self._normal()

    def _normal(self) -> NDArray[np.float64]:
        contours = [contour for roi in self._rois.values() for contour in roi.contours]
        for contour in sorted(contours, key=len, reverse=True):
            if (normal := plane_normal(contour)) is not None:
                return normal
        raise InputError(
            f"a structure set must have closed contours, but {self.path} has none; export it again"
        )

    def mask(self, number: int, stack: SliceStack) -> RoiMask:
        """See `RoiFile`.

        Contours of one plane are combined by the even-odd rule, so that inner ones are holes.
        """
        roi = self._rois[number]
        planes, left_out = _planes(roi.contours, stack)
        mask = np.zeros((*stack.shape, len(stack)), dtype=bool)
        cut = overlaps = 0
        for index, contours in planes.items():
            polygons = [stack.pixels(contour, index) for contour in contours]
            mask[:, :, index] = fill(polygons, stack.shape)
            overlaps += bool(overlapping(polygons, stack.shape))
            cut += sum(_is_outside(polygon, stack.shape) for polygon in polygons)
        gaps = max(planes, default=0) - min(planes, default=0) + 1 - len(planes) if planes else 0
        counts = {
            f"{counted(left_out, 'contour')} left out, outside of the slices": left_out,
            f"{counted(cut, 'contour')} cut off at the edge of the slices": cut,
            f"contours overlap on {counted(overlaps, 'slice')}; what they have in common was read "
            "as a hole": overlaps,
            f"{counted(gaps, 'slice')} without a contour between others": gaps,
            "no voxel is inside its contours": int(not mask.any()),
        }
        return RoiMask(mask, roi.notes, tuple(text for text, count in counts.items() if count))


def _rois(header: Dataset) -> dict[int, _Roi]:
    contours = {
        int(item.ReferencedROINumber): item.get("ContourSequence") or []
        for item in header.get("ROIContourSequence") or []
    }
    rois = {}
    for item in header.StructureSetROISequence:
        number = int(item.ROINumber)
        name = RoiName(number, str(item.get("ROIName") or "").strip())
        rois[number] = _roi(name, contours.get(number, []))
    return rois


def _roi(name: RoiName, items: Sequence[Dataset]) -> _Roi:
    closed = [
        item
        for item in items
        if str(item.get("ContourGeometricType", _CLOSED[0])).strip() in _CLOSED
    ]
    # Some programs write contours without points. Two points have no area, but mark the pixels
    # between them.
    drawn = [points for points in map(_points, closed) if len(points)]
    # The even-odd rule would remove a contour that is there twice.
    distinct = {_outline(points): points for points in drawn}
    return _Roi(
        name, tuple(distinct.values()), len(items) - len(closed), len(drawn) - len(distinct)
    )


def _outline(contour: Contour) -> bytes:
    """Return the same key for contours of the same points, whichever comes first."""
    return np.unique(np.round(contour, 3) + 0.0, axis=0).tobytes()


def _series_uids(header: Dataset) -> frozenset[str]:
    return frozenset(
        str(series.get("SeriesInstanceUID", ""))
        for frame in header.get("ReferencedFrameOfReferenceSequence") or []
        for study in frame.get("RTReferencedStudySequence") or []
        for series in study.get("RTReferencedSeriesSequence") or []
    )


def _points(contour: Dataset) -> Contour:
    """Points of a contour, if any; the text of its numbers is read directly, which is faster."""
    element: Any = contour.get_item("ContourData") if "ContourData" in contour else None
    value = None if element is None else element.value
    numbers = value.strip(_PADDING).split(b"\\") if isinstance(value, bytes) else value
    if not numbers or numbers == [b""]:
        return np.zeros((0, 3))
    points = np.array([float(number) for number in numbers]).reshape(-1, 3)
    if not np.isfinite(points).all():
        raise ValueError("no finite points")
    return points


def _planes(
    contours: tuple[Contour, ...], stack: SliceStack
) -> tuple[dict[int, list[Contour]], int]:
    """Group contours by slice, and count those that are on none.

    If several planes have the same nearest slice, the nearest plane is used.
    """
    heights = [contour @ stack.normal for contour in contours]
    nearest: dict[int, tuple[float, list[Contour]]] = {}
    left_out = 0
    for contour, height in zip(contours, heights, strict=True):
        middle = float(height.mean())
        index = stack.nearest(middle)
        if index is None or np.ptp(height) > _MAX_SLOPE * stack.distance_mm:
            left_out += 1
            continue
        away = abs(middle - stack.heights_mm[index])
        best, group = nearest.setdefault(index, (away, []))
        if abs(away - best) <= _SAME_PLANE_MM:
            group.append(contour)
        elif away < best:
            nearest[index] = (away, [contour])
    return {index: group for index, (_, group) in nearest.items()}, left_out


def _is_outside(polygon: NDArray[np.float64], shape: tuple[int, int]) -> bool:
    """Return True if a contour leaves the slice by more than a pixel."""
    return bool((polygon.min(axis=0) < -1).any() or (polygon.max(axis=0) > shape).any())
