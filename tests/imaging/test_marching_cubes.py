"""Triangles of marching cubes, also as scikit-image computes them."""

from collections import Counter

import numpy as np
import pytest
from skimage import measure

from thorax.imaging.marching_cubes import edge_starts, marching_cubes, triangle_edges


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Return the volume of a closed surface, negative if its faces are clockwise."""
    first, second, third = (vertices[faces[:, corner]] for corner in range(3))
    return float(np.einsum("ij,ij->", first, np.cross(second, third)) / 6)


def noise() -> np.ndarray:
    """Return noise with 0 at the border, which has all 256 codes."""
    return np.pad(np.random.default_rng(1).random((12, 13, 14)), 1)


def test_one_corner_is_a_triangle_across_its_three_edges() -> None:
    (triangle, *others) = triangle_edges()[0b00000001].tolist()
    assert sorted(triangle) == [0, 4, 8]
    assert others == [[-1, -1, -1]] * 4
    assert edge_starts(np.array([0, 5, 11])).tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]


def test_a_point_is_an_octahedron() -> None:
    """By hand: its vertices are 3/4 of a step from the point, its volume is 4/3 of (3/4)³."""
    field = np.zeros((3, 3, 3))
    field[1, 1, 1] = 4
    vertices, faces = marching_cubes(field, 1)
    assert sorted(map(tuple, vertices.tolist())) == [
        *((0.25, 1, 1), (1, 0.25, 1), (1, 1, 0.25)),
        *((1, 1, 1.75), (1, 1.75, 1), (1.75, 1, 1)),
    ]
    assert volume(vertices, faces) == pytest.approx(-4 / 3 * 0.75**3)


def test_surfaces_have_no_gaps() -> None:
    """Each edge of a triangle is that of another one, in the other direction."""
    _, faces = marching_cubes(noise(), 0.5)
    edges = Counter(
        (int(face[corner]), int(face[(corner + 1) % 3])) for face in faces for corner in range(3)
    )
    assert edges == Counter({(second, first): count for (first, second), count in edges.items()})


def test_triangles_are_those_of_scikit_image() -> None:
    field = noise()
    vertices, faces = marching_cubes(field, 0.5)
    expected, expected_faces, _, _ = measure.marching_cubes(field, 0.5, method="lorensen")
    assert len(faces) == len(expected_faces)
    assert volume(vertices, faces) == pytest.approx(volume(expected, expected_faces), rel=1e-5)
    assert measure.mesh_surface_area(vertices, faces) == pytest.approx(
        measure.mesh_surface_area(expected, expected_faces), rel=1e-5
    )


def test_a_field_below_the_level_has_no_surface() -> None:
    vertices, faces = marching_cubes(np.zeros((3, 3, 3)), 1)
    assert (vertices.shape, faces.shape) == ((0, 3), (0, 3))
