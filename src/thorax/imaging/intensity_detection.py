"""Whether a scan is in HU, and if not, what its voxel values mean: recognised before it is used.

A CT that lost its rescale intercept, an 8-bit export, a negative, an MR or a mask given by mistake
all make a network return an empty or a wrong mask without a word. Here such scans are recognised
from a sample of their voxels, from several pieces of evidence together:

* the values: how many distinct ones, whole or not, their range, the shares that lie where HU do;
* the place: what is constant outside the field of view in every plane is padding and left out;
  air lies at the border, tissue around the lungs;
* the distances: in HU, tissue lies about 1000 above air and lungs in between, near air, and the
  tissue of a CT fills a narrow band, where that of an MR is spread wide.

Plain HU is what most scans are, so it is tried first and asked for little: a crop of the lungs, a
head or a few planes are HU too. All else must look like a chest, or at least like a body in air.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thorax.common.errors import InputError
from thorax.imaging.intensity import HU, IntensityScale
from thorax.imaging.morphology import filled, opened

AIR_HU = -1000

LUNG_HU = -820
"""Median of the air inside the body; in the HU scans that were looked at -740 to -920."""

TISSUE_HU = -25
"""Median of fat and muscle together; in the HU scans that were looked at -57 to 18."""

STEP_TOLERANCE_HU = 90
"""How far air and tissue may be from where they are expected; a rescaled CT is further off."""

LUNGS_HU = (-960, -550)
"""Where the middle of the lungs lies, in emphysema and in disease; in an MR they are as dark as
the air around the body."""

MOST_BETWEEN = 0.4
"""Share of the body, at most, between lungs and tissue; a chest full of disease has 0.3."""

TISSUE_SPREAD_HU = 300
"""Half of all tissue lies in a band narrower than this; it is about 150 wide in a CT."""

EQUALISED_SPREAD_HU = 750
"""The same where the contrast was equalised; about 470 in the scans that were looked at."""

OFFSETS = (1024, 1000, -1024, -1000, 32768)
"""Forgotten or doubled intercepts, the commonest first; 32768 turns signed into unsigned."""

PUBLIC_WINDOW_HU = (-1250, 250)
"""The range that the public 8-bit COVID-19 scans were exported with."""

FEW_LABELS = 12
"""A scan has more distinct values than this, whatever they mean."""

MANY_LABELS = 128
"""Label maps of the whole body have up to about 120 labels."""

PADDING_SHARE = 0.01

NO_HU = -1500
"""Nothing in a patient or around one has less, whatever the noise: this is padding."""

MOST_PADDING = 0.6
"""Share of the voxels, at most, that padding takes up; outside a circle it is a fifth."""

LUNG_PLANES = 0.2
"""Lungs are seen in at least this share of the planes of a chest."""

LUNG_SHARE = 0.05
"""A plane shows lungs where enclosed air fills at least this share of the body."""

FLAT = 0.5
"""Where more than this share of a tissue has one and the same value, it was cut off."""

_SAY = "with `--intensity`: hu, hu+1024 or LOW,HIGH"

_WINDOW = "the HU that 0 and 255 stand for with `--intensity LOW,HIGH`"

Grey = NDArray[np.float32]

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class DetectedIntensity:
    """What the voxel values of a scan were found to mean.

    Args:
        domain: How the values become HU.
        kind: The same in words, such as ``HU``, ``HU + 1024`` or ``inverted 8-bit window``.
        notes: What a user should know, one line each; empty if the scan is plain HU.
    """

    domain: IntensityScale
    kind: str
    notes: tuple[str, ...]


def detect_intensity(coarse: NDArray[Any]) -> DetectedIntensity:
    """Tell from a sample of a scan what its voxel values mean.

    Args:
        coarse: Voxel values as stored: all planes, some of the voxels in each, evenly spaced,
            shape ``(N, X', Y')``, any type of number.

    Raises:
        InputError: The values cannot be HU, nor be turned into HU safely: an MR, a label mask, a
            constant or rescaled scan, noise, or an export whose window cannot be estimated.

    Example:
        >>> body = np.pad(np.arange(-100, 60).reshape(1, 10, 16), ((0, 0), (3, 3), (3, 3)),
        ...     constant_values=-1000)
        >>> detect_intensity(body).kind
        'HU'
    """
    if not coarse.size:
        raise InputError("a scan must hold voxels, but this one has none")
    sample = _Sample(np.asarray(coarse, dtype=np.float32))
    _check_variety(sample)
    if _is_hu(sample):
        return DetectedIntensity(HU, "HU", tuple(_hu_notes(sample)))
    _check_range(sample)
    if sample.low >= 0 and sample.high <= 255:
        return _as_export(sample)
    return _as_offset(sample)


@dataclass(frozen=True, eq=False)
class _Sample:
    """A sample of voxel values, and which of them are evidence."""

    coarse: Grey

    @cached_property
    def always(self) -> Mask:
        """Pixels that hold the value of the corners in every plane: outside the field of view."""
        first = self.coarse[0, 0, 0]
        corners = self.coarse[:, :: self.coarse.shape[1] - 1 or 1, :: self.coarse.shape[2] - 1 or 1]
        if len(self.coarse) < 2 or not (corners == first).all():
            return np.zeros(self.coarse.shape[1:], dtype=bool)
        return (self.coarse == first).all(axis=0)

    @cached_property
    def padding(self) -> float | None:
        """The constant outside the field of view, if there is one."""
        return float(self.coarse[0, 0, 0]) if self.always.mean() >= PADDING_SHARE else None

    @cached_property
    def counted(self) -> Mask:
        """Voxels that are evidence: finite, in the field of view, not below all other values."""
        finite = np.isfinite(self.coarse)
        inside = finite & ~self.always if self.padding is not None else finite
        inside = inside if inside.any() else finite
        if self._is_padded(inside):
            inside &= self.coarse >= NO_HU
        values = self.coarse[inside]
        lowest = values.min(initial=np.inf)
        others = values[values > lowest]
        if len(np.unique(others)) <= FEW_LABELS or len(others) > (1 - PADDING_SHARE) * len(values):
            return inside
        floor, top = np.quantile(others, [0.002, 0.998])
        stands_apart = floor - lowest > 0.15 * (top - lowest)
        return inside & (self.coarse > lowest) if stands_apart else inside

    def _is_padded(self, inside: Mask) -> bool:
        """Whether padding, resampled or with noise and so no longer one value, lies around HU."""
        values = self.coarse[inside]
        patient = values[values >= NO_HU]
        if not (1 - MOST_PADDING) * len(values) <= len(patient) < len(values):
            return False
        watery = np.abs(patient) < 150
        return bool(watery.mean() >= 0.05 and (patient < -600).mean() >= 0.01)

    @cached_property
    def values(self) -> Grey:
        """The evidence, sorted."""
        return np.sort(self.coarse[self.counted])

    @cached_property
    def whole(self) -> bool:
        """Whether all values are whole numbers."""
        return bool((self.values == np.rint(self.values)).all())

    @cached_property
    def ground(self) -> float:
        """The lowest of all values, padding too."""
        return float(np.nanmin(self.coarse))

    @property
    def low(self) -> float:
        return float(self.values[0])

    @property
    def high(self) -> float:
        return float(self.values[-1])

    @property
    def span(self) -> str:
        """The range of the values, for people."""
        return (
            f"{self.low:.4g}..{self.high:.4g}"
            if self.high < 1e4
            else f"{self.low:g}..{self.high:g}"
        )

    def share(self, low: float, high: float) -> float:
        """Share of the values in ``low..high``, the upper end left out."""
        first, last = np.searchsorted(self.values, [low, high])
        return float(last - first) / len(self.values)


def _check_variety(sample: _Sample) -> None:
    """Raise `InputError` for what is no picture of a patient: constants, labels and noise."""
    if not sample.counted.any():
        raise InputError("a scan must hold numbers, but all its voxels are NaN or infinite")
    if sample.low == sample.high:
        raise InputError(
            f"a scan must show a patient, but all its voxels are {sample.low:g}; "
            "look whether it was exported whole"
        )
    distinct = len(np.unique(sample.values))
    if sample.whole and sample.low >= 0 and _are_labels(sample, distinct):
        raise InputError(
            f"a scan must hold HU, but this looks like a mask: {distinct} labels in {sample.span}; "
            f"give the CT, or, if this is one, say what its values mean {_SAY}"
        )
    if _is_noise(sample):
        raise InputError(
            f"a scan must show a patient, but the values {sample.span} of neighbouring voxels have "
            f"nothing in common, as in noise; look at the file, or say what its values mean {_SAY}"
        )


def _are_labels(sample: _Sample, distinct: int) -> bool:
    """Few whole values, or not too many and mostly the same as their neighbour's."""
    if distinct <= FEW_LABELS or distinct > MANY_LABELS:
        return distinct <= FEW_LABELS
    here, there = sample.coarse[:, 1:], sample.coarse[:, :-1]
    # Where both are cut off at one end of a window, they are equal in any scan.
    between = (np.maximum(here, there) > sample.low) & (np.minimum(here, there) < sample.high)
    return bool((here == there)[between].sum() >= FLAT * max(between.sum(), 1))


