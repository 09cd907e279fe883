"""Event files, read by TensorFlow."""

from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from .conftest import ROWS, Converse


def events(folder: Path) -> Iterator[tuple[str, int, float | str]]:
    """Yield tag, step and value of all events of a run."""
    for path in sorted(folder.glob("*tfevents*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.tensor.string_val:
                    yield value.tag, event.step, value.tensor.string_val[0].decode()
                else:
                    yield value.tag, event.step, value.simple_value


def test_a_training_has_texts_scalars_and_final_metrics(converse: Converse, tmp_path: Path) -> None:
    first, last = converse("tensorboard", ROWS)
    (folder,) = (tmp_path / "reports/tensorboard").iterdir()
    assert (first, last) == ({"place": str(folder)}, {"done": True})
    parameters, tags, *scalars = events(folder)
    assert parameters[:2] == ("parameters/text_summary", 0)
    assert "| train.epochs | 2 |" in str(parameters[2]).splitlines()
    assert "| git_revision | abc |" in str(tags[2]).splitlines()
    assert scalars == [
        ("loss", 1, 0.5),
        ("loss", 2, 0.25),
        ("dice", 2, 0.75),
        ("final/dice", 2, 0.75),
    ]


def test_a_resumed_training_continues_its_folder(converse: Converse, tmp_path: Path) -> None:
    converse("tensorboard", ROWS[:1], finish=False)
    converse("tensorboard", ROWS, resumed=True)
    (folder,) = (tmp_path / "reports/tensorboard").iterdir()
    scalars = [(tag, step) for tag, step, _ in events(folder) if "text" not in tag]
    assert sorted(scalars) == [("dice", 2), ("final/dice", 2), ("loss", 1), ("loss", 2)]


def test_another_training_has_another_folder(converse: Converse, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/key.tensorboard.json").write_text('{"run": "earlier", "epoch": 9}')
    converse("tensorboard", ROWS)
    (folder,) = (tmp_path / "reports/tensorboard").iterdir()
    assert folder.name != "earlier"
    assert ("loss", 2, 0.25) in list(events(folder))
