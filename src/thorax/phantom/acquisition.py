"""Simulated acquisition: field of view, couch, blur, noise, padding, orientation."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from thorax.phantom import tissue
from thorax.phantom.anatomy import Habitus
from thorax.phantom.space import Floats, Space, coverage, paint

PIXELS = (144, 224)

PLANES = (32, 56)

ORIENTATIONS = ("RAS", "LPS", "LAS", "PIR", "RSA")

LOWEST_HU, HIGHEST_HU = -1024.0, 3071.0


@dataclass(frozen=True)
class Export:
    """An 8-bit export of a scan.

    Args:
        window_hu: HU that are stored as 0 and 255; None if each slice is stretched to its own
            range.
        darkest: Grey value of the darkest tissue of an equalised slice; in public exports, a few
            very dark voxels raise the air around the body to about 25.
        clip_limit: Limit of the contrast-limited adaptive histogram equalisation (CLAHE) of each
            slice, 0 for none.
        tiles: Tiles of the equalisation along each axis of a slice.
        quality: Quality of a JPEG compression of each slice, 0 for none.
        inverted: True if air is bright.
        dimmed: Share of the slices that are darker, as if a few very bright pixels took up part of
            their range.
        seed: Seed of the choice of these slices.
    """

    window_hu: tuple[float, float] | None
    darkest: int = 0
    clip_limit: float = 0.0
    tiles: int = 8
    quality: int = 0
    inverted: bool = False
    dimmed: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Artefacts:
    """Properties of a varied scan that plain scans do not have.

    Args:
        thickness_mm: Thickness of the slices; they overlap if it is larger than their distance.
        streaks: Strength of the horizontal streaks at the shoulders, relative to the noise.
        shoulder_mm: Body z of the shoulders.
        breathing_mm: Amplitude of the movement of the diaphragm, 0 for none.
        dome_mm: Body z of the top of the diaphragm.
        pulsation_mm: Amplitude of the movement of the heart, 0 for none.
        heart: Centre of the heart and its size, mm.
        limits_hu: Lowest and highest value that is stored.
        field_shape: Shape of the field of view: ``circle``, ``ellipse`` or ``rectangle``; the
            padding is outside of it.
        export: 8-bit export; None for HU.
    """

    thickness_mm: float
    streaks: float
    shoulder_mm: float
    breathing_mm: float
    dome_mm: float
    pulsation_mm: float
    heart: tuple[float, float, float, float]
    limits_hu: tuple[float, float] = (LOWEST_HU, HIGHEST_HU)
    field_shape: str = "circle"
    export: Export | None = None


_CODES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


@dataclass(frozen=True)
class Protocol:
    """Acquisition parameters of one scan.

    Args:
        shape: Number of voxels along R, A and S.
        spacing_mm: Distance between voxel centres along R, A and S.
        shift_mm: Distance of the image centre to the right of and behind the patient's centre.
        low_mm: Position of the lowest plane relative to the lowest pleura.
        roll_rad: Rotation of the patient about the long axis.
        couch_gap_mm: Air between the back and the couch.
        blur_px: Width of the reconstruction kernel within the plane.
        sharpening: Overshoot of a sharp kernel at edges.
        noise_hu: Standard deviation of the noise.
        grain_px: Correlation length of the noise.
        padding_hu: Value outside a circular field of view; None for a square field of view.
        orientation: Directions of the stored axes, such as ``LPS``.
        tilt_deg: Rotation of the image about each world axis.
        origin_mm: World position of the image centre.
        gravity_rad: Direction of gravity relative to the patient, see `Space`.
        artefacts: Further properties of a varied scan; None for a plain one.
        scale: Size of the patient, see `Variant`; the voxels of the file are smaller by it.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    shift_mm: tuple[float, float]
    low_mm: float
    roll_rad: float
    couch_gap_mm: float
    blur_px: float
    sharpening: float
    noise_hu: float
    grain_px: float
    padding_hu: int | None
    orientation: str
    tilt_deg: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    gravity_rad: float = 0.0
    artefacts: Artefacts | None = None
    scale: float = 1.0


