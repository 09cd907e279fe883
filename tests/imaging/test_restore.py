"""Restoring inside the crop: the same as restoring whole planes, and 0 around."""

import numpy as np
import pytest

from thorax.imaging.placement import Restorer, place_box, place_whole

PLACEMENTS = [
    pytest.param(place_whole((40, 30), canvas=16), id="whole planes"),
    pytest.param(place_box((40, 30), ((5, 33), (2, 27)), canvas=16), id="a crop"),
    pytest.param(place_box((9, 7), ((1, 8), (0, 5)), canvas=32), id="a canvas finer than the scan"),
    pytest.param(
        place_box((40, 30), ((0, 40), (3, 30)), canvas=16, spacing_mm=(0.7, 1.1)),
        id="voxels that are not square",
    ),
]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_crop_is_restored_as_whole_planes_are(placement: object) -> None:
    restorer = Restorer(placement)  # type: ignore[arg-type]
    side = placement.x.canvas  # type: ignore[attr-defined]
    maps = np.random.default_rng(0).random((3, side, side), dtype=np.float32)
    whole = placement.restore(maps)  # type: ignore[attr-defined]
    np.testing.assert_allclose(restorer.whole(restorer.restore(maps)), whole, atol=1e-6)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_each_voxel_has_the_label_of_its_pixel(placement: object) -> None:
    """Halves of the canvas become halves of the scan, to the voxel next to the border."""
    restorer = Restorer(placement)  # type: ignore[arg-type]
    side = placement.x.canvas  # type: ignore[attr-defined]
    labels = np.ones((1, side, side), np.uint8)
    labels[:, side // 2 :] = 2
    found = restorer.whole(restorer.nearest(labels))
    shares = placement.restore((labels == 2).astype(np.float32))  # type: ignore[attr-defined]
    sure = np.abs(shares - 0.5) > 0.4
    inside = found > 0
    np.testing.assert_array_equal((found == 2)[sure & inside], (shares > 0.5)[sure & inside])
    assert inside.any()


def test_what_lies_around_the_crop_is_0() -> None:
    restorer = Restorer(place_box((6, 5), ((1, 3), (2, 5)), canvas=4))
    expected = np.zeros((1, 6, 5))
    expected[:, 1:3, 2:5] = 1
    np.testing.assert_array_equal(restorer.whole(np.ones((1, 2, 3), np.uint8)), expected)
    assert restorer.nearest(np.ones((1, 4, 4), np.uint8)).shape == (1, 2, 3)
