"""Varied protocols, acquisition and exports."""

from dataclasses import replace

import numpy as np
import pytest

from thorax.imaging.body import coarse_step
from thorax.imaging.intensity_detection import detect_intensity_of_scan
from thorax.phantom.acquisition import Export, Protocol, draw_protocol, scanner_axes
from thorax.phantom.anatomy import Habitus, draw_habitus
from thorax.phantom.scans import acquire_varied, draw_varied_protocol
from thorax.phantom.scans.exports import draw_export, equalise, export_planes
from thorax.phantom.scans.protocols import MOST_PLANES, MOST_VOXELS

HABITUS = draw_habitus(np.random.default_rng(0))


@pytest.fixture(scope="module")
def protocols() -> list[tuple[Protocol, tuple[str, ...]]]:
    return [draw_varied_protocol(HABITUS, np.random.default_rng(n)) for n in range(300)]


def body_hu() -> np.ndarray:
    """A body in air with two lungs, shape (128, 128, 10)."""
    x, y = np.ogrid[-1:1:128j, -1:1:128j]
    plane = np.where((x / 0.8) ** 2 + (y / 0.6) ** 2 < 1, 30.0, -1000.0)
    plane = np.where(((np.abs(x) - 0.35) / 0.25) ** 2 + (y / 0.4) ** 2 < 1, -830.0, plane)
    plane += np.where((x**2 + (y + 0.45) ** 2) < 0.01, 500.0, 0.0)
    fat = ((x / 0.8) ** 2 + (y / 0.6) ** 2 > 0.75) & (plane > 0)
    return np.repeat(np.where(fat, -100.0, plane)[:, :, None], 10, axis=2).astype(np.float32)


def protocol_of(habitus: Habitus) -> Protocol:
    varied, _ = draw_varied_protocol(habitus, np.random.default_rng(3))
    plain = draw_protocol(habitus, np.random.default_rng(0))
    artefacts = replace(
        varied.artefacts,
        export=None,
        breathing_mm=0.0,
        streaks=0.0,
        limits_hu=(-1024.0, 3071.0),
        thickness_mm=5.0,
    )
    return replace(
        plain,
        shape=(128, 128, 10),
        spacing_mm=(3.0, 3.0, 5.0),
        padding_hu=None,
        noise_hu=5.0,
        artefacts=artefacts,
    )


def test_scans_have_few_voxels_and_planes(
    protocols: list[tuple[Protocol, tuple[str, ...]]],
) -> None:
    for protocol, _ in protocols:
        assert protocol.shape[2] <= MOST_PLANES + 1
        assert np.prod(protocol.shape) < 1.05 * MOST_VOXELS
        assert min(protocol.shape[:2]) >= 30
        assert 0.4 < protocol.spacing_mm[2] < 20


def test_half_of_the_scans_show_the_whole_lungs(
    protocols: list[tuple[Protocol, tuple[str, ...]]],
) -> None:
    whole = 0
    for protocol, _ in protocols:
        z = scanner_axes(protocol)[2]
        whole += z[0] < 0 and z[-1] > HABITUS.lung_height
    assert 130 < whole < 220


@pytest.mark.parametrize(
    ("kind", "below", "above"),
    [
        ("lung bases only", -0.5, 0.5),
        ("apices only", 0.6, 1.8),
        ("abdomen without lungs", -2.0, 0.0),
        ("neck without lungs", 1.03, 2.0),
        ("neck to pelvis", -2.0, 2.0),
    ],
)
def test_the_range_of_a_kind(
    kind: str,
    below: float,
    above: float,
    protocols: list[tuple[Protocol, tuple[str, ...]]],
) -> None:
    ranges = [scanner_axes(protocol)[2] for protocol, kinds in protocols if kind in kinds]
    assert ranges
    for z in ranges:
        middle = 0.5 * (z[0] + z[-1]) / HABITUS.lung_height
        assert below < middle < above
        if "without" in kind:
            assert z[-1] < 0 or z[0] > HABITUS.lung_height


def test_every_kind_is_in_the_cohort(
    protocols: list[tuple[Protocol, tuple[str, ...]]],
) -> None:
    kinds = {kind for _, each in protocols for kind in each}
    assert kinds >= {
        "thin slices",
        "thick slices",
        "overlapping slices",
        "cut field of view",
        "small field of view",
        "part of the field of view",
        "low dose",
        "soft kernel",
        "sharp kernel",
        "motion",
        "8-bit export",
        "equalised 8-bit export",
        "JPEG compression",
        "uneven brightness",
        "prone",
        "decubitus",
    }


def test_a_window_with_literals() -> None:
    hu = np.array([-3000, -1250, -950, -500, 250, 900], dtype=np.int16).reshape(6, 1, 1)
    grey = export_planes(hu, Export((-1250.0, 250.0)))
    np.testing.assert_array_equal(grey.ravel(), [0, 0, 51, 128, 255, 255])
    inverted = export_planes(hu[1:], Export((-1250.0, 250.0), inverted=True))
    np.testing.assert_array_equal(inverted.ravel(), [255, 204, 127, 0, 0])


def test_each_equalised_slice_has_its_own_range() -> None:
    hu = body_hu()
    hu[:, :, 5:] = np.maximum(hu[:, :, 5:], -900.0)
    grey = export_planes(hu, Export(None, clip_limit=0.02, darkest=20))
    assert grey.dtype == np.uint8
    assert (grey.min(axis=(0, 1)) == 20).all()
    assert (grey.max(axis=(0, 1)) == 255).all()


