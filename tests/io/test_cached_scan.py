"""A small scan is read once, and the cached planes are those of the scan."""

import gc
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nibabel import orientations

from thorax.common.errors import InputError
from thorax.io import Scan
from thorax.io.cached_scan import CachedScan

from ..threads import prefetch_threads, wait_until

SaveNifti = Callable[..., Path]
CHEST = np.arange(3 * 2 * 40, dtype=np.int16).reshape(3, 2, 40)
"""Forty planes are three slabs; every voxel has a different value."""
CHEST_BYTES = 3 * 2 * 40 * 2


class CountingScan:
    """A scan that counts how often it is read."""

    def __init__(self, path: Path) -> None:
        self._scan = Scan(path)
        self.grid, self.path = self._scan.grid, path
        self.spans = self._scan.spans
        self.passes = self.slabs_read = 0

    def slabs(self) -> Iterator[tuple[int, np.ndarray]]:
        self.passes += 1
        for start, planes in self._scan.slabs():
            self.slabs_read += 1
            yield start, planes.copy()


def all_voxels(cached: CachedScan) -> np.ndarray:
    """All planes as ``(X, Y, Z)``; `KeyError` if a plane is missing."""
    planes = {start + n: plane for start, slab in cached.slabs() for n, plane in enumerate(slab)}
    return np.stack([planes[number] for number in range(cached.grid.shape[2])], axis=2)


@pytest.fixture
def counting_scan(save_nifti: SaveNifti) -> CountingScan:
    return CountingScan(save_nifti("chest.nii", CHEST))


# Number of reads


def test_a_last_pass_frees_the_slabs_that_were_used(counting_scan: Any) -> None:
    cached = CachedScan(counting_scan)
    all_voxels(cached)
    expected = [planes.copy() for _, planes in cached.slabs()]
    alive: list[weakref.ref[Any]] = []
    for (_, planes), same in zip(cached.slabs(last=True), expected, strict=True):
        np.testing.assert_array_equal(planes, same)
        assert [slab() for slab in alive] == [None] * len(alive)
        alive.append(weakref.ref(planes))
        del planes
    assert counting_scan.passes == 1
    np.testing.assert_array_equal(all_voxels(cached), CHEST)
    assert counting_scan.passes == 2


def test_a_first_and_last_pass_caches_nothing(counting_scan: Any) -> None:
    cached = CachedScan(counting_scan)
    assert len(list(cached.slabs(last=True))) == 3
    all_voxels(cached)
    assert counting_scan.passes == 2


def test_a_small_scan_is_read_once(counting_scan: Any) -> None:
    cached = CachedScan(counting_scan)
    for _ in range(3):
        np.testing.assert_array_equal(all_voxels(cached), CHEST)
    assert counting_scan.passes == 1


@pytest.mark.parametrize(("max_bytes", "passes"), [(CHEST_BYTES, 1), (CHEST_BYTES - 1, 2)])
def test_a_scan_above_the_limit_is_read_each_time(
    counting_scan: Any, max_bytes: int, passes: int
) -> None:
    cached = CachedScan(counting_scan, max_bytes=max_bytes)
    for _ in range(2):
        np.testing.assert_array_equal(all_voxels(cached), CHEST)
    assert counting_scan.passes == passes


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_voxels_of_more_than_16_bits_are_read_again(save_nifti: SaveNifti, dtype: Any) -> None:
    scan: Any = CountingScan(save_nifti("chest.nii", CHEST.astype(dtype)))
    cached = CachedScan(scan)
    for _ in range(2):
        np.testing.assert_array_equal(all_voxels(cached), CHEST)
    assert scan.passes == 2


def test_nothing_is_read_before_the_first_slab_is_requested(counting_scan: Any) -> None:
    CachedScan(counting_scan).slabs()
    assert counting_scan.passes == 0


def test_a_small_scan_is_read_to_its_end_in_the_background(counting_scan: Any) -> None:
    cached = CachedScan(counting_scan)
    cached.begin()
    wait_until(lambda: counting_scan.slabs_read == 3)
    for _ in range(2):
        np.testing.assert_array_equal(all_voxels(cached), CHEST)
    assert counting_scan.passes == 1
    assert prefetch_threads() == []


def test_a_large_scan_is_read_one_slab_ahead(counting_scan: Any) -> None:
    cached = CachedScan(counting_scan, max_bytes=CHEST_BYTES - 1)
    cached.begin()
    time.sleep(0.05)
    assert counting_scan.slabs_read == 2
    np.testing.assert_array_equal(all_voxels(cached), CHEST)


def test_closing_ends_the_reading(counting_scan: Any) -> None:
    cached = CachedScan(counting_scan, max_bytes=CHEST_BYTES - 1)
    cached.begin()
    cached.close()
    assert prefetch_threads() == []
    cached.close()


def test_closing_ends_the_reading_of_another_thread(counting_scan: Any) -> None:
    cached = CachedScan(counting_scan)
    slabs = cached.slabs()
    next(slabs)
    cached.close()
    with pytest.raises(InputError, match=r"reading .*chest\.nii was stopped"):
        next(slabs)
    assert prefetch_threads() == []


