"""Body coordinates of the phantom, and drawing of shapes.

All shapes are placed in *body* millimetres: x to the patient's right, y to the front, z to the
head. The origin is in the middle of the chest at the level of the lowest point of the lungs. A
rotation and a smooth random warp map voxel positions to body positions, so that shapes are less
regular than their formulas.

A *depth* is a distance to a surface in mm, positive inside. A *coverage* is the fraction of each
voxel that a tissue fills.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.floating[Any]]

Point = tuple[float, float, float]

Box = tuple[slice, slice, slice]

WARP_SCALE_MM = 60.0

WARP_MM = 2.5


@dataclass(frozen=True, eq=False)
class Space:
    """Body coordinates of every voxel of an axial scan.

    Args:
        axes: Position of the voxels along each axis before roll and warp, in mm.
        x: Body x of each voxel, shape ``(X, Y, Z)``.
        y: Body y of each voxel, shape ``(X, Y, Z)``.
        z: Body z of each plane, shape ``(1, 1, Z)``.
        roll_rad: Rotation of the patient about the long axis.
        gravity_rad: Direction of gravity: 0 towards the back, as in supine patients, ±π/2 towards
            the right and the left side, π towards the front.
    """

    axes: tuple[Floats, Floats, Floats]
    x: Floats
    y: Floats
    z: Floats
    roll_rad: float
    gravity_rad: float = 0.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along each axis."""
        return len(self.axes[0]), len(self.axes[1]), len(self.axes[2])

    @property
    def down(self) -> tuple[float, float]:
        """Unit vector of gravity along body x and y; fluid collects there, and the couch is there.

        In a supine patient it is (0, -1).
        """
        return float(np.sin(self.gravity_rad)), -float(np.cos(self.gravity_rad))

    @property
    def pixel_mm(self) -> float:
        """Distance between neighbouring voxels within a plane."""
        return float(self.axes[0][1] - self.axes[0][0])

    @property
    def slice_mm(self) -> float:
        """Distance between neighbouring planes."""
        return float(self.axes[2][1] - self.axes[2][0])

    def at(self, box: Box) -> tuple[Floats, Floats, Floats]:
        """Return body x, y and z of the voxels of a box."""
        return self.x[box], self.y[box], self.z[:, :, box[2]]

    def box_around(self, *points: Point, margin_mm: float) -> Box:
        """Find the smallest box of voxels that contains all points with a margin."""
        cosine, sine = np.cos(self.roll_rad), np.sin(self.roll_rad)
        x, y, z = np.array(points, dtype=np.float64).T
        return (
            _voxel_range(self.axes[0], cosine * x + sine * y, margin_mm + 3 * WARP_MM),
            _voxel_range(self.axes[1], cosine * y - sine * x, margin_mm + 3 * WARP_MM),
            _voxel_range(self.axes[2], z, margin_mm),
        )


def _voxel_range(axis: Floats, positions: NDArray[np.float64], margin_mm: float) -> slice:
    ends = np.array([positions.min() - margin_mm, positions.max() + margin_mm], dtype=np.float32)
    low, high = np.searchsorted(axis, ends)
    return slice(int(low), int(high))


def position_patient(
    axes: tuple[Floats, Floats, Floats],
    rng: Generator,
    *,
    roll_rad: float = 0.0,
    gravity_rad: float = 0.0,
) -> Space:
    """Position a patient in a scan: roll and warp voxel positions to body positions.

    Args:
        axes: Position of the voxels along each axis, in mm, ascending.
        rng: Source of the warp.
        roll_rad: Rotation of the patient about the long axis.
        gravity_rad: Direction of gravity, see `Space`.
    """
    across, forward = axes[0][:, None, None], axes[1][None, :, None]
    cosine, sine = float(np.cos(roll_rad)), float(np.sin(roll_rad))
    x = texture(axes, rng, scale_mm=WARP_SCALE_MM) * WARP_MM
    y = texture(axes, rng, scale_mm=WARP_SCALE_MM) * WARP_MM
    x += cosine * across - sine * forward
    y += sine * across + cosine * forward
    return Space(axes, x, y, axes[2][None, None, :], roll_rad, gravity_rad)


