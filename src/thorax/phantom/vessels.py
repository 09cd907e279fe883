"""Trees of vessels and bronchi that branch and taper from the hilum into the lung.

A tree grows towards random points in the lung. Each point, the nearest to the hilum first, is
connected to the branch that gives the shortest path. Murray's law gives the radii: the cube of the
radius of a vessel is about the sum of the cubes of the radii of its branches.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from thorax.phantom import tissue
from thorax.phantom.anatomy import Habitus
from thorax.phantom.lungs import LEFT, Lungs
from thorax.phantom.mediastinum import Tube
from thorax.phantom.space import Floats, Point, Space, coverage, paint

BRANCHES = 320

WHOLE_LUNG = 0.55
"""Height of a lung from which it has all branches, as a fraction of the height of both lungs."""

SMALLEST_RADIUS_MM = 0.7

MURRAY = 2.7
"""Exponent of Murray's law: 3 minimises the loss of power; in lungs it is slightly lower."""

BRONCHUS_MM = 1.0


@dataclass(frozen=True, eq=False)
class Tree:
    """A branching tree of vessels.

    Args:
        nodes: Ends of the branches, mm, shape ``(N, 3)``; the first is the root.
        bends: Point halfway along each branch, next to the straight line, shape ``(N, 3)``.
        parents: Index of the node at which each branch starts.
        radii: Radius of each branch, mm.
    """

    nodes: NDArray[np.float64]
    bends: NDArray[np.float64]
    parents: NDArray[np.intp]
    radii: NDArray[np.float64]

    def tubes(self) -> list[Tube]:
        """Convert each branch to two tubes, from its parent to its bend and to its node."""
        tubes = []
        for n, p in enumerate(self.parents[1:], start=1):
            start, bend, end = _point(self.nodes[p]), _point(self.bends[n]), _point(self.nodes[n])
            radius = float(self.radii[n])
            tubes.append(Tube(start, bend, (1.1 * radius, radius)))
            tubes.append(Tube(bend, end, (radius, 0.95 * radius)))
        return tubes


def _point(node: NDArray[np.float64]) -> Point:
    return float(node[0]), float(node[1]), float(node[2])


def grow_tree(root: Point, ends: NDArray[np.float64], rng: Generator) -> Tree:
    """Grow a tree from a root to scattered end points.

    Args:
        root: Start of the tree, mm.
        ends: Points to reach, shape ``(N, 3)``.
        rng: Source of the bends.
    """
    order = np.argsort(np.linalg.norm(ends - root, axis=1))
    nodes = np.vstack([root, ends[order]])
    parents = np.zeros(len(nodes), dtype=np.intp)
    path = np.zeros(len(nodes))
    for n in range(1, len(nodes)):
        step = np.linalg.norm(nodes[:n] - nodes[n], axis=1)
        # Connecting to a node that is far from the root would fold the tree back.
        parents[n] = np.argmin(step + 0.55 * path[:n])
        path[n] = path[parents[n]] + step[parents[n]]
    middles = 0.5 * (nodes + nodes[parents])
    lengths = np.linalg.norm(nodes - nodes[parents], axis=1)[:, None]
    bends = middles + 0.09 * lengths * rng.standard_normal(nodes.shape)
    return Tree(nodes, bends, parents, _murray_radii(parents))


def _murray_radii(parents: NDArray[np.intp]) -> NDArray[np.float64]:
    load = np.zeros(len(parents))
    for n in range(len(parents) - 1, 0, -1):
        load[n] = max(load[n], 1.0)
        load[parents[n]] += load[n]
    load[0] = max(load[0], 1.0)
    return np.asarray(SMALLEST_RADIUS_MM * load ** (1.0 / MURRAY))


def grow_vessels(
    space: Space, habitus: Habitus, lungs: Lungs, label: int, *, rng: Generator
) -> tuple[Tree, Tree]:
    """Grow the arteries and the veins of one lung."""
    side = "left" if label == LEFT else "right"
    inside = np.argwhere((lungs.sides == label) & (lungs.depth > 3.0))
    count = _branches(space, habitus, inside)
    x, y, z = habitus.hilum(side)
    roots: tuple[Point, Point] = ((0.95 * x, y, z), (0.8 * x, y + 8.0, z - 22.0))
    if not len(inside):
        bare = Tree(np.array([roots[0]]), np.array([roots[0]]), np.zeros(1, np.intp), np.ones(1))
        return bare, bare
    arteries, veins = (
        grow_tree(root, _draw_ends(space, inside, rng, count=count), rng) for root in roots
    )
    if habitus.variant.vessels != 1.0:
        size = habitus.variant.vessels
        arteries, veins = (replace(tree, radii=size * tree.radii) for tree in (arteries, veins))
    return arteries, veins


def _branches(space: Space, habitus: Habitus, inside: NDArray[np.intp]) -> int:
    """Return the number of branches; a scan of a part of a lung shows a part of them."""
    visible_mm = len(np.unique(inside[:, 2])) * space.slice_mm
    share = visible_mm / (WHOLE_LUNG * habitus.lung_height)
    return BRANCHES if share >= 1.0 else max(16, round(share * BRANCHES))


def _draw_ends(
    space: Space, inside: NDArray[np.intp], rng: Generator, *, count: int
) -> NDArray[np.float64]:
    i, j, k = inside[rng.integers(0, len(inside), count)].T
    body = np.stack([space.x[i, j, k], space.y[i, j, k], space.z[0, 0, k]], axis=1)
    return body.astype(np.float64) + rng.uniform(-0.5, 0.5, body.shape) * space.pixel_mm


def draw_vessels(hu: Floats, space: Space, tree: Tree, blood_hu: float) -> None:
    """Draw a tree of vessels, in place; branches thinner than a voxel fill a part of it."""
    for tube in tree.tubes():
        box, inside = tube.depth(space, margin_mm=space.pixel_mm)
        filled = min(1.0, 2.2 * tube.radii[0] / space.pixel_mm)
        paint(hu[box], coverage(inside, space.pixel_mm) * filled, blood_hu)


def draw_bronchi(hu: Floats, space: Space, tree: Tree) -> None:
    """Draw the bronchi next to the larger arteries, in place."""
    for tube in tree.tubes():
        radius = 0.8 * tube.radii[0]
        if radius < BRONCHUS_MM:
            continue
        aside = 1.0 + 1.9 * radius
        start = (tube.start[0], tube.start[1] - aside, tube.start[2])
        end = (tube.end[0], tube.end[1] - aside, tube.end[2])
        box, inside = Tube(start, end, (radius, radius)).depth(space, margin_mm=3.0)
        filled = min(1.0, 1.1 * radius / space.pixel_mm)
        paint(hu[box], 0.5 * coverage(inside + 0.8, space.pixel_mm), tissue.WALL_HU - 150.0)
        paint(hu[box], filled * coverage(inside, space.pixel_mm), tissue.AIRWAY_HU)
