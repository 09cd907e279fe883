"""Select the series to read: the original axial CT series with the most slices."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thorax.common.errors import InputError
from thorax.common.text import listed
from thorax.io.dicom.files import is_collection
from thorax.io.dicom.geometry import distinct
from thorax.io.dicom.kernels import sharpness
from thorax.io.dicom.stacks import Stack

PLANES = ("sagittal", "coronal", "axial")

MIN_AXIAL = 0.8
"""Component of the slice normal along the axis of the patient: 37°, beyond any gantry tilt."""

ORIGINAL_SHARE = 0.5
"""Share of the longest series that an original series must cover to be preferred."""

_LISTED = 8


@dataclass(frozen=True)
class SeriesInfo:
    """A DICOM series for a list.

    Args:
        number: SeriesNumber, or the SeriesInstanceUID if the number does not identify the series.
        description: SeriesDescription; empty if it may name the patient.
        modality: Such as ``CT``.
        slices: Number of slices at different positions.
        size: Columns and rows, such as ``512×512``.
        spacing_mm: Such as ``0.7×0.7×1.5``; empty if unknown.
        plane: ``axial``, ``coronal``, ``sagittal`` or ``oblique``; empty if unknown.
        kernel: ConvolutionKernel.
        status: ``read``, ``not read``, or the reason why the series cannot be segmented.
    """

    number: str
    description: str
    modality: str
    slices: int
    size: str
    spacing_mm: str
    plane: str
    kernel: str
    status: str


class MissingSeriesError(InputError):
    """There is no series of the given number or UID."""


def select_series(path: Path, stacks: list[Stack], *, series: str | None) -> Stack:
    """Select the requested series, the series of the given file, or the best one.

    The best is the original axial CT series with the most slices, of equal ones that with the
    softest kernel, then with the lowest number. A derived series is preferred only if it is more
    than twice as long.

    Raises:
        InputError: There is no such series, or it is not a CT volume, or the file has no image.
    """
    eligible = stacks
    if series is not None:
        eligible = [stack for stack in stacks if series in (*stack.uids, stack.first.series.number)]
        if not eligible:
            names = listed((full_name(stack, stacks) for stack in stacks), at_most=_LISTED)
            raise MissingSeriesError(f"there is no DICOM series {series} in {path}; it has {names}")
    elif path.is_file():
        of_file = [stack for stack in stacks if any(slc.file.path == path for slc in stack.slices)]
        if not of_file and not is_collection(path):
            raise InputError(
                f"a DICOM file must contain an image, but none can be read in {path}; name another "
                "file of the series, or its folder"
            )
        eligible = of_file or stacks
    usable = [stack for stack in eligible if not stack.fault]
    if not usable:
        faults = "; ".join(f"{full_name(stack, stacks)} {stack.fault}" for stack in eligible[:3])
        raise InputError(f"{path} has no CT series: {faults}; {_remedy(eligible)}")
    return max(_preferred(usable), key=_rank)


def _remedy(stacks: list[Stack]) -> str:
    if any(stack.is_ct for stack in stacks):
        return (
            "export the series again with these attributes, or convert it to NIfTI with the "
            "correct spacing"
        )
    return "give the original axial CT series"


def _preferred(stacks: list[Stack]) -> list[Stack]:
    axial = [stack for stack in stacks if _plane(stack) == "axial"]
    original = [stack for stack in axial if stack.first.original]
    longest = max((_length_mm(stack) for stack in axial), default=0.0)
    if any(_length_mm(stack) >= ORIGINAL_SHARE * longest for stack in original):
        return original
    return axial or stacks


def _rank(stack: Stack) -> tuple[int, float, int]:
    return _slice_count(stack), -sharpness(stack.first.kernel), -_number(stack)


def list_stacks(stacks: list[Stack], selected: Stack | None) -> list[SeriesInfo]:
    """Describe all series.

    Args:
        stacks: The series.
        selected: The series that is read; None if none can be.
    """
    return [
        SeriesInfo(
            _identifier(stack, stacks),
            stack.first.description,
            stack.first.series.modality,
            _slice_count(stack),
            _size(stack),
            _spacing(stack),
            _plane(stack),
            stack.first.kernel,
            "read" if stack is selected else stack.fault or "not read",
        )
        for stack in stacks
    ]


def selection_note(selected: Stack, stacks: list[Stack]) -> tuple[str, ...]:
    """Return a note on the series that is read and on the others, if there are others."""
    others = [stack for stack in stacks if stack is not selected]
    if not others:
        return ()
    left_out = listed(map(short_name, others), at_most=_LISTED)
    return (f"read {short_name(selected)}; left out {left_out}",)


def short_name(stack: Stack) -> str:
    """Name of a series by its number: notes are saved to files and must not contain a UID."""
    number, description = stack.first.series.number, stack.first.description
    name = f"series {number}" if number else "a series"
    return f"{name} `{description}` ({_kind(stack)})" if description else f"{name} ({_kind(stack)})"


def full_name(stack: Stack, stacks: list[Stack]) -> str:
    """Name of a series by its number, or by its UID if the number is not unique."""
    return f"series {_identifier(stack, stacks)} ({_kind(stack)})"


def _identifier(stack: Stack, stacks: list[Stack]) -> str:
    key = stack.first.series
    sharing = {other.uids for other in stacks if other.first.series.number == key.number}
    return key.number if key.number and len(sharing) == 1 else key.uid


def _kind(stack: Stack) -> str:
    key, count = stack.first.series, len(stack.slices)
    kind = "localizer" if key.localizer else key.modality or "unknown modality"
    kind = f"{kind} in colour" if key.colour else kind
    spacing = _spacing(stack)
    size = f"{count} slice{'' if count == 1 else 's'} of {_size(stack)}"
    return f"{kind}, {size}, {spacing} mm" if spacing else f"{kind}, {size}"


def _size(stack: Stack) -> str:
    columns, rows = stack.first.series.shape
    return f"{columns}×{rows}"


def _spacing(stack: Stack) -> str:
    if stack.first.series.geometry_fault:
        return ""
    x_mm, y_mm = stack.first.spacing_mm
    return f"{x_mm:.3g}×{y_mm:.3g}×{_step_mm(stack):.3g}"


def _step_mm(stack: Stack) -> float:
    heights = distinct(stack.heights_mm)
    if len(heights) == 1:
        return stack.first.thickness_mm or 1.0
    return float(np.median(np.diff(np.sort(heights))))


def _plane(stack: Stack) -> str:
    if stack.first.series.geometry_fault:
        return ""
    normal = np.abs(np.cross(*stack.orientation))
    axis = int(normal.argmax())
    return PLANES[axis] if normal[axis] >= MIN_AXIAL else "oblique"


def _length_mm(stack: Stack) -> float:
    return float(np.ptp(distinct(stack.heights_mm))) + _step_mm(stack)


def _slice_count(stack: Stack) -> int:
    return (
        len(stack.slices) if stack.first.series.geometry_fault else len(distinct(stack.heights_mm))
    )


def _number(stack: Stack) -> int:
    number = stack.first.series.number
    return int(number) if number.lstrip("-").isdecimal() else 2**31
