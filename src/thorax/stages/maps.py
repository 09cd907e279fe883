"""Where the probabilities of the test cases lie, for `predict` to write and `evaluate` to read."""

from pathlib import Path

from thorax.stages import PREDICTIONS


def map_path(case: str, region: str) -> Path:
    """Path of the probabilities of one region.

    Example:
        >>> map_path("S1-104", "lung").as_posix()
        'data/predictions/probabilities/S1-104_lung.nii.gz'
    """
    return PREDICTIONS / "probabilities" / f"{case}_{region}.nii.gz"
