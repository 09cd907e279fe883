"""Folders as `thorax predict --statistics` writes them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from thorax.inference.manifest.files import Manifest
from thorax.inference.manifest.row import DONE, FAILED, ManifestRow
from thorax.inference.statistics import PartStatistics, RegionStatistics, ScanStatistics
from thorax.models.spec import ExpectedDice


def part(volume_ml: float, *, share: float | None = None) -> PartStatistics:
    """Return statistics with a voxel of 1 mL."""
    return PartStatistics(
        round(volume_ml),
        volume_ml,
        mean_hu=-800.5,
        sd_hu=120.25,
        percentiles_hu={5: -950, 50: -850, 95: -500},
        low_attenuation_share=0.0625,
        high_attenuation_share=0.125,
        touches_border=("feet", "head"),
        share_of_first=share,
    )


STATISTICS = ScanStatistics(
    (100, 100, 50),
    (10, 10, 10),
    1.0,
    {
        "lung": RegionStatistics(part(4000), {"right": part(2200), "left": part(1800)}),
        "infection": RegionStatistics(
            part(400, share=0.1), {"right": part(400, share=0.1818), "left": PartStatistics(0, 0.0)}
        ),
    },
)


def row(case: str, status: str = DONE, **fields: Any) -> ManifestRow:
    """Return a row; the mask is relative to the folder of the manifest."""
    scan, mask = f"scans/{case}.nii.gz", f"{case}.nii.gz"
    return ManifestRow(case, status, scan, mask, "abc", "auto", **fields)


def done(case: str, **fields: Any) -> ManifestRow:
    """Return the row of a finished scan whose mask has the statistics `STATISTICS`."""
    given = {
        "volumes_ml": STATISTICS.volumes_ml,
        "certainty": {"lung": 0.97, "infection": None},
        "expected_dice": {"lung": ExpectedDice(0.98, 0.95, 1.0)},
        "intensity": "HU",
    }
    return row(case, **given | fields)


def failed(case: str) -> ManifestRow:
    return row(case, FAILED, error="the file is damaged,\nor no scan")


def write(folder: Path, *rows: ManifestRow, statistics: bool = True) -> Path:
    """Write the manifest, and the statistics of the finished scans next to their masks."""
    manifest = Manifest(folder)
    for one in rows:
        manifest.add(replace(one, mask=str(folder / one.mask)))
        if statistics and one.status == DONE:
            path = folder / one.mask.replace(".nii.gz", ".json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(STATISTICS.as_dict()))
    manifest.write()
    return folder