def _is_noise(sample: _Sample) -> bool:
    """Whether neighbours along no axis resemble each other; small samples are not judged."""
    if len(sample.values) < 2000:
        return False
    low, high = np.quantile(sample.values, [0.01, 0.99])
    grey = np.nan_to_num(np.clip(sample.coarse, low, high), nan=low)
    pairs = [
        (np.moveaxis(grey, axis, 0)[1:].ravel(), np.moveaxis(grey, axis, 0)[:-1].ravel())
        for axis in range(3)
        if grey.shape[axis] > 1
    ]
    return all(_correlation(here, there) < 0.1 for here, there in pairs)


def _correlation(here: Grey, there: Grey) -> float:
    wobble = float(here.std()) * float(there.std())
    return float(((here - here.mean()) * (there - there.mean())).mean()) / wobble if wobble else 1.0


def _is_hu(sample: _Sample) -> bool:
    """Whether the values lie where HU lie, however little of the patient is seen.

    Something is darker than water, next to nothing is darker than air, and what is brighter than
    bone does not outweigh what is darker than fat, as it does in a negative.
    """
    lowest, dark, bright, highest = np.quantile(sample.values, [0.005, 0.02, 0.95, 0.995])
    # Tissue alone, as of a phantom, where all else was set to air.
    in_air = AIR_HU - 100 <= sample.ground <= AIR_HU + 100 and bright <= 150
    return bool(
        (in_air or (dark <= -50 and highest - lowest >= 100))
        and sample.share(-np.inf, -1150) <= 0.02
        and not (sample.share(500, np.inf) > 0.25 and sample.share(-np.inf, -300) < 0.1)
        and not _are_signed_bytes(sample)
    )


