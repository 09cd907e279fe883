"""Law: a scan has every slice of its series, or it is refused, or the user is warned.

However the slices of one volume are split into series, repeated, shuffled, renumbered or sent
again, and whichever headers are damaged, one of the three holds.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.io.conftest import one_slice

from thorax.common.errors import InputError
from thorax.io import Scan

EXAMPLES = int(os.environ.get("THORAX_EXAMPLES", "150"))
STEP_MM = 2.5

Change = Callable[[int, pydicom.Dataset], None]


@dataclass(frozen=True)
class SentSeries:
    """A volume as an archive may send it.

    Args:
        values: HU of each slice: all its pixels have this value, and no two slices the same.
        changes: Changes of the headers; each gets the index of the slice.
        copies: Indices of slices that are sent again, unchanged.
        altered: Indices of slices that are sent again with other pixels.
        damaged: Indices of slices whose file is cut short.
        order: Order of the file names.
        folders: Number of subfolders over which the files are spread.
    """

    values: tuple[int, ...]
    changes: tuple[tuple[str, Change], ...]
    copies: tuple[int, ...] = ()
    altered: tuple[int, ...] = ()
    damaged: tuple[int, ...] = ()
    order: tuple[int, ...] = ()
    folders: int = 1

    def save(self, folder: Path) -> None:
        """Write the files."""
        sent = [(index, 0) for index in range(len(self.values))]
        sent += [(index, 0) for index in self.copies] + [(index, 50) for index in self.altered]
        for name, (index, added) in enumerate(sent):
            place = self.order[name % len(self.order)]
            path = folder / str(place % self.folders) / f"IM{place:03}_{name:03}"
            path.parent.mkdir(exist_ok=True)
            header = one_slice(
                np.full((4, 3), self.values[index] + added + 1024), (0, 0, index * STEP_MM)
            )
            for _, change in self.changes:
                change(index, header)
            header.save_as(path, enforce_file_format=True)
            if name in self.damaged:
                path.write_bytes(path.read_bytes()[:300])


def per_slice(tag: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, Change]]:
    """Return changes that set a tag of each slice to a value drawn for it; None deletes it."""

    def setter(drawn: list[Any]) -> tuple[str, Change]:
        def change(index: int, header: pydicom.Dataset) -> None:
            value = drawn[index % len(drawn)]
            if value is not None:
                setattr(header, tag, value)
            elif tag in header:
                del header[tag]

        return f"{tag} {'deleted' if None in drawn else 'varied'}", change

    return st.lists(values, min_size=1, max_size=24).map(setter)


NUMBERS = st.integers(0, 30)
UIDS = st.sampled_from(["1.2.3.4", "1.2.3.5", "1.2.3.6", ""]) | NUMBERS.map(lambda n: f"1.2.9.{n}")
SERIES = per_slice("SeriesInstanceUID", UIDS | st.none())
IDENTITY = st.one_of(
    per_slice("SOPInstanceUID", UIDS | st.none()),
    per_slice("SeriesNumber", st.none() | NUMBERS),
    per_slice("AcquisitionNumber", st.none() | NUMBERS),
    per_slice("InstanceNumber", st.none() | NUMBERS),
    per_slice("AcquisitionTime", st.sampled_from(["101010", "101011", "101012"])),
    per_slice("FrameOfReferenceUID", UIDS | st.none()),
    per_slice("SliceThickness", st.sampled_from([2.5, 5.0])),
)
KIND = st.one_of(
    per_slice("ConvolutionKernel", st.sampled_from(["B30f", "B70f"])),
    per_slice("ImageType", st.sampled_from([["ORIGINAL", "PRIMARY"], ["DERIVED", "SECONDARY"]])),
    per_slice("PixelSpacing", st.sampled_from([[0.8, 0.7], [0.8001, 0.7], [0.9, 0.9]])),
    per_slice(
        "ImageOrientationPatient",
        st.sampled_from([[1, 0, 0, 0, 1, 0], [1, 0.004, 0, -0.004, 1, 0]]),
    ),
    per_slice("ImagePositionPatient", st.none()),
)
"""Slices of another series that differ in these are not a part of the same volume."""
CHANGES = st.lists(IDENTITY | SERIES, max_size=3) | st.lists(IDENTITY | KIND, max_size=3)


@st.composite
def sent_series(draw: st.DrawFn) -> SentSeries:
    """Draw a volume of 2 to 14 slices, and how it is sent."""
    count = draw(st.integers(2, 14))
    indices = st.lists(st.integers(0, count - 1), min_size=1, max_size=count).map(tuple)
    kinds = draw(st.lists(st.sampled_from(["copies", "altered", "damaged"]), max_size=1))
    return SentSeries(
        tuple(range(-1000, -1000 + 60 * count, 60)),
        tuple(draw(CHANGES)),
        order=tuple(draw(st.permutations(range(count)))),
        folders=draw(st.integers(1, 3)),
        **{kind: draw(indices) if kind == "copies" else draw(indices)[:1] for kind in kinds},
    )


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(sent_series())
def test_all_slices_are_used_or_the_user_is_warned(sent: SentSeries) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sent.save(Path(folder))
        try:
            scan = Scan(Path(folder))
            means = scan.voxels().mean(axis=(0, 1)).tolist()
        except InputError:
            event("refused")
            return
    event("warned" if scan.warnings else "complete")
    assert scan.warnings or means == list(sent.values)


def test_the_law_notices_a_lost_slice(tmp_path: Path) -> None:
    """Two slices in the volume, one of which states no position: the law must not pass silently."""

    def without_position(index: int, header: pydicom.Dataset) -> None:
        if index == 10:
            del header.ImagePositionPatient

    sent = SentSeries(tuple(range(0, 1200, 60)), (("position", without_position),), order=(0,))
    sent.save(tmp_path)
    scan = Scan(tmp_path)
    assert scan.grid.shape[2] == 19
    assert scan.warnings[0].startswith(
        "1 of 20 slices are missing: slices are missing between 22.5"
    )


@pytest.mark.parametrize("uids", ["one for each slice", "one for every five slices", "none"])
def test_a_series_that_an_anonymiser_split_is_one_scan(tmp_path: Path, uids: str) -> None:
    def change(index: int, header: pydicom.Dataset) -> None:
        number = index if uids == "one for each slice" else index // 5
        header.SeriesInstanceUID = "" if uids == "none" else f"1.2.7.{number}"

    values = tuple(range(-1000, 200, 60))
    SentSeries(values, (("uid", change),), order=tuple(range(20))).save(tmp_path)
    scan = Scan(tmp_path)
    assert scan.voxels().mean(axis=(0, 1)).tolist() == list(values)
    assert scan.warnings == ()
