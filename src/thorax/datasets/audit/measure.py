"""Measure a case: read both files once, slab by slab, and keep facts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.files import file_sha256
from thorax.datasets.audit.facts import CaseFacts, FileFacts, LabelFacts, ValueFacts
from thorax.datasets.audit.fingerprints import fingerprint
from thorax.datasets.audit.lung_labels import lung_labels
from thorax.datasets.audit.mask_fit import border_contrast, handedness, means
from thorax.datasets.dataset import DatasetSpec
from thorax.imaging.body import coarse_step
from thorax.imaging.grid import FACES
from thorax.imaging.intensity import whole_hu
from thorax.imaging.intensity_detection import detect_intensity_of_scan
from thorax.imaging.patient_orientation import find_orientation
from thorax.imaging.regions import MOST_LABELS, whole_labels
from thorax.io import NIFTI_SUFFIXES, Scan
from thorax.io.raw_header import read_raw_header

Coarse = NDArray[Any]


def measure(
    name: str, scan_path: Path | None, mask_path: Path | None, spec: DatasetSpec
) -> CaseFacts:
    """Measure a case; a file that cannot be read is a fact, not an error.

    Args:
        name: Name of the case.
        scan_path: Its scan; None if there is none.
        mask_path: Its mask; None if there is none.
        spec: States which labels are lung.
    """
    values, labels = _ValueCollector(), _LabelCollector(lung_labels(spec))
    scan = None if scan_path is None else _read(scan_path, values)
    mask = None if mask_path is None else _read(mask_path, labels)
    return CaseFacts(
        name,
        scan,
        mask,
        values.facts() if scan and not scan.problem else None,
        labels.facts(values.planes) if mask and not mask.problem else None,
    )


@dataclass(eq=False)
class _Collector:
    """Collects facts from the slabs of one file, and all planes with a few of their voxels."""

    _parts: list[tuple[int, Coarse]]
    planes: Coarse | None = None

    def __init__(self) -> None:
        self._parts = []

    def add(self, start: int, planes: NDArray[Any], depth: int) -> None:
        """Add a slab.

        Args:
            start: Index of its first plane.
            planes: Shape ``(n, X, Y)``.
            depth: Number of planes of the volume.
        """
        step = coarse_step((planes.shape[1], planes.shape[2]))
        self._parts.append((start, planes[:, ::step, ::step].copy()))

    def finish(self) -> None:
        """Join the slabs after the last one."""
        parts = sorted(self._parts, key=lambda part: part[0])
        self.planes = np.concatenate([planes for _, planes in parts])
        self._parts.clear()


class _ValueCollector(_Collector):
    """Collects the values of a scan."""

    def __init__(self) -> None:
        super().__init__()
        self._low, self._high = np.inf, -np.inf

    def add(self, start: int, planes: NDArray[Any], depth: int) -> None:
        """See `_Collector`."""
        super().add(start, planes, depth)
        self._low = min(self._low, float(planes.min()))
        self._high = max(self._high, float(planes.max()))

    def facts(self) -> ValueFacts:
        """Return the facts of the values."""
        assert self.planes is not None
        ordered = np.sort(self.planes, axis=None)
        flat = self.planes.min(axis=(1, 2)) == self.planes.max(axis=(1, 2))
        return ValueFacts(
            low=self._low,
            high=self._high,
            median=float(ordered[len(ordered) // 2]),
            mode_share=round(_longest_run(ordered) / len(ordered), 4),
            flat_planes=int(flat.sum()),
            fingerprint=fingerprint(self.planes, ordered),
            **_facts_in_hu(self.planes),
        )


class _LabelCollector(_Collector):
    """Collects the labels of a mask.

    Args:
        lungs: Label values of the lungs.
    """

    def __init__(self, lungs: tuple[int, ...]) -> None:
        super().__init__()
        self._lungs = lungs
        self._counts = np.zeros(MOST_LABELS, dtype=np.int64)
        self._faces = dict.fromkeys((face for faces in FACES for face in faces), 0)
        self._problem = ""

    def add(self, start: int, planes: NDArray[Any], depth: int) -> None:
        """See `_Collector`."""
        if self._problem:
            return
        try:
            labels = whole_labels(planes)
        except InputError as error:
            self._problem = str(error).partition(";")[0]  # The finding has the remedy.
            return
        super().add(start, labels, depth)
        # Most voxels are 0; leaving them out is faster than counting them.
        self._counts += np.bincount(labels[labels > 0], minlength=MOST_LABELS)
        for axis, faces in zip((1, 2), FACES[:2], strict=True):
            for face, index in zip(faces, (0, -1), strict=True):
                self._faces[face] += self._lung_voxels(np.moveaxis(labels, axis, 0)[index])
        if start == 0:
            self._faces[FACES[2][0]] += self._lung_voxels(labels[0])
        if start + len(labels) == depth:
            self._faces[FACES[2][1]] += self._lung_voxels(labels[-1])

    def finish(self) -> None:
        """See `_Collector`."""
        if not self._problem:
            super().finish()

    def facts(self, scan: Coarse | None) -> LabelFacts:
        """Return the facts of the labels, and their fit to the coarse planes of the scan."""
        if self.planes is None:
            return LabelFacts({}, self._problem)
        present = np.flatnonzero(self._counts[1:]) + 1
        lungs = np.isin(self.planes, self._lungs)
        under = scan if scan is not None and scan.shape == lungs.shape else None
        return LabelFacts(
            voxels={int(label): int(self._counts[label]) for label in present},
            faces={face: count for face, count in self._faces.items() if count},
            centres=_centres(self.planes),
            means={} if under is None else means(under, self.planes),
            border_contrasts=() if under is None else border_contrast(under, lungs),
            handedness=handedness(lungs),
        )

    def _lung_voxels(self, labels: NDArray[np.uint8]) -> int:
        return int(np.isin(labels, self._lungs).sum())


def _read(path: Path, collector: _Collector) -> FileFacts:
    """Read a file to its last voxel; any failure becomes the `problem` of its facts."""
    facts: dict[str, Any] = {"file": path.name}
    try:
        if not path.name.endswith(NIFTI_SUFFIXES):
            raise InputError(f"{path.name} must be a .nii or .nii.gz file; convert it")
        facts["sha256"] = file_sha256(path)
        header = read_raw_header(path)
        facts |= {
            "declared_mm": header.spacing,
            "oriented": header.oriented,
            "unit": header.unit,
        }
        scan = Scan(path)
        facts |= _grid(scan)
        for start, planes in scan.slabs():
            collector.add(start, planes, scan.grid.shape[2])
        collector.finish()
        facts["notes"] = (*scan.warnings, *scan.notes)
    except InputError as error:
        facts["problem"] = " ".join(str(error).replace(str(path), path.name).split())
    except MemoryError:
        facts["problem"] = f"{path.name} does not fit into memory"
    # Readers raise errors of many kinds for damaged files.
    except Exception as error:
        facts["problem"] = f"{path.name} cannot be read ({type(error).__name__})"
    return FileFacts(**facts)


def _grid(scan: Scan) -> dict[str, Any]:
    return {
        "shape": scan.grid.shape,
        "affine": np.round(scan.grid.affine, 6).tolist(),
        "orientation": "".join(orientations.ornt2axcodes(scan.orientation)),
    }


def _facts_in_hu(coarse: Coarse) -> dict[str, Any]:
    try:
        detected = detect_intensity_of_scan(coarse)
    except InputError as error:
        return {"refusal": " ".join(str(error).split())}
    hu = whole_hu(detected.scale.to_hu(coarse))
    return {
        "misorientation": find_orientation(hu).problem,
        "intensity": str(detected.scale),
        "kind": detected.kind,
        "remarks": detected.notes,
    }


def _longest_run(ordered: Coarse) -> int:
    """Count the most frequent of sorted values."""
    ends = np.flatnonzero(np.diff(ordered, append=ordered[-1:] + 1) != 0)
    return int(np.diff(ends, prepend=-1).max())


def _centres(labels: NDArray[np.uint8]) -> dict[int, tuple[float, float, float]]:
    """Centre of mass of each label, as shares of the extent along x, y and z."""
    sums = np.zeros((3, MOST_LABELS))
    for along, axis in enumerate((1, 2, 0)):
        size = labels.shape[axis]
        lines = np.moveaxis(labels, axis, 0).reshape(size, -1)
        counts = np.stack([np.bincount(line, minlength=MOST_LABELS) for line in lines])
        sums[along] = (np.arange(size) + 0.5) @ counts / size
    totals = np.bincount(labels.ravel(), minlength=MOST_LABELS)
    return {
        int(label): tuple(np.round(sums[:, label] / totals[label], 4).tolist())
        for label in np.flatnonzero(totals[1:]) + 1
    }
