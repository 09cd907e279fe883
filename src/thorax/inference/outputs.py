"""Restore masks to the grid of the scan, measure them, and write them with the optional files."""

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from thorax.common.files import whole_file
from thorax.common.machine import cores
from thorax.common.parallel import ordered
from thorax.imaging.intensity import whole_hu
from thorax.imaging.lung_sides import LUNG, SIDE_NAMES
from thorax.inference.measurements import RegionMeasurements
from thorax.inference.postprocessing import near_masks
from thorax.inference.segmenter import Prediction
from thorax.inference.statistics import ScanStatistics
from thorax.io import (
    SEGMENTATION_SUFFIX,
    STRUCTURE_SET_SUFFIX,
    PlaneWriter,
    Scan,
    mask_file,
    open_mask_file,
    write_dicom_masks,
)
from thorax.io.cached_scan import Slab

if TYPE_CHECKING:
    from thorax.inference.preview import PreviewCollector

MapBits = Literal[8, 16]

Bits = Literal[0, 8, 16]
"""Bits per probability; 0: probabilities are not written."""

Masks = NDArray[np.bool_]

Progress = Callable[[Iterable[Slab]], Iterable[Slab]]
"""Wraps the slabs that are processed, for instance in a progress bar."""


@dataclass(frozen=True)
class Outputs:
    """The files to write for a scan.

    Args:
        mask: The mask.
        maps: Probability maps, one per region, or none.
        bits: Bits per probability.
        statistics: JSON file of the statistics; None: not written.
        preview: PNG file of the preview; None: not written.
        all_frames: Write frames of a DICOM segmentation without a voxel of their region, too.
    """

    mask: Path
    maps: tuple[Path, ...] = ()
    bits: MapBits = 8
    statistics: Path | None = None
    preview: Path | None = None
    all_frames: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, the mask first."""
        extra = (path for path in (self.statistics, self.preview) if path)
        return (self.mask, *self.maps, *extra)


def name_outputs(
    mask: Path,
    regions: Iterable[str],
    *,
    bits: Bits = 0,
    statistics: bool = False,
    preview: bool = False,
    all_frames: bool = False,
) -> Outputs:
    """Name the files next to a mask.

    Example:
        >>> outputs = name_outputs(Path("out/a.nii.gz"), ["lung"], bits=8, statistics=True)
        >>> [path.name for path in outputs.files]
        ['a.nii.gz', 'a_lung.nii.gz', 'a.json']
    """
    stem, suffix = split_name(mask)
    # DICOM segmentations and structure sets cannot store these probabilities.
    suffix = ".nii.gz" if suffix.endswith(SEGMENTATION_SUFFIX) else suffix
    maps = [mask.with_name(f"{stem}_{region}{suffix}") for region in regions] if bits else []
    return Outputs(
        mask,
        tuple(maps),
        bits or 8,
        mask.with_name(f"{stem}.json") if statistics else None,
        mask.with_name(f"{stem}.png") if preview else None,
        all_frames,
    )


def split_name(path: Path) -> tuple[str, str]:
    """Return a file name without its image suffix, and the suffix.

    Example:
        >>> split_name(Path("out/p1.v2.nii.gz"))
        ('p1.v2', '.nii.gz')
        >>> split_name(Path("p1.rtss.dcm"))
        ('p1', '.rtss.dcm')
    """
    end = 2 if path.name.endswith((".nii.gz", STRUCTURE_SET_SUFFIX)) else 1
    parts = path.name.rsplit(".", end)
    return parts[0], "." + ".".join(parts[1:])


@dataclass(frozen=True, eq=False)
class RestoredSlab:
    """A slab of a segmented scan on the grid of the scan.

    All but ``planes`` is limited to a box of the slices, outside of which all masks are empty.

    Args:
        start: Index of the lowest slice.
        planes: Voxel values, shape ``(n, X, Y)``; within the crop if only the crop was kept.
        box: Voxels of the box along x and y.
        hu: Shape ``(n, x, y)``.
        masks: Shape ``(R, n, x, y)``.
        sides: 1 right and 2 left in and around the lung, shape ``(n, x, y)``; or None.
        labels: Label values of the mask, shape ``(n, x, y)``.
        probabilities: Shape ``(R, n, x, y)``, or None if they are not needed.
    """

    start: int
    planes: NDArray[Any]
    box: tuple[slice, slice]
    hu: NDArray[np.int16]
    masks: Masks
    sides: NDArray[np.uint8] | None
    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float32] | None


WriteMask = Callable[[RestoredSlab], object]


def write_outputs(
    prediction: Prediction, outputs: Outputs, *, progress: Progress = iter, last: bool = False
) -> ScanStatistics:
    """Write the files of a segmented scan on its own grid, all of them or none.

    Slabs are restored in several threads, and compressed and written in another one.

    Args:
        prediction: The segmentation.
        outputs: The files to write.
        progress: Wraps the slabs, for instance in a progress bar.
        last: Free the cached scan slab by slab.

    Returns:
        The statistics, also if they are not written.

    Raises:
        InputError: The scan is damaged, or a file cannot be written.
    """
    with ExitStack() as files:
        others = [path for path in outputs.files if path != outputs.mask]
        temporary = {path: files.enter_context(whole_file(path)) for path in others}
        # The files are renamed in reverse order, once the mask is complete.
        mask = files.enter_context(_mask_writer(outputs, prediction.scan, prediction))
        preview = _preview_collector(prediction) if outputs.preview else None
        statistics = _write_planes(
            prediction,
            mask,
            [temporary[path] for path in outputs.maps],
            bits=outputs.bits,
            preview=preview,
            progress=progress,
            last=last,
        )
        if outputs.preview and preview:
            preview.draw(temporary[outputs.preview], statistics)
        if outputs.statistics:
            text = json.dumps(statistics.as_dict(), indent=1) + "\n"
            temporary[outputs.statistics].write_text(text, encoding="utf-8")
    return statistics


def _write_planes(
    prediction: Prediction,
    mask: WriteMask,
    paths: Iterable[Path],
    *,
    bits: MapBits,
    preview: "PreviewCollector | None",
    progress: Progress,
    last: bool,
) -> ScanStatistics:
    """Write mask and probabilities slab by slab, and collect the preview."""
    scan, top = prediction.scan, 2**bits - 1
    with ExitStack() as files, _background_writer() as submit:
        maps = [
            files.enter_context(open_mask_file(path, scan, scale=1 / top, bits=bits))
            for path in paths
        ]

        def consume(slab: RestoredSlab) -> None:
            submit(_write_slab, slab, mask, maps, top)
            if preview:
                preview.add(slab)

        return restore(prediction, consume, progress=progress, with_maps=bool(maps), last=last)


def restore(
    prediction: Prediction,
    consume: Callable[[RestoredSlab], object],
    *,
    progress: Progress = iter,
    with_maps: bool = False,
    last: bool = False,
) -> ScanStatistics:
    """Restore a segmentation to the grid of its scan slab by slab, and measure it.

    Args:
        prediction: The segmentation.
        consume: Called with each slab, in the order of the file.
        progress: Wraps the slabs, for instance in a progress bar.
        with_maps: Restore the probabilities of the whole crop, not only around the masks.
        last: Free the cached scan slab by slab.
    """
    measurements = RegionMeasurements(prediction.regions.names, prediction.grid)
    slabs = progress(prediction.preprocessed.cached.slabs(last=last))
    work = partial(_restore_slab, prediction, with_maps=with_maps)
    for slab in ordered(work, slabs, threads=cores()):
        consume(slab)
        corner = slab.box[0].start, slab.box[1].start
        measurements.add(slab.start, slab.hu, slab.masks, slab.sides, corner=corner)
    return prediction.statistics(measurements)


def _restore_slab(prediction: Prediction, slab: Slab, *, with_maps: bool) -> RestoredSlab:
    start, planes = slab
    stop = start + len(planes)
    placement, preprocessed = prediction.placement, prediction.preprocessed
    maps = np.moveaxis(prediction.probabilities[start:stop], -1, 0)
    voxels = placement.voxels
    if not with_maps:
        near = np.any(near_masks(maps, prediction.threshold), axis=0)
        voxels = placement.voxels_near(near)
    x, y = (
        slice(crop.start + part.start, crop.start + part.stop)
        for crop, part in zip(placement.crop, voxels, strict=True)
    )
    probabilities = np.stack([placement.restore_part(region, voxels) for region in maps])
    sides = None
    if prediction.sides is not None:
        sides = placement.restore_label_part(prediction.sides[start:stop], voxels)
    values = planes[:, *(voxels if preprocessed.cached.crop else (x, y))]
    hu = whole_hu(preprocessed.intensity.scale.to_hu(values))
    masks = probabilities >= prediction.threshold
    labels = _labels(masks, sides, prediction)
    kept = probabilities if with_maps else None
    return RestoredSlab(start, planes, (x, y), hu, masks, sides, labels, kept)


def _labels(
    masks: Masks, sides: NDArray[np.uint8] | None, prediction: Prediction
) -> NDArray[np.uint8]:
    """Return the label values of masks ``(R, n, x, y)``.

    Voxels that are lung and nothing else get the label of their side, if the model has side labels.
    """
    labels = prediction.regions.merge(masks)
    if sides is None or not prediction.side_labels:
        return labels
    only_lung = labels == prediction.regions.label_alone(LUNG)
    for side, name in SIDE_NAMES.items():
        np.copyto(labels, prediction.side_labels[name], where=only_lung & (sides == side))
    return labels


def _preview_collector(prediction: Prediction) -> "PreviewCollector":
    from thorax.inference.preview import PreviewCollector  # matplotlib takes long to import

    return PreviewCollector(prediction)


def _write_slab(slab: RestoredSlab, mask: WriteMask, maps: list[PlaneWriter], top: int) -> None:
    mask(slab)
    for number, writer in enumerate(maps):
        assert slab.probabilities is not None
        stored = np.rint(np.clip(slab.probabilities[number], 0.0, 1.0) * top)
        writer.write(slab.start, stored, slab.box)


@contextmanager
def _mask_writer(outputs: Outputs, scan: Scan, prediction: Prediction) -> Iterator[WriteMask]:
    """Yield a function that writes the masks of a slab, for a mask file of any format."""
    path, regions = outputs.mask, prediction.regions
    if path.suffix == SEGMENTATION_SUFFIX:
        x, y, z = scan.grid.shape
        whole = np.zeros((len(regions.names), z, x, y), dtype=bool)

        def keep(slab: RestoredSlab) -> None:
            stop = slab.start + slab.masks.shape[1]
            whole[:, slab.start : stop, *slab.box] = slab.masks

        yield keep
        write_dicom_masks(path, scan, whole, regions.names, all_frames=outputs.all_frames)
        return
    with mask_file(path, scan) as writer:
        yield lambda slab: writer.write(slab.start, slab.labels, slab.box)


@contextmanager
def _background_writer() -> Iterator[Callable[..., None]]:
    """Yield a function that runs calls in another thread, in order, with at most two at a time."""
    with ThreadPoolExecutor(1) as pool:
        waiting: list[Future[Any]] = []

        def submit(call: Callable[..., Any], *arguments: Any) -> None:
            if len(waiting) == 2:
                waiting.pop(0).result()
            waiting.append(pool.submit(call, *arguments))

        yield submit
        for future in waiting:
            future.result()
