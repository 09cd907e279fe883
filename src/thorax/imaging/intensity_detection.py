"""Detection of the intensity scale of a scan: HU, HU with an offset, or an 8-bit export.

A CT without its rescale intercept, an 8-bit export, an inverted image, an MR or a mask makes a
network return an empty or wrong mask without any error. The detection uses a sample of the voxels
and combines:

* values: the number of distinct values, whole or not, their range, the share of them in each range
  of HU;
* position: values that are constant in every plane outside the field of view are padding and
  omitted; air is at the border, tissue around the lungs;
* distances: in HU, tissue is about 1000 above air, and lungs are between them, close to air. The
  tissue of a CT has a narrow range of values, that of an MR a wide one.

Most scans are plain HU, so HU is tested first with conditions that are easily met: a crop of the
lungs, a head or a few planes are HU too. Every other scale requires a chest, or at least a body in
air.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thorax.common.errors import InputError
from thorax.imaging.grid import corners
from thorax.imaging.intensity import HU, IntensityScale
from thorax.imaging.morphology import fill_holes, open_mask

AIR_HU = -1000

LUNG_HU = -820
"""Median of the air inside the body; -740 to -920 in the HU scans examined."""

TISSUE_HU = -25
"""Median of fat and muscle together; -57 to 18 in the HU scans examined."""

STEP_TOLERANCE_HU = 90
"""Tolerance of the values of air and tissue; a rescaled CT differs by more."""

LUNGS_HU = (-960, -550)
"""Range of the median of the lungs, from emphysema to disease; in an MR the lungs are as dark as
the air around the body."""

MOST_BETWEEN = 0.4
"""Largest share of the body with values between lungs and tissue; severe disease has 0.3."""

TISSUE_SPREAD_HU = 300
"""Largest interquartile range of tissue; it is about 150 in a CT."""

EQUALISED_SPREAD_HU = 750
"""The same after histogram equalisation; about 470 in the scans examined."""

OFFSETS = (1024, 1000, -1024, -1000, 32768)
"""Missing or doubled intercepts, the most common first; 32768 makes signed values unsigned."""

PUBLIC_WINDOW_HU = (-1250, 250)
"""HU range of the public 8-bit COVID-19 exports."""

FEW_LABELS = 12
"""A scan has more distinct values than this on every scale."""

MANY_LABELS = 128
"""Label maps of the whole body have up to about 120 labels."""

PADDING_SHARE = 0.01

NO_HU = -1500
"""Values below this are padding: noise does not lower air so far."""

MOST_PADDING = 0.6
"""Largest share of padding; around a circular field of view it is a fifth."""

LUNG_PLANES = 0.2
"""Smallest share of the planes of a chest that show lungs."""

LUNG_SHARE = 0.05
"""A plane shows lungs if enclosed air fills at least this share of the body."""

FLAT = 0.5
"""A tissue with more than this share of one value was clipped."""

_SCALE_OPTION = "with `--intensity`: hu, hu+1024 or LOW,HIGH"

_WINDOW_OPTION = "the HU that 0 and 255 represent with `--intensity LOW,HIGH`"

Grey = NDArray[np.float32]

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class DetectedIntensity:
    """Detected intensity scale of a scan.

    Args:
        scale: Conversion of the values to HU.
        kind: The scale in words, such as ``HU``, ``HU + 1024`` or ``inverted 8-bit window``.
        notes: Notes for the user, one line each; empty if the scan is plain HU.
    """

    scale: IntensityScale
    kind: str
    notes: tuple[str, ...]


def detect_intensity(coarse: NDArray[Any]) -> DetectedIntensity:
    """Detect the intensity scale from a sample of a scan.

    Args:
        coarse: Stored voxel values: all planes with evenly spaced voxels of each, shape
            ``(N, X', Y')``, any numeric type.

    Raises:
        InputError: The values are not HU and cannot be converted safely: an MR, a label mask, a
            constant or rescaled scan, noise, or an export whose window cannot be estimated.

    Example:
        >>> body = np.pad(np.arange(-100, 60).reshape(1, 10, 16), ((0, 0), (3, 3), (3, 3)),
        ...     constant_values=-1000)
        >>> detect_intensity(body).kind
        'HU'
    """
    if not coarse.size:
        raise InputError("a scan must have voxels, but this one has none; export it again")
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
    """Sample of voxel values, and the part of them that is evidence."""

    coarse: Grey

    @cached_property
    def corner(self) -> float | None:
        """Value of the corners in every plane, if they are equal; NaN does not count."""
        values = corners(self.coarse)
        finite = values[np.isfinite(values)]
        if len(self.coarse) < 2 or not len(finite) or (finite != finite[0]).any():
            return None
        return float(finite[0])

    @cached_property
    def constant(self) -> Mask:
        """Pixels that are NaN or as the corners in every plane: outside the field of view."""
        undefined = ~np.isfinite(self.coarse)
        if self.corner is not None:
            undefined |= self.coarse == self.corner
        return np.logical_and.reduce(undefined, axis=0)

    @cached_property
    def padding(self) -> float | None:
        """Constant value outside the field of view; None without one."""
        return self.corner if self.constant.mean() >= PADDING_SHARE else None

    @cached_property
    def evidence(self) -> Mask:
        """Voxels that are finite, in the field of view and not far below all other values."""
        finite = np.isfinite(self.coarse)
        inside = finite & ~self.constant if self.padding is not None else finite
        inside = inside if inside.any() else finite
        if self._is_padded(inside):
            inside &= self.coarse >= NO_HU
        # Sorted in place, and quantiles taken in place, because copies take most of the memory.
        values = self.coarse[inside]
        values.sort()
        lowest = values[0] if len(values) else np.inf
        others = values[np.searchsorted(values, lowest, side="right") :]
        if _count_distinct(others) <= FEW_LABELS or len(others) > (1 - PADDING_SHARE) * len(values):
            return inside
        floor, top = np.quantile(others, [0.002, 0.998], overwrite_input=True)
        stands_apart = floor - lowest > 0.15 * (top - lowest)
        return inside & (self.coarse > lowest) if stands_apart else inside

    def _is_padded(self, inside: Mask) -> bool:
        """Detect padding that resampling or noise spread over several values around HU."""
        values = self.coarse[inside]
        patient = values[values >= NO_HU]
        if not (1 - MOST_PADDING) * len(values) <= len(patient) < len(values):
            return False
        watery = np.abs(patient) < 150
        return bool(watery.mean() >= 0.05 and (patient < -600).mean() >= 0.01)

    @cached_property
    def values(self) -> Grey:
        """Values of the evidence, sorted."""
        values = self.coarse[self.evidence]
        values.sort()
        return values

    @cached_property
    def whole(self) -> bool:
        """True if all values are whole numbers."""
        return bool((self.values == np.rint(self.values)).all())

    @cached_property
    def lowest(self) -> float:
        """Lowest of all finite values, including padding."""
        return float(np.min(self.coarse, initial=np.inf, where=np.isfinite(self.coarse)))

    @property
    def low(self) -> float:
        return float(self.values[0])

    @property
    def high(self) -> float:
        return float(self.values[-1])

    @property
    def span(self) -> str:
        """Range of the values as text."""
        return (
            f"{self.low:.4g}..{self.high:.4g}"
            if self.high < 1e4
            else f"{self.low:g}..{self.high:g}"
        )

    def share(self, low: float, high: float) -> float:
        """Share of the values in ``low..high``, without the upper end."""
        first, last = np.searchsorted(self.values, [low, high])
        return float(last - first) / len(self.values)


def _count_distinct(ordered: Grey) -> int:
    """Count the different values of a sorted array.

    Example:
        >>> _count_distinct(np.array([-1.0, 0.0, 0.0, 2.0])), _count_distinct(np.array([]))
        (3, 0)
    """
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + min(1, len(ordered))


def _check_variety(sample: _Sample) -> None:
    """Raise `InputError` for data without a patient: constants, labels and noise."""
    if not sample.evidence.any():
        raise InputError(
            "a scan must have finite values, but all its voxels are NaN or infinite; "
            "export it again"
        )
    if sample.low == sample.high:
        raise InputError(
            f"a scan must show a patient, but all its voxels are {sample.low:g}; "
            "check that it was exported completely"
        )
    distinct = _count_distinct(sample.values)
    if sample.whole and sample.low >= 0 and _are_labels(sample, distinct):
        raise InputError(
            f"a scan must be in HU, but this looks like a mask: {distinct} labels in "
            f"{sample.span}; give the CT, or, if this is one, give its scale {_SCALE_OPTION}"
        )
    if _is_noise(sample):
        raise InputError(
            f"a scan must show a patient, but the values {sample.span} of neighbouring voxels are "
            f"uncorrelated, as in noise; view the file, or give its scale {_SCALE_OPTION}"
        )


def _are_labels(sample: _Sample, distinct: int) -> bool:
    """Detect a label mask: few values, or up to 128 that mostly equal their neighbours."""
    if distinct <= FEW_LABELS or distinct > MANY_LABELS:
        return distinct <= FEW_LABELS
    here, there = sample.coarse[:, 1:], sample.coarse[:, :-1]
    # Values clipped at one end of a window are equal in any scan.
    between = (np.maximum(here, there) > sample.low) & (np.minimum(here, there) < sample.high)
    return bool((here == there)[between].sum() >= FLAT * max(between.sum(), 1))


def _is_noise(sample: _Sample) -> bool:
    """Detect values that are uncorrelated along every axis; small samples are not tested."""
    if len(sample.values) < 2000:
        return False
    low, high = map(float, np.quantile(sample.values, [0.01, 0.99]))
    grey = np.nan_to_num(np.clip(sample.coarse, low, high), copy=False, nan=low)
    along = (np.moveaxis(grey, axis, 0) for axis in range(3) if grey.shape[axis] > 1)
    return all(_correlation(rows[1:], rows[:-1]) < 0.1 for rows in along)


def _correlation(here: Grey, there: Grey) -> float:
    spread = float(here.std()) * float(there.std())
    products = here - here.mean()
    products *= there - there.mean()
    return float(products.mean()) / spread if spread else 1.0


def _is_hu(sample: _Sample) -> bool:
    """Test for values in the range of HU, even if only a part of the patient is visible.

    Some values are below water and almost none below air. Values above bone do not outweigh those
    below fat, as they do in a negative.
    """
    lowest, dark, bright, highest = np.quantile(sample.values, [0.005, 0.02, 0.95, 0.995])
    # Tissue only, as in a phantom whose surroundings were set to air.
    in_air = AIR_HU - 100 <= sample.lowest <= AIR_HU + 100 and bright <= 150
    return bool(
        (in_air or (dark <= -50 and highest - lowest >= 100))
        and sample.share(-np.inf, -1150) <= 0.02
        and not (sample.share(500, np.inf) > 0.25 and sample.share(-np.inf, -300) < 0.1)
        and not _are_signed_bytes(sample)
    )


def _are_signed_bytes(sample: _Sample) -> bool:
    return sample.whole and sample.low < 0 and sample.lowest >= -128 and sample.high <= 127


def _hu_notes(sample: _Sample) -> Iterator[str]:
    """Yield notes about unusual values of a scan in HU.

    Raises:
        InputError: A window clipped the lungs.
    """
    cut = float((sample.coarse == sample.low).mean())
    if cut >= 0.1 and sample.low > -400:
        raise InputError(
            f"a scan must show the lungs, but {cut:.0%} of its voxels, and so the lungs, are "
            f"clipped at {sample.low:g} HU; give the CT without this window, or `--intensity hu` "
            "to continue anyway"
        )
    if cut >= 0.05 and sample.low > -850:
        yield (
            f"the values are clipped at {sample.low:g} HU, so the lungs have no texture; if this "
            "is air, give the offset with `--intensity`, like hu+200"
        )
    if sample.padding is not None and sample.padding > -500:
        yield (
            f"outside the field of view all voxels are {sample.padding:g}, a value of tissue; "
            "masks may be wrong near the border"
        )
    air_hu = float(np.quantile(sample.values, 0.005))
    if air_hu > -850 and sample.share(-np.inf, -300) > 0.1 and cut < 0.05:
        yield (
            f"the darkest voxels are near {air_hu:.0f} HU, but air is -1000; if the values have an "
            "offset, give it with `--intensity`, like hu+200"
        )


def _check_range(sample: _Sample) -> None:
    """Raise `InputError` for values that were rescaled, so that HU cannot be recovered."""
    low, high = (float(value) for value in np.quantile(sample.values, [0.005, 0.995]))
    if sample.low >= 0 and sample.share(4096, 60000) < 0.001 and 64000 < high <= 65535:
        _refuse(f"its values {sample.span} look like negative HU stored without a sign")
    if _are_signed_bytes(sample) and high - low > 100:
        _refuse(f"its values {sample.span} look like an 8-bit export stored with a sign")
    if high - low < 64:
        _refuse(f"its values {sample.span} were rescaled or standardised, so HU are unknown")


def _refuse(problem: str) -> NoReturn:
    raise InputError(
        f"a scan must be in HU, but {problem}; convert it again from its source, or give its scale "
        f"{_SCALE_OPTION}"
    )


@dataclass(frozen=True, eq=False)
class _Body:
    """Body, lungs and air of a scan, if dark values are air.

    Args:
        outside: Values of the air around the body, sorted; empty if there is none, or if it is not
            distinct from the lungs, as in planes that were cropped into them.
        lungs: Values of the air that tissue encloses, sorted.
        tissue: Values of everything but air, sorted.
        filled: Values of the body including the lungs, sorted.
        chest: True if enough planes show lungs.
        border: Share of air among the pixels along the border of the field of view.
    """

    outside: Grey
    lungs: Grey
    tissue: Grey
    filled: Grey
    chest: bool
    border: float


def _find_body(sample: _Sample, grey: Grey) -> _Body:
    """Segment body and lungs in grey values in which air is dark."""
    evidence = sample.evidence
    air = (grey < otsu_threshold(grey[evidence])) | ~evidence
    bodies = fill_holes(~air)
    lungs = open_mask(bodies & air, 1)
    sizes, whole = lungs.sum(axis=(1, 2)), bodies.sum(axis=(1, 2))
    has_lungs = sizes > LUNG_SHARE * np.maximum(whole, 1)
    parts = (air & ~bodies, lungs, ~air, bodies)
    outside, inside, tissue, body = (np.sort(grey[part & evidence]) for part in parts)
    air_median = _median(outside)
    distinct = not len(inside) or _median(inside) - air_median > 0.05 * (
        _median(tissue) - air_median
    )
    enough = len(outside) >= max(10, 0.01 * grey.size)
    return _Body(
        outside=outside if distinct and enough else outside[:0],
        lungs=inside,
        tissue=tissue,
        filled=body,
        chest=bool(has_lungs.mean() >= LUNG_PLANES),
        border=float(air[:, _border(sample.constant)].mean()),
    )


def _border(constant: Mask) -> Mask:
    """Pixels of the field of view along its border."""
    field = ~constant if not constant.all() else constant
    return field & ~ndimage.binary_erosion(field, np.ones((3, 3), dtype=bool))


def otsu_threshold(values: Grey) -> float:
    """Compute the threshold that separates dark from bright values best (Otsu 1979)."""
    low, high = np.quantile(values, [0.005, 0.995])
    counts, edges = np.histogram(np.clip(values, low, high), bins=256)
    below = np.cumsum(counts) / counts.sum()
    moment = np.cumsum(counts * (edges[1:] + edges[:-1]) / 2) / counts.sum()
    between = (moment[-1] * below - moment) ** 2 / np.maximum(below * (1 - below), 1e-9)
    return float(edges[1:][between.argmax()])


def _median(values: Grey) -> float:
    return float(np.median(values)) if len(values) else np.nan


def _is_clipped(values: Grey, end: float) -> bool:
    """True if values were clipped at one end of the range."""
    return bool(len(values)) and float((values == end).mean()) > FLAT


def _spread(values: Grey) -> float:
    """Interquartile range."""
    lower, upper = np.quantile(values, [0.25, 0.75])
    return float(upper - lower)


def _as_offset(sample: _Sample) -> DetectedIntensity:
    """Detect HU to which a constant was added, or HU with noise or a kernel beyond their range.

    Raises:
        InputError: The values are not HU with a common offset.
    """
    body = _find_body(sample, sample.coarse)
    if not _has_hu_distances(body):
        _refuse_grey(sample)
    shift = _shift(body)
    # Lungs vary more than air: without air, an offset of 1000 is not distinct from 1024.
    offsets = (0, *OFFSETS) if len(body.outside) else tuple({0, *OFFSETS} - {1000, -1000})
    offset = min(offsets, key=lambda candidate: abs(candidate - shift))
    if abs(offset - shift) > (60 if len(body.outside) else 130):
        _refuse(f"its values {sample.span} look like HU plus about {shift:.0f}")
    if not offset:
        return DetectedIntensity(HU, "HU", tuple(_hu_notes(sample)))
    kind = f"HU {'+' if offset > 0 else '-'} {abs(offset)}"
    note = (
        f"the values are read as {kind}: {'air is' if len(body.outside) else 'the lungs are'} near "
        f"{_dark(body)[0]:.0f} and tissue is near {_median(body.tissue):.0f}; `--intensity hu` "
        "keeps the values"
    )
    return DetectedIntensity(IntensityScale(offset_hu=offset), kind, (note,))


def _dark(body: _Body) -> tuple[float, float]:
    """Median of the air around the body, or else of the lungs, and its value in HU."""
    if len(body.outside):
        return _median(body.outside), AIR_HU
    return _median(body.lungs), LUNG_HU


def _shift(body: _Body) -> float:
    dark, dark_hu = _dark(body)
    return dark - dark_hu


def _has_hu_distances(body: _Body) -> bool:
    """Test for air, lungs and tissue at the distances of HU, with any offset.

    Tissue has a narrow range, and few values are between tissue and lungs; in an MR, fat or muscle
    would be there.
    """
    dark, dark_hu = _dark(body)
    if not (len(body.tissue) and len(body.filled)) or np.isnan(dark):
        return False
    shift = dark - dark_hu
    return bool(
        abs(_median(body.tissue) - shift - TISSUE_HU) <= STEP_TOLERANCE_HU
        and _spread(body.tissue) <= TISSUE_SPREAD_HU
        and _has_ct_lungs(body, shift, 1.0)
    )


def _has_ct_lungs(body: _Body, zero: float, step_hu: float) -> bool:
    """Test for lungs at their place in HU, if there are any, with few values above them.

    Args:
        body: The parts of the scan.
        zero: The value that represents 0 HU.
        step_hu: HU per step of 1 in the values.
    """
    above = [zero - 750 / step_hu, zero - 250 / step_hu]
    first, last = np.searchsorted(body.filled, above)
    lungs_hu = (_median(body.lungs) - zero) * step_hu
    plausible = not body.chest or LUNGS_HU[0] <= lungs_hu <= LUNGS_HU[1]
    return bool(plausible and (last - first) <= MOST_BETWEEN * len(body.filled))


def _refuse_grey(sample: _Sample) -> NoReturn:
    """Raise `InputError` with the reason why a wide range of values is no CT."""
    negative = _find_body(sample, -sample.coarse)
    if negative.border >= 0.5 and _has_hu_distances(negative):
        _refuse(f"its values {sample.span} are inverted: air is bright and bone is dark")
    _refuse(
        f"its values {sample.span} show no air 1000 below soft tissue, as in an MR, a PET or a "
        "rescaled CT"
    )


def _as_export(sample: _Sample) -> DetectedIntensity:
    """Detect an 8-bit export and estimate its window.

    Raises:
        InputError: No lungs are visible, or no window explains the values.
    """
    positive = _find_body(sample, sample.coarse)
    negative = _find_body(sample, 255 - sample.coarse)
    # A body in air has a dark part inside a bright part both ways: the abdomen of a positive looks
    # like the lungs of a negative. So the border decides, which is air.
    inverted = negative.chest and positive.border < 0.5
    if not inverted and not positive.chest:
        _refuse_export(sample, "no dark lungs inside bright tissue are visible")
    body = negative if inverted else positive
    low_hu, high_hu, equalised = _estimated_window(sample, body)
    kind = f"{'inverted ' if inverted else ''}8-bit window"
    scale = IntensityScale((low_hu, high_hu), inverted=inverted)
    source = (
        "the contrast was equalised, so HU are approximate; the range is that of the public "
        "COVID-19 exports"
        if equalised
        else "the range was estimated from air, lungs and tissue"
    )
    note = (
        f"the values are an {kind}, read as 0 for {scale.to_hu(np.zeros(1))[0]:.0f} and 255 for "
        f"{scale.to_hu(np.full(1, 255))[0]:.0f} HU: {source}; if you know the window, give "
        f"{_WINDOW_OPTION}"
    )
    return DetectedIntensity(scale, f"{kind}, equalised" if equalised else kind, (note,))


def _refuse_export(sample: _Sample, reason: str) -> NoReturn:
    raise InputError(
        f"a scan must be in HU, but its values {sample.span} are an 8-bit export, and {reason}, so "
        f"its window cannot be estimated; give {_WINDOW_OPTION}"
    )


def _estimated_window(sample: _Sample, body: _Body) -> tuple[float, float, bool]:
    """Estimate the HU that 0 and 255 represent, and detect histogram equalisation.

    The linear scale is fitted to tissue and to the air around the body, or to the lungs if that air
    was clipped.
    """
    dark_end, bright_end = min(0.0, sample.low), 255.0
    if _is_clipped(body.lungs, dark_end) or _is_clipped(body.lungs, float(body.filled[0])):
        _refuse_export(sample, "its window clips the lungs: they are all one value")
    if _is_clipped(body.tissue, bright_end):
        _refuse_export(sample, "its window clips tissue: it is all one value")
    if not len(body.outside) and body.border > 0.9:
        _refuse_export(sample, "the lungs look like the air around the body, as in an MR")
    in_air = bool(len(body.outside)) and not _is_clipped(body.outside, float(body.outside[0]))
    dark, dark_hu = (body.outside, AIR_HU) if in_air else (body.lungs, LUNG_HU)
    step_hu = (TISSUE_HU - dark_hu) / (_median(body.tissue) - _median(dark))
    spread_hu = _spread(body.tissue) * step_hu
    if spread_hu > TISSUE_SPREAD_HU:
        if spread_hu > EQUALISED_SPREAD_HU or not in_air or _median(body.outside) < 15:
            _refuse_export(sample, "its tissue has a wider range than in a CT, as in an MR")
        return (*PUBLIC_WINDOW_HU, True)
    if not _has_ct_lungs(body, _median(dark) - dark_hu / step_hu, step_hu):
        _refuse_export(sample, "air, lungs and tissue are not spaced as in a CT")
    low_hu = round(dark_hu - _median(dark) * step_hu, -1)
    high_hu = round(dark_hu + (255 - _median(dark)) * step_hu, -1)
    return low_hu, high_hu, False


PLANES = 100
"""Smallest number of planes from which the scale of a scan is detected."""


def detect_intensity_of_scan(coarse: NDArray[Any]) -> DetectedIntensity:
    """Detect the scale from a part of the planes; see `detect_intensity`."""
    return detect_intensity(coarse[:: max(1, len(coarse) // PLANES)])