def test_some_slices_are_darker() -> None:
    even = Export((-1000.0, 400.0), darkest=20)
    hu = np.tile(np.linspace(-1000.0, 400.0, 256), (2, 1))[:, :, None].repeat(200, axis=2)
    grey = export_planes(hu, replace(even, dimmed=0.25, seed=3))
    plain = export_planes(hu, even)
    darker = (grey[0] < plain[0]).any(axis=0)
    assert 30 < darker.sum() < 70
    np.testing.assert_array_equal(grey[:, :, ~darker], plain[:, :, ~darker])
    # The darkest tissue keeps its value; all else comes closer to it by the same factor.
    np.testing.assert_array_equal(grey[0, :21], plain[0, :21])
    brightness = (grey[0, 255, darker] - 20.0) / 235.0
    assert brightness.min() >= 0.44
    assert brightness.max() <= 0.96
    np.testing.assert_allclose(grey[0, 137, darker], 20.0 + 117.0 * brightness, atol=1.0)


def test_equalisation_of_one_tile_with_literals() -> None:
    grey = np.repeat(np.array([10, 20, 30, 40], dtype=np.uint8), 4).reshape(4, 4)
    # Without a limit, each of the four values gets a quarter of the range, from the lowest up.
    level = equalise(grey, tiles=1, clip_limit=1.0)
    np.testing.assert_allclose(level[:, 0], [0.0, 1 / 3, 2 / 3, 1.0], atol=1e-6)
    # With a limit of 0, the excess is spread over all values, which keeps their distances.
    np.testing.assert_allclose(
        equalise(grey, tiles=1, clip_limit=0.0)[:, 0], level[:, 0], atol=1e-6
    )


def test_equalisation_raises_local_contrast() -> None:
    faint = np.tile(np.array([[100, 110], [110, 100]], dtype=np.uint8), (32, 32))
    faint[:32, 32:] = 200
    level = equalise(faint, tiles=2, clip_limit=1.0)
    assert abs(float(level[60, 60] - level[60, 61])) > 0.3


def test_jpeg_compression_changes_little() -> None:
    hu = body_hu()
    plain = export_planes(hu, Export((-1000.0, 400.0))).astype(int)
    coded = export_planes(hu, Export((-1000.0, 400.0), quality=50)).astype(int)
    assert 0 < np.abs(plain - coded).mean() < 10


def test_exports_are_accepted_by_the_reader() -> None:
    rng = np.random.default_rng(0)
    hu = body_hu() + rng.normal(0.0, 12.0, (128, 128, 10))
    step = coarse_step((128, 128))
    for n in range(12):
        export, _ = draw_export(np.random.default_rng(n))
        grey = np.moveaxis(export_planes(hu, export), 2, 0)[:, ::step, ::step]
        assert "8-bit window" in detect_intensity_of_scan(grey).kind


def test_motion_blurs_the_diaphragm_only() -> None:
    protocol = protocol_of(HABITUS)
    z = scanner_axes(protocol)[2]
    artefacts = replace(protocol.artefacts, dome_mm=float(z[5]), heart=(900.0, 0.0, 0.0, 10.0))
    step = np.where(np.arange(10) > 5, -800.0, 50.0).astype(np.float32)
    hu = np.broadcast_to(step, (128, 128, 10)).copy()
    still, _ = acquire_varied(hu, replace(protocol, artefacts=artefacts), np.random.default_rng(0))
    artefacts = replace(artefacts, breathing_mm=5.0)
    moved, _ = acquire_varied(hu, replace(protocol, artefacts=artefacts), np.random.default_rng(0))
    change = np.abs(moved.astype(int) - still).mean(axis=(0, 1))
    assert change[5:7].min() > 150
    assert change[0] < 1
    assert change[9] < 1


def test_padding_and_limits() -> None:
    protocol = protocol_of(HABITUS)
    artefacts = replace(protocol.artefacts, limits_hu=(-1000.0, 400.0), field_shape="circle")
    padded = replace(protocol, padding_hu=-3024, artefacts=artefacts)
    scan, kinds = acquire_varied(body_hu(), padded, np.random.default_rng(0))
    assert kinds == ("padding outside a circle",)
    assert scan[0, 0, 0] == -3024
    assert scan[64, 64].min() >= -1000
    assert scan.max() == 400


def test_streaks_are_at_the_shoulders() -> None:
    protocol = protocol_of(HABITUS)
    z = scanner_axes(protocol)[2]
    artefacts = replace(protocol.artefacts, streaks=8.0, shoulder_mm=float(z[4]) - 30.0)
    noisy = replace(protocol, noise_hu=20.0, artefacts=artefacts)
    scan, _ = acquire_varied(np.zeros((128, 128, 10)), noisy, np.random.default_rng(0))
    along = np.abs(np.diff(scan[:, 40:90].astype(float).mean(axis=0), axis=0)).mean(axis=0)
    assert along[-1] > 1.3 * along[0]


def test_the_same_seed_gives_the_same_bits() -> None:
    protocol = protocol_of(HABITUS)
    first, _ = acquire_varied(body_hu(), protocol, np.random.default_rng(4))
    second, _ = acquire_varied(body_hu(), protocol, np.random.default_rng(4))
    np.testing.assert_array_equal(first, second)
