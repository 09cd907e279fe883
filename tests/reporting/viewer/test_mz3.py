"""MZ3 surfaces: position, volume, number of triangles."""

import gzip
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from thorax.imaging.grid import Grid
from thorax.reporting.viewer.mz3 import TRIANGLES, surface_bytes

OBLIQUE = np.array([[1.2, 0.1, 0, -60], [-0.1, 1.2, 0, 20], [0, 0, 2.0, 5], [0, 0, 0, 1.0]])


def read(content: bytes) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return faces and vertices of an MZ3 file, read by its specification."""
    raw = gzip.decompress(content)
    magic, attributes, faces, vertices, skipped = struct.unpack("<HHIII", raw[:16])
    assert (raw[:2], magic, attributes, skipped) == (b"MZ", 23117, 3, 0)
    assert len(raw) == 16 + 12 * (faces + vertices)
    split = 16 + 12 * faces
    return (
        np.frombuffer(raw[16:split], "<i4").reshape(-1, 3),
        np.frombuffer(raw[split:], "<f4").reshape(-1, 3),
    )


def ball(shape: tuple[int, int, int], centre: NDArray[Any], radius_mm: float) -> NDArray[np.bool_]:
    places = np.moveaxis(np.indices(shape), 0, -1) @ OBLIQUE[:3, :3].T + OBLIQUE[:3, 3]
    return np.linalg.norm(places - centre, axis=-1) < radius_mm


@pytest.mark.parametrize("radius_mm", [8, 30, 45])
def test_a_ball_has_the_right_position_volume_and_orientation(radius_mm: float) -> None:
    shape = (96, 96, 60)
    centre = (OBLIQUE @ [48, 47, 30, 1])[:3]
    faces, places = read(surface_bytes(ball(shape, centre, radius_mm), Grid(shape, OBLIQUE)))
    a, b, c = (places[faces[:, corner]] - centre for corner in range(3))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert volume == pytest.approx(4 / 3 * np.pi * radius_mm**3, rel=0.04)
    np.testing.assert_allclose(places.mean(axis=0), centre, atol=0.7)


def test_a_large_mask_has_a_limited_number_of_triangles() -> None:
    shape = (192, 192, 100)
    mask = np.zeros(shape, bool)
    mask[4:-4, 4:-4, 4:-4] = True
    faces, _ = read(surface_bytes(mask, Grid(shape, np.diag([2.0, 2.0, 3.0, 1.0]))))
    # 200,000 at full resolution; a box has more than a round shape.
    assert 0.5 * TRIANGLES < len(faces) < 1.7 * TRIANGLES


def test_an_empty_mask_has_no_surface() -> None:
    assert surface_bytes(np.zeros((4, 4, 4), bool), Grid((4, 4, 4), np.eye(4))) == b""