# A crop


@pytest.mark.parametrize("max_bytes", [CHEST_BYTES, CHEST_BYTES - 1])
def test_only_the_crop_is_yielded(counting_scan: Any, max_bytes: int) -> None:
    crop = slice(1, 3), slice(0, 1)
    cached = CachedScan(counting_scan, max_bytes=max_bytes)
    assert all_voxels(cached).shape == CHEST.shape
    cached.crop_to(crop)
    for _ in range(2):
        np.testing.assert_array_equal(all_voxels(cached), CHEST[*crop])
        for _, planes in cached.slabs():
            with pytest.raises(ValueError, match="read-only"):
                planes[0, 0, 0] = 7


def test_whole_planes_are_freed_one_by_one(counting_scan: Any) -> None:
    cached = CachedScan(counting_scan)
    all_voxels(cached)
    cached.crop_to((slice(1, 3), slice(0, 1)))
    slabs = cached.slabs()
    next(slabs)
    assert cached._cached is not None
    shapes = [planes.shape[1:] for _, planes in cached._cached]
    assert shapes == [(2, 1), CHEST.shape[:2], CHEST.shape[:2]]


# Planes


@pytest.mark.parametrize("order", ["RAS", "LPS", "RAI", "LPI", "SAR", "RSA", "IPL"])
def test_planes_are_those_of_the_scan_for_any_axis_order(tmp_path: Path, order: str) -> None:
    """I: from head to feet; S or I first or second: another axis is the slowest one."""
    turn = orientations.ornt_transform(
        orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(order)
    )
    image = nibabel.Nifti1Image(CHEST, np.diag([0.8, 0.9, 2.5, 1.0])).as_reoriented(turn)
    nibabel.save(image, tmp_path / "chest.nii.gz")
    cached = CachedScan(Scan(tmp_path / "chest.nii.gz"))
    for _ in ("from the file", "from memory"):
        np.testing.assert_array_equal(all_voxels(cached), CHEST)


def test_slabs_come_in_the_order_of_the_file_each_time(tmp_path: Path) -> None:
    head_first = nibabel.Nifti1Image(CHEST[:, :, ::-1], np.diag([1.0, 1.0, -2.0, 1.0]))
    nibabel.save(head_first, tmp_path / "chest.nii")
    cached = CachedScan(Scan(tmp_path / "chest.nii"))
    for _ in ("from the file", "from memory"):
        assert [(start, len(slab)) for start, slab in cached.slabs()] == [(24, 16), (8, 16), (0, 8)]


def test_planes_are_read_only(counting_scan: Any) -> None:
    """Otherwise a change in place would change the planes of the next pass."""
    cached = CachedScan(counting_scan)
    for _ in ("from the file", "from memory"):
        for _, planes in cached.slabs():
            with pytest.raises(ValueError, match="read-only"):
                planes[0, 0, 0] = 7


def test_two_passes_at_once_do_not_mix(counting_scan: Any) -> None:
    cached = CachedScan(counting_scan)
    for (start, planes), (other_start, other_planes) in zip(
        cached.slabs(), cached.slabs(), strict=True
    ):
        assert start == other_start
        np.testing.assert_array_equal(planes, other_planes)
    np.testing.assert_array_equal(all_voxels(cached), CHEST)
    assert [start for start, _ in cached.slabs()] == [0, 16, 32]


# Errors


def test_an_error_of_reading_is_raised_by_slabs(
    save_nifti: SaveNifti,
) -> None:
    path = save_nifti("chest.nii", np.where(CHEST.max() == CHEST, np.nan, CHEST))
    slabs = CachedScan(Scan(path)).slabs()
    assert [next(slabs)[0], next(slabs)[0]] == [0, 16]
    with pytest.raises(InputError, match=r"chest\.nii"):
        next(slabs)
    assert prefetch_threads() == []


def test_a_scan_is_read_again_after_an_error(counting_scan: Any) -> None:
    cached, intact = CachedScan(counting_scan), counting_scan._scan

    def failing() -> Iterator[tuple[int, np.ndarray]]:
        yield 0, CHEST[:, :, :16].T
        raise InputError("the share is gone")

    counting_scan._scan = type("Failing", (), {"slabs": staticmethod(failing)})
    with pytest.raises(InputError, match="the share is gone"):
        list(cached.slabs())
    counting_scan._scan = intact
    np.testing.assert_array_equal(all_voxels(cached), CHEST)


def test_stopping_in_the_middle_leaves_no_thread_and_reads_again(counting_scan: Any) -> None:
    cached = CachedScan(counting_scan)
    slabs = cached.slabs()
    assert next(slabs)[0] == 0
    assert len(prefetch_threads()) == 1
    slabs.close()  # type: ignore[attr-defined]
    assert prefetch_threads() == []
    np.testing.assert_array_equal(all_voxels(cached), CHEST)
    assert counting_scan.passes == 2


def test_an_unfinished_pass_leaves_no_thread(counting_scan: Any) -> None:
    for _ in CachedScan(counting_scan).slabs():
        break
    gc.collect()
    assert prefetch_threads() == []
