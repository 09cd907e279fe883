"""Random protocols: field of view, range, slices, kernel, dose."""

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from numpy.random import Generator

from thorax.phantom.acquisition import ORIENTATIONS, Artefacts, Export, Protocol
from thorax.phantom.anatomy import Habitus
from thorax.phantom.scans.exports import draw_export

MOST_PLANES = 56

MOST_VOXELS = 2_000_000

ALL_ORIENTATIONS = tuple(
    "".join(letters) for axes in permutations(("RL", "AP", "SI")) for letters in product(*axes)
)

RANGES = (
    ("", 0.52, (0.0, 0.0)),
    ("thin slices", 0.24, (0.0, 0.0)),
    ("lung bases only", 0.06, (-1.0, 0.3)),
    ("apices only", 0.05, (0.72, 1.55)),
    ("neck to pelvis", 0.05, (-1.8, 1.5)),
    ("abdomen without lungs", 0.05, (-1.4, -0.06)),
    ("neck without lungs", 0.03, (1.06, 1.8)),
)
"""Ranges along the body: kind, chance, and levels of the ends where they are fixed."""

EXPORTS = 0.2
"""Share of exports among the scans that show the lungs."""

EQUALISED_NOISE_HU = 35.0
"""Largest noise of an equalised export: equalisation makes noise stronger."""

GRAVITY = (("", 0.0, 0.86), ("prone", np.pi, 0.07), ("decubitus", np.pi / 2, 0.07))


