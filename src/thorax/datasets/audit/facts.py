"""Measurements of a case: everything that the checks need, without the voxels."""

from collections.abc import Iterable

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from thorax.imaging.grid import Grid

FORMAT_VERSION = 3
"""Version of the facts in ``audit.json``. Increase it if their fields change; facts of an older
version are then measured again."""

_STRICT = ConfigDict(extra="forbid")

Point = tuple[float, float, float]

AffineRow = tuple[float, float, float, float]


@dataclass(frozen=True, config=_STRICT)
class FileFacts:
    """One file, scan or mask, and its grid.

    Args:
        file: File name without folders.
        sha256: Digest of the bytes; empty if they could not be read.
        problem: Reason why the file cannot be used; empty if it was read to its last voxel.
        shape: Canonical voxels along x, y and z; None if the header cannot be read.
        affine: From canonical voxels to RAS+ millimetres, 4 rows; None as for `shape`.
        orientation: Directions of the stored axes, such as ``LPS``; empty as for `shape`.
        oriented: False if the header has no orientation and readers have to assume one.
        declared_mm: Spacing in the header, with zeros and signs; empty if the format stores it in
            the affine alone.
        unit: Unit of lengths in the header: ``mm``, ``m``, ``um``; empty if unspecified.
        notes: Remarks of the reader, one line each.
    """

    file: str
    sha256: str = ""
    problem: str = ""
    shape: tuple[int, int, int] | None = None
    affine: tuple[AffineRow, AffineRow, AffineRow, AffineRow] | None = None
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
    """Stored voxel values of a scan.

    Args:
        low: Lowest value.
        high: Highest value.
        median: Median of a sample.
        mode_share: Share of a sample with its most frequent value.
        flat_planes: Number of planes with a single value.
        intensity: Detected intensity scale, as `str(IntensityScale)`: ``hu``, ``hu+1024``,
            ``-1250,250``; empty if detection failed.
        kind: The same for readers, such as ``HU``.
        refusal: Reason why detection failed; empty if it succeeded.
        remarks: Unusual properties, one line each.
        fingerprint: Block means of the scan, 12×12×12 bytes in base64; empty if all are equal.
        misorientation: Difference between the orientation of the patient and that of the header;
            empty if there is none, or if it is unknown.
    """

    low: float
    high: float
    median: float
    mode_share: float
    flat_planes: int
    intensity: str = ""
    kind: str = ""
    refusal: str = ""
    remarks: tuple[str, ...] = ()
    fingerprint: str = ""
    misorientation: str = ""


@dataclass(frozen=True, config=_STRICT)
class LabelFacts:
    """Label values of a mask, and how the mask fits the scan.

    Facts that need the voxels of both files are empty if their shapes differ.

    Args:
        voxels: Label value → number of voxels, without label 0.
        problem: Reason why the values are not labels; empty if they are.
        faces: Face of the volume, named as in `thorax.imaging.grid.FACES` → number of lung voxels
            on it; faces without lung are left out.
        centres: Label value → centre of mass, as shares of the extent along x, y and z.
        means: Label value → mean of the stored scan values under it, from a sample.
        border_contrasts: Stored scan value just outside the lungs minus just inside; for the mask
            as stored, then mirrored along x, y, xy, z, xz, yz and xyz.
        handedness: See `mask_fit.handedness`; negative if left and right may be swapped. None if
            undefined.
    """

    voxels: dict[int, int]
    problem: str = ""
    faces: dict[str, int] = Field(default_factory=dict)
    centres: dict[int, Point] = Field(default_factory=dict)
    means: dict[int, float] = Field(default_factory=dict)
    border_contrasts: tuple[float, ...] = ()
    handedness: float | None = None


@dataclass(frozen=True, config=_STRICT)
class CaseFacts:
    """All facts of a case.

    Args:
        case: Name of the case.
        scan: File of the scan; None if there is none.
        mask: File of the mask; None if there is none.
        values: Values of the scan; None if it could not be read.
        labels: Labels of the mask; None if it could not be read.
        problem: Problem that is visible without opening a file, such as two files of one name;
            empty if there is none.
    """

    case: str
    scan: FileFacts | None = None
    mask: FileFacts | None = None
    values: ValueFacts | None = None
    labels: LabelFacts | None = None
    problem: str = ""

    def volume_ml(self, labels: Iterable[int]) -> float | None:
        """Sum the volumes of some labels, in mL; None if the mask cannot be measured."""
        grid = self.mask.grid if self.mask else None
        if self.labels is None or self.labels.problem or grid is None:
            return None
        return sum(self.labels.voxels.get(label, 0) for label in labels) * grid.voxel_ml
