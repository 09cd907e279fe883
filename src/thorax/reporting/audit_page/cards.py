"""What the page of an audit tells, worked out before it is laid out."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from thorax.common.errors import InputError
from thorax.common.text import counted, listed, shown
from thorax.datasets.audit.audit import Audit
from thorax.datasets.audit.facts import CaseFacts, FileFacts
from thorax.datasets.audit.findings import SEVERITIES, Finding, Severity, by_severity
from thorax.datasets.dataset import DatasetSpec
from thorax.visualization.drawing import COLOURS

UNKNOWN = "unknown"

MOST_TOLD = 5
"""Kinds that are told one by one."""


@dataclass(frozen=True)
class RegionVolume:
    """How large a region is in a case.

    Args:
        name: Of the region.
        colour: Of its outline.
        volume: For people, such as ``4,210 mL``.
    """

    name: str
    colour: str
    volume: str


@dataclass(frozen=True)
class CaseCard:
    """What the page shows of a case.

    Args:
        key: Names it in links.
        name: Of the case.
        origin: Its site and its patient, where they say more than its name.
        rows: What and value, line by line.
        regions: Volumes of the regions.
        findings: The gravest first.
    """

    key: str
    name: str
    origin: str
    rows: tuple[tuple[str, str], ...]
    regions: tuple[RegionVolume, ...]
    findings: tuple[Finding, ...]

    @property
    def severity(self) -> Severity | None:
        """That of the gravest finding."""
        return self.findings[0].severity if self.findings else None


@dataclass(frozen=True)
class Place:
    """Where a finding is.

    Args:
        finding: The finding.
        key: Of the card of its case; empty if it concerns the whole dataset.
    """

    finding: Finding
    key: str


@dataclass(frozen=True)
class Group:
    """Findings of one kind and weight.

    Args:
        severity: How grave they are.
        title: The kind, for people.
        advice: What to do, where that is the same for all; else empty.
        places: One by one.
    """

    severity: Severity
    title: str
    advice: str
    places: tuple[Place, ...]


def headline(audit: Audit) -> list[str]:
    """What was found, in one plain sentence, and what that means."""
    cases = counted(len(audit.facts), "case")
    totals = Counter(finding.severity for finding in audit.findings)
    told = [counted(totals[weight], weight) for weight in SEVERITIES if totals[weight]]
    if not told:
        return [f"Nothing was found in {cases}.", "Whether the masks are right is for a reader."]
    meanings = []
    if totals["error"]:
        meanings.append("An error is surely wrong and stops the pipeline.")
    if totals["warning"]:
        meanings.append("A warning is suspicious: look at the case before it is trained on.")
    if totals["note"]:
        meanings.append("A note is good to know.")
    return [f"{_sentence(listed(told))} in {cases}.", " ".join(meanings)]


def overview(audit: Audit, spec: DatasetSpec) -> list[tuple[str, str]]:
    """What is in the dataset: what and value, line by line."""
    names = [case.case for case in audit.facts]
    sites = Counter(_told(spec.site_of, name) for name in names)
    patients = Counter(_told(spec.patient_of, name) for name in names)
    several = sum(1 for count in patients.values() if count > 1)
    scans = [case.scan for case in audit.facts if case.scan]
    kinds = Counter(_kind(case) for case in audit.facts)
    rows = [
        ("cases", shown(len(names), 0)),
        (
            "patients",
            f"{shown(len(patients), 0)}{f', {several} with several cases' if several else ''}",
        ),
        ("sites", _tally(sites) if spec.site else ""),
        (
            "voxels in a plane",
            _tally(Counter(f"{f.shape[0]}×{f.shape[1]}" for f in scans if f.shape)),
        ),
        ("planes a scan", _range([f.shape[2] for f in scans if f.shape], "")),
        ("spacing in the plane", _range(_spacings(scans, (0, 1)), " mm")),
        ("spacing from plane to plane", _range(_spacings(scans, (2,)), " mm")),
        ("values", _tally(kinds)),
        *((f"volume of {name}", _volumes(audit, labels)) for name, labels in spec.regions.items()),
    ]
    return [(what, value) for what, value in rows if value]


def case_cards(audit: Audit, spec: DatasetSpec) -> list[CaseCard]:
    """One card a case, in the order in which to look at them: the gravest first, then by name."""
    found: dict[str, list[Finding]] = {}
    for finding in sorted(audit.findings, key=by_severity):
        found.setdefault(finding.case, []).append(finding)

    def gravity(case: CaseFacts) -> tuple[int, str]:
        first = found.get(case.case)
        return (SEVERITIES.index(first[0].severity) if first else len(SEVERITIES)), case.case

    return [
        _card(f"case-{number}", case, spec, tuple(found.get(case.case, ())))
        for number, case in enumerate(sorted(audit.facts, key=gravity), start=1)
    ]


def finding_groups(audit: Audit, cards: Iterable[CaseCard]) -> list[Group]:
    """Findings by kind, the gravest first."""
    keys = {card.name: card.key for card in cards}
    gathered: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in sorted(audit.findings, key=by_severity):
        gathered.setdefault((finding.severity, finding.check), []).append(finding)
    return [
        Group(
            weight,
            _sentence(check.replace("-", " ")),
            alike[0].advice if len({finding.advice for finding in alike}) == 1 else "",
            tuple(Place(finding, keys.get(finding.case, "")) for finding in alike),
        )
        for (weight, check), alike in gathered.items()
    ]


def _card(key: str, case: CaseFacts, spec: DatasetSpec, findings: tuple[Finding, ...]) -> CaseCard:
    volumes = {name: case.volume_ml(labels) for name, labels in spec.regions.items()}
    regions = tuple(
        RegionVolume(name, colour, UNKNOWN if volume is None else _millilitres(volume))
        for (name, volume), colour in zip(volumes.items(), COLOURS, strict=False)
    )
    rows = (("grid", _grid(case.scan)), ("spacing", _spacing(case.scan)), ("values", _kind(case)))
    return CaseCard(key, case.case, _origin(case.case, spec), rows, regions, findings)


def _origin(name: str, spec: DatasetSpec) -> str:
    patient, site = _told(spec.patient_of, name), _told(spec.site_of, name)
    told = [
        f"patient {patient}" if patient not in (name, UNKNOWN) else "",
        f"site {site}" if spec.site else "",
    ]
    return ", ".join(filter(None, told))


def _told(pattern: Callable[[str], str], name: str) -> str:
    try:
        return pattern(name)
    except InputError:
        return UNKNOWN


def _kind(case: CaseFacts) -> str:
    return (case.values.kind if case.values else "") or UNKNOWN


def _grid(scan: FileFacts | None) -> str:
    return "×".join(map(str, scan.shape)) if scan and scan.shape else UNKNOWN


def _spacing(scan: FileFacts | None) -> str:
    grid = scan.grid if scan else None
    if grid is None:
        return UNKNOWN
    return "×".join(f"{step_mm:.3g}" for step_mm in grid.spacing_mm) + " mm"


def _spacings(scans: Iterable[FileFacts], axes: Iterable[int]) -> list[float]:
    grids = [grid for scan in scans if (grid := scan.grid)]
    return [grid.spacing_mm[axis] for axis in axes for grid in grids]


def _volumes(audit: Audit, labels: Sequence[int]) -> str:
    measured = [case.volume_ml(labels) for case in audit.facts]
    volumes = [volume for volume in measured if volume]
    if not volumes:
        return "in no case"
    middle = f"{_range(volumes, ' mL')}, median {_millilitres(median(volumes))}"
    return middle if len(volumes) > 2 else _range(volumes, " mL")


def _millilitres(volume: float) -> str:
    return f"{_figure(volume)} mL"


def _figure(value: float) -> str:
    """Three digits, or all digits of a whole number."""
    return f"{value:.3g}" if value < 100 else shown(value, 0)


def _range(values: Sequence[float], unit: str) -> str:
    if not values:
        return ""
    low, high = _figure(min(values)), _figure(max(values))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def _tally(counts: Counter[str]) -> str:
    """How often there is what, the commonest first."""
    if len(counts) < 2:
        return "".join(counts)
    told = [f"{name} ({count:,})" for name, count in counts.most_common()]
    others = len(told) - MOST_TOLD
    return listed([*told[:MOST_TOLD], f"{others} others"] if others > 1 else told)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
