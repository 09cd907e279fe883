"""A scan cached in memory after the first read, if it is small."""

import math
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from numpy.typing import NDArray

from thorax.common.parallel import prefetch
from thorax.io import Scan

MAX_BYTES = 2**29
"""Size of the largest cached scan: 1,024 planes of 512×512 in 16 bits."""

MAX_VOXEL_BYTES = 2
"""Floats are read again instead: they would take two to four times the memory."""

Slab = tuple[int, NDArray[Any]]


class CachedScan:
    """Reads a scan ahead in a separate thread, and caches small scans.

    Args:
        scan: The scan.
        max_bytes: Size of the largest cached scan; a larger one is read again each time.
    """

    def __init__(self, scan: Scan, *, max_bytes: int = MAX_BYTES) -> None:
        self.scan, self.grid = scan, scan.grid
        self._max_bytes = max_bytes
        self._cached: list[Slab] | None = None

    def slabs(self) -> Iterator[Slab]:
        """Read all planes slab by slab, in file order; yield the first index and the planes.

        The planes are read-only, because every pass yields the same arrays.
        """
        if self._cached is not None:
            yield from self._cached
            return
        cached: list[Slab] = []
        with closing(prefetch(self.scan.slabs())) as slabs:
            for start, slab in slabs:
                planes = slab.view()
                planes.flags.writeable = False
                if self._fits(planes):
                    cached.append((start, planes))
                yield start, planes
        if sum(len(planes) for _, planes in cached) == self.grid.shape[2]:
            self._cached = cached

    def _fits(self, planes: NDArray[Any]) -> bool:
        voxels = math.prod(self.grid.shape)
        return planes.itemsize <= MAX_VOXEL_BYTES and voxels * planes.itemsize <= self._max_bytes
