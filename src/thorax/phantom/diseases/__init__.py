"""Diseases of lungs and pleura beyond infection.

The masks follow RTOG 1106, as the contours of LCTSC do: collapsed, consolidated, fibrotic and
emphysematous lung, bullae and tumour inside the lung are lung; effusion and pneumothorax are not.
"""

from numpy.random import Generator

from thorax.phantom.anatomy import Habitus
from thorax.phantom.diseases import airspace, pleura, solid
from thorax.phantom.diseases.findings import CHANCES, Finding, Findings, draw_findings
from thorax.phantom.lungs import Lungs
from thorax.phantom.space import Floats, Space


def reshape_lungs(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, findings: Findings, *, rng: Generator
) -> Lungs:
    """Draw pleural effusion, pneumothorax and resected lungs in place; return what is lung."""
    return pleura.reshape(hu, space, habitus, lungs, findings.findings, rng)


def draw_parenchymal_diseases(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, findings: Findings, *, rng: Generator
) -> None:
    """Draw diseases that vessels run through, such as emphysema and fibrosis, in place."""
    for finding in findings.findings:
        if draw := airspace.DRAW.get(finding.kind):
            draw(hu, space, habitus, lungs, finding, rng)


def draw_solid_diseases(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, findings: Findings, *, rng: Generator
) -> None:
    """Draw diseases that replace lung and hide vessels, such as masses and collapse, in place."""
    airspace.draw_compressed(hu, space, lungs, rng)
    for finding in findings.findings:
        if draw := solid.DRAW.get(finding.kind):
            draw(hu, space, habitus, lungs, finding, rng)


__all__ = [
    "CHANCES",
    "Finding",
    "Findings",
    "draw_findings",
    "draw_parenchymal_diseases",
    "draw_solid_diseases",
    "reshape_lungs",
]
