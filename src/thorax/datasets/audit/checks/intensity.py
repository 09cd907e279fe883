"""Checks of voxel values: empty scans, and intensity scales."""

from collections.abc import Iterator

from thorax.common.errors import InputError
from thorax.datasets.audit.facts import CaseFacts, ValueFacts
from thorax.datasets.audit.findings import Finding
from thorax.datasets.dataset import DatasetSpec
from thorax.imaging.intensity import IntensityScale, parse_intensity

NEARLY_EMPTY = 0.9
"""Share of one value above which a scan is nearly empty; padding and clipped air make up at most
half of a normal scan."""

FLAT_PLANES = 0.05
"""Share of planes with a single value above which a part of the scan is missing."""

WINDOW_HU = 150
"""Allowed difference between the ends of a declared window and of the detected one, in HU; the
detected window is a rough estimate."""


def constant(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A scan with a single value."""
    values = facts.values
    if values and values.low == values.high:
        yield Finding(
            "scan-constant",
            "error",
            f"all voxels of the scan are {values.low:g}",
            "export the scan again, or remove the case",
            facts.case,
        )


def nearly_empty(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A scan in which most voxels, or many whole planes, have one value."""
    values = facts.values
    if not values or values.low == values.high:
        return
    planes = facts.scan.shape[2] if facts.scan and facts.scan.shape else 1
    if values.mode_share > NEARLY_EMPTY:
        text = f"{values.mode_share:.0%} of the voxels of the scan have the same value"
    elif values.flat_planes > FLAT_PLANES * planes:
        text = f"{values.flat_planes} of {planes} planes have a single value each"
    else:
        return
    yield Finding(
        "scan-empty",
        "warning",
        text,
        "check that the whole scan was exported; crop the empty part from scan and mask",
        facts.case,
    )


def unknown(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Values whose scale cannot be detected, but which may be as `dataset.yaml` states."""
    values = facts.values
    if values and values.refusal and values.low < values.high and not _misfit(facts, spec):
        yield Finding(
            "intensity-unknown",
            "warning",
            values.refusal.partition("; ")[0],
            "look at the scan; if it is a CT, check its `intensity` in dataset.yaml",
            facts.case,
        )


def mismatch(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Values on another intensity scale than `dataset.yaml` states."""
    values = facts.values
    if not values or values.low == values.high:
        return
    declared = declared_scale(spec, facts.case)
    misfit = _misfit(facts, spec)
    detected = parse_intensity(values.intensity) if values.intensity else None
    if declared is None or not (misfit or (detected and _differs(declared, detected, values))):
        return
    text = f"`intensity` is {declared}, but the values {values.low:g}..{values.high:g} "
    yield Finding(
        "intensity-domain",
        "error" if misfit else "warning",
        text + (f"look like {values.kind}" if detected and detected != declared else str(misfit)),
        _advice(detected if detected != declared else None),
        facts.case,
    )


def remarks(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Unusual properties of values in HU."""
    values = facts.values
    if values and values.intensity == "hu":
        for remark in values.remarks:
            text, _, _ = remark.partition("; ")
            yield Finding(
                "intensity-remark", "note", text, "look at the scan before using it", facts.case
            )


def effective_scale(facts: CaseFacts, spec: DatasetSpec) -> IntensityScale | None:
    """Choose the intensity scale of a case: detected, else declared, else None.

    A declared window takes precedence over a detected one, which is only an estimate.
    """
    declared = declared_scale(spec, facts.case)
    if facts.values is None or not facts.values.intensity:
        return declared
    detected = parse_intensity(facts.values.intensity)
    both = declared and detected and declared.window_hu and detected.window_hu
    return declared if both else detected


def declared_scale(spec: DatasetSpec, case: str) -> IntensityScale | None:
    """Look up the scale that `dataset.yaml` states for a case; None if it states none."""
    try:
        return spec.intensity_of(case)
    except InputError:
        return None


def _misfit(facts: CaseFacts, spec: DatasetSpec) -> str:
    """State why values cannot be on their declared scale; empty if they can."""
    declared, values = declared_scale(spec, facts.case), facts.values
    if declared is None or values is None:
        return ""
    if declared.window_hu:
        inside = 0 <= values.low <= values.high <= 255
        return "" if inside else "are not an 8-bit export, which has 0..255"
    if values.low >= declared.offset_hu:
        return f"contain no air, which is near {declared.offset_hu - 1000}"
    return ""


def _differs(declared: IntensityScale, detected: IntensityScale, values: ValueFacts) -> bool:
    """Decide whether the detected scale contradicts the declared one, given its accuracy."""
    if not declared.window_hu or not detected.window_hu:
        return declared != detected
    if declared.inverted != detected.inverted:
        return True
    ends = zip(declared.window_hu, detected.window_hu, strict=True)
    difference = max(abs(stated - estimate) for stated, estimate in ends)
    return "equalised" not in values.kind and difference > WINDOW_HU


def _advice(detected: IntensityScale | None) -> str:
    if detected is None:
        return "correct `intensity` in dataset.yaml, or convert the scan again"
    name = f"[{detected}]" if detected.window_hu and not detected.inverted else f"'{detected}'"
    return f"set `intensity` to {name} in dataset.yaml, for a pattern of names if others differ"
