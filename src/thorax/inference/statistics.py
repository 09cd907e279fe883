"""Statistics of a segmented scan: volume, density and extent of each region."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from thorax.models.spec import ExpectedDice

Voxel = tuple[int, int, int]

Point = tuple[float, float, float]


@dataclass(frozen=True)
class PartStatistics:
    """Statistics of a whole region, or of its right or left part.

    Undefined values, such as the mean density of an empty region, are None.

    Args:
        voxels: Number of voxels.
        volume_ml: Volume.
        mean_hu: Mean density.
        sd_hu: Standard deviation of the density.
        percentiles_hu: Percent → density.
        low_attenuation_share: Share of voxels below -950 HU.
        high_attenuation_share: Share of voxels from -600 to -250 HU.
        box_voxels: First and last voxel of the bounding box along x, y and z.
        box_mm: Lowest and highest R, A and S of the bounding box, outer edges of the voxels.
        touches_border: Faces of the field of view that the region touches.
        share_of_first: Share of the first region that this one covers; None for the first itself.
    """

    voxels: int
    volume_ml: float
    mean_hu: float | None = None
    sd_hu: float | None = None
    percentiles_hu: Mapping[int, int] | None = None
    low_attenuation_share: float | None = None
    high_attenuation_share: float | None = None
    box_voxels: tuple[Voxel, Voxel] | None = None
    box_mm: tuple[Point, Point] | None = None
    touches_border: tuple[str, ...] = ()
    share_of_first: float | None = None


@dataclass(frozen=True)
class RegionStatistics:
    """Statistics of one region.

    Args:
        whole: The whole region.
        sides: ``right`` and ``left`` → that part; empty if the sides are unknown.
    """

    whole: PartStatistics
    sides: Mapping[str, PartStatistics] = field(default_factory=dict)


@dataclass(frozen=True)
class ScanStatistics:
    """Statistics of all regions of a scan.

    Args:
        shape: Number of voxels along x, y and z.
        spacing_mm: Voxel spacing along x, y and z.
        voxel_ml: Volume of a voxel.
        regions: Region name → its statistics, in the order of the model.
        expected_dice: Region name → expected Dice, for regions where the model can estimate it.
        quality_warnings: Reasons to review the masks, one sentence each.
        notes: Notes about the measurements, one sentence each; not part of the JSON file.
    """

    shape: Voxel
    spacing_mm: Point
    voxel_ml: float
    regions: Mapping[str, RegionStatistics]
    expected_dice: Mapping[str, ExpectedDice] = field(default_factory=dict)
    quality_warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Volume of each region."""
        return {name: region.whole.volume_ml for name, region in self.regions.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return the content of the JSON file of ``thorax predict --statistics``."""
        first = next(iter(self.regions), "")
        regions = {
            name: {
                part: _part_dict(statistics, "" if name == first else f"share_of_{first}")
                for part, statistics in {"whole": region.whole, **region.sides}.items()
            }
            for name, region in self.regions.items()
        }
        return {
            "shape": self.shape,
            "spacing_mm": self.spacing_mm,
            "voxel_ml": self.voxel_ml,
            "regions": regions,
            "expected_dice": {name: asdict(dice) for name, dice in self.expected_dice.items()},
            "quality_warnings": self.quality_warnings,
        }


def _part_dict(part: PartStatistics, share_key: str) -> dict[str, Any]:
    content = asdict(part)
    if part.percentiles_hu is not None:
        content["percentiles_hu"] = {str(key): hu for key, hu in part.percentiles_hu.items()}
    content["touches"] = content.pop("touches_border")
    share = content.pop("share_of_first")
    return {**content, share_key: share} if share_key else content
