"""The index of the records: what each holds, what it was made from, and its digest."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from thorax.common.errors import InputError
from thorax.common.files import file_sha256, write_text
from thorax.common.params import Crop
from thorax.imaging.overlap import Overlap

NAME = "index.json"

STRICT = ConfigDict(extra="forbid")


@checked(frozen=True, config=STRICT)
class RecordEntry:
    """One record and what it was made from.

    Args:
        case: Name of the case; the record is ``<case>.tfrecord``.
        patient: Whose scan it is.
        site: Where it comes from; empty if all cases come from one site.
        planes: How many planes it holds.
        scan_sha256: Digest of the scan file.
        mask_sha256: Digest of the mask file.
        intensity: What the voxel values of the scan meant, as `str` of `Domain`;
            the record is in HU.
        record_sha256: Digest of the record file.
        ceiling: For each region, the overlap of the mask with itself placed and restored.
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
    """All records of a dataset and the settings that they share.

    Args:
        form: What records hold and how; see `thorax.preprocessing.prepare.FORM`.
        dataset: Name of the dataset.
        canvas: Pixels a side of the canvas.
        crop: How the planes were cropped.
        regions: Region name → label values.
        ignored: Label values that belong to no region.
        records: Sorted by case.
    """

    form: int
    dataset: str
    canvas: int
    crop: Crop
    regions: dict[str, tuple[int, ...]]
    ignored: tuple[int, ...]
    records: tuple[RecordEntry, ...]

    def entry(self, case: str) -> RecordEntry:
        """The entry of a case.

        Raises:
            InputError: There is none.
        """
        for entry in self.records:
            if entry.case == case:
                return entry
        raise InputError(f"the records hold no case `{case}`; run `dvc repro prepare`")

    def digest(self, cases: Iterable[str]) -> str:
        """Digest of the records of some cases, in their order."""
        parts = [self.entry(case).record_sha256 for case in cases]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def save_index(folder: Path, index: RecordIndex) -> None:
    """Write ``index.json``, one line a value so that a diff reads well."""
    content = TypeAdapter(RecordIndex).dump_python(index, mode="json")
    write_text(folder / NAME, json.dumps(content, indent=1) + "\n")


def load_index(folder: Path) -> RecordIndex:
    """Read ``index.json``.

    Raises:
        InputError: It is missing or not of this form.
    """
    try:
        return TypeAdapter(RecordIndex).validate_json((folder / NAME).read_bytes())
    except OSError:
        raise InputError(f"there is no {folder / NAME}; run `dvc repro prepare`") from None
    except ValidationError:
        raise InputError(f"{folder / NAME} is damaged; run `dvc repro -sf prepare`") from None


def verify(folder: Path, entries: Iterable[RecordEntry]) -> list[Path]:
    """Check records against their digests.

    Returns:
        The paths of the records, in the order of the entries.

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
