"""Surfaces of geometric bodies: volume, area, position, and rendered pictures."""

from collections.abc import Sequence

import numpy as np
import pytest

from thorax.visualization.mesh import Mesh, surface
from thorax.visualization.render import _composite, render_surfaces

Box = tuple[float, float, float]
RED, BLUE = (1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0)
FRONT, BACK = 110.0, 50.0
"""Positions along y, which increases to the front."""


def ball(
    *balls: tuple[Box, float], spacing_mm: Box = (2.0, 2.0, 2.0), side_mm: float = 160.0
) -> np.ndarray:
    """Return a mask ``(N, H, W)`` of balls: centre along x, y and z in mm, and radius in mm."""
    x, y, z = (np.arange(round(side_mm / step)) * step + step / 2 for step in spacing_mm)
    mask = np.zeros((z.size, x.size, y.size), bool)
    for (right, front, up), radius in balls:
        along = (x[:, None] - right) ** 2 + (y - front) ** 2
        mask |= (z[:, None, None] - up) ** 2 + along < radius**2
    return mask


def volume_mm3(mesh: Mesh) -> float:
    """Return the enclosed volume by the divergence theorem: negative if triangles face inwards."""
    a, b, c = np.moveaxis(mesh.vertices_mm[mesh.faces], 1, 0)
    return float((a * np.cross(b, c)).sum() / 6)


def area_mm2(mesh: Mesh) -> float:
    a, b, c = np.moveaxis(mesh.vertices_mm[mesh.faces], 1, 0)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def is_closed(mesh: Mesh) -> bool:
    """Check that two triangles share each edge, in opposite directions."""
    edges = mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    directed = {(int(start), int(end)) for start, end in edges}
    return len(directed) == len(edges) and all((end, start) in directed for start, end in directed)


CENTRE = (80.0, 80.0, 80.0)


# Surfaces


@pytest.mark.parametrize(("radius", "rel"), [(12.0, 0.08), (30.0, 0.03), (60.0, 0.03)])
@pytest.mark.parametrize("spacing_mm", [(2.0, 2.0, 2.0), (2.5, 2.5, 5.0), (1.0, 3.0, 2.0)])
def test_a_ball_has_its_volume_and_its_area(radius: float, rel: float, spacing_mm: Box) -> None:
    """A ball of 12 mm has few grid points, so its volume is less exact."""
    mesh = surface(ball((CENTRE, radius), spacing_mm=spacing_mm), spacing_mm=spacing_mm)
    assert volume_mm3(mesh) == pytest.approx(4 / 3 * np.pi * radius**3, rel=rel)
    assert area_mm2(mesh) == pytest.approx(4 * np.pi * radius**2, rel=rel)
    assert is_closed(mesh)


def test_a_ball_has_the_position_of_its_voxels() -> None:
    """Its centre is (30, 60, 110) mm along R, A and S, from the corner of the first voxel."""
    mesh = surface(ball(((30, 60, 110), 20), spacing_mm=(2, 1, 2.5)), spacing_mm=(2, 1, 2.5))
    low, high = mesh.vertices_mm.min(axis=0), mesh.vertices_mm.max(axis=0)
    np.testing.assert_allclose((low + high) / 2, (30, 60, 110), atol=0.3)
    np.testing.assert_allclose(high - low, 40, atol=1.5)


def test_normals_point_outwards() -> None:
    mesh = surface(ball((CENTRE, 30)), spacing_mm=(2, 2, 2))
    outwards = mesh.vertices_mm - CENTRE
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    assert (mesh.normals * outwards).sum(axis=1).min() > 0.97
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, rtol=1e-6)


def test_a_mesh_is_closed_at_the_border_of_the_canvas() -> None:
    mesh = surface(np.ones((6, 8, 10), bool), spacing_mm=(10, 10, 10))
    assert is_closed(mesh)
    assert volume_mm3(mesh) == pytest.approx(480_000, rel=0.02)
    np.testing.assert_allclose(mesh.vertices_mm.min(axis=0), 0, atol=2)
    np.testing.assert_allclose(mesh.vertices_mm.max(axis=0), (80, 100, 60), atol=2)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_mirror_image_of_a_mask_has_the_mirror_image_of_its_surface(axis: int) -> None:
    """Axes of the mask are z, x and y. The grid is shifted, hence a tolerance of 2 %."""
    mask = ball(((50, 60, 70), 30), ((90, 90, 90), 12))
    straight = surface(mask, spacing_mm=(2, 2, 2))
    mirrored = surface(np.flip(mask, axis), spacing_mm=(2, 2, 2))
    along = (2, 0, 1)[axis]
    low, high = straight.vertices_mm.min(axis=0), straight.vertices_mm.max(axis=0)
    low[along], high[along] = 160 - high[along], 160 - low[along]
    np.testing.assert_allclose(mirrored.vertices_mm.min(axis=0), low, atol=0.4)
    np.testing.assert_allclose(mirrored.vertices_mm.max(axis=0), high, atol=0.4)
    assert volume_mm3(mirrored) == pytest.approx(volume_mm3(straight), rel=0.02)


