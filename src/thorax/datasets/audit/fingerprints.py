"""Image fingerprints of 12×12×12 bytes, to find duplicates, also mirrored or rescaled ones."""

import base64
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.intensity_detection import PADDING_SHARE

BLOCKS = 12
"""Blocks along each axis: enough to tell patients apart; resampling does not change them."""

_BATCH = 512
"""Cases compared with all others at a time: 10,000 cases need no 10,000 × 10,000 matrix."""

Coarse = NDArray[Any]

Floats = NDArray[np.float32]


def fingerprint(planes: Coarse, ordered: Coarse) -> str:
    """Reduce a volume to block means, 12×12×12 bytes, stretched to 0..255 to remove the scale.

    Args:
        planes: Shape ``(N, X, Y)``.
        ordered: The same values, sorted.

    Returns:
        Base64, x slowest; empty if all blocks are equal.
    """
    z, x, y = (_block_weights(size) for size in planes.shape)
    reduced = x @ np.clip(planes, *_bulk(ordered)).astype(np.float64) @ y.T
    means = np.einsum("zn,nxy->xyz", z, reduced)
    low, high = float(means.min()), float(means.max())
    if not np.isfinite(high - low) or high - low <= 1e-6 * max(abs(low), abs(high)):
        return ""
    grey = np.rint((means - low) * (255 / (high - low))).astype(np.uint8)
    return base64.b64encode(grey.tobytes()).decode("ascii")


def likeness(blocks: Floats, others: Floats) -> Floats:
    """Correlate fingerprints, with the best of all mirrorings of the others.

    Args:
        blocks: Shape ``(A, 12, 12, 12)``.
        others: Shape ``(B, 12, 12, 12)``.

    Returns:
        Absolute correlation, shape ``(A, B)``: a negative image counts as a copy.
    """
    best = np.zeros((len(blocks), len(others)), dtype=np.float32)
    standard = _standardised(blocks)
    for count in range(4):
        for axes in itertools.combinations((1, 2, 3), count):
            mirrored = _standardised(np.flip(others, axes))
            np.maximum(best, np.abs(standard @ mirrored.T), out=best)
    return best


def find_duplicates(
    fingerprints: Sequence[str], *, least: float
) -> Iterator[tuple[int, int, float]]:
    """Find fingerprints that are like an earlier one, each with the most similar earlier one.

    Args:
        fingerprints: As `fingerprint` returns them, none empty.
        least: Smallest likeness that is reported.

    Yields:
        Index of the later one, index of the earlier one, and their likeness.
    """
    if len(fingerprints) < 2:
        return
    blocks = np.stack([_decoded(text) for text in fingerprints])
    for later, earlier in _candidates(_folded(blocks), least):
        similar = likeness(blocks[[later]], blocks[earlier])[0]
        best = int(similar.argmax())
        if similar[best] >= least:
            yield later, int(earlier[best]), float(similar[best])


def _candidates(folded: Floats, least: float) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Pair each case with the earlier ones that may be like it.

    Folding is a projection, so folded fingerprints are no further apart than the fingerprints
    themselves after the best mirroring, and those of correlation r are √(2 - 2r) apart. Therefore
    no duplicate is missed.
    """
    squares = (folded**2).sum(axis=1)
    for start in range(0, len(folded), _BATCH):
        batch = folded[start : start + _BATCH]
        distances = squares[start : start + _BATCH, None] + squares - 2 * np.abs(batch @ folded.T)
        for row, near in enumerate(distances <= 2 - 2 * least + 1e-5):
            earlier = np.flatnonzero(near[: start + row])
            if len(earlier):
                yield start + row, earlier


def _folded(blocks: Floats) -> Floats:
    """Average fingerprints over all mirrorings: one octant, with the weight of eight."""
    whole: Floats = _standardised(blocks).reshape(blocks.shape)
    for axis in (1, 2, 3):
        whole = (whole + np.flip(whole, axis)) / np.float32(2)
    half = BLOCKS // 2
    return whole[:, :half, :half, :half].reshape(len(blocks), -1) * np.float32(np.sqrt(8))


def _decoded(text: str) -> Floats:
    grey = np.frombuffer(base64.b64decode(text), dtype=np.uint8)
    return grey.reshape((BLOCKS,) * 3).astype(np.float32)


def _standardised(blocks: Floats) -> Floats:
    flat = blocks.reshape(len(blocks), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)


def _bulk(ordered: Coarse) -> tuple[float, float]:
    """Return the range of sorted values without padding and clipped values at either end.

    The range scales with the values, so the fingerprint of a rescaled scan is the same.
    """
    inner = ordered
    for end in (ordered[0], ordered[-1]):
        if np.count_nonzero(ordered == end) > PADDING_SHARE * len(ordered):
            inner = inner[inner != end]
    inner = inner if len(inner) else ordered
    low, high = np.quantile(inner, [0.02, 0.98])
    return float(low), float(high)


def _block_weights(size: int) -> NDArray[np.float64]:
    """Weights, ``(BLOCKS, size)``, that average an axis in blocks, with parts of voxels."""
    edges = np.linspace(0, size, BLOCKS + 1)
    low = np.maximum(edges[:-1, None], np.arange(size))
    high = np.minimum(edges[1:, None], np.arange(size) + 1.0)
    return np.maximum(high - low, 0.0) * BLOCKS / size
