"""What `predict` leaves beside the masks of the test cases for `evaluate` to judge."""

import math
from collections.abc import Iterable
from pathlib import Path

from thorax.common.errors import InputError
from thorax.common.files import write_text
from thorax.common.tables import as_csv, read_csv, whole
from thorax.pipeline.paths import PREDICTIONS

CERTAINTY = PREDICTIONS / "certainty.csv"

COLUMNS = ("case", "region", "certainty")

Certainty = dict[tuple[str, str], float]
"""Case and region → certainty; NaN where nothing was found."""


def map_path(case: str, region: str) -> Path:
    """Path of the probabilities of one region.

    Example:
        >>> map_path("S1-104", "lung").as_posix()
        'data/predictions/probabilities/S1-104_lung.nii.gz'
    """
    return PREDICTIONS / "probabilities" / f"{case}_{region}.nii.gz"


def write_certainty(rows: Iterable[tuple[str, str, float | None]]) -> None:
    """Write the certainty of each region of each case; see `thorax.inference.quality`."""
    named = (
        {"case": case, "region": region, "certainty": math.nan if found is None else found}
        for case, region, found in rows
    )
    write_text(CERTAINTY, as_csv(named, COLUMNS))


def read_certainty() -> Certainty:
    """Read what `write_certainty` wrote; nothing where there is no such file.

    Raises:
        InputError: It is damaged.
    """
    if not CERTAINTY.is_file():
        return {}
    try:
        _, rows = read_csv(whole(CERTAINTY.read_text(encoding="utf-8")))
        return {(row["case"], row["region"]): float(row["certainty"] or math.nan) for row in rows}
    except (ValueError, KeyError) as error:
        raise InputError(
            f"{CERTAINTY} is cut short or damaged; make it again with `dvc repro -sf predict`"
        ) from error
