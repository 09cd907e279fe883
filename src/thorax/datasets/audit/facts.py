"""What is known of a case: all that the checks need, without its voxels."""

from collections.abc import Iterable

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from thorax.imaging.grid import Grid

FORM = 1
"""Raise this when the same files give other facts than before, so that they are measured again."""

_STRICT = ConfigDict(extra="forbid")

Triple = tuple[float, float, float]

Row = tuple[float, float, float, float]


@dataclass(frozen=True, config=_STRICT)
class FileFacts:
    """One file, scan or mask, and the grid that it says it has.

    Args:
        file: Its name, without the folders above.
        sha256: Digest of its bytes; empty if they could not be read.
        problem: Why it cannot be used; empty if it was read to its last voxel.
        shape: Canonical voxels along x, y and z; None if the header cannot be read.
        affine: From canonical voxels to RAS+ millimetres, 4 rows; None as for `shape`.
        orientation: Where the stored axes point, such as ``LPS``; empty as for `shape`.
        oriented: Whether the file says where its voxels lie, or a reader has to make it up.
        declared_mm: Spacing as the header states it, a 0 or a minus kept; empty where the format
            has it in the affine alone.
        unit: Of lengths, as the header states it: ``mm``, ``m``, ``um``; empty if it says nothing.
        notes: What was noted when it was read, one line each.
    """

    file: str
    sha256: str = ""
    problem: str = ""
    shape: tuple[int, int, int] | None = None
    affine: tuple[Row, Row, Row, Row] | None = None
    orientation: str = ""
    oriented: bool = True
    declared_mm: tuple[float, ...] = ()
    unit: str = ""
    notes: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid | None:
        """The canonical grid; None if the header cannot be read."""
        if self.shape is None or self.affine is None:
            return None
        return Grid(self.shape, np.array(self.affine, dtype=np.float64))


@dataclass(frozen=True, config=_STRICT)
class ValueFacts:
    """The voxel values of a scan, as they are stored.

    Args:
        low: The lowest of all.
        high: The highest of all.
        middle: Median of a sample.
        commonest: Share of a sample that holds one and the same value.
        flat_planes: Planes that hold a single value.
        intensity: What the values were recognised to mean, as `str(Domain)` says it: ``hu``,
            ``hu+1024``, ``-1250,250``; empty if they were refused.
        kind: The same for people, such as ``HU``.
        refusal: Why their meaning cannot be told; empty if it can.
        remarks: What is unusual about them, one line each.
        sketch: Block means of the whole scan in 12×12×12 bytes, base64; empty if all are equal.
    """

    low: float
    high: float
    middle: float
    commonest: float
    flat_planes: int
    intensity: str = ""
    kind: str = ""
    refusal: str = ""
    remarks: tuple[str, ...] = ()
    sketch: str = ""


@dataclass(frozen=True, config=_STRICT)
class LabelFacts:
    """The label values of a mask, and how they lie over the scan.

    What needs the voxels of both files is empty where their shapes differ.

    Args:
        voxels: Label value → how many voxels hold it, 0 left out.
        problem: Why the values are no labels; empty if they are.
        faces: Face of the volume, as `thorax.imaging.grid.FACES` names them → how many voxels of
            the lungs lie in it; faces without any left out.
        centres: Label value → its mean place, as shares of the extent along x, y and z.
        means: Label value → mean of the scan's stored values under it, from a sample.
        steps: How much brighter, in stored values, the scan is just outside the lungs than just
            inside; for the mask as it is, then mirrored along x, y, xy, z, xz, yz and xyz.
        lean: How much larger the right lung is, and how far the heart reaches to the left, as
            shares of both lungs and of their width; negative if the other way round. None if it
            cannot be told.
    """

    voxels: dict[int, int]
    problem: str = ""
    faces: dict[str, int] = Field(default_factory=dict)
    centres: dict[int, Triple] = Field(default_factory=dict)
    means: dict[int, float] = Field(default_factory=dict)
    steps: tuple[float, ...] = ()
    lean: float | None = None


@dataclass(frozen=True, config=_STRICT)
class CaseFacts:
    """All that is known of a case.

    Args:
        case: Its name.
        scan: The scan's file; None if there is none of this name.
        mask: The mask's file; None if there is none of this name.
        values: Of the scan; None if it could not be read.
        labels: Of the mask; None if it could not be read.
        problem: What is wrong with the case before any file is opened, such as two files of one
            name; empty if nothing is.
    """

    case: str
    scan: FileFacts | None = None
    mask: FileFacts | None = None
    values: ValueFacts | None = None
    labels: LabelFacts | None = None
    problem: str = ""

    def volume_ml(self, labels: Iterable[int]) -> float | None:
        """Volume of some labels together; None if the mask cannot be measured."""
        grid = self.mask.grid if self.mask else None
        if self.labels is None or self.labels.problem or grid is None:
            return None
        return sum(self.labels.voxels.get(label, 0) for label in labels) * grid.voxel_ml