def _are_signed_bytes(sample: _Sample) -> bool:
    return sample.whole and sample.low < 0 and sample.ground >= -128 and sample.high <= 127


def _hu_notes(sample: _Sample) -> Iterator[str]:
    """What is unusual about a scan in HU.

    Raises:
        InputError: The lungs were cut off by a window.
    """
    cut = float((sample.coarse == sample.low).mean())
    if cut >= 0.1 and sample.low > -400:
        raise InputError(
            f"a scan must show the lungs, but {cut:.0%} of its voxels were cut off at "
            f"{sample.low:g} HU, the lungs among them; give the CT without this window, or "
            "`--intensity hu` to go on all the same"
        )
    if cut >= 0.05 and sample.low > -850:
        yield (
            f"the values were cut off at {sample.low:g} HU, so the inside of the lungs is flat; if "
            "this is air, say how the values are shifted with `--intensity`, like hu+200"
        )
    if sample.padding is not None and sample.padding > -500:
        yield (
            f"outside the field of view all voxels are {sample.padding:g}, which reads as tissue; "
            "masks may be wrong near the border"
        )
    air_hu = float(np.quantile(sample.values, 0.005))
    if air_hu > -850 and sample.share(-np.inf, -300) > 0.1 and cut < 0.05:
        yield (
            f"the darkest voxels are near {air_hu:.0f} HU, where air is -1000; if the values are "
            "shifted, say so with `--intensity`, like hu+200"
        )


