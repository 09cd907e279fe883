"""The index of the records: content, sources and digest of each."""

import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from thorax.common.crop import Crop
from thorax.common.errors import InputError
from thorax.common.files import file_sha256, write_text
from thorax.imaging.overlap import Overlap

NAME = "index.json"

STRICT = ConfigDict(extra="forbid")


@checked(frozen=True, config=STRICT)
class RecordEntry:
    """One record and its sources.

    Args:
        case: Name of the case; the record is ``<case>.tfrecord``.
        patient: Name of the patient.
        site: Origin of the scan; empty if all cases come from one site.
        planes: Number of planes.
        scan_sha256: Digest of the scan file.
        mask_sha256: Digest of the mask file.
        intensity: Intensity scale of the scan file, as `str` of `IntensityScale`; the record is in
            HU.
        record_sha256: Digest of the record file.
        ceiling: For each region, the overlap of the mask with its placed and restored copy.
    """

    case: str
    patient: str
    site: str
    planes: int
    scan_sha256: str
    mask_sha256: str
    intensity: str
    record_sha256: str
    ceiling: dict[str, Overlap]


@checked(frozen=True, config=STRICT)
class RecordIndex:
    """All records of a dataset and their common settings.

    Args:
        format_version: Version of the records; see
            `thorax.preprocessing.prepare.FORMAT_VERSION`.
        dataset: Name of the dataset.
        canvas: Pixels per side of the canvas.
        crop: Crop of the planes.
        regions: Region name → label values.
        ignored: Label values that belong to no region.
        records: Sorted by case.
        additional: Synthetic chests and copies, for training only; sorted by case. A copy has the
            patient of its source.
    """

    format_version: int
    dataset: str
    canvas: int
    crop: Crop
    regions: dict[str, tuple[int, ...]]
    ignored: tuple[int, ...]
    records: tuple[RecordEntry, ...]
    additional: tuple[RecordEntry, ...] = ()

    def entry(self, case: str) -> RecordEntry:
        """Look up the entry of a case.

        Raises:
            InputError: There is no such case.
        """
        if case not in self._by_case:
            raise InputError(f"there is no record of case `{case}`; run `dvc repro prepare`")
        return self._by_case[case]

    @cached_property
    def _by_case(self) -> dict[str, RecordEntry]:
        return {entry.case: entry for entry in (*self.additional, *self.records)}

    def training_entries(self, cases: Iterable[str]) -> list[RecordEntry]:
        """Return the entries of the training cases and of the additional records.

        Copies of a patient with a scan that is not trained on are left out: they may be copies of
        that scan, which published folds may test.

        Args:
            cases: Training cases.
        """
        trained = {case: self.entry(case) for case in cases}
        others = {entry.patient for entry in self.records if entry.case not in trained}
        added = [entry for entry in self.additional if entry.patient not in others]
        return [*trained.values(), *added]

    def digest(self, cases: Iterable[str]) -> str:
        """Digest of the records of the given cases, in this order."""
        parts = [self.entry(case).record_sha256 for case in cases]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def save_index(folder: Path, index: RecordIndex) -> None:
    """Write ``index.json``, one value per line for readable diffs."""
    content = TypeAdapter(RecordIndex).dump_python(index, mode="json")
    write_text(folder / NAME, json.dumps(content, indent=1) + "\n")


def load_index(folder: Path) -> RecordIndex:
    """Read ``index.json``.

    Raises:
        InputError: It is missing, damaged or of an older format.
    """
    try:
        return TypeAdapter(RecordIndex).validate_json((folder / NAME).read_bytes())
    except OSError:
        raise InputError(f"there is no {folder / NAME}; run `dvc repro prepare`") from None
    except ValidationError:
        raise InputError(
            f"{folder / NAME} is damaged or of an older format; run `dvc repro -sf prepare`"
        ) from None


def verify_records(folder: Path, entries: Iterable[RecordEntry]) -> list[Path]:
    """Compare records with their digests.

    Returns:
        Paths of the records, in the order of the entries.

    Raises:
        InputError: A record is missing or was changed.
    """
    paths = []
    for entry in entries:
        path = folder / f"{entry.case}.tfrecord"
        if not path.is_file() or file_sha256(path) != entry.record_sha256:
            raise InputError(
                f"record {path} is missing, cut short or damaged: its digest is not that of the "
                "index; make it again with `dvc repro -sf prepare`"
            )
        paths.append(path)
    return paths
