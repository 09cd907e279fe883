"""A scan cached in memory after the first read, if it is small."""

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

from numpy.typing import NDArray

from thorax.common.errors import InputError
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

    Attributes:
        crop: Voxels along x and y that `slabs` yields of each plane; None for all.
    """

    def __init__(self, scan: Scan, *, max_bytes: int = MAX_BYTES) -> None:
        self.scan, self.grid = scan, scan.grid
        self.crop: tuple[slice, slice] | None = None
        self._max_bytes = max_bytes
        self._cached: list[Slab] | None = None
        self._closed = False
        self._begun: tuple[Slab, Generator[Slab, None, None]] | None = None

    def begin(self) -> None:
        """Begin to read; a small scan is read to its end while this thread does something else.

        Raises:
            InputError: The first planes cannot be read.
        """
        slabs = prefetch(self.scan.slabs(), ahead=self._ahead)
        self._begun = next(slabs), slabs

    def close(self) -> None:
        """End the reading, also in another thread, after the planes that are being read."""
        self._closed = True
        if self._begun:
            _, slabs = self._begun
            slabs.close()
        self._begun = None

    def _ahead(self, slab: Slab) -> int:
        return len(self.scan.spans()) if self._is_small(slab[1].itemsize) else 1

    def crop_to(self, crop: tuple[slice, slice]) -> None:
        """Yield and cache only these voxels of each plane from now on, which saves memory."""
        self.crop = crop

    def slabs(self, *, last: bool = False) -> Iterator[Slab]:
        """Read all planes slab by slab, in file order; yield the first index and the planes.

        The planes are read-only, because every pass yields the same arrays.

        Args:
            last: Free each cached slab once it was used; a later pass reads the file again.

        Raises:
            InputError: The scan cannot be read, or `close` was called while it was read.
        """
        if self._cached is not None:
            yield from self._from_memory(self._cached, last=last)
            return
        cached: list[Slab] = []
        with closing(self._first_pass()) as slabs:
            for slab in slabs:
                if self._closed:
                    raise InputError(f"reading {self.scan.path} was stopped")
                start, planes = self._cropped(slab)
                planes = planes.view()
                planes.flags.writeable = False
                if self._is_small(planes.itemsize) and not last:
                    cached.append((start, planes))
                yield start, planes
        if sum(len(planes) for _, planes in cached) == self.grid.shape[2]:
            self._cached = cached

    def _from_memory(self, cached: list[Slab], *, last: bool) -> Iterator[Slab]:
        if last:
            self._cached = None
            while cached:
                yield self._cropped(cached.pop(0))
        for index, slab in enumerate(cached):
            cached[index] = self._cropped(slab)
            yield cached[index]

    def _cropped(self, slab: Slab) -> Slab:
        start, planes = slab
        if self.crop is None or planes.shape[1:] != self.grid.shape[:2]:
            return slab
        # A copy, so that the whole planes can be freed.
        crop = planes[:, *self.crop].copy()
        crop.flags.writeable = False
        return start, crop

    def _first_pass(self) -> Generator[Slab, None, None]:
        begun, self._begun = self._begun, None
        if not begun:
            return prefetch(self.scan.slabs())
        first, slabs = begun

        def all_slabs() -> Generator[Slab, None, None]:
            with closing(slabs):
                yield first
                yield from slabs

        return all_slabs()

    def _is_small(self, voxel_bytes: int) -> bool:
        scan_bytes = voxel_bytes * math.prod(self.grid.shape)
        return voxel_bytes <= MAX_VOXEL_BYTES and scan_bytes <= self._max_bytes
