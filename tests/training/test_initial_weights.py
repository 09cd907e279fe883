"""Inputs of a training besides records: initial weights, digests of files, and notes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thorax.common.params import Params
from thorax.datasets.folds import Split
from thorax.models.keras_file import load_network, save_trained
from thorax.models.spec import ModelSpec, load_spec, spec_json
from thorax.preprocessing.index import RecordIndex
from thorax.training.initial_weights import (
    initialise_weights,
    input_digests,
    input_notes,
    note_earlier_training,
)

from ..learning import pointwise
from ..preprocessing.test_index import entry
from ..settings import DEFAULTS, augmentation_params, network_params, train_params

REGIONS = {"lung": (1,)}
INDEX = RecordIndex(1, "chests", 8, "lungs", REGIONS, (), ())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a segmenter whose weight is 3 and whose bias is 2."""
    spec = ModelSpec(8, "lungs", 0, (-1000, 400), REGIONS)
    save_trained(tmp_path / "initial", pointwise([[3]], [2], canvas=8), spec)
    return tmp_path / "initial"


def params_of(origin: str = "random", *, custom: str = "", **train: Any) -> Params:
    """Return the parameters with initial weights, a custom file, and changes to `train`."""
    return replace(
        DEFAULTS,
        network=network_params(initial_weights=origin),
        augmentation=augmentation_params(custom=custom),
        train=train_params(window=(-1000, 400), **train),
    )


def weights_of(network: Any) -> list[float]:
    return [float(array.ravel()[0]) for array in network.get_weights()]


def test_random_weights_are_not_changed(folder: Path) -> None:
    network = pointwise([[1]], [0], canvas=8)
    assert initialise_weights(network, "random", ["lung"], folder=folder) is None
    assert weights_of(network) == [1, 0]


def test_the_weights_of_a_segmenter_are_transferred(folder: Path) -> None:
    network = pointwise([[1]], [0], canvas=8)
    # Layers are matched by name, and Keras numbers layers without a name.
    network.layers[-1].name = load_network(folder / "model.keras").layers[-1].name
    assert str(initialise_weights(network, "segmenter", ["lung"], folder=folder)).startswith(
        "1 layers copied"
    )
    assert weights_of(network) == [3, 2]


# Files


def test_files_have_digests(folder: Path) -> None:
    custom = folder / "mine.json"
    custom.write_text("{}")
    digests = input_digests(params_of("segmenter", custom=str(custom)), folder)
    assert [Path(path).name for path in digests] == ["model.keras", "spec.json", "mine.json"]
    custom.write_text("{ }")
    changed = input_digests(params_of("segmenter", custom=str(custom)), folder)
    assert [path for path in digests if digests[path] != changed[path]] == [custom.as_posix()]


def test_all_files_of_a_preset_folder_have_digests(folder: Path) -> None:
    (folder / "resnet" / "assets").mkdir(parents=True)
    for name in ("config.json", "assets/weights.h5"):
        (folder / "resnet" / name).write_text(name)
    digests = input_digests(params_of(str(folder / "resnet")), folder)
    assert [Path(path).name for path in digests] == ["weights.h5", "config.json"]


def test_without_files_there_are_no_digests(folder: Path) -> None:
    assert input_digests(params_of(), folder) == {}
    assert input_digests(params_of(""), folder) == {}, "not those of the working folder"


def test_a_custom_file_that_is_not_used_is_not_read(folder: Path) -> None:
    params = params_of(custom=str(folder.parent / "gone.json"))
    unused = replace(params, augmentation=replace(params.augmentation, level="none"))
    assert input_digests(unused, folder) == {}
    assert input_notes(unused, INDEX, folder) == []


# Notes


def test_without_problems_there_are_no_notes(folder: Path) -> None:
    (folder / "mine.json").write_text("{}")
    assert input_notes(params_of(), INDEX, folder) == []
    assert input_notes(params_of("segmenter"), INDEX, folder) == []
    assert input_notes(params_of(custom=str(folder / "mine.json")), INDEX, folder) == []
    assert (
        input_notes(params_of(custom=str(folder / ".." / "initial" / "mine.json")), INDEX, folder)
        == []
    )


def test_a_file_outside_of_the_folder_has_a_note(folder: Path) -> None:
    outside = folder.parent / "mine.json"
    outside.write_text("{}")
    (note,) = input_notes(params_of(custom=str(outside)), INDEX, folder)
    assert note == (
        f"Note: {outside} is outside of {folder}, so `dvc repro` does not notice its changes; move "
        f"it to {folder}"
    )


@pytest.mark.parametrize(
    ("train", "index", "difference"),
    [
        (
            {"window": (-1350, 150)},
            {},
            "Note: `train.window` is [-1350, 150], but [-1000, 400] in ",
        ),
        ({}, {"crop": "none"}, "Note: `prepare.crop` is none, but lungs in "),
        ({}, {"canvas": 16}, "Note: `prepare.canvas` is 16, but 8 in "),
    ],
)
def test_settings_that_differ_from_the_segmenter_have_a_note(
    folder: Path, train: dict[str, Any], index: dict[str, Any], difference: str
) -> None:
    params = params_of("segmenter")
    params = replace(params, train=replace(params.train, **train))
    (note,) = input_notes(params, replace(INDEX, **index), folder)
    assert note.startswith(difference)


@pytest.mark.parametrize(
    ("earlier", "known"),
    [
        ({"train": ["anna-1", "ben-1"], "test": ["carl-1"]}, "anna-2 and ben-1"),
        ({"train": ["carl-1"], "validation": ["ben-1"]}, "ben-1"),
        ({"train": ["carl-1"], "test": ["anna-1", "ben-1"]}, ""),
        ({}, ""),
    ],
)
def test_cases_that_the_segmenter_was_trained_on_are_noted(
    folder: Path, earlier: dict[str, list[str]], known: str
) -> None:
    """Another scan of the patient counts, too."""
    cases = ("anna-1", "anna-2", "ben-1", "carl-1")
    records = tuple(replace(entry(case), patient=case[:-2]) for case in cases)
    split = Split(("carl-1",), ("ben-1",), ("anna-2",))

    def noted(dataset: str, origin: str) -> str:
        spec = replace(load_spec(folder), provenance={"dataset": dataset, "split": earlier})
        (folder / "spec.json").write_text(spec_json(spec))
        index = replace(INDEX, records=records)
        return note_earlier_training(split, params_of(origin), index, folder).note

    assert noted("chests", "segmenter") == (
        known
        and f"the initial weights were trained on scans of the patients of {known}, which are "
        "validated or tested, so the metrics may be too high"
    )
    assert noted("other", "segmenter") == noted("chests", "random") == ""


def test_the_note_of_a_split_is_kept(folder: Path) -> None:
    spec = replace(load_spec(folder), provenance={"dataset": "chests", "split": {"train": ["b1"]}})
    (folder / "spec.json").write_text(spec_json(spec))
    index = replace(INDEX, records=(entry("a1"), entry("b1")))
    split = Split(("a1",), (), ("b1",), note="first")
    noted = note_earlier_training(split, params_of("segmenter"), index, folder)
    assert noted.note.startswith("first; the initial weights were trained on scans of the ")
    missing = folder.parent / "missing"
    assert note_earlier_training(split, params_of("segmenter"), index, missing) == split