def draw_protocol(habitus: Habitus, rng: Generator) -> Protocol:
    """Draw a random protocol with a field of view that contains the patient."""

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    shape, spacing_mm = _field_of_view(habitus, rng)
    tilted = rng.random() < 0.2
    return Protocol(
        shape=shape,
        spacing_mm=spacing_mm,
        shift_mm=(between(-6.0, 6.0), between(14.0, 24.0)),
        low_mm=-between(12.0, 38.0),
        roll_rad=float(np.radians(rng.normal(0.0, 2.0))),
        couch_gap_mm=between(9.0, 16.0),
        blur_px=between(0.45, 0.75),
        sharpening=float(rng.choice([0.0, 0.0, 0.5, 0.9])),
        noise_hu=float(rng.choice([8.0, 14.0, 22.0, 32.0])) * between(0.8, 1.2),
        grain_px=between(0.5, 0.9),
        padding_hu=(None, -1024, -2000, -3024)[int(rng.choice(4, p=(0.5, 0.15, 0.25, 0.1)))],
        orientation=ORIENTATIONS[int(rng.choice(5, p=(0.3, 0.3, 0.2, 0.1, 0.1)))],
        tilt_deg=(between(-6, 6), between(-3, 3), between(-4, 4)) if tilted else (0.0, 0.0, 0.0),
        origin_mm=(between(-30, 30), between(-200, 60), between(-900, 200)),
        scale=habitus.variant.scale,
    )


