"""A scan that is read once and gone through again from memory, where it is small enough."""

import math
from collections.abc import Iterator
from contextlib import closing
from typing import Any, TypeVar

from numpy.typing import NDArray

from thorax.common.parallel import prefetch
from thorax.io import Scan

MOST_BYTES = 2**29
"""Of voxels that are held: 1,024 planes of 512×512 in 16 bits."""

WIDEST_BYTES = 2
"""A voxel. Floats are read again rather than held: they would take two to four times as much."""

Slab = tuple[int, NDArray[Any]]

Item = TypeVar("Item")


class CachedScan:
    """Reads a scan ahead in a thread of its own, and keeps what it read if that is little.

    Args:
        scan: The scan.
        most_bytes: Of voxels to keep; a larger scan is read again each time.
    """

    def __init__(self, scan: Scan, *, most_bytes: int = MOST_BYTES) -> None:
        self.scan, self.grid = scan, scan.grid
        self._most_bytes = most_bytes
        self._held: list[Slab] | None = None

    def slabs(self) -> Iterator[Slab]:
        """All planes, slab by slab, in the order in which the file has them, with their start.

        Planes are the same in each round, and so must not be written to: what is held refuses it.
        """
        if self._held is not None:
            yield from self._held
            return
        held: list[Slab] = []
        with closing(prefetch(self.scan.slabs())) as slabs:
            for start, read in slabs:
                planes = read.view()
                planes.flags.writeable = False
                if self._fits(planes):
                    held.append((start, planes))
                yield start, planes
        if sum(len(planes) for _, planes in held) == self.grid.shape[2]:
            self._held = held

    def _fits(self, planes: NDArray[Any]) -> bool:
        voxels = math.prod(self.grid.shape)
        return planes.itemsize <= WIDEST_BYTES and voxels * planes.itemsize <= self._most_bytes
