"""Turned and mirrored scans that the orientation check notices, and its false alarms.

    python tests/benchmarks/patient_orientation.py [--phantoms 100] [SCAN ...]

SCAN is a scan file or a folder with one DICOM series, in its true orientation. The first table has
one row per turn, with the number of scans that got a warning and the most frequent warning. The
second has the warnings for scans in their true orientation, as they are and after changes that a
check has to tolerate. The thresholds of the check were chosen with phantoms of seeds 1 and 7,
9 public CTs and 8 public 8-bit exports; the phantoms here have another seed.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from measuring import say
from numpy.typing import NDArray

from thorax.common.parallel import worker_pool
from thorax.imaging.body import coarse_planes
from thorax.imaging.chest_features import segment_chest
from thorax.imaging.intensity import whole_hu
from thorax.imaging.intensity_detection import detect_intensity_of_scan
from thorax.imaging.patient_orientation import find_orientation
from thorax.io import Scan
from thorax.phantom import chest

SEED = 2

TURNS: dict[str, tuple[tuple[int, int, int], tuple[int, ...]]] = {
    "none": ((0, 1, 2), ()),
    "left and right swapped": ((0, 1, 2), (0,)),
    "front and back swapped": ((0, 1, 2), (1,)),
    "head and feet swapped": ((0, 1, 2), (2,)),
    "half turn, axial plane": ((0, 1, 2), (0, 1)),
    "half turn, coronal plane": ((0, 1, 2), (0, 2)),
    "half turn, sagittal plane": ((0, 1, 2), (1, 2)),
    "all three swapped": ((0, 1, 2), (0, 1, 2)),
    "quarter turn, axial plane": ((1, 0, 2), (0,)),
    "quarter turn, other way": ((1, 0, 2), (1,)),
    "quarter turn, sagittal plane": ((0, 2, 1), (1,)),
    "quarter turn, coronal plane": ((2, 1, 0), (0,)),
    "axes in the order z, x, y": ((2, 0, 1), ()),
    "axes in the order y, z, x": ((1, 2, 0), ()),
}
"""Order of the axes, then the reversed axes."""

Volume = NDArray[np.int16]
"""HU of shape ``(X, Y, Z)``."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Coarse volume of a scan in its true orientation, and its group."""

    group: str
    hu: Volume


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("scans", nargs="*", type=Path, metavar="SCAN")
    parser.add_argument("--phantoms", type=int, default=100)
    arguments = parser.parse_args()
    with worker_pool() as pool:
        samples = [*pool.map(load_phantom, range(arguments.phantoms))]
        samples += pool.map(load_scan, arguments.scans)
    groups = sorted({sample.group for sample in samples})
    say(f"{'turn':<36}" + "".join(f"{group:>16}" for group in groups) + "  most frequent warning")
    for name, (axes, flips) in TURNS.items():
        print_row(name, groups, samples, partial(turned, axes=axes, flips=flips))
    say(f"\n{'false alarms':<36}" + "".join(f"{group:>16}" for group in groups))
    for name, change in CHANGES.items():
        print_row(name, groups, samples, change)
    print_time(samples)


def load_phantom(number: int) -> Sample:
    """Make a synthetic chest."""
    synthetic = chest(number, seed=SEED)
    scan = synthetic.scan
    image = Scan.in_memory(scan.voxels, scan.grid.affine, name=synthetic.name)
    return Sample("phantoms", coarse_hu(image)[0])


def load_scan(path: Path) -> Sample:
    """Read a scan file."""
    hu, exported = coarse_hu(Scan(path))
    return Sample("8-bit exports" if exported else "CTs", hu)


def coarse_hu(scan: Scan) -> tuple[Volume, bool]:
    """Return the coarse volume of a scan in HU; True if the scan is an 8-bit export."""
    planes = coarse_planes(scan)
    scale = detect_intensity_of_scan(planes).scale
    return np.moveaxis(whole_hu(scale.to_hu(planes)), 0, 2), scale.window_hu is not None


def print_row(
    name: str, groups: list[str], samples: list[Sample], change: Callable[[Volume], Volume]
) -> None:
    """Print the number of warnings in each group after a change, and the most frequent warning."""
    warned, total = Counter[str](), Counter(sample.group for sample in samples)
    texts = Counter[str]()
    for sample in samples:
        text = warning(change(sample.hu))
        warned[sample.group] += bool(text)
        texts[text] += 1
    del texts[""]
    frequent = f"  {texts.most_common(1)[0][0]}" if texts else ""
    columns = (f"{warned[group]} of {total[group]}" for group in groups)
    say(f"{name:<36}" + "".join(f"{column:>16}" for column in columns) + frequent)


def warning(hu: Volume) -> str:
    """Return the warning for a volume, without the advice."""
    return find_orientation(np.moveaxis(hu, 2, 0)).warning.partition(";")[0]


def print_time(samples: list[Sample]) -> None:
    """Print the time of one check."""
    seconds = []
    for sample in samples:
        planes = np.ascontiguousarray(np.moveaxis(sample.hu, 2, 0))
        started = time.perf_counter()
        find_orientation(planes)
        seconds.append(time.perf_counter() - started)
    say(f"\n{np.median(seconds):.3f} s per scan (median), at most {max(seconds):.3f} s")