@dataclass(frozen=True)
class _Extent:
    """Range of a scan along one axis of the body, mm."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        return 0.5 * (self.low + self.high)

    @property
    def length(self) -> float:
        return self.high - self.low


def draw_varied_protocol(habitus: Habitus, rng: Generator) -> tuple[Protocol, tuple[str, ...]]:
    """Draw a protocol with any field of view and range; also return the kinds of variation."""
    kind = RANGES[int(rng.choice(len(RANGES), p=[chance for _, chance, _ in RANGES]))]
    z, slice_mm, kinds = _draw_range(habitus, kind[0], kind[2], rng)
    x, y, field_kinds = _draw_field(habitus, rng)
    planes = max(4, round(z.length / slice_mm))
    columns = min(float(rng.uniform(120.0, 232.0)), float(np.sqrt(MOST_VOXELS / planes)))
    pixel = max(x.length, y.length) / columns
    shape = (round(x.length / pixel), round(y.length / pixel), planes)
    gravity_rad, position = _draw_position(rng)
    blur_px, sharpening, kernel = _draw_kernel(pixel, rng)
    noise_hu, dose = _draw_dose(rng)
    padding_hu = (-1024, -2000, -3024)[int(rng.choice(3))] if rng.random() < 0.5 else None
    artefacts, more = _draw_artefacts(habitus, slice_mm, kind[0] in ("", "thin slices"), rng)
    if artefacts.export and artefacts.export.clip_limit:
        noise_hu, dose = min(noise_hu, EQUALISED_NOISE_HU), ()
        sharpening = min(sharpening, 1.0)
    tilted = rng.random() < 0.2
    tilt = _uniform((25.0, 4.0, 6.0), rng) if tilted else (0.0, 0.0, 0.0)
    orientation = ALL_ORIENTATIONS[int(rng.integers(len(ALL_ORIENTATIONS)))]
    protocol = Protocol(
        shape=shape,
        spacing_mm=(pixel, pixel, slice_mm),
        shift_mm=(x.middle, -y.middle),
        low_mm=z.low,
        roll_rad=float(np.radians(rng.normal(0.0, 5.0))),
        couch_gap_mm=float(rng.uniform(2.0, 20.0)),
        blur_px=blur_px,
        sharpening=sharpening,
        noise_hu=noise_hu,
        grain_px=float(rng.uniform(0.35, 1.3)),
        padding_hu=None if field_kinds else padding_hu,
        orientation=str(rng.choice(ORIENTATIONS)) if rng.random() < 0.6 else orientation,
        tilt_deg=tilt,
        origin_mm=_uniform((80.0, 250.0, 1000.0), rng),
        gravity_rad=gravity_rad,
        artefacts=artefacts,
        scale=habitus.variant.scale,
    )
    return protocol, (*kinds, *field_kinds, *position, *kernel, *dose, *more)


def _uniform(limits: tuple[float, float, float], rng: Generator) -> tuple[float, float, float]:
    x, y, z = (float(rng.uniform(-limit, limit)) for limit in limits)
    return x, y, z


def _draw_range(
    habitus: Habitus, kind: str, levels: tuple[float, float], rng: Generator
) -> tuple[_Extent, float, tuple[str, ...]]:
    # An infant is an adult in smaller millimetres, so its slices are thinner than these.
    scale = habitus.lung_height / 240.0
    if kind == "thin slices":
        slice_mm = float(np.exp(rng.uniform(np.log(0.5), np.log(3.0)))) * max(scale, 0.5)
        length = slice_mm * float(rng.uniform(20.0, 44.0))
        low = habitus.z(float(rng.uniform(0.0, 1.0))) - 0.5 * length
        return _Extent(low, low + length), slice_mm, (kind,)
    if kind:
        low, high = (habitus.z(level + float(rng.uniform(-0.06, 0.06))) for level in levels)
        if "without lungs" in kind:
            low, high = habitus.z(levels[0]), habitus.z(levels[1])
        slice_mm = max(float(rng.uniform(4.0, 9.0)) * scale, (high - low) / MOST_PLANES)
        return _Extent(low, high), slice_mm, (kind,)
    low = -float(rng.uniform(8.0, 60.0)) * scale
    high = habitus.z(1.03) + float(rng.uniform(8.0, 60.0)) * scale
    shortest = max(3.6 * scale, (high - low) / MOST_PLANES)
    slice_mm = max(shortest, float(rng.uniform(3.6, 8.0)) * scale)
    kinds: tuple[str, ...] = ()
    if rng.random() < 0.15:
        slice_mm, kinds = float(rng.uniform(8.0, 10.0)) * scale, ("thick slices",)
    return _Extent(low, high), slice_mm, kinds


def _draw_field(habitus: Habitus, rng: Generator) -> tuple[_Extent, _Extent, tuple[str, ...]]:
    wall = habitus.wall + habitus.fat
    wide = habitus.cage_half_width + wall + float(rng.uniform(4.0, 60.0))
    front = habitus.cage_half_depth + wall + habitus.breast + float(rng.uniform(4.0, 40.0))
    back = habitus.cage_half_depth + wall + float(rng.uniform(20.0, 80.0))
    x, y = _Extent(-wide, wide), _Extent(-back, front)
    draw = rng.random()
    if draw < 0.06:
        return (*_small_field(habitus, rng), ("small field of view",))
    if draw < 0.15:
        return (*_part_of_field(habitus, x, y, rng), ("part of the field of view",))
    if draw < 0.34:
        return (*_cut_field(habitus, x, y, rng), ("cut field of view",))
    if rng.random() < 0.8:
        x, y = _square(x, y)
    return x, y, ()


def _square(x: _Extent, y: _Extent) -> tuple[_Extent, _Extent]:
    half = 0.5 * max(x.length, y.length)
    return _Extent(x.middle - half, x.middle + half), _Extent(y.middle - half, y.middle + half)


def _small_field(habitus: Habitus, rng: Generator) -> tuple[_Extent, _Extent]:
    """Draw a field of view around the heart or one lung, at least a third of the chest wide."""
    half_width = habitus.cage_half_width
    side = float(rng.choice([-1.0, 0.0, 1.0]))
    centre = side * 0.5 * half_width + float(rng.normal(0.0, 0.12)) * half_width
    centre -= 0.2 * half_width if side == 0.0 else 0.0
    half = half_width * float(rng.uniform(0.42, 0.75))
    middle = float(rng.normal(0.0, 0.12)) * half_width
    x, y = _Extent(centre - half, centre + half), _Extent(middle - half, middle + half)
    return x, y


def _part_of_field(
    habitus: Habitus, x: _Extent, y: _Extent, rng: Generator
) -> tuple[_Extent, _Extent]:
    """Keep a third to three quarters of the chest: right, left, front or back."""
    axis = int(rng.integers(2))
    extent, reach = ((x, habitus.cage_half_width), (y, habitus.cage_half_depth))[axis]
    end = float(rng.uniform(-0.3, 0.5)) * reach
    part = _Extent(extent.low, end) if rng.random() < 0.5 else _Extent(-end, extent.high)
    return (part, y) if axis == 0 else (x, part)


def _cut_field(habitus: Habitus, x: _Extent, y: _Extent, rng: Generator) -> tuple[_Extent, _Extent]:
    """Cut the patient on one or more sides, mostly the chest wall, sometimes the lungs."""
    reach = (habitus.cage_half_width, habitus.cage_half_depth)
    cut = rng.random(4) < (0.4, 0.4, 0.25, 0.25)
    cut[int(rng.integers(4))] = True
    share = np.where(rng.random(4) < 0.6, rng.uniform(0.97, 1.1, 4), rng.uniform(0.65, 1.0, 4))
    low_x = -share[0] * reach[0] if cut[0] else x.low
    high_x = share[1] * reach[0] if cut[1] else x.high
    low_y = -share[2] * reach[1] if cut[2] else y.low
    high_y = share[3] * reach[1] if cut[3] else y.high
    return _Extent(float(low_x), float(high_x)), _Extent(float(low_y), float(high_y))


def _draw_position(rng: Generator) -> tuple[float, tuple[str, ...]]:
    name, angle, _ = GRAVITY[int(rng.choice(3, p=[chance for _, _, chance in GRAVITY]))]
    sign = float(rng.choice([-1.0, 1.0])) if name == "decubitus" else 1.0
    return sign * float(angle), (name,) if name else ()


def _draw_kernel(pixel: float, rng: Generator) -> tuple[float, float, tuple[str, ...]]:
    draw = rng.random()
    if draw < 0.15:
        return float(rng.uniform(1.2, 2.8)) / pixel, 0.0, ("soft kernel",)
    if draw < 0.35:
        return float(rng.uniform(0.25, 0.5)), float(rng.uniform(0.9, 2.2)), ("sharp kernel",)
    return float(rng.uniform(0.35, 0.8)), float(rng.choice([0.0, 0.0, 0.4, 0.8])), ()


def _draw_dose(rng: Generator) -> tuple[float, tuple[str, ...]]:
    if rng.random() < 0.12:
        return float(np.exp(rng.uniform(np.log(45.0), np.log(130.0)))), ("low dose",)
    return float(np.exp(rng.uniform(np.log(3.0), np.log(40.0)))), ()


def _draw_artefacts(
    habitus: Habitus, slice_mm: float, exportable: bool, rng: Generator
) -> tuple[Artefacts, tuple[str, ...]]:
    kinds: list[str] = []
    thickness_mm = slice_mm
    if rng.random() < 0.12:
        thickness_mm, kinds = slice_mm * float(rng.uniform(1.3, 2.2)), ["overlapping slices"]
    moving = rng.random() < 0.15
    scale = habitus.lung_height / 240.0
    export: Export | None = None
    if exportable and rng.random() < EXPORTS:
        export, export_kinds = draw_export(rng)
        kinds += export_kinds
    lowest = -1000.0 if rng.random() < 0.3 else -1024.0
    highest = float(rng.choice([3071.0, 3071.0, 3071.0, 2976.0, 1023.0, 400.0]))
    shapes = ("circle", "circle", "ellipse", "rectangle")
    artefacts = Artefacts(
        thickness_mm=thickness_mm,
        streaks=float(rng.gamma(1.5, 1.5)),
        shoulder_mm=habitus.z(0.85),
        breathing_mm=float(rng.uniform(3.0, 10.0)) * scale if moving else 0.0,
        dome_mm=habitus.dome_z("right"),
        pulsation_mm=float(rng.uniform(1.0, 5.0)) * scale if moving else 0.0,
        heart=(*habitus.heart_centre, habitus.heart),
        limits_hu=(lowest, highest),
        field_shape=str(rng.choice(shapes)),
        export=export,
    )
    return artefacts, (*kinds, "motion") if moving else tuple(kinds)