def _field_of_view(
    habitus: Habitus, rng: Generator
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    wall = habitus.wall + habitus.fat
    width = 2.0 * (habitus.cage_half_width + wall) + float(rng.uniform(24.0, 50.0))
    depth = 2.0 * (habitus.cage_half_depth + wall) + habitus.breast + float(rng.uniform(70.0, 90.0))
    pixel = float(rng.uniform(max(1.6, width / PIXELS[1]), max(2.1, width / PIXELS[1] + 0.1)))
    columns = int(np.clip(round(width / pixel), *PIXELS))
    rows = int(np.clip(round(depth / pixel), *PIXELS)) if rng.random() < 0.3 else columns
    rows = max(rows, int(np.clip(np.ceil(depth / pixel), *PIXELS)))
    height = 1.04 * habitus.lung_height + float(rng.uniform(36.0, 60.0))
    slice_mm = float(rng.uniform(max(5.0, height / PLANES[1]), 8.0))
    planes = int(np.clip(round(height / slice_mm), *PLANES))
    return (columns, rows, planes), (pixel, pixel, slice_mm)


def scanner_axes(protocol: Protocol) -> tuple[Floats, Floats, Floats]:
    """Compute the positions of the voxels along R, A and S in body millimetres."""
    (columns, rows, planes), (pixel, _, slice_mm) = protocol.shape, protocol.spacing_mm
    x = (np.arange(columns) - 0.5 * (columns - 1)) * pixel + protocol.shift_mm[0]
    y = (np.arange(rows) - 0.5 * (rows - 1)) * pixel - protocol.shift_mm[1]
    z = np.arange(planes) * slice_mm + protocol.low_mm
    return x.astype(np.float32), y.astype(np.float32), z.astype(np.float32)


def draw_couch(hu: Floats, space: Space, skin: Floats, gap_mm: float) -> None:
    """Draw the couch, a curved shell filled with foam, below the patient with a gap, in place."""
    x, y = space.axes[0][:, None, None], space.axes[1][None, :, None]
    sag = 26.0 * (x / 190.0) ** 2
    back = _back(space, skin, sag)
    top = back - gap_mm + sag
    bottom = back - gap_mm - 34.0 + 0.35 * sag
    inside = np.minimum(np.minimum(top - y, y - bottom), (205.0 - np.abs(x)))
    slab = np.broadcast_to(inside, hu.shape)
    paint(hu, coverage(slab, space.pixel_mm), tissue.COUCH_SHELL_HU)
    paint(hu, coverage(slab - 3.0, space.pixel_mm), tissue.COUCH_FOAM_HU)


def _back(space: Space, skin: Floats, sag: Floats) -> float:
    occupied = (skin > -1.0).any(axis=2)
    height = np.where(occupied, space.axes[1][None, :] - sag[:, :, 0], np.inf)
    return float(height.min())


def acquire(hu: Floats, protocol: Protocol, rng: Generator) -> NDArray[np.int16]:
    """Blur, add correlated noise, clip to the range of the scanner, pad the field of view.

    Args:
        hu: True densities, shape ``(X, Y, Z)``.
        protocol: The acquisition parameters.
        rng: Source of the noise.
    """
    blur = (protocol.blur_px, protocol.blur_px, 0.4)
    image = ndimage.gaussian_filter(hu, blur, truncate=3.0)
    if protocol.sharpening:
        softer = ndimage.gaussian_filter(image, (1.1, 1.1, 0.0), truncate=2.5)
        image += protocol.sharpening * (image - softer)
    image += _noise(protocol, rng)
    scan = np.rint(np.clip(image, LOWEST_HU, HIGHEST_HU)).astype(np.int16)
    if protocol.padding_hu is not None:
        scan[_outside(protocol.shape)] = protocol.padding_hu
    return scan


def _noise(protocol: Protocol, rng: Generator) -> Floats:
    white = rng.standard_normal(protocol.shape, dtype=np.float32)
    grain = protocol.grain_px
    noise: Floats = ndimage.gaussian_filter(white, (grain, grain, 0.0), truncate=2.5)
    # X-rays through the middle of the body cross most tissue, so noise is highest there.
    x, y, _ = np.ogrid[-1 : 1 : protocol.shape[0] * 1j, -1 : 1 : protocol.shape[1] * 1j, 0:1]
    strength = 0.7 + 0.6 * np.exp(-2.0 * (x**2 + y**2))
    noise *= (protocol.noise_hu / noise.std() * strength).astype(np.float32)
    return noise + _shoulder_streaks(white, protocol.noise_hu)


def _shoulder_streaks(white: Floats, noise_hu: float) -> Floats:
    # Few photons pass both shoulders, which causes streaks between them.
    streaks: Floats = ndimage.uniform_filter1d(white[::-1], 25, axis=0)
    planes = np.linspace(0.0, 1.0, white.shape[2], dtype=np.float32)
    return streaks * (3.0 * noise_hu * np.clip((planes - 0.75) / 0.25, 0.0, 1.0))


def _outside(shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    x, y = np.ogrid[: shape[0], : shape[1]]
    radius = 0.5 * max(shape[:2])
    away = np.hypot(x - 0.5 * (shape[0] - 1), y - 0.5 * (shape[1] - 1))
    outside: NDArray[np.bool_] = away > radius
    return outside


def canonical_affine(protocol: Protocol) -> NDArray[np.float64]:
    """Compute the affine of the scan in RAS order, before `reorient`."""
    affine = np.eye(4)
    affine[:3, :3] = _rotation(protocol.tilt_deg) @ np.diag(
        [protocol.scale * mm for mm in protocol.spacing_mm]
    )
    middle = 0.5 * (np.array(protocol.shape) - 1.0)
    affine[:3, 3] = np.array(protocol.origin_mm) - affine[:3, :3] @ middle
    return affine


def _rotation(degrees: tuple[float, float, float]) -> NDArray[np.float64]:
    rotation = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        rotation = step @ rotation
    return rotation


def reorient(
    voxels: NDArray[Any], affine: NDArray[np.float64], orientation: str
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Store RAS voxels with other axes, without changing their world positions.

    Args:
        voxels: Axes along R, A and S.
        affine: Matrix from these voxel indices to RAS+ millimetres.
        orientation: Directions of the new axes, such as ``LPS``.

    Returns:
        The voxels with permuted and flipped axes, and their affine.
    """
    to_ras = np.zeros((4, 4))
    to_ras[3, 3] = 1.0
    flips = []
    for new, letter in enumerate(orientation):
        old, sign = _CODES[letter]
        to_ras[old, new] = sign
        to_ras[old, 3] = 0.0 if sign > 0 else voxels.shape[old] - 1.0
        flips.append(slice(None, None, sign))
    stored = voxels.transpose([_CODES[letter][0] for letter in orientation])[tuple(flips)]
    return np.ascontiguousarray(stored), affine @ to_ras
