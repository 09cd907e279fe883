"""Faults of what voxel values mean."""

from collections.abc import Iterator

from thorax.common.errors import InputError
from thorax.datasets.audit.facts import CaseFacts, ValueFacts
from thorax.datasets.audit.findings import Finding
from thorax.datasets.dataset import DatasetSpec
from thorax.imaging.intensity import IntensityScale, parse_intensity

NEARLY_EMPTY = 0.9
"""Share of one and the same value above which little is left of a patient; outside the field of
view and in air that was cut off it is up to half of a scan."""

FLAT_PLANES = 0.05
"""Share of planes with a single value above which a part of the scan is missing."""

WINDOW_HU = 150
"""How far the ends of a declared window may lie from the estimated ones, which are rough."""


def constant(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A scan of one value."""
    values = facts.values
    if values and values.low == values.high:
        yield Finding(
            "scan-constant",
            "error",
            f"all voxels of the scan are {values.low:g}",
            "export the scan again, or take the case out",
            facts.case,
        )


def nearly_empty(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A scan in which most voxels, or many whole planes, hold one value."""
    values = facts.values
    if not values or values.low == values.high:
        return
    planes = facts.scan.shape[2] if facts.scan and facts.scan.shape else 1
    if values.commonest > NEARLY_EMPTY:
        text = f"{values.commonest:.0%} of the scan is one and the same value"
    elif values.flat_planes > FLAT_PLANES * planes:
        text = f"{values.flat_planes} of {planes} planes hold a single value each"
    else:
        return
    yield Finding(
        "scan-empty",
        "warning",
        text,
        "look whether the scan was exported whole; crop the empty part off scan and mask",
        facts.case,
    )


def unknown(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Values whose meaning cannot be recognised, though they may be what `dataset.yaml` says."""
    values = facts.values
    if values and values.refusal and values.low < values.high and not _misfit(facts, spec):
        yield Finding(
            "intensity-unknown",
            "warning",
            values.refusal.partition("; ")[0],
            "look at the scan; if it is a CT, see that `intensity` in dataset.yaml is right for it",
            facts.case,
        )


def other_domain(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Values that mean something else than `dataset.yaml` says."""
    values = facts.values
    if not values or values.low == values.high:
        return
    declared = declared_domain(spec, facts.case)
    misfit = _misfit(facts, spec)
    seen = parse_intensity(values.intensity) if values.intensity else None
    if declared is None or not (misfit or (seen and _differs(declared, seen, values))):
        return
    text = f"dataset.yaml says {declared}, but the values {values.low:g}..{values.high:g} "
    yield Finding(
        "intensity-domain",
        "error" if misfit else "warning",
        text + (f"look like {values.kind}" if seen and seen != declared else str(misfit)),
        _entry(seen if seen != declared else None),
        facts.case,
    )


def remarks(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """What is unusual about values that are HU as they should be."""
    values = facts.values
    if values and values.intensity == "hu":
        for remark in values.remarks:
            text, _, _ = remark.partition("; ")
            yield Finding(
                "intensity-remark", "note", text, "look at the scan before it is used", facts.case
            )


def domain_of(facts: CaseFacts, spec: DatasetSpec) -> IntensityScale | None:
    """What the values of a case mean: as they look, or else as declared; None if neither is known.

    A declared window goes before a recognised one, which is but an estimate.
    """
    declared = declared_domain(spec, facts.case)
    if facts.values is None or not facts.values.intensity:
        return declared
    seen = parse_intensity(facts.values.intensity)
    both = declared and seen and declared.window_hu and seen.window_hu
    return declared if both else seen


def declared_domain(spec: DatasetSpec, case: str) -> IntensityScale | None:
    """What `dataset.yaml` says of the values of a case; None if it says nothing of it."""
    try:
        return spec.domain_of(case)
    except InputError:
        return None


def _misfit(facts: CaseFacts, spec: DatasetSpec) -> str:
    """Why values cannot be what they are declared to be; empty if they can."""
    declared, values = declared_domain(spec, facts.case), facts.values
    if declared is None or values is None:
        return ""
    if declared.window_hu:
        inside = 0 <= values.low <= values.high <= 255
        return "" if inside else "are no 8-bit export, which has 0..255"
    if values.low >= declared.offset_hu:
        return f"hold no air, which is near {declared.offset_hu - 1000}"
    return ""


def _differs(declared: IntensityScale, seen: IntensityScale, values: ValueFacts) -> bool:
    """Whether what was recognised contradicts what was declared, estimates taken as such."""
    if not declared.window_hu or not seen.window_hu:
        return declared != seen
    if declared.inverted != seen.inverted:
        return True
    apart = max(
        abs(one - other) for one, other in zip(declared.window_hu, seen.window_hu, strict=True)
    )
    return "equalised" not in values.kind and apart > WINDOW_HU


def _entry(seen: IntensityScale | None) -> str:
    """What to write into `dataset.yaml`."""
    if seen is None:
        return "say under `intensity` in dataset.yaml what the values mean, or convert it again"
    name = f"[{seen}]" if seen.window_hu and not seen.inverted else f"'{seen}'"
    return f"give it the `intensity` {name} in dataset.yaml, by a pattern of names if others differ"
