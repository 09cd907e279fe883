"""Random diseases of a patient: kind, side and severity of each."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from numpy.random import Generator

from thorax.phantom.anatomy import Habitus
from thorax.phantom.diseases.shift import shift_mediastinum

HEALTHY = 0.42
"""Share of patients without a disease other than infection."""

MORE = (0.5, 0.32, 0.18)
"""Chances of one, two and three diseases."""

CHANCES = {
    "centrilobular emphysema": 6.0,
    "paraseptal emphysema": 3.0,
    "panlobular emphysema": 9.0,
    "bullae": 4.0,
    "giant bulla": 6.0,
    "bronchiectasis": 4.0,
    "fibrosis": 6.0,
    "honeycombing": 5.0,
    "ground glass": 5.0,
    "crazy paving": 3.0,
    "mosaic attenuation": 3.0,
    "miliary nodules": 3.0,
    "lobar consolidation": 7.0,
    "whole-lung consolidation": 4.0,
    "lobar collapse": 4.0,
    "whole-lung collapse": 4.0,
    "plate atelectasis": 4.0,
    "round atelectasis": 3.0,
    "dependent atelectasis": 6.0,
    "mass": 7.0,
    "hilar mass": 4.0,
    "nodules": 5.0,
    "cavity": 4.0,
    "pleural effusion": 12.0,
    "loculated effusion": 5.0,
    "empyema with gas": 4.0,
    "pleural thickening": 4.0,
    "pleural plaques": 3.0,
    "pneumothorax": 4.0,
    "hydropneumothorax": 3.0,
    "pneumonectomy": 5.0,
    "lobectomy": 4.0,
    "subcutaneous emphysema": 3.0,
    "pneumomediastinum": 3.0,
}
"""Relative frequency of each disease."""

ONE_SIDED = frozenset(
    [
        "giant bulla",
        "lobar consolidation",
        "whole-lung consolidation",
        "lobar collapse",
        "whole-lung collapse",
        "round atelectasis",
        "hilar mass",
        "empyema with gas",
        "pneumothorax",
        "hydropneumothorax",
        "pneumonectomy",
        "lobectomy",
    ]
)
"""Diseases of one lung; a lung has at most one of them."""

LOST_LUNG = frozenset(["whole-lung collapse", "pneumothorax", "hydropneumothorax", "pneumonectomy"])
"""Diseases that a patient has in one lung only."""

ALWAYS_BOTH = frozenset(["panlobular emphysema", "miliary nodules", "mosaic attenuation"])


@dataclass(frozen=True)
class Finding:
    """One disease.

    Args:
        kind: Key of `CHANCES`.
        sides: ``left``, ``right`` or both.
        severity: From just visible (0) to extreme (1).
        level: Height in the lungs: 0 at the lowest pleura, 1 at the apex.
    """

    kind: str
    sides: tuple[str, ...]
    severity: float
    level: float


@dataclass(frozen=True)
class Findings:
    """Diseases of one patient; the default is none."""

    findings: tuple[Finding, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Name of each disease, such as ``giant bulla``."""
        return tuple(finding.kind for finding in self.findings)

    def change_habitus(self, habitus: Habitus) -> Habitus:
        """Return the patient with raised diaphragms, a shifted mediastinum or other density."""
        for finding in self.findings:
            if change := _CHANGES.get(finding.kind):
                habitus = change(habitus, finding)
        return habitus


def draw_findings(rng: Generator) -> Findings:
    """Draw the diseases of a patient; healthy lungs are the most frequent."""
    if rng.random() < HEALTHY:
        return Findings()
    count = 1 + int(rng.choice(len(MORE), p=MORE))
    kinds = list(CHANCES)
    chances = [CHANCES[kind] / sum(CHANCES.values()) for kind in kinds]
    drawn = rng.choice(len(kinds), count, replace=False, p=chances)
    findings: list[Finding] = []
    for kind in (kinds[index] for index in drawn):
        finding = _draw_finding(kind, rng)
        if not any(_exclude(finding, earlier) for earlier in findings):
            findings.append(finding)
    return Findings(tuple(findings))


def _exclude(finding: Finding, earlier: Finding) -> bool:
    if {finding.kind, earlier.kind} <= LOST_LUNG:
        return True
    return {finding.kind, earlier.kind} <= ONE_SIDED and finding.sides == earlier.sides


def _draw_finding(kind: str, rng: Generator) -> Finding:
    side = ("left", "right")[int(rng.integers(2))]
    both = kind in ALWAYS_BOTH or (kind not in ONE_SIDED and rng.random() < 0.6)
    return Finding(
        kind,
        ("left", "right") if both else (side,),
        severity=float(rng.beta(1.1, 1.2)),
        level=float(rng.uniform(0.05, 0.95)),
    )


def lost_volume_mm(finding: Finding) -> float:
    """Compute the displacement of the mediastinum towards a lung that has lost volume."""
    return 6.0 + 30.0 * finding.severity


def pushed_mm(finding: Finding) -> float:
    """Compute the displacement of the mediastinum away from air, fluid or a bulla."""
    return 24.0 * max(finding.severity - 0.35, 0.0) / 0.65


def _lose_volume(habitus: Habitus, finding: Finding) -> Habitus:
    share = 0.6 if finding.kind == "lobar collapse" else 1.0
    return shift_mediastinum(
        habitus,
        finding.sides[0],
        towards_mm=share * lost_volume_mm(finding),
        raise_mm=share * (8.0 + 42.0 * finding.severity),
    )


def _push(habitus: Habitus, finding: Finding) -> Habitus:
    if len(finding.sides) > 1:
        return habitus
    moved = pushed_mm(finding)
    return shift_mediastinum(habitus, finding.sides[0], towards_mm=-moved, raise_mm=-1.2 * moved)


def _hyperinflate(habitus: Habitus, finding: Finding) -> Habitus:
    return replace(
        habitus,
        lung_hu=-930.0 - 55.0 * finding.severity,
        dependent_hu=0.3 * habitus.dependent_hu,
        dome=habitus.dome * (1.0 - 0.4 * finding.severity),
        variant=replace(habitus.variant, vessels=0.8 * habitus.variant.vessels),
    )


def _shrink(habitus: Habitus, finding: Finding) -> Habitus:
    return replace(habitus, dome=habitus.dome + 24.0 * finding.severity)


_CHANGES: dict[str, Callable[[Habitus, Finding], Habitus]] = {
    "pneumonectomy": _lose_volume,
    "lobectomy": _lose_volume,
    "whole-lung collapse": _lose_volume,
    "lobar collapse": _lose_volume,
    "pneumothorax": _push,
    "hydropneumothorax": _push,
    "pleural effusion": _push,
    "giant bulla": _push,
    "panlobular emphysema": _hyperinflate,
    "fibrosis": _shrink,
    "honeycombing": _shrink,
}
