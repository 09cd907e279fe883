"""The scans of a cohort with the measurements of their regions."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from pathlib import Path

WHOLE = "whole"

SIDES = (WHOLE, "right", "left")
"""Parts of a region, in the order of all tables."""

PatientValue = str | Decimal
"""Cell of a table of patients; numbers keep all their digits."""


@dataclass(frozen=True)
class PartMeasurements:
    """Measurements of a whole region, or of its right or left part.

    Values that are undefined or were not measured are None.

    Args:
        region: Name of the region.
        side: ``whole``, ``right`` or ``left``.
        volume_ml: Volume.
        mean_hu: Mean density.
        sd_hu: Standard deviation of the density.
        p5_hu: 5th percentile of the density.
        p50_hu: Median density.
        p95_hu: 95th percentile of the density.
        low_attenuation_percent: Voxels below -950 HU, in percent of the voxels.
        high_attenuation_percent: Voxels from -600 to -250 HU, in percent of the voxels.
        share_of_first_percent: Part of the first region that this one covers; None for the first.
        touches_border: Faces of the field of view that the region touches.
        certainty: Certainty of the model, 0 to 1; for the whole region only.
        expected_dice: Expected Dice; for the whole region only.
        expected_dice_low: Lower end of its 90 % interval.
        expected_dice_high: Upper end of its 90 % interval.
    """

    region: str
    side: str = WHOLE
    volume_ml: float | None = None
    mean_hu: float | None = None
    sd_hu: float | None = None
    p5_hu: float | None = None
    p50_hu: float | None = None
    p95_hu: float | None = None
    low_attenuation_percent: float | None = None
    high_attenuation_percent: float | None = None
    share_of_first_percent: float | None = None
    touches_border: tuple[str, ...] = ()
    certainty: float | None = None
    expected_dice: float | None = None
    expected_dice_low: float | None = None
    expected_dice_high: float | None = None

    def value(self, measure: "Measure") -> float | None:
        """Return the value of a measure."""
        value: float | None = getattr(self, measure.field)
        return value


@dataclass(frozen=True)
class CohortScan:
    """One scan.

    Args:
        case: Name of the scan.
        status: ``done``, ``failed``, ``started`` or ``missing``.
        scan: The file or folder of the scan.
        mask: The file of the mask.
        model: Digest of the model.
        intensity: Meaning of the voxel values.
        first_region: Region that shares refer to; empty without statistics.
        parts: Measurements by region and side.
        quality_warnings: Reasons to review the mask.
        error: Reason of a failure, or of missing statistics.
        patient: Column → value of the patient; None if no patient was joined.
    """

    case: str
    status: str
    scan: Path
    mask: Path
    model: str = ""
    intensity: str = ""
    first_region: str = ""
    parts: tuple[PartMeasurements, ...] = ()
    quality_warnings: tuple[str, ...] = ()
    error: str = ""
    patient: Mapping[str, PatientValue] | None = None


@dataclass(frozen=True)
class Cohort:
    """The scans of a folder.

    Args:
        scans: Scans by name.
        patient_columns: Columns of the patients that were joined, without the key.
        notes: Remarks for the user, one sentence each.
    """

    scans: tuple[CohortScan, ...]
    patient_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def regions(self) -> tuple[str, ...]:
        """Names of all regions, in the order of the model."""
        return tuple(dict.fromkeys(part.region for scan in self.scans for part in scan.parts))

    @cached_property
    def parts(self) -> Mapping[tuple[str, str], Mapping[str, PartMeasurements]]:
        """Region and side → case → measurements."""
        parts: dict[tuple[str, str], dict[str, PartMeasurements]] = {}
        for scan in self.scans:
            for part in scan.parts:
                parts.setdefault((part.region, part.side), {})[scan.case] = part
        return parts

    def values(self, measure: "Measure", region: str, side: str) -> dict[str, float]:
        """Return the defined values of a measure by case, for one region and side."""
        parts = self.parts.get((region, side), {})
        values = {case: part.value(measure) for case, part in parts.items()}
        return {case: value for case, value in values.items() if value is not None}

    @property
    def status_counts(self) -> dict[str, int]:
        """Number of scans by status, most frequent first."""
        return dict(Counter(scan.status for scan in self.scans).most_common())


@dataclass(frozen=True)
class Measure:
    """A measure that is compared between scans.

    Args:
        field: Field of `PartMeasurements`.
        title: Title, such as ``Volume``.
        unit: Unit.
        digits: Number of decimals.
    """

    field: str
    title: str
    unit: str
    digits: int

    @property
    def heading(self) -> str:
        """Title with unit."""
        return f"{self.title} ({self.unit})"


VOLUME = Measure("volume_ml", "Volume", "mL", 0)

DENSITY = Measure("mean_hu", "Mean density", "HU", 0)

LOW_ATTENUATION = Measure("low_attenuation_percent", "LAA-950", "%", 1)

HIGH_ATTENUATION = Measure("high_attenuation_percent", "HAA", "%", 1)

SHARE = Measure("share_of_first_percent", "Share of the first region", "%", 1)

MEASURES = (VOLUME, DENSITY, LOW_ATTENUATION, HIGH_ATTENUATION, SHARE)
"""Measures of the page, in its order."""
