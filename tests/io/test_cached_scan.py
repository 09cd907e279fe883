"""A scan is read once where it is small, and what is read is the scan."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nibabel import orientations

from thorax.common.errors import InputError
from thorax.common.parallel import prefetch
from thorax.io import Scan
from thorax.io.cached_scan import CachedScan

SaveNifti = Callable[..., Path]
CHEST = np.arange(3 * 2 * 40, dtype=np.int16).reshape(3, 2, 40)
"""Forty planes are three slabs; every voxel has a value of its own."""
CHEST_BYTES = 3 * 2 * 40 * 2


class Counted:
    """A scan that counts how often it is gone through."""

    def __init__(self, path: Path) -> None:
        self._scan = Scan(path)
        self.grid = self._scan.grid
        self.rounds = 0

    def slabs(self) -> Iterator[tuple[int, np.ndarray]]:
        self.rounds += 1
        for start, planes in self._scan.slabs():
            yield start, planes.copy()


def put_together(held: CachedScan) -> np.ndarray:
    """All planes as ``(X, Y, Z)``, or an error where one is missing."""
    planes = {start + n: plane for start, slab in held.slabs() for n, plane in enumerate(slab)}
    return np.stack([planes[number] for number in range(held.grid.shape[2])], axis=2)


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


@pytest.fixture
def counted(save_nifti: SaveNifti) -> Counted:
    return Counted(save_nifti("chest.nii", CHEST))


# How often a file is read


def test_a_small_scan_is_read_once(counted: Any) -> None:
    held = CachedScan(counted)
    for _ in range(3):
        np.testing.assert_array_equal(put_together(held), CHEST)
    assert counted.rounds == 1


@pytest.mark.parametrize(("most_bytes", "rounds"), [(CHEST_BYTES, 1), (CHEST_BYTES - 1, 2)])
def test_most_bytes_is_the_largest_scan_that_is_held(
    counted: Any, most_bytes: int, rounds: int
) -> None:
    held = CachedScan(counted, most_bytes=most_bytes)
    for _ in range(2):
        np.testing.assert_array_equal(put_together(held), CHEST)
    assert counted.rounds == rounds


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_voxels_of_more_than_16_bits_are_read_again(save_nifti: SaveNifti, dtype: Any) -> None:
    scan: Any = Counted(save_nifti("chest.nii", CHEST.astype(dtype)))
    held = CachedScan(scan)
    for _ in range(2):
        np.testing.assert_array_equal(put_together(held), CHEST)
    assert scan.rounds == 2


def test_nothing_is_read_before_it_is_asked_for(counted: Any) -> None:
    CachedScan(counted).slabs()
    assert counted.rounds == 0


# What is read


@pytest.mark.parametrize("order", ["RAS", "LPS", "RAI", "LPI", "SAR", "RSA", "IPL"])
def test_planes_are_those_of_the_scan_whatever_the_file_stores(tmp_path: Path, order: str) -> None:
    """I: from head to feet; S or I first or second: another axis is stored slowest."""
    turn = orientations.ornt_transform(
        orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(order)
    )
    image = nibabel.Nifti1Image(CHEST, np.diag([0.8, 0.9, 2.5, 1.0])).as_reoriented(turn)
    nibabel.save(image, tmp_path / "chest.nii.gz")
    held = CachedScan(Scan(tmp_path / "chest.nii.gz"))
    for _ in ("from the file", "from memory"):
        np.testing.assert_array_equal(put_together(held), CHEST)


def test_slabs_come_in_the_order_of_the_file_each_time(tmp_path: Path) -> None:
    head_first = nibabel.Nifti1Image(CHEST[:, :, ::-1], np.diag([1.0, 1.0, -2.0, 1.0]))
    nibabel.save(head_first, tmp_path / "chest.nii")
    held = CachedScan(Scan(tmp_path / "chest.nii"))
    for _ in ("from the file", "from memory"):
        assert [(start, len(slab)) for start, slab in held.slabs()] == [(24, 16), (8, 16), (0, 8)]


def test_what_is_held_cannot_be_written_to(counted: Any) -> None:
    """Else whoever changes planes in place would change them for the next, too."""
    held = CachedScan(counted)
    for _ in ("from the file", "from memory"):
        for _, planes in held.slabs():
            with pytest.raises(ValueError, match="read-only"):
                planes[0, 0, 0] = 7


def test_two_rounds_at_once_do_not_mix(counted: Any) -> None:
    held = CachedScan(counted)
    for (first, one), (second, two) in zip(held.slabs(), held.slabs(), strict=True):
        assert first == second
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(put_together(held), CHEST)
    assert [start for start, _ in held.slabs()] == [0, 16, 32]


# What goes wrong


def test_an_error_while_reading_arrives_where_planes_are_asked_for(
    save_nifti: SaveNifti,
) -> None:
    path = save_nifti("chest.nii", np.where(CHEST.max() == CHEST, np.nan, CHEST))
    slabs = CachedScan(Scan(path)).slabs()
    assert [next(slabs)[0], next(slabs)[0]] == [0, 16]
    with pytest.raises(InputError, match=r"chest\.nii"):
        next(slabs)
    assert readers() == []


def test_a_scan_that_failed_is_read_anew(counted: Any) -> None:
    held, whole = CachedScan(counted), counted._scan

    def failing() -> Iterator[tuple[int, np.ndarray]]:
        yield 0, CHEST[:, :, :16].T
        raise InputError("the share is gone")

    counted._scan = type("Failing", (), {"slabs": staticmethod(failing)})
    with pytest.raises(InputError, match="the share is gone"):
        list(held.slabs())
    counted._scan = whole
    np.testing.assert_array_equal(put_together(held), CHEST)


def test_stopping_in_the_middle_leaves_no_thread_and_reads_anew(counted: Any) -> None:
    held = CachedScan(counted)
    slabs = held.slabs()
    assert next(slabs)[0] == 0
    assert len(readers()) == 1
    slabs.close()  # type: ignore[attr-defined]
    assert readers() == []
    np.testing.assert_array_equal(put_together(held), CHEST)
    assert counted.rounds == 2


def test_a_round_that_is_forgotten_leaves_no_thread(counted: Any) -> None:
    for _ in CachedScan(counted).slabs():
        break
    gc.collect()
    assert readers() == []


# One ahead


class Noted:
    """A generator that notes how far it came, and whether it was closed."""

    def __init__(self, count: int) -> None:
        self.asked: list[int] = []
        self.closed_in: list[str] = []
        self.items = self._items(count)

    def _items(self, count: int) -> Iterator[int]:
        try:
            for number in range(count):
                self.asked.append(number)
                yield number
        finally:
            self.closed_in.append(threading.current_thread().name)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not true() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert true()


def test_the_next_item_is_made_while_one_is_worked_on_and_no_more() -> None:
    noted = Noted(5)
    items = prefetch(noted.items)
    assert noted.asked == []
    for number in range(3):
        assert next(items) == number
        wait_until(lambda expected=number + 2: len(noted.asked) == expected)
    time.sleep(0.05)
    assert noted.asked == [0, 1, 2, 3]
    items.close()


def test_items_are_made_in_another_thread() -> None:
    names = list(prefetch(threading.current_thread().name for _ in range(2)))
    assert threading.current_thread().name not in names


def test_the_generator_is_closed_with_the_one_that_goes_through_it() -> None:
    noted = Noted(5)
    items = prefetch(noted.items)
    next(items)
    items.close()
    assert len(noted.closed_in) == 1
    assert noted.asked == [0, 1]
    assert readers() == []


def test_a_generator_that_is_closed_while_an_item_is_made_waits_for_it() -> None:
    entered, go_on = threading.Event(), threading.Event()
    closed = []

    def slow() -> Iterator[int]:
        try:
            yield 0
            entered.set()
            assert go_on.wait(5)
            yield 1
        finally:
            closed.append(True)

    items = prefetch(slow())
    assert next(items) == 0
    assert entered.wait(5)
    threading.Timer(0.05, go_on.set).start()
    items.close()
    assert closed == [True]


def test_none_is_an_item_like_others() -> None:
    assert list(prefetch([None, 0, None])) == [None, 0, None]
    assert list(prefetch([])) == []


def test_an_error_comes_after_the_items_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise KeyError("the third lung")

    items = prefetch(failing())
    assert next(items) == 1
    with pytest.raises(KeyError, match="the third lung"):
        next(items)
    assert readers() == []
