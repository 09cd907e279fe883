"""What a training begins with: what weights become, what it is named after, what it is told of."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thorax.common.params import Params
from thorax.models.engines.keras_engine import KerasEngine
from thorax.models.keras_file import load_network, save_trained
from thorax.models.spec import ModelSpec
from thorax.preprocessing.index import RecordIndex
from thorax.training.initial_weights import initialise_weights, input_digests, input_notes

from ..learning import pointwise
from ..settings import DEFAULTS, augmentation_params, network_params, train_params

REGIONS = {"lung": (1,)}
INDEX = RecordIndex(1, "chests", 8, "lungs", REGIONS, (), ())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a segmenter whose weight is 3 and whose bias is 2."""
    spec = ModelSpec(8, "lungs", 0, (-1000, 400), REGIONS)
    save_trained(tmp_path / "start", KerasEngine(pointwise([[3]], [2], canvas=8)), spec)
    return tmp_path / "start"


def params_of(origin: str = "fresh", *, custom: str = "", **train: Any) -> Params:
    """Return the parameters with a start, a file of augmentation, and changes to `train`."""
    return replace(
        DEFAULTS,
        network=network_params(initial_weights=origin),
        augmentation=augmentation_params(custom=custom),
        train=train_params(window=(-1000, 400), **train),
    )


def numbers(network: Any) -> list[float]:
    return [float(array.ravel()[0]) for array in network.get_weights()]


def test_fresh_weights_stay_what_they_are(folder: Path) -> None:
    network = pointwise([[1]], [0], canvas=8)
    assert initialise_weights(network, "fresh", ["lung"], folder=folder) is None
    assert numbers(network) == [1, 0]


def test_the_weights_of_the_segmenter_are_poured_in(folder: Path) -> None:
    network = pointwise([[1]], [0], canvas=8)
    # Layers are matched by name, and Keras counts those that have none of their own.
    network.layers[-1].name = load_network(folder / "model.keras").layers[-1].name
    assert str(initialise_weights(network, "segmenter", ["lung"], folder=folder)).startswith(
        "1 layers copied"
    )
    assert numbers(network) == [3, 2]


# Files


def test_files_are_known_by_their_digests(folder: Path) -> None:
    custom = folder / "mine.json"
    custom.write_text("{}")
    told = input_digests(params_of("segmenter", custom=str(custom)), folder)
    assert [Path(path).name for path in told] == ["model.keras", "spec.json", "mine.json"]
    custom.write_text("{ }")
    again = input_digests(params_of("segmenter", custom=str(custom)), folder)
    assert [path for path in told if told[path] != again[path]] == [custom.as_posix()]


def test_a_preset_in_a_folder_is_known_by_all_of_its_files(folder: Path) -> None:
    (folder / "resnet" / "assets").mkdir(parents=True)
    for name in ("config.json", "assets/weights.h5"):
        (folder / "resnet" / name).write_text(name)
    told = input_digests(params_of(str(folder / "resnet")), folder)
    assert [Path(path).name for path in told] == ["weights.h5", "config.json"]


def test_without_files_there_are_no_digests(folder: Path) -> None:
    assert input_digests(params_of(), folder) == {}
    assert input_digests(params_of(""), folder) == {}, "not those of all that is here"


# Notes


def test_there_is_mostly_nothing_to_tell(folder: Path) -> None:
    (folder / "mine.json").write_text("{}")
    assert input_notes(params_of(), INDEX, folder) == []
    assert input_notes(params_of("segmenter"), INDEX, folder) == []
    assert input_notes(params_of(custom=str(folder / "mine.json")), INDEX, folder) == []
    assert (
        input_notes(params_of(custom=str(folder / ".." / "start" / "mine.json")), INDEX, folder)
        == []
    )


def test_a_file_that_dvc_does_not_watch_is_told_of(folder: Path) -> None:
    stranger = folder.parent / "mine.json"
    stranger.write_text("{}")
    (note,) = input_notes(params_of(custom=str(stranger)), INDEX, folder)
    assert note == (
        f"Note: {stranger} lies outside of {folder}, so `dvc repro` does not notice when it "
        "changes; move it there"
    )


@pytest.mark.parametrize(
    ("train", "index", "said"),
    [
        (
            {"window": (-1350, 150)},
            {},
            "`train.window: [-1000, 400]`, this training has [-1350, 150]",
        ),
        ({}, {"crop": "none"}, "`prepare.crop: lungs`, this training has none"),
        ({}, {"canvas": 16}, "`prepare.canvas: 8`, this training has 16"),
    ],
)
def test_planes_that_looked_otherwise_to_the_segmenter_are_told_of(
    folder: Path, train: dict[str, Any], index: dict[str, Any], said: str
) -> None:
    params = params_of("segmenter")
    params = replace(params, train=replace(params.train, **train))
    (note,) = input_notes(params, replace(INDEX, **index), folder)
    assert said in note
