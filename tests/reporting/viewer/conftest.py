"""A small chest for the viewer."""

import numpy as np
import pytest

from thorax.io import Scan

from .chests import SHAPE, ball, in_memory


@pytest.fixture(scope="session")
def chest() -> Scan:
    """Return a body with two lungs in air, with noise, in HU."""
    noise = np.random.default_rng(0).normal(0, 15, SHAPE)
    x, y, _ = np.indices(SHAPE)
    body = ((x - 36) / 30) ** 2 + ((y - 28) / 22) ** 2 < 1
    hu = np.where(body, 40, -1000) + noise
    for side in (24, 48):
        hu[ball((side, 28, 12), 40)] -= 880
    return in_memory(np.rint(hu).astype(np.int16), "chest.nii.gz")


@pytest.fixture(scope="session")
def truth() -> Scan:
    """Return the lungs as 1 and a lesion in the left lung as 2.

    Stored x increases to the patient's left, so the left lung is at x = 48.
    """
    labels = np.zeros(SHAPE, np.uint8)
    for side in (24, 48):
        labels[ball((side, 28, 12), 40)] = 1
    labels[ball((50, 30, 14), 15)] = 2
    return in_memory(labels, "truth.nii.gz")
