"""Read a DICOM segmentation (SEG, PS3.3 A.51): binary, fractional and label map."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels

from thorax.common.errors import InputError
from thorax.common.text import counted, listed
from thorax.io.dicom.files import dicom_file
from thorax.io.dicom.headers import MAX_FRAMES, without_warnings
from thorax.io.dicom_objects.rois import RoiMask, RoiName
from thorax.io.dicom_objects.slice_stack import SliceStack
from thorax.io.stored_image import check_shape

_THRESHOLD = 0.5

_SAME_PIXEL = 0.05
"""Largest distance between the pixels of segmentation and scan, in pixels."""

_SAME_HEIGHT_MM = 1e-2

_SAME_DIRECTION = 1e-3

_HALF = 0.5 + 1e-3
"""Largest distance of a frame from its slice, in distances of frames."""

_COARSE = 1.5
"""Ratio of the distances of frames and slices from which slices have no frame."""

_UNEVEN = 0.1
"""Largest distance of a frame from evenly spaced slices, in slice distances."""

_OTHER_PIXELS = (
    "a segmentation must have the pixels of its scan, but those of {path} have another size, "
    "direction or position; give the scan that it was made for"
)


@dataclass(frozen=True, eq=False)
class _Frame:
    segment: int
    position_mm: NDArray[np.float64]


class SegmentationFile:
    """A segmentation.

    Args:
        path: The file.
        header: Its header.

    Raises:
        InputError: It does not state segments or positions, has frames of several directions, or is
            damaged.
    """

    def __init__(self, path: Path, header: Dataset) -> None:
        self.path = path
        try:
            self._read(header)
        except InputError:
            raise
        # pydicom raises errors of many kinds for damaged values.
        except Exception:
            raise InputError(
                f"the segments of {path} cannot be read: their names, positions or sizes are "
                "missing or damaged; export it again"
            ) from None

    def _read(self, header: Dataset) -> None:
        self.names = tuple(
            RoiName(int(item.SegmentNumber), str(item.get("SegmentLabel") or "").strip())
            for item in header.SegmentSequence
        )
        self.series_uids = frozenset(
            str(series.get("SeriesInstanceUID", ""))
            for series in header.get("ReferencedSeriesSequence") or []
        )
        self._shape = int(header.Columns), int(header.Rows)
        kind = str(header.get("SegmentationType", "BINARY"))
        self._is_labelmap = kind == "LABELMAP"
        self._top = int(header.get("MaximumFractionalValue") or 255) if kind == "FRACTIONAL" else 1
        self._is_fractional = kind == "FRACTIONAL"
        self._is_packed = header.get("BitsAllocated") == 1 and not _is_encapsulated(header)
        groups = header.PerFrameFunctionalGroupsSequence
        if len(groups) != int(header.get("NumberOfFrames", len(groups))):
            raise ValueError("frames without a position")
        check_shape(self.path, (*self._shape, min(len(groups), MAX_FRAMES)))
        shared = header.SharedFunctionalGroupsSequence[0]
        measures = _macro(groups[0], shared, "PixelMeasuresSequence")
        row_mm, column_mm = measures.PixelSpacing
        # Some programs give the distance a sign.
        self._distance_mm = abs(float(measures.get("SpacingBetweenSlices") or 0))
        self._thickness_mm = abs(float(measures.get("SliceThickness") or 0))
        directions = self._directions(groups, shared)
        self._steps_mm = directions * np.array([[float(column_mm)], [float(row_mm)]])
        self.normal = np.cross(*directions)
        self._frames = [self._frame(group, shared) for group in groups]

    def _directions(self, groups: Sequence[Dataset], shared: Dataset) -> NDArray[np.float64]:
        """Directions of the next column and of the next row, shape ``(2, 3)``."""
        planes = [_macro(group, shared, "PlaneOrientationSequence") for group in groups]
        directions = np.array([plane.ImageOrientationPatient for plane in planes], np.float64)
        if not np.allclose(directions, directions[0], atol=_SAME_DIRECTION):
            raise InputError(
                f"the frames of a segmentation must have one direction, but those of {self.path} "
                "have several; export it for one series"
            )
        return directions[0].reshape(2, 3)

    def _frame(self, group: Dataset, shared: Dataset) -> _Frame:
        position = _macro(group, shared, "PlanePositionSequence").ImagePositionPatient
        number = 0
        if not self._is_labelmap:
            identification = _macro(group, shared, "SegmentIdentificationSequence")
            number = int(identification.ReferencedSegmentNumber)
        return _Frame(number, np.array(position, dtype=np.float64))

    def mask(self, number: int, stack: SliceStack) -> RoiMask:
        """See `RoiFile`.

        A frame belongs to the nearest slice, but not if it is further away than half the distance
        between frames: another one is nearer, which may be left out of the file as empty.
        """
        self._check_pixels(stack)
        mask = np.zeros((*stack.shape, len(stack)), dtype=bool)
        wanted = [
            index
            for index, frame in enumerate(self._frames)
            if self._is_labelmap or frame.segment == number
        ]
        reach_mm = _HALF * self._frame_distance_mm()
        outside = between = 0
        for index, pixels in zip(wanted, self._pixels(wanted), strict=True):
            inside = self._inside(pixels, number)
            height_mm = float(self._frames[index].position_mm @ stack.normal)
            slice_ = stack.nearest(height_mm)
            if slice_ is None:
                outside += bool(inside.any())
            elif abs(stack.heights_mm[slice_] - height_mm) > reach_mm:
                between += bool(inside.any())
            else:
                mask[:, :, slice_] |= self._on_slice(inside.T, self._frames[index], stack, slice_)
        return RoiMask(mask, self._notes(between), self._warnings(outside, stack))

    def _frame_distance_mm(self) -> float:
        """Distance between neighbouring frames; infinite if all have one height."""
        heights = np.sort([frame.position_mm @ self.normal for frame in self._frames])
        gaps = np.diff(heights)
        return self._distance_mm or float(gaps[gaps > _SAME_HEIGHT_MM].min(initial=np.inf))

    def _notes(self, between: int) -> tuple[str, ...]:
        notes = []
        if self._is_fractional:
            notes.append(f"probabilities of at least {_THRESHOLD:g} were read as inside")
        if between:
            notes.append(f"{counted(between, 'frame')} left out, between the slices")
        return tuple(notes)

    def _warnings(self, outside: int, stack: SliceStack) -> tuple[str, ...]:
        warnings = []
        if outside:
            warnings.append(f"{counted(outside, 'frame')} left out, outside of the slices")
        if self._distance_mm > _COARSE * stack.distance_mm:
            warnings.append(
                f"its frames are {self._distance_mm:g} mm apart, but slices "
                f"{stack.distance_mm:g} mm: slices between frames are empty"
            )
        return tuple(warnings)

    def own_stack(self, *others: "SegmentationFile") -> SliceStack:
        """Return evenly spaced slices that contain the frames of this file and of others.

        Raises:
            InputError: There are no such slices.
        """
        files = (self, *others)
        positions = np.array([frame.position_mm for file in files for frame in file._frames])
        heights = positions @ self.normal
        low, high = heights.min(), heights.max()
        gaps = np.diff(np.sort(heights))
        gaps = gaps[gaps > _SAME_HEIGHT_MM]
        distance_mm = self._distance_mm or gaps.min(initial=np.inf)
        if not np.isfinite(distance_mm):
            distance_mm = self._thickness_mm or 1.0
        count = round((high - low) / distance_mm) + 1
        lowest, highest = positions[heights.argmin()], positions[heights.argmax()]
        shares = np.linspace(0, 1, count)[:, None]
        origins = lowest + shares * (highest - lowest)
        stack = SliceStack(origins, self._steps_mm, self._shape, distance_mm=distance_mm)
        away = np.abs(heights[:, None] - stack.heights_mm).min(axis=1)
        if away.max() > _UNEVEN * distance_mm or any(file._shape != self._shape for file in others):
            raise InputError(
                f"the frames of {listed(file.path for file in files)} are not on one grid; give "
                "their scan"
            )
        return stack

    def _check_pixels(self, stack: SliceStack) -> None:
        """Raise `InputError` unless pixels have the size and directions of those of the slices."""
        turned = np.abs(self._steps_mm @ np.linalg.pinv(stack.steps_mm))
        if not any(np.allclose(turned, same, atol=1e-3) for same in (np.eye(2), np.eye(2)[::-1])):
            raise InputError(_OTHER_PIXELS.format(path=self.path))

    def _on_slice(
        self, inside: NDArray[np.bool_], frame: _Frame, stack: SliceStack, index: int
    ) -> NDArray[np.bool_]:
        """Move the pixels of a frame, shape ``(columns, rows)``, to those of a slice."""
        columns, rows = np.nonzero(inside)
        steps = np.column_stack([columns, rows]) @ self._steps_mm
        points = stack.pixels(frame.position_mm + steps, index)
        pixels = np.rint(points).astype(int)
        if len(points) and np.abs(points - pixels).max() > _SAME_PIXEL:
            raise InputError(_OTHER_PIXELS.format(path=self.path))
        within = ((pixels >= 0) & (pixels < stack.shape)).all(axis=1)
        mask = np.zeros(stack.shape, dtype=bool)
        mask[tuple(pixels[within].T)] = True
        return mask

    def _inside(self, pixels: NDArray[Any], number: int) -> NDArray[np.bool_]:
        if self._is_labelmap:
            return pixels == number
        return pixels >= (_THRESHOLD * self._top if self._is_fractional else 1)

    def _pixels(self, frames: list[int]) -> Iterator[NDArray[Any]]:
        if not frames:
            return
        with without_warnings():
            try:
                with dicom_file(self.path).open() as stream:
                    if self._is_packed:
                        yield from self._unpacked(stream, frames)
                    else:
                        yield from iter_pixels(cast(BinaryIO, stream), indices=frames, raw=True)
            # Decoders raise errors of many kinds for damaged pixels.
            except Exception:
                raise InputError(
                    f"the pixels of {self.path} cannot be read: the file is cut short or damaged, "
                    "or its compression is not supported; copy it again from its source"
                ) from None

    def _unpacked(self, stream: IO[bytes], frames: list[int]) -> Iterator[NDArray[Any]]:
        """Unpack frames of one bit per pixel.

        pydicom returns the frames behind the end of a file as zeros, and cannot read frames that
        begin within a byte.
        """
        packed = pydicom.dcmread(stream, specific_tags=["PixelData"], force=True).PixelData
        columns, rows = self._shape
        pixels = columns * rows
        if 8 * len(packed) < pixels * len(self._frames):
            raise EOFError
        for index in frames:
            first, stop = index * pixels, (index + 1) * pixels
            part = np.frombuffer(packed[first // 8 : -(-stop // 8)], np.uint8)
            bits = np.unpackbits(part, bitorder="little")[first % 8 :]
            yield bits[:pixels].reshape(rows, columns)


def _is_encapsulated(header: Dataset) -> bool:
    syntax = header.file_meta.get("TransferSyntaxUID")
    return syntax is not None and syntax.is_encapsulated


def _macro(group: Dataset, shared: Dataset, name: str) -> Dataset:
    return (group.get(name) or shared[name].value)[0]
