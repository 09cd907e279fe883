"""Trees of vessels."""

import numpy as np

from thorax.phantom.vessels import MURRAY, SMALLEST_RADIUS_MM, grow_tree


def test_a_fork_with_literals() -> None:
    ends = np.array([[10.0, 0.0, 0.0], [20.0, 3.0, 0.0], [20.0, -3.0, 0.0]])
    tree = grow_tree((0.0, 0.0, 0.0), ends, np.random.default_rng(0))
    np.testing.assert_array_equal(tree.parents, [0, 0, 1, 1])
    thick = SMALLEST_RADIUS_MM * 2 ** (1 / MURRAY)
    np.testing.assert_allclose(tree.radii[1:], [thick, SMALLEST_RADIUS_MM, SMALLEST_RADIUS_MM])


def test_vessels_taper_outwards_and_reach_every_point() -> None:
    rng = np.random.default_rng(1)
    tree = grow_tree((0.0, 0.0, 0.0), rng.uniform(10.0, 90.0, (120, 3)), rng)
    assert len(tree.tubes()) == 2 * 120
    assert (tree.radii[tree.parents] >= tree.radii).all()
    assert (tree.parents[1:] < np.arange(1, 121)).all()
