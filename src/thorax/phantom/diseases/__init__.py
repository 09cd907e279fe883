"""Diseases of lungs and pleura beyond infection."""

from dataclasses import dataclass

from numpy.random import Generator

from thorax.phantom.anatomy import Habitus
from thorax.phantom.lungs import Lungs
from thorax.phantom.space import Floats, Space


@dataclass(frozen=True)
class Findings:
    """Diseases of one patient.

    Args:
        kinds: Name of each disease, such as ``giant bulla``.
    """

    kinds: tuple[str, ...] = ()

    def change_habitus(self, habitus: Habitus) -> Habitus:
        """Return the build of the patient with raised diaphragms or a shifted mediastinum."""
        return habitus


def draw_findings(rng: Generator) -> Findings:
    """Draw the diseases of a patient; healthy lungs are the most frequent."""
    return Findings()


def reshape_lungs(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, findings: Findings, *, rng: Generator
) -> Lungs:
    """Draw pleural effusion, pneumothorax and resected lungs in place; return what is lung."""
    return lungs


def draw_parenchymal_diseases(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, findings: Findings, *, rng: Generator
) -> None:
    """Draw diseases that vessels run through, such as emphysema and fibrosis, in place."""


def draw_solid_diseases(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, findings: Findings, *, rng: Generator
) -> None:
    """Draw diseases that replace lung and hide vessels, such as masses and collapse, in place."""
