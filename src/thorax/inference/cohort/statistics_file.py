"""Read the JSON file of ``thorax predict --statistics``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from thorax.common.errors import first_problem
from thorax.evaluation.cohort.scans import SIDES, WHOLE, PartMeasurements

VOLUME_TOLERANCE_ML = 0.002
"""Largest difference between the volumes of both files, which the manifest rounds."""

_Number = Annotated[float, Field(allow_inf_nan=False)]

_SHARE = "share_of_first"


@dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class _Part:
    """The fields of a part that the table has; shares are 0 to 1."""

    volume_ml: _Number
    mean_hu: _Number | None = None
    sd_hu: _Number | None = None
    percentiles_hu: dict[str, _Number] | None = None
    low_attenuation_share: _Number | None = None
    high_attenuation_share: _Number | None = None
    touches: tuple[str, ...] = ()
    share_of_first: _Number | None = None


_REGIONS = TypeAdapter(dict[str, dict[str, _Part]])


def read_statistics(
    path: Path, volumes_ml: Mapping[str, float]
) -> tuple[str, list[PartMeasurements]]:
    """Read the statistics of a scan.

    Args:
        path: The file.
        volumes_ml: Region name → volume in the manifest.

    Returns:
        The region that shares refer to, and the measurements by region and side.

    Raises:
        ValueError: The file is damaged, is not a file of statistics, or is of another mask; the
            message completes a sentence such as "a.json is damaged".
        OSError: It cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
        regions = content["regions"]
        first = next(iter(regions), "")
        parts = _REGIONS.validate_python(_renamed(regions, f"share_of_{first}"))
    except ValidationError as error:
        raise ValueError(f"has no statistics ({first_problem(error)})") from None
    except (ValueError, RecursionError):  # not JSON, or not UTF-8
        raise ValueError("is damaged, or is not JSON") from None
    except (KeyError, TypeError, AttributeError):
        raise ValueError("has no statistics") from None
    if not _same_volumes(parts, volumes_ml):
        raise ValueError("is of another mask: its volumes differ from the manifest")
    return first, [
        _measurements(region, side, sides[side])
        for region, sides in parts.items()
        for side in SIDES
        if side in sides
    ]


def _renamed(regions: Mapping[str, Mapping[str, Any]], share: str) -> dict[str, Any]:
    """Rename the share, whose key contains the name of the first region."""
    return {
        region: {
            side: {(_SHARE if key == share else key): value for key, value in part.items()}
            for side, part in sides.items()
        }
        for region, sides in regions.items()
    }


def _same_volumes(
    parts: Mapping[str, Mapping[str, _Part]], volumes_ml: Mapping[str, float]
) -> bool:
    volumes = {region: sides[WHOLE].volume_ml for region, sides in parts.items() if WHOLE in sides}
    return volumes.keys() == volumes_ml.keys() and all(
        abs(volume - volumes_ml[region]) <= VOLUME_TOLERANCE_ML
        for region, volume in volumes.items()
    )


def _measurements(region: str, side: str, part: _Part) -> PartMeasurements:
    percentiles = part.percentiles_hu or {}
    return PartMeasurements(
        region,
        side,
        part.volume_ml,
        part.mean_hu,
        part.sd_hu,
        percentiles.get("5"),
        percentiles.get("50"),
        percentiles.get("95"),
        _percent(part.low_attenuation_share),
        _percent(part.high_attenuation_share),
        _percent(part.share_of_first),
        part.touches,
    )


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
