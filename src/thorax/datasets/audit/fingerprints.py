"""Sketches: a scan in 12×12×12 bytes, by which copies are found, also mirrored or rescaled ones."""

import base64
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.intensity_detection import PADDING_SHARE

FINGERPRINT = 12
"""Blocks along each axis: two patients differ in them, and a copy, also resampled, does not."""

_BLOCK = 512
"""Cases compared with all others at a time, so that 10,000 need no matrix of 10,000 × 10,000."""

Coarse = NDArray[Any]

Floats = NDArray[np.float32]


def fingerprint(planes: Coarse, ordered: Coarse) -> str:
    """Block means of a volume, 12×12×12 bytes that span 0..255, so that no scale is left in them.

    Args:
        planes: Shape ``(N, X, Y)``.
        ordered: The same values, sorted.

    Returns:
        Base64, x slowest; empty if all blocks are equal.
    """
    z, x, y = (_blocks(size) for size in planes.shape)
    reduced = x @ np.clip(planes, *_bulk(ordered)).astype(np.float64) @ y.T
    means = np.einsum("zn,nxy->xyz", z, reduced)
    low, high = float(means.min()), float(means.max())
    if not np.isfinite(high - low) or high - low <= 1e-6 * max(abs(low), abs(high)):
        return ""
    grey = np.rint((means - low) * (255 / (high - low))).astype(np.uint8)
    return base64.b64encode(grey.tobytes()).decode("ascii")


def likeness(sketches: Floats, others: Floats) -> Floats:
    """Correlation of sketches with others, the largest of all ways to mirror the others.

    Args:
        sketches: Shape ``(A, 12, 12, 12)``.
        others: Shape ``(B, 12, 12, 12)``.

    Returns:
        Shape ``(A, B)``, without sign: a negative is as like as a copy.
    """
    best = np.zeros((len(sketches), len(others)), dtype=np.float32)
    here = _standard(sketches)
    for count in range(4):
        for axes in itertools.combinations((1, 2, 3), count):
            there = _standard(np.flip(others, axes))
            np.maximum(best, np.abs(here @ there.T), out=best)
    return best


def find_duplicates(sketches: Sequence[str], *, least: float) -> Iterator[tuple[int, int, float]]:
    """Each sketch that is like an earlier one, with the one that it is most like.

    Args:
        sketches: As `fingerprint` gives them, none empty.
        least: Likeness from which on two are told of.

    Returns:
        Index of the later, of the earlier, and their likeness.
    """
    if len(sketches) < 2:
        return
    drawn = np.stack([_unpacked(each) for each in sketches])
    for later, earlier in _candidates(_folded(drawn), least):
        found = likeness(drawn[[later]], drawn[earlier])[0]
        best = int(found.argmax())
        if found[best] >= least:
            yield later, int(earlier[best]), float(found[best])


def _candidates(folded: Floats, least: float) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Cases with the earlier ones that may be like them.

    To fold is to project, so folded sketches are no further apart than the sketches themselves
    once mirrored as fits best, and those of correlation r are √(2 - 2r) apart: nothing is missed.
    """
    squares = (folded**2).sum(axis=1)
    for start in range(0, len(folded), _BLOCK):
        block = folded[start : start + _BLOCK]
        apart = squares[start : start + _BLOCK, None] + squares - 2 * np.abs(block @ folded.T)
        for row, near in enumerate(apart <= 2 - 2 * least + 1e-5):
            earlier = np.flatnonzero(near[: start + row])
            if len(earlier):
                yield start + row, earlier


def _folded(sketches: Floats) -> Floats:
    """Sketches averaged over all ways to mirror them: one octant, of the weight of eight."""
    whole: Floats = _standard(sketches).reshape(sketches.shape)
    for axis in (1, 2, 3):
        whole = (whole + np.flip(whole, axis)) / np.float32(2)
    half = FINGERPRINT // 2
    return whole[:, :half, :half, :half].reshape(len(sketches), -1) * np.float32(np.sqrt(8))


def _unpacked(packed: str) -> Floats:
    grey = np.frombuffer(base64.b64decode(packed), dtype=np.uint8)
    return grey.reshape((FINGERPRINT,) * 3).astype(np.float32)


def _standard(sketches: Floats) -> Floats:
    flat = sketches.reshape(len(sketches), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)


def _bulk(ordered: Coarse) -> tuple[float, float]:
    """The range of sorted values without padding and what was cut off at either end.

    It moves with the values when they are rescaled, so that a sketch does not change.
    """
    inner = ordered
    for end in (ordered[0], ordered[-1]):
        if np.count_nonzero(ordered == end) > PADDING_SHARE * len(ordered):
            inner = inner[inner != end]
    inner = inner if len(inner) else ordered
    low, high = np.quantile(inner, [0.02, 0.98])
    return float(low), float(high)


def _blocks(size: int) -> NDArray[np.float64]:
    """Weights, ``(SKETCH, size)``, that average an axis in blocks, parts of voxels counted so."""
    edges = np.linspace(0, size, FINGERPRINT + 1)
    low = np.maximum(edges[:-1, None], np.arange(size))
    high = np.minimum(edges[1:, None], np.arange(size) + 1.0)
    return np.maximum(high - low, 0.0) * FINGERPRINT / size
