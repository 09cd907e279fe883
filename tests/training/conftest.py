"""Records of three small cases, and trainings on them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thorax.common.files import file_sha256
from thorax.common.params import Params
from thorax.imaging.overlap import Overlap
from thorax.preprocessing.index import RecordEntry, RecordIndex
from thorax.training.precision import PrecisionChoice
from thorax.training.session import Folders, Session

from ..learning import save_record
from ..settings import DEFAULTS

REGIONS = {"lung": (1, 2), "infection": (2,)}

MakeParams = Callable[..., Params]
MakeSession = Callable[..., Session]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(
        records=tmp_path / "records",
        initial=tmp_path / "initial",
        checkpoints=tmp_path / "checkpoints",
        reports=tmp_path / "reports",
    )


@pytest.fixture
def index(folders: Folders) -> RecordIndex:
    """Return the index of three cases of two patients: 3 slices of 8×8 pixels, two regions."""
    folders.records.mkdir()
    return RecordIndex(
        format_version=1,
        dataset="chests",
        canvas=8,
        crop="none",
        regions=REGIONS,
        ignored=(),
        records=tuple(
            _save_case(folders.records, name, hu)
            for name, hu in (("anna-1", -1000), ("anna-2", -999), ("ben-1", -998))
        ),
    )


def _save_case(folder: Path, name: str, hu: int) -> RecordEntry:
    planes, fractions = np.full((3, 8, 8), hu), np.zeros((3, 8, 8, 2))
    planes[:, 2:6, 1:5] = 40
    fractions[:, 2:6, 1:5, 0], fractions[:, 4:6, 1:3, 1] = 255, 255
    path = save_record(folder / f"{name}.tfrecord", planes, fractions)
    return RecordEntry(
        case=name,
        patient=name.partition("-")[0],
        site="",
        planes=3,
        scan_sha256="",
        mask_sha256="",
        intensity="hu",
        record_sha256=file_sha256(path),
        ceiling={"lung": Overlap(48, 48, 48), "infection": Overlap(12, 12, 12)},
    )


@pytest.fixture
def make_params() -> MakeParams:
    """Return a function for the parameters of a short training, with changes by section."""

    def make(**changes: Any) -> Params:
        defaults: dict[str, Any] = {
            "network": {"name": "unet", "width": 2, "depth": 1},
            "train": {"context": 1, "precision": "float32", "epochs": 1, "batch": 2},
        }
        params = replace(DEFAULTS, dataset="chests")
        for section, values in (*defaults.items(), *changes.items()):
            is_section = isinstance(values, dict)
            value = replace(getattr(params, section), **values) if is_section else values
            params = replace(params, **{section: value})
        return params

    return make


@pytest.fixture
def make_session(index: RecordIndex, folders: Folders, make_params: MakeParams) -> MakeSession:
    """Return a function for a session, with changes of its parameters by section."""

    def make(policy: str = "float32", *, log: Any = print, **changes: Any) -> Session:
        return Session(make_params(**changes), index, PrecisionChoice(policy, ""), folders, log)

    return make
