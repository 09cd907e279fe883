"""Files that `predict` writes next to the masks for `evaluate`: probabilities and certainty."""

import math
from collections.abc import Iterable
from pathlib import Path

from thorax.common.errors import InputError
from thorax.common.files import write_text
from thorax.common.tables import as_csv, read_csv, require_complete
from thorax.pipeline.paths import PREDICTIONS

CERTAINTY = PREDICTIONS / "certainty.csv"

COLUMNS = ("case", "region", "certainty")

Certainty = dict[tuple[str, str], float]
"""Case and region → certainty; NaN if the predicted region is empty."""


def map_path(case: str, region: str) -> Path:
    """Path of the probability map of one region.

    Example:
        >>> map_path("S1-104", "lung").as_posix()
        'data/predictions/probabilities/S1-104_lung.nii.gz'
    """
    return PREDICTIONS / "probabilities" / f"{case}_{region}.nii.gz"


def write_certainty(rows: Iterable[tuple[str, str, float | None]]) -> None:
    """Write rows of case, region and certainty; see `thorax.inference.quality`."""
    named = (
        {"case": case, "region": region, "certainty": math.nan if certainty is None else certainty}
        for case, region, certainty in rows
    )
    write_text(CERTAINTY, as_csv(named, COLUMNS))


def read_certainty() -> Certainty:
    """Read the file of `write_certainty`; empty if there is none.

    Raises:
        InputError: The file is damaged.
    """
    if not CERTAINTY.is_file():
        return {}
    try:
        _, rows = read_csv(require_complete(CERTAINTY.read_text(encoding="utf-8")))
        return {(row["case"], row["region"]): float(row["certainty"] or math.nan) for row in rows}
    except (ValueError, KeyError) as error:
        raise InputError(
            f"{CERTAINTY} is cut short or damaged; make it again with `dvc repro -sf predict`"
        ) from error