def _check_range(sample: _Sample) -> None:
    """Raise `InputError` for values that were rescaled, so that their meaning is lost."""
    low, high = (float(value) for value in np.quantile(sample.values, [0.005, 0.995]))
    if sample.low >= 0 and sample.share(4096, 60000) < 0.001 and 64000 < high <= 65535:
        _refuse(f"its values {sample.span} look like negative HU stored without a sign")
    if _are_signed_bytes(sample) and high - low > 100:
        _refuse(f"its values {sample.span} look like an 8-bit export stored with a sign")
    if high - low < 64:
        _refuse(f"its values {sample.span} were rescaled or standardised, so HU cannot be told")


def _refuse(seen: str) -> NoReturn:
    raise InputError(
        f"a scan must be in HU, but {seen}; convert it again from its source, or say what its "
        f"values mean {_SAY}"
    )


@dataclass(frozen=True, eq=False)
class _Body:
    """What a scan shows if dark is air.

    Args:
        outside: Values of the air around the body, sorted; empty if there is none, or if it
            cannot be told from the lungs, as where the planes were cropped into them.
        lungs: Values of the air that tissue encloses, sorted.
        tissue: Values of all that is not air, sorted.
        filled: Values in the body, lungs and all.
        chest: Whether enough planes show lungs.
        border: Share of the pixels along the border of the field of view that are air.
    """

    outside: Grey
    lungs: Grey
    tissue: Grey
    filled: Grey
    chest: bool
    border: float


def _body(sample: _Sample, grey: Grey) -> _Body:
    """Look for a body and for lungs in grey values in which air is dark."""
    counted = sample.counted
    cut = _cut(grey[counted])
    air = (grey < cut) | ~counted
    bodies = filled(~air)
    lungs = opened(bodies & air, 1)
    sizes, whole = lungs.sum(axis=(1, 2)), bodies.sum(axis=(1, 2))
    shown = sizes > LUNG_SHARE * np.maximum(whole, 1)
    parts = (air & ~bodies, lungs, ~air, bodies)
    outside, inside, tissue, body = (np.sort(grey[part & counted]) for part in parts)
    middle = _middle(tissue)
    clear = not len(inside) or _middle(inside) - _middle(outside) > 0.05 * (
        middle - _middle(outside)
    )
    enough = len(outside) >= max(10, 0.01 * grey.size)
    return _Body(
        outside=outside if clear and enough else outside[:0],
        lungs=inside,
        tissue=tissue,
        filled=body,
        chest=bool(shown.mean() >= LUNG_PLANES),
        border=float(air[:, _rim(sample.always)].mean()),
    )


def _rim(always: Mask) -> Mask:
    """Pixels of the field of view that lie along its border."""
    field = ~always if not always.all() else always
    return field & ~ndimage.binary_erosion(field, np.ones((3, 3), dtype=bool))


def _cut(values: Grey) -> float:
    """The value that parts dark from bright best, after Otsu (1979)."""
    low, high = np.quantile(values, [0.005, 0.995])
    counts, edges = np.histogram(np.clip(values, low, high), bins=256)
    below = np.cumsum(counts) / counts.sum()
    moment = np.cumsum(counts * (edges[1:] + edges[:-1]) / 2) / counts.sum()
    between = (moment[-1] * below - moment) ** 2 / np.maximum(below * (1 - below), 1e-9)
    return float(edges[1:][between.argmax()])


