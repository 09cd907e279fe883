"""What is written for a scan: the mask, and what else was asked for; each file whole or not."""

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from thorax.common.files import write_text
from thorax.imaging.intensity import whole_hu
from thorax.imaging.placement import Restorer
from thorax.imaging.regions import Regions
from thorax.inference.measurements import RegionMeasurements
from thorax.inference.segmenter import Prediction
from thorax.io import SEGMENTATION_SUFFIX, PlaneWriter, Scan, mask_file, write_segmentation
from thorax.io.cached_scan import Slab

if TYPE_CHECKING:
    from thorax.inference.preview import PreviewCollector

MapBits = Literal[8, 16]

Bits = Literal[0, 8, 16]
"""Of probabilities; 0: none are written."""

Masks = NDArray[np.bool_]

WriteMasks = Callable[[int, Masks], object]

Watch = Callable[[Iterable[Slab]], Iterable[Slab]]


@dataclass(frozen=True)
class Outputs:
    """Where things go.

    Args:
        mask: The mask.
        maps: One file of probabilities a region, or none.
        bits: Of each probability.
        statistics: JSON of volumes and the like; None: not written.
        preview: PNG; None: not written.
    """

    mask: Path
    maps: tuple[Path, ...] = ()
    bits: MapBits = 8
    statistics: Path | None = None
    preview: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, the mask first."""
        extra = (path for path in (self.statistics, self.preview) if path)
        return (self.mask, *self.maps, *extra)


def outputs_of(
    mask: Path,
    regions: Iterable[str],
    *,
    bits: Bits = 0,
    statistics: bool = False,
    preview: bool = False,
) -> Outputs:
    """Name the files that go beside a mask.

    Example:
        >>> asked = outputs_of(Path("out/a.nii.gz"), ["lung"], bits=8, statistics=True)
        >>> [path.name for path in asked.files]
        ['a.nii.gz', 'a_lung.nii.gz', 'a.json']
    """
    stem, suffix = split_name(mask)
    suffix = ".nii.gz" if suffix == SEGMENTATION_SUFFIX else suffix  # it holds no probabilities
    maps = [mask.with_name(f"{stem}_{region}{suffix}") for region in regions] if bits else []
    return Outputs(
        mask,
        tuple(maps),
        bits or 8,
        mask.with_name(f"{stem}.json") if statistics else None,
        mask.with_name(f"{stem}.png") if preview else None,
    )


def split_name(path: Path) -> tuple[str, str]:
    """Name without its image suffix, and the suffix.

    Example:
        >>> split_name(Path("out/p1.v2.nii.gz"))
        ('p1.v2', '.nii.gz')
    """
    end = 2 if path.name.endswith(".nii.gz") else 1
    parts = path.name.rsplit(".", end)
    return parts[0], "." + ".".join(parts[1:])


@dataclass(frozen=True, eq=False)
class RestoredSlab:
    """Some planes, with all that was found in them, on the native grid.

    Args:
        start: Index of the lowest plane.
        hu: Shape ``(n, X, Y)``.
        boxes: Probabilities within the crop, shape ``(R, n, x, y)``.
        masks: Shape ``(R, n, X, Y)``.
        sides: 1 right and 2 left in and around the lung, shape ``(n, X, Y)``; or None.
        restorer: Knows where the crop lies.
    """

    start: int
    hu: NDArray[np.int16]
    boxes: NDArray[np.float32]
    masks: Masks
    sides: NDArray[np.uint8] | None
    restorer: Restorer


def write_outputs(found: Prediction, outputs: Outputs, *, watch: Watch = iter) -> dict[str, Any]:
    """Write what was found, on the scan's own grid; all files whole, or none.

    Planes are restored slab by slab, and packed and written in a thread of their own.

    Args:
        found: What was found.
        outputs: Where things go.
        watch: Wraps the slabs that are worked on, for instance in a progress bar.

    Returns:
        The statistics, ready for JSON, whether they are written or not.

    Raises:
        InputError: The scan is damaged, or a file cannot be written.
    """
    scan, regions = found.opened.held.scan, found.regions
    volumes = RegionMeasurements(regions.names, scan.grid)
    sketch = _sketch(found) if outputs.preview else None
    with ExitStack() as files, _background_writer() as later:
        mask = files.enter_context(_labels(outputs.mask, scan, regions))
        top = 2**outputs.bits - 1
        maps = [
            files.enter_context(mask_file(path, scan, scale=1 / top, bits=outputs.bits))
            for path in outputs.maps
        ]
        for slab in restored_slabs(found, watch):
            later(_write_slab, slab, mask, maps, top)
            volumes.add(slab.start, slab.hu, slab.masks, slab.sides)
            if sketch:
                sketch.add(slab.start, slab.hu, slab.masks)
    statistics = found.statistics(volumes)
    if outputs.preview and sketch:
        sketch.draw(outputs.preview, statistics)
    if outputs.statistics:
        write_text(outputs.statistics, json.dumps(statistics, indent=1) + "\n")
    return statistics


def restored_slabs(found: Prediction, watch: Watch = iter) -> Iterator[RestoredSlab]:
    """Take what was found off the canvas, slab by slab, in the order in which the file has them.

    Args:
        found: What was found.
        watch: Wraps the slabs.
    """
    domain, restorer = found.opened.recognised.domain, Restorer(found.placement)
    for start, planes in watch(found.opened.held.slabs()):
        stop = start + len(planes)
        seen = np.moveaxis(found.probabilities[start:stop], -1, 0)
        boxes = np.stack([restorer.restore(np.ascontiguousarray(region)) for region in seen])
        sides = None
        if found.sides is not None:
            sides = restorer.whole(restorer.nearest(found.sides[start:stop]))
        hu = whole_hu(domain.to_hu(planes))
        yield RestoredSlab(
            start, hu, boxes, restorer.whole(boxes >= found.threshold), sides, restorer
        )


def _write_slab(slab: RestoredSlab, mask: WriteMasks, maps: list[PlaneWriter], top: int) -> None:
    mask(slab.start, slab.masks)
    for writer, region in zip(maps, slab.boxes, strict=False):
        whole = slab.restorer.whole(np.rint(np.clip(region, 0.0, 1.0) * top))
        writer.write(slab.start, whole)


def _sketch(found: Prediction) -> "PreviewCollector":
    from thorax.inference.preview import PreviewCollector

    return PreviewCollector(found)


@contextmanager
def _labels(path: Path, scan: Scan, regions: Regions) -> Iterator[WriteMasks]:
    """Give a function that takes the masks of some planes, for a mask of any format."""
    if path.suffix == SEGMENTATION_SUFFIX:
        x, y, z = scan.grid.shape
        whole = np.zeros((len(regions.names), z, x, y), dtype=bool)

        def keep(start: int, masks: Masks) -> None:
            whole[:, start : start + masks.shape[1]] = masks

        yield keep
        write_segmentation(path, scan, whole, regions.names)
        return
    with mask_file(path, scan) as writer:
        yield lambda start, masks: writer.write(start, regions.merge(masks))


@contextmanager
def _background_writer() -> Iterator[Callable[..., None]]:
    """Give a function that has calls made in another thread, in turn, at most two waiting."""
    with ThreadPoolExecutor(1) as pool:
        waiting: list[Any] = []

        def later(call: Callable[..., Any], *arguments: Any) -> None:
            if len(waiting) == 2:
                waiting.pop(0).result()
            waiting.append(pool.submit(call, *arguments))

        yield later
        for one in waiting:
            one.result()
