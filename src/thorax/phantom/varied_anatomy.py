"""Patients beyond plain adults: age, size, deformities, displaced and enlarged organs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from numpy.random import Generator

from thorax.phantom.anatomy import Habitus, Variant, draw_habitus

Change = Callable[[Habitus, Generator], Habitus]


def draw_varied_habitus(rng: Generator) -> tuple[Habitus, tuple[str, ...]]:
    """Draw any patient, from an infant to a very large adult; also return the kinds."""
    habitus = _draw_adult(rng)
    kinds: list[str] = []
    for name, chance, change in BUILDS:
        if rng.random() < chance:
            habitus, kinds = change(habitus, rng), [*kinds, name]
            break
    for name, chance, change in ORGANS:
        if rng.random() < chance:
            habitus, kinds = change(habitus, rng), [*kinds, name]
    return habitus, tuple(kinds)


def _between(rng: Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _sign(rng: Generator) -> float:
    return -1.0 if rng.random() < 0.5 else 1.0


def _vary(habitus: Habitus, **values: Any) -> Habitus:
    return replace(habitus, variant=replace(habitus.variant, **values))


def _draw_adult(rng: Generator) -> Habitus:
    """Draw an adult with the proportions of real patients; the heart is clearly on the left."""
    habitus = draw_habitus(rng)
    variant = Variant(
        complete=True,
        heart_shift=(
            -_between(rng, 3.0, 20.0),
            _between(rng, -6.0, 10.0),
            _between(rng, -8.0, 8.0),
        ),
        trachea_shift=_between(rng, -4.0, 6.0),
        breast_x=_between(rng, 75.0, 105.0),
        breast_width=_between(rng, 36.0, 50.0),
        flatness=_between(rng, 0.0, 0.5),
        tendon=_between(rng, 0.3, 0.6),
        recess=_between(rng, 4.0, 24.0),
        rim=_between(rng, 0.3, 0.8),
        vessels=_between(rng, 0.9, 1.5),
        scallops=max(0.0, float(rng.normal(2.0, 4.0))),
        stomach=_between(rng, 0.8, 1.15),
    )
    width = _between(rng, 114.0, 146.0)
    return replace(
        habitus,
        cage_half_width=width,
        dome=_between(rng, 48.0, 92.0),
        dome_asymmetry=_between(rng, -4.0, 24.0),
        lung_height=_between(rng, 195.0, 270.0),
        heart=_between(rng, 48.0, 62.0),
        cage_half_depth=width * _between(rng, 0.66, 0.88),
        breast=_between(rng, 10.0, 40.0) if rng.random() < 0.45 else 0.0,
        variant=variant,
    )


def _infant(habitus: Habitus, rng: Generator) -> Habitus:
    height = habitus.cage_half_width * _between(rng, 1.45, 1.8)
    habitus = replace(
        habitus,
        lung_height=height,
        cage_half_depth=habitus.cage_half_width * _between(rng, 0.78, 0.95),
        wall=_between(rng, 20.0, 30.0),
        fat=_between(rng, 6.0, 20.0),
        breast=0.0,
        dome=height * _between(rng, 0.2, 0.3),
        heart=_between(rng, 60.0, 70.0),
        vertebra=_between(rng, 17.0, 21.0),
        trachea=_between(rng, 7.0, 9.0),
        lung_hu=_between(rng, -820.0, -680.0),
        gas=_between(rng, 0.6, 1.4),
    )
    return _vary(
        habitus,
        scale=_between(rng, 0.36, 0.5),
        thymus=_between(rng, 22.0, 36.0),
        stomach=_between(rng, 0.9, 1.4),
        scallops=0.0,
    )


def _child(habitus: Habitus, rng: Generator) -> Habitus:
    habitus = replace(
        habitus,
        cage_half_depth=habitus.cage_half_width * _between(rng, 0.7, 0.85),
        fat=_between(rng, 4.0, 14.0),
        breast=0.0,
        heart=_between(rng, 54.0, 64.0),
    )
    return _vary(habitus, scale=_between(rng, 0.5, 0.8), thymus=_between(rng, 10.0, 22.0))


def _large_adult(habitus: Habitus, rng: Generator) -> Habitus:
    habitus = replace(
        habitus,
        cage_half_width=_between(rng, 130.0, 155.0),
        cage_half_depth=_between(rng, 95.0, 118.0),
        fat=_between(rng, 38.0, 80.0),
        breast=_between(rng, 20.0, 80.0) if rng.random() < 0.6 else 0.0,
        lung_height=_between(rng, 190.0, 245.0),
        dome=_between(rng, 65.0, 105.0),
    )
    return _vary(
        habitus, breast_x=_between(rng, 100.0, 150.0), breast_width=_between(rng, 45.0, 75.0)
    )


def _thin(habitus: Habitus, rng: Generator) -> Habitus:
    return replace(habitus, wall=_between(rng, 12.0, 17.0), fat=_between(rng, 1.0, 3.5), breast=0.0)


def _muscular(habitus: Habitus, rng: Generator) -> Habitus:
    return replace(habitus, wall=_between(rng, 34.0, 48.0), fat=_between(rng, 3.0, 9.0), breast=0.0)


def _barrel(habitus: Habitus, rng: Generator) -> Habitus:
    return replace(
        habitus,
        cage_half_depth=habitus.cage_half_width * _between(rng, 0.86, 1.02),
        lung_height=_between(rng, 255.0, 310.0),
        dome=_between(rng, 22.0, 48.0),
        lung_hu=_between(rng, -910.0, -860.0),
        heart=_between(rng, 42.0, 50.0),
    )


def _large_breasts(habitus: Habitus, rng: Generator) -> Habitus:
    habitus = replace(habitus, breast=_between(rng, 40.0, 85.0))
    return _vary(
        habitus, breast_x=_between(rng, 90.0, 135.0), breast_width=_between(rng, 40.0, 65.0)
    )


def _expiration(habitus: Habitus, rng: Generator) -> Habitus:
    return replace(
        habitus,
        lung_hu=_between(rng, -780.0, -640.0),
        dependent_hu=_between(rng, 90.0, 220.0),
        lung_height=habitus.lung_height * _between(rng, 0.72, 0.88),
        dome=habitus.dome * _between(rng, 1.0, 1.25),
    )


def _pectus(habitus: Habitus, rng: Generator) -> Habitus:
    depth = _between(rng, 15.0, 45.0)
    x, y, z = habitus.variant.heart_shift
    shift = (x - 0.5 * depth, y - 0.5 * depth, z)
    return _vary(habitus, pectus=depth, heart_shift=shift)


def _kyphosis(habitus: Habitus, rng: Generator) -> Habitus:
    return _vary(habitus, kyphosis=_between(rng, 12.0, 32.0))


def _scoliosis(habitus: Habitus, rng: Generator) -> Habitus:
    bend = _sign(rng) * _between(rng, 10.0, 32.0)
    return _vary(habitus, scoliosis=bend, scoliosis_phase=_between(rng, -1.5, 1.5))


def _flat_diaphragm(habitus: Habitus, rng: Generator) -> Habitus:
    return replace(habitus, dome=_between(rng, 14.0, 32.0), dome_asymmetry=_between(rng, 0.0, 8.0))


def _raised_diaphragm(habitus: Habitus, rng: Generator) -> Habitus:
    rise = _between(rng, 35.0, 80.0)
    if rng.random() < 0.5:
        return replace(habitus, dome_asymmetry=habitus.dome_asymmetry + rise)
    return replace(habitus, dome=habitus.dome + rise, dome_asymmetry=-rise)


def _eventration(habitus: Habitus, rng: Generator) -> Habitus:
    place = (_sign(rng), _between(rng, 0.4, 0.65), _between(rng, -0.3, 0.5))
    return _vary(habitus, bump=_between(rng, 20.0, 55.0), bump_at=place)


def _scalloped(habitus: Habitus, rng: Generator) -> Habitus:
    return _vary(habitus, scallops=_between(rng, 10.0, 22.0))


def _large_heart(habitus: Habitus, rng: Generator) -> Habitus:
    return replace(habitus, heart=habitus.heart * _between(rng, 1.15, 1.45))


def _displaced_heart(habitus: Habitus, rng: Generator) -> Habitus:
    x, y, z = habitus.variant.heart_shift
    return _vary(habitus, heart_shift=(x - _between(rng, 10.0, 28.0), y, z))


def _dextrocardia(habitus: Habitus, rng: Generator) -> Habitus:
    return _vary(habitus, dextrocardia=True)


def _aneurysm(habitus: Habitus, rng: Generator) -> Habitus:
    return replace(habitus, aorta=_between(rng, 20.0, 34.0))


def _stomach(habitus: Habitus, rng: Generator) -> Habitus:
    habitus = replace(habitus, gas=_between(rng, 1.0, 1.6))
    return _vary(habitus, stomach=_between(rng, 1.2, 1.7))


def _contrast(habitus: Habitus, rng: Generator) -> Habitus:
    return replace(habitus, blood_hu=_between(rng, 250.0, 480.0))


def _one(field: str, low: float, high: float) -> Change:
    """Make a change that draws one field of `Variant`."""
    return lambda habitus, rng: _vary(habitus, **{field: _between(rng, low, high)})


BUILDS: tuple[tuple[str, float, Change], ...] = (
    ("infant", 0.05, _infant),
    ("child", 0.05, _child),
    ("very large adult", 0.07, _large_adult),
    ("cachexia", 0.06, _thin),
    ("muscular build", 0.05, _muscular),
    ("barrel chest", 0.05, _barrel),
    ("large breasts", 0.08, _large_breasts),
)
"""Kind, chance if no earlier one was drawn, and change of the build."""

ORGANS: tuple[tuple[str, float, Change], ...] = (
    ("expiration", 0.08, _expiration),
    ("pectus excavatum", 0.025, _pectus),
    ("kyphosis", 0.03, _kyphosis),
    ("scoliosis", 0.03, _scoliosis),
    ("flat diaphragm", 0.03, _flat_diaphragm),
    ("raised diaphragm", 0.04, _raised_diaphragm),
    ("eventration of the diaphragm", 0.03, _eventration),
    ("scalloped diaphragm", 0.03, _scalloped),
    ("large heart", 0.05, _large_heart),
    ("displaced heart", 0.03, _displaced_heart),
    ("dextrocardia", 0.015, _dextrocardia),
    ("aortic aneurysm", 0.03, _aneurysm),
    ("pericardial effusion", 0.025, _one("pericardium", 6.0, 25.0)),
    ("goitre", 0.02, _one("goitre", 16.0, 32.0)),
    ("enlarged lymph nodes", 0.03, _one("nodes", 9.0, 20.0)),
    (
        "deviated trachea",
        0.02,
        lambda h, r: _vary(h, trachea_shift=_sign(r) * _between(r, 10.0, 22.0)),
    ),
    ("tracheobronchomegaly", 0.015, lambda h, r: replace(h, trachea=_between(r, 12.0, 17.0))),
    ("narrow trachea", 0.015, lambda h, r: replace(h, trachea=_between(r, 3.5, 5.5))),
    ("tracheal diverticulum", 0.02, _one("diverticulum", 3.5, 8.0)),
    ("azygos fissure", 0.015, lambda h, r: _vary(h, azygos=True)),
    ("hiatal hernia", 0.03, _one("hernia", 20.0, 46.0)),
    ("air-filled oesophagus", 0.03, _one("oesophagus", 7.0, 19.0)),
    ("pneumoperitoneum", 0.02, _one("free_gas", 4.0, 22.0)),
    ("colon above the liver", 0.02, lambda h, r: _vary(h, interposition=True)),
    ("gas-filled stomach", 0.04, _stomach),
    ("strong contrast medium", 0.04, _contrast),
)
"""Kind, chance, and change of an organ; several can be in one patient."""