def texture(axes: tuple[Floats, Floats, Floats], rng: Generator, *, scale_mm: float) -> Floats:
    """Draw a smooth random field of mean 0 and standard deviation about 1.

    White noise on a coarse lattice is interpolated by cubic B-splines with one small sparse matrix
    per axis. This is many times faster than filtering noise on the fine grid. Unlike a dense
    product, it gives the same bits with any number of threads.

    Args:
        axes: Position of the voxels along each axis, in mm.
        rng: Source of the noise.
        scale_mm: Distance between the knots, about the size of a structure.
    """
    if not all(len(axis) for axis in axes):
        return np.zeros([len(axis) for axis in axes], dtype=np.float32)
    weights = [_spline_weights(axis, scale_mm) for axis in axes]
    field: Floats = rng.standard_normal([w.shape[1] for w in weights], dtype=np.float32)
    for matrix in weights[::-1]:
        field = np.moveaxis(field, 2, 0)
        rows = matrix @ field.reshape(len(field), -1)
        field = rows.reshape(-1, *field.shape[1:])
    return field


def _spline_weights(axis: Floats, scale_mm: float) -> sparse.csr_array:
    knots = np.arange(axis[0] - 2 * scale_mm, axis[-1] + 2 * scale_mm, scale_mm)
    distance = np.abs(axis[:, None] - knots) / scale_mm
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    weights = np.where(distance < 1, near, far)
    scale = np.sqrt((weights**2).sum(axis=1).mean())
    return sparse.csr_array((weights / scale).astype(np.float32))


def coverage(depth: Floats, soft_mm: float) -> Floats:
    """Compute the fraction of each voxel inside a surface that is blurred over `soft_mm`."""
    inside = depth / soft_mm
    inside += 0.5
    return np.clip(inside, 0.0, 1.0, out=inside)


def smoothstep(value: Floats) -> Floats:
    """Interpolate smoothly from 0 at value 0 to 1 at value 1."""
    ramp = np.clip(value, 0.0, 1.0)
    return ramp * ramp * (3.0 - 2.0 * ramp)


def smooth_minimum(first: Floats, second: Floats, *, rounding_mm: float) -> Floats:
    """Compute the minimum of two depths with a rounded edge between them."""
    blend = np.clip(rounding_mm - np.abs(first - second), 0.0, None)
    rounded: Floats = np.minimum(first, second) - blend * blend / (4.0 * rounding_mm)
    return rounded


def paint(hu: Floats, cover: Floats, tissue_hu: float | Floats) -> None:
    """Fill the covered fraction of each voxel with a tissue, in place."""
    hu += (tissue_hu - hu) * cover


def ellipsoid_depth(at: tuple[Floats, Floats, Floats], centre: Point, radii: Point) -> Floats:
    """Approximate the depth inside an ellipsoid with axes along x, y and z."""
    square = sum(((c - m) / r) ** 2 for c, m, r in zip(at, centre, radii, strict=True))
    depth: Floats = (1.0 - np.sqrt(square)) * min(radii)
    return depth


def capsule_depth(
    at: tuple[Floats, Floats, Floats], start: Point, end: Point, radii: tuple[float, float]
) -> Floats:
    """Compute the depth inside a tube with different radii at its start and end."""
    along = np.subtract(end, start)
    length_sq = float(along @ along) + 1e-6
    dx, dy, dz = (c - p for c, p in zip(at, start, strict=True))
    ax, ay, az = (float(a) for a in along)
    t = np.clip((dx * ax + dy * ay + dz * az) / length_sq, 0.0, 1.0)
    distance = np.sqrt((dx - t * ax) ** 2 + (dy - t * ay) ** 2 + (dz - t * az) ** 2)
    depth: Floats = radii[0] + t * (radii[1] - radii[0]) - distance
    return depth