@pytest.mark.parametrize("unit", [1e6, 1e-4], ids=["far too large", "far too small"])
def test_a_spacing_in_a_wrong_unit_does_not_take_all_memory(unit: float) -> None:
    """Spacings of 3 mm, in nanometres and in a unit of 10 m, that are taken for mm."""
    mask = np.zeros((30, 30, 30), bool)
    mask[5:25, 5:25, 5:25] = True
    mesh = surface(mask, spacing_mm=(3 * unit, 3 * unit, 3 * unit))
    assert is_closed(mesh)
    middle = (mesh.vertices_mm.min(axis=0) + mesh.vertices_mm.max(axis=0)) / 2
    np.testing.assert_allclose(middle, 45 * unit, rtol=0.02)


def test_an_empty_mask_has_an_empty_mesh() -> None:
    mesh = surface(np.zeros((3, 4, 5), bool), spacing_mm=(1, 1, 1))
    assert (mesh.vertices_mm.shape, mesh.faces.shape, mesh.normals.shape) == ((0, 3),) * 3


@pytest.mark.parametrize("spacing_mm", [(0.7, 0.7, 0.7), (2.5, 2.5, 1.0), (3.0, 3.0, 10.0)])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 9), (9, 1, 9), (9, 9, 1)])
def test_a_single_voxel_or_plane_does_not_vanish(shape: tuple[int, ...], spacing_mm: Box) -> None:
    mesh = surface(np.ones(shape, bool), spacing_mm=spacing_mm)
    assert is_closed(mesh)
    assert volume_mm3(mesh) > 0


# Pictures


def draw(
    *balls: tuple[Box, float], colours: Sequence[tuple[float, ...]] = (), **camera: float
) -> np.ndarray:
    """Return a picture of balls, 120 high and 160 wide."""
    meshes = [surface(ball(ball_), spacing_mm=(2, 2, 2)) for ball_ in balls]
    return render_surfaces(meshes, colours=colours or [RED] * len(balls), size=(120, 160), **camera)


def centre(picture: np.ndarray, colour: int | None = None) -> tuple[float, float]:
    """Return row and column of the centre of the opaque pixels, or of those of a colour."""
    opaque = picture[..., 3] > 127
    if colour is not None:
        opaque &= picture[..., :3].argmax(axis=2) == colour
    rows, columns = np.nonzero(opaque)
    return float(rows.mean()), float(columns.mean())


@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 0), (30, 0), (0, 40), (-70, 20), (180, 0)])
def test_a_ball_is_round_and_centred(azimuth: float, elevation: float) -> None:
    """It fills the height of the picture minus 3 % margin on each side: a radius of 56.4."""
    picture = draw((CENTRE, 40), azimuth=azimuth, elevation=elevation)
    assert (picture.shape, picture.dtype) == ((120, 160, 4), np.uint8)
    assert centre(picture) == pytest.approx((59.5, 79.5), abs=0.5)
    rows, columns = np.indices((120, 160)) - np.array([59.5, 79.5])[:, None, None]
    distance = np.hypot(rows, columns)
    assert (picture[distance < 55, 3] == 255).all()
    assert (picture[distance > 58, 3] == 0).all()


def test_edges_are_smooth() -> None:
    opacity = draw((CENTRE, 40))[..., 3]
    assert 100 < np.count_nonzero((opacity > 0) & (opacity < 255)) < 600


def test_light_comes_from_above_on_the_left() -> None:
    red = draw((CENTRE, 40))[..., 0].astype(int)
    assert red[30, 60] > red[90, 60] + 50
    assert red[40, 50] > red[40, 110] + 20


def test_near_surfaces_hide_distant_ones() -> None:
    """The viewer is in front of the patient; the order of the meshes does not matter."""
    near, far = ((80.0, FRONT, 80.0), 15.0), ((80.0, BACK, 80.0), 30.0)
    for order in (1, -1):
        picture = draw(*(near, far)[::order], colours=(RED, BLUE)[::order])
        assert picture[60, 80, 0] > picture[60, 80, 2]
        assert picture[60, 115, 2] > picture[60, 115, 0]
    behind = draw(near, far, colours=(RED, BLUE), azimuth=180)
    assert centre(behind, 2) == pytest.approx((59.5, 79.5), abs=0.5)
    assert not (behind[..., 0] > behind[..., 2]).any()