def _middle(values: Grey) -> float:
    return float(np.median(values)) if len(values) else np.nan


def _flat(values: Grey, end: float) -> bool:
    """Whether values were cut off at one end of the range."""
    return bool(len(values)) and float((values == end).mean()) > FLAT


def _spread(values: Grey) -> float:
    """Width of the band that holds the middle half of the values."""
    lower, upper = np.quantile(values, [0.25, 0.75])
    return float(upper - lower)


def _as_offset(sample: _Sample) -> DetectedIntensity:
    """Recognise HU to which a constant was added.

    Raises:
        InputError: The values are not such.
    """
    body = _body(sample, sample.coarse)
    if not _has_steps_of_hu(body):
        _refuse_grey(sample)
    shift = _shift(body)
    # Lungs differ more than air: where they alone tell, 1000 cannot be told from 1024.
    known = OFFSETS if len(body.outside) else tuple(set(OFFSETS) - {1000, -1000})
    offset = min(known, key=lambda one: abs(one - shift))
    if abs(offset - shift) > (60 if len(body.outside) else 130):
        _refuse(f"its values {sample.span} look like HU plus about {shift:.0f}")
    kind = f"HU {'+' if offset > 0 else '-'} {abs(offset)}"
    note = (
        f"the values are taken as {kind}: {'air' if len(body.outside) else 'the lungs'} lie near "
        f"{_dark(body)[0]:.0f} and tissue near {_middle(body.tissue):.0f}; `--intensity hu` would "
        "keep them as they are"
    ).replace("air lie", "air lies")
    return DetectedIntensity(IntensityScale(offset_hu=offset), kind, (note,))


def _dark(body: _Body) -> tuple[float, float]:
    """The middle of the air around the body, or else of the lungs, and what it is in HU."""
    if len(body.outside):
        return _middle(body.outside), AIR_HU
    return _middle(body.lungs), LUNG_HU


def _shift(body: _Body) -> float:
    dark, dark_hu = _dark(body)
    return dark - dark_hu


def _has_steps_of_hu(body: _Body) -> bool:
    """Whether air, lungs and tissue lie as far apart as in HU, wherever they lie.

    Tissue fills a narrow band, and little lies between tissue and lungs; in an MR, where fat and
    muscle differ, one of them would lie there.
    """
    dark, dark_hu = _dark(body)
    if not (len(body.tissue) and len(body.filled)) or np.isnan(dark):
        return False
    shift = dark - dark_hu
    return bool(
        abs(_middle(body.tissue) - shift - TISSUE_HU) <= STEP_TOLERANCE_HU
        and _spread(body.tissue) <= TISSUE_SPREAD_HU
        and _has_ct_lungs(body, shift, 1.0)
    )


def _has_ct_lungs(body: _Body, zero: float, step_hu: float) -> bool:
    """Whether the lungs, if there are any, are where they lie in HU, and little lies above them.

    Args:
        body: What is seen.
        zero: The value that stands for 0 HU.
        step_hu: How many HU a step of 1 in the values is.
    """
    above = [zero - 750 / step_hu, zero - 250 / step_hu]
    first, last = np.searchsorted(body.filled, above)
    lungs_hu = (_middle(body.lungs) - zero) * step_hu
    seen = not body.chest or LUNGS_HU[0] <= lungs_hu <= LUNGS_HU[1]
    return bool(seen and (last - first) <= MOST_BETWEEN * len(body.filled))


def _refuse_grey(sample: _Sample) -> NoReturn:
    """Say why wide ranges of values are no CT."""
    negative = _body(sample, -sample.coarse)
    if negative.border >= 0.5 and _has_steps_of_hu(negative):
        _refuse(f"its values {sample.span} are inverted: air is bright and bone is dark")
    _refuse(
        f"its values {sample.span} show no air 1000 below soft tissue, as in an MR, a PET or a "
        "rescaled CT"
    )


