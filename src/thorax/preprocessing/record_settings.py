"""Settings that all records of a dataset share."""

from dataclasses import dataclass

from thorax.common.crop import Crop
from thorax.imaging.regions import Regions


@dataclass(frozen=True)
class RecordSettings:
    """Settings of all records of a dataset.

    Args:
        regions: Regions of the masks.
        canvas: Pixels per side of the canvas.
        crop: Crop of the planes.
    """

    regions: Regions
    canvas: int
    crop: Crop