def test_a_transparent_region_shows_its_content() -> None:
    transparent = (0.0, 0.0, 1.0, 0.2)
    picture = draw((CENTRE, 40), (CENTRE, 15), colours=(transparent, RED))
    assert picture[60, 80, 0] > 1.5 * picture[60, 80, 2], "the core is red"
    assert picture[60, 115, 2] > 2 * picture[60, 115, 0], "the shell is blue"
    assert 60 < picture[60, 115, 3] < 200, "the shell is transparent"
    assert picture[60, 80, 3] == 255


def test_a_transparent_region_is_denser_at_its_rim() -> None:
    opacity = draw((CENTRE, 40), colours=[(0, 0, 1, 0.2)])[..., 3]
    # Front and back of the shell have an opacity of 0.2 each.
    assert opacity[60, 80] == pytest.approx(255 * (1 - 0.8**2), abs=3)
    assert opacity[60, 80] + 40 < opacity[60, 130]


@pytest.mark.parametrize(
    ("position", "row", "column"),
    [
        pytest.param((130, 80, 80), 0, -1, id="right is on the left"),
        pytest.param((30, 80, 80), 0, 1, id="left is on the right"),
        pytest.param((80, 80, 130), -1, 0, id="the head is up"),
        pytest.param((80, 80, 30), 1, 0, id="the feet are down"),
    ],
)
def test_the_patient_is_seen_from_the_front(position: Box, row: int, column: int) -> None:
    picture = draw((position, 15), (CENTRE, 15), colours=(RED, BLUE))
    offset = np.subtract(centre(picture, 0), centre(picture, 2))
    assert np.sign(np.round(offset / 5)).tolist() == [row, column]


@pytest.mark.parametrize(
    ("camera", "row", "column"),
    [
        pytest.param({"azimuth": 30}, 0, -1, id="seen from the left, the front moves to the left"),
        pytest.param({"elevation": 30}, 1, 0, id="seen from above, the front moves down"),
    ],
)
def test_azimuth_and_elevation_turn_the_view(
    camera: dict[str, float], row: int, column: int
) -> None:
    balls = ((80.0, FRONT, 80.0), 10.0), ((80.0, BACK, 80.0), 10.0)
    picture = draw(*balls, colours=(RED, BLUE), **camera)
    offset = np.subtract(centre(picture, 0), centre(picture, 2))
    assert np.sign(np.round(offset / 5)).tolist() == [row, column]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_empty_meshes_give_an_empty_picture(count: int) -> None:
    meshes = [surface(np.zeros((2, 2, 2), bool), spacing_mm=(1, 1, 1))] * count
    picture = render_surfaces(meshes, colours=[RED] * count, size=(3, 4))
    assert (picture.shape, int(picture.max())) == ((3, 4, 4), 0)


def test_equal_masks_give_equal_pictures() -> None:
    assert draw((CENTRE, 30)).tobytes() == draw((CENTRE, 30)).tobytes()


@pytest.mark.parametrize("turned", [False, True])
def test_hidden_triangles_do_not_change_an_opaque_surface(turned: bool) -> None:
    """Nearly opaque surfaces are drawn with all their triangles."""
    mesh = surface(ball((CENTRE, 40.0), ((60.0, 100.0, 80.0), 30.0)), spacing_mm=(2.0, 2.0, 2.0))
    if turned:
        mesh = Mesh(mesh.vertices_mm, mesh.faces[:, ::-1], mesh.normals)
    red, green, blue, _ = RED
    opaque, nearly = (
        render_surfaces([mesh], colours=[(red, green, blue, opacity)], size=(90, 90), azimuth=20)
        for opacity in (1.0, 1 - 1e-9)
    )
    assert np.count_nonzero(opaque[..., 3]) > 1000
    np.testing.assert_allclose(opaque.astype(int), nearly.astype(int), atol=1)


def test_fragments_of_a_pixel_are_composited_from_front_to_back() -> None:
    """Pixel 0 shows blue, pixel 2 translucent red over green, which hides blue, others nothing."""
    red, green, blue = [0.5, 0.0, 0.0, 0.5], [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.25, 0.25]
    image = _composite(
        np.array([2, 0, 2, 2]),
        np.array([0.9, 0.5, 0.1, 0.2], np.float32),
        np.array([blue, blue, red, green], np.float32),
        4,
    )
    assert image.tolist() == [blue, [0, 0, 0, 0], [0.5, 0.5, 0.0, 1.0], [0, 0, 0, 0]]