def _as_export(sample: _Sample) -> DetectedIntensity:
    """Recognise an 8-bit export and estimate its window.

    Raises:
        InputError: No lungs are seen, or what is seen gives no window.
    """
    plain = _body(sample, sample.coarse)
    negative = _body(sample, 255 - sample.coarse)
    # A body in air shows a dark part inside a bright one whichever way it is read: the abdomen
    # of a positive looks like the lungs of a negative. So the border decides, which is air.
    inverted = negative.chest and plain.border < 0.5
    if not inverted and not plain.chest:
        _refuse_export(sample, "no dark lungs inside bright tissue are seen")
    body = negative if inverted else plain
    low_hu, high_hu, equalised = _estimated_window(sample, body)
    kind = f"{'inverted ' if inverted else ''}8-bit window"
    domain = IntensityScale((low_hu, high_hu), inverted=inverted)
    how = (
        "the contrast was equalised, so they follow HU only roughly; the range is that of the "
        "public COVID-19 exports"
        if equalised
        else "the range was estimated from air, lungs and tissue"
    )
    note = (
        f"the values are an {kind}, taken as 0 for {domain.to_hu(np.zeros(1))[0]:.0f} and 255 for "
        f"{domain.to_hu(np.full(1, 255))[0]:.0f} HU: {how}; give {_WINDOW} if you know it"
    )
    return DetectedIntensity(domain, f"{kind}, equalised" if equalised else kind, (note,))


def _refuse_export(sample: _Sample, why: str) -> NoReturn:
    raise InputError(
        f"a scan must be in HU, but its values {sample.span} are an 8-bit export, and {why}, so "
        f"its window cannot be estimated; give {_WINDOW}"
    )


def _estimated_window(sample: _Sample, body: _Body) -> tuple[float, float, bool]:
    """The HU that the darkest and the brightest value stand for, and whether it was equalised.

    The line goes through the tissue and through the air around the body, or through the lungs
    where that was cut off.
    """
    dark_end, bright_end = min(0.0, sample.low), 255.0
    if _flat(body.lungs, dark_end) or _flat(body.lungs, float(body.filled[0])):
        _refuse_export(sample, "the lungs were cut off by its window: they are all one value")
    if _flat(body.tissue, bright_end):
        _refuse_export(sample, "tissue was cut off by its window: it is all one value")
    if not len(body.outside) and body.border > 0.9:
        _refuse_export(sample, "the lungs look like the air around the body, as in an MR")
    in_air = bool(len(body.outside)) and not _flat(body.outside, float(body.outside[0]))
    dark, dark_hu = (body.outside, AIR_HU) if in_air else (body.lungs, LUNG_HU)
    step_hu = (TISSUE_HU - dark_hu) / (_middle(body.tissue) - _middle(dark))
    spread_hu = _spread(body.tissue) * step_hu
    if spread_hu > TISSUE_SPREAD_HU:
        if spread_hu > EQUALISED_SPREAD_HU or not in_air or _middle(body.outside) < 15:
            _refuse_export(sample, "its tissue is spread wider than in a CT, as in an MR")
        return (*PUBLIC_WINDOW_HU, True)
    if not _has_ct_lungs(body, _middle(dark) - dark_hu / step_hu, step_hu):
        _refuse_export(sample, "air, lungs and tissue are not spaced as in a CT")
    low_hu = round(dark_hu - _middle(dark) * step_hu, -1)
    high_hu = round(dark_hu + (255 - _middle(dark)) * step_hu, -1)
    return low_hu, high_hu, False


PLANES = 100
"""Planes, at least, by which intensities are recognised."""


def detect_intensity_of_scan(coarse: NDArray[Any]) -> DetectedIntensity:
    """Recognise intensities by some of the planes; see `detect_intensity`."""
    return detect_intensity(coarse[:: max(1, len(coarse) // PLANES)])