def turned(hu: Volume, *, axes: tuple[int, int, int], flips: tuple[int, ...]) -> Volume:
    """Change the order and the directions of the axes."""
    return np.flip(np.transpose(hu, axes), flips)


def without_couch(hu: Volume, *, outside_hu: int = -1000) -> Volume:
    """Set everything outside the body to one value."""
    return np.where(body_box_mask(hu), hu, outside_hu).astype(np.int16)


def prone(hu: Volume) -> Volume:
    """Move the couch from the back to the front."""
    alone = without_couch(hu)
    front = int(np.flatnonzero(body_box_mask(hu).any(axis=(0, 2)))[-1])
    edge = hu.shape[0] // 8
    couch = alone[edge:-edge, front + 1 : front + 4]
    couch[couch < -400] = -150
    return alone


def body_box_mask(hu: Volume) -> NDArray[np.bool_]:
    """Return the voxels of the box around the body."""
    small = segment_chest(hu)
    mask = np.zeros(hu.shape, dtype=bool)
    if small is None:
        return ~mask
    x, y = (
        scaled(np.flatnonzero(small.body.any(axis=others)), small.hu.shape[axis], hu.shape[axis])
        for axis, others in ((0, (1, 2)), (1, (0, 2)))
    )
    mask[x, y] = True
    return mask


def scaled(positions: NDArray[np.intp], size: int, whole: int) -> slice:
    """Convert a range of coarse positions to voxels."""
    factor = whole / size
    return slice(int(positions[0] * factor), int(np.ceil((positions[-1] + 1) * factor)))


def cropped(hu: Volume, *, margin: int) -> Volume:
    """Crop the slices to the lungs with a margin."""
    small = segment_chest(hu)
    if small is None:
        return hu
    box = []
    for axis in range(2):
        factor = hu.shape[axis] / small.hu.shape[axis]
        first, last = small.spans[axis]
        low, high = int(first * factor) - margin, int((last + 1) * factor) + margin
        box.append(slice(max(0, low), high))
    return hu[tuple(box)]


def cut(hu: Volume, *, share: float, left: bool) -> Volume:
    """Crop a share of the lungs' width at one side, and of their depth in front."""
    small = segment_chest(hu)
    if small is None:
        return hu
    box = []
    for axis in range(2):
        first, last = small.spans[axis]
        size = round(share * (last + 1 - first))
        low_end = axis == 0 and left
        kept = range(first + size, small.hu.shape[axis]) if low_end else range(last + 1 - size)
        box.append(scaled(np.array(kept), small.hu.shape[axis], hu.shape[axis]))
    return hu[tuple(box)]


def one_lung(hu: Volume) -> Volume:
    """Fill the right lung with fluid."""
    small = segment_chest(hu)
    if small is None:
        return hu
    middle = round(small.middle * hu.shape[0] / small.hu.shape[0])
    filled = hu.copy()
    right = filled[middle:]
    right[body_box_mask(hu)[middle:] & (right < -300)] = 20
    return filled


def effusions(hu: Volume) -> Volume:
    """Fill the back of both lungs with fluid, in the lower half of the scan."""
    filled = hu.copy()
    low = filled[:, : hu.shape[1] * 2 // 5, : hu.shape[2] // 2]
    inside = body_box_mask(hu)[:, : hu.shape[1] * 2 // 5, : hu.shape[2] // 2]
    low[inside & (low < -300)] = 20
    return filled


def noisy(hu: Volume, *, deviation_hu: float) -> Volume:
    """Add Gaussian noise."""
    noise = np.random.default_rng(0).normal(0, deviation_hu, hu.shape)
    return np.clip(hu + noise, -1024, 3071).astype(np.int16)


def part(hu: Volume, *, low: float, high: float) -> Volume:
    """Keep a part of the slices."""
    return hu[:, :, int(low * hu.shape[2]) : int(high * hu.shape[2])]


CHANGES: dict[str, Callable[[Volume], Volume]] = {
    "as it is": lambda hu: hu,
    "without a couch": without_couch,
    "outside the body -1024": partial(without_couch, outside_hu=-1024),
    "prone, couch in front": prone,
    "cropped near the lungs": partial(cropped, margin=6),
    "cropped to the lungs": partial(cropped, margin=0),
    "left fifth of the lungs cut off": partial(cut, share=0.2, left=True),
    "right fifth of the lungs cut off": partial(cut, share=0.2, left=False),
    "lower 60 % of the slices": partial(part, low=0, high=0.6),
    "lower 40 % of the slices": partial(part, low=0, high=0.4),
    "upper 60 % of the slices": partial(part, low=0.4, high=1),
    "upper 40 % of the slices": partial(part, low=0.6, high=1),
    "middle 20 % of the slices": partial(part, low=0.4, high=0.6),
    "every second slice": lambda hu: hu[:, :, ::2],
    "every fourth slice": lambda hu: hu[:, :, ::4],
    "noise of 60 HU": partial(noisy, deviation_hu=60),
    "noise of 150 HU": partial(noisy, deviation_hu=150),
    "right lung filled with fluid": one_lung,
    "fluid in the back of both lungs": effusions,
    "window of -1000..300 HU": lambda hu: np.clip(hu, -1000, 300),
    "air above and below": lambda hu: np.pad(hu, ((0, 0), (0, 0), (9, 9)), constant_values=-1000),
}
"""Changes that leave the orientation as it is."""


if __name__ == "__main__":
    main()
