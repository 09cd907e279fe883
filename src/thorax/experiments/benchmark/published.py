"""Published results on the COVID-19 CT Lung and Infection Segmentation Dataset."""

import math
from dataclasses import asdict, dataclass
from typing import Any

MA = "Ma 2021"
MISCNN = "Müller 2021"
BARTOLI = "Bartoli 2022"

SOURCES = {
    MA: "Ma et al., Toward data-efficient learning: A benchmark for COVID-19 CT lung and infection "
    "segmentation. Med Phys 2021, https://doi.org/10.1002/mp.14676",
    MISCNN: "Müller et al., Robust chest CT image segmentation of COVID-19 lung infection based on "
    "limited data (MIScnn). Inform Med Unlocked 2021, https://doi.org/10.1016/j.imu.2021.100681",
    BARTOLI: "Bartoli et al., Value and prognostic impact of a deep learning segmentation model of "
    "COVID-19 lung lesions on low-dose chest CT. Res Diagn Interv Imaging 2022, "
    "https://doi.org/10.1016/j.redii.2022.100003",
}
"""Sources of published results."""


@dataclass(frozen=True)
class PublishedResult:
    """Mean Dice values of one method; NaN where none is published.

    Args:
        source: Key of `SOURCES`.
        method: What was trained.
        cases: Which cases were trained on and tested.
        protocol: Name of our protocol with the same folds; empty for others.
        lung: Both lungs together.
        left: Left lung.
        right: Right lung.
        infection: Infection.
        infection_sd: SD of `infection`, as published.
        infection_nsd: Surface Dice of the infection at 3 mm.
        note: Further values and remarks.
    """

    source: str
    method: str
    cases: str
    protocol: str = ""
    lung: float = math.nan
    left: float = math.nan
    right: float = math.nan
    infection: float = math.nan
    infection_sd: float = math.nan
    infection_nsd: float = math.nan
    note: str = ""

    def row(self) -> dict[str, Any]:
        """Return the values by name of our regions, for a table."""
        values = asdict(self)
        values["left lung"], values["right lung"] = values.pop("left"), values.pop("right")
        return values


RESULTS = (
    PublishedResult(
        MA,
        "nnU-Net 3D, a network for lungs, another for infection",
        "4 train, 16 test, 5 folds",
        "swapped",
        left=0.858,
        right=0.879,
        infection=0.673,
        infection_sd=0.223,
        infection_nsd=0.700,
    ),
    PublishedResult(
        MA,
        "nnU-Net 2D",
        "4 train, 16 test, 5 folds",
        "swapped",
        left=0.951,
        right=0.956,
        infection=0.609,
    ),
    PublishedResult(
        MA,
        "nnU-Net 3D, other sets for training, too",
        "4 and others train, 16 test",
        left=0.973,
        right=0.977,
        infection=0.642,
    ),
    PublishedResult(
        MA,
        "nnU-Net 3D, a network for infection",
        "16 train, 4 test, 5 folds",
        "published",
        infection=0.777,
        infection_sd=0.187,
        note="infection by fold 0.802, 0.781, 0.829, 0.816 and 0.658, the last with an SD of 0.42: "
        "one network collapsed",
    ),
    PublishedResult(
        MA,
        "nnU-Net 3D, one network for all",
        "16 train, 4 test, 5 folds",
        "published",
        left=0.911,
        right=0.922,
        note="one network for lungs and infection: its left and right lung leave out infection",
    ),
    PublishedResult(
        MA,
        "nnU-Net 3D",
        "this set train, MosMed test",
        infection=0.588,
    ),
    PublishedResult(
        MA,
        "nnU-Net 2D",
        "this set train, MosMed test",
        infection=0.537,
    ),
    PublishedResult(
        MISCNN,
        "MIScnn, 3D U-Net",
        "5 folds of the 20 cases",
        lung=0.956,
        infection=0.761,
    ),
    PublishedResult(
        BARTOLI,
        "two human readers",
        "another set, low-dose CT",
        infection=0.70,
        infection_sd=0.08,
    ),
)
"""Published results, each with its protocol."""
