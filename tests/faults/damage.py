"""Truncated files, files with a flipped bit, and files deleted while a stage runs.

Each stage runs without DVC, which would recreate the file; DVC runs it afterwards.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .bench import COMMAND, Answer, Trial
from .fault import Fault

Damage = Callable[[Path], None]
READ = {
    "prepare": ("data/phantom/scans", "data/phantom/masks", "data/phantom/dataset.yaml"),
    "train": ("data/records", "data/records/index.json"),
    "export": ("models/segmenter/model.keras", "models/segmenter/spec.json"),
    "predict": ("models/segmenter.onnx", "data/phantom/scans"),
    "evaluate": (
        "data/predictions",
        "data/predictions/probabilities",
        "data/predictions/certainty.csv",
        "data/records/index.json",
        "data/phantom/masks",
    ),
    "report": (
        "reports/scores.csv",
        "reports/sides.csv",
        "reports/lesions.csv",
        "reports/summary.json",
        "reports/calibration.csv",
        "reports/history.csv",
        "reports/training.json",
        "reports/overlays",
        "models/segmenter.onnx",
        "data/predictions",
    ),
    COMMAND: ("models/segmenter.onnx", "data/phantom/scans"),
}
"""Stage → files and folders that it reads."""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def damaged(trial: Trial, name: str, damage: Damage) -> Answer:
    """Damage the files that a stage reads, run it, and restore them."""
    top = trial.root / name
    paths = [path for path in top.iterdir() if path.is_file()] if top.is_dir() else [top]
    originals = {path: (path.read_bytes(), path.stat()) for path in paths}
    for path in paths:
        damage(path)
    answer = trial.run_stage()
    for path, (content, status) in originals.items():
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return answer


def damage_faults() -> list[Fault]:
    """Return one fault per file that is read and way to damage it."""
    damages: dict[str, Damage] = {"cut": cut, "empty": empty, "flip": flip}
    stages: dict[str, list[str]] = {}
    for stage, names in READ.items():
        for name in names:
            stages.setdefault(name, []).append(stage)
    return [
        Fault(
            f"{kind}-{Path(name).name}",
            partial(damaged, name=name, damage=damage),
            tuple(readers),
            by_default=kind != "empty",
        )
        for kind, damage in damages.items()
        for name, readers in stages.items()
        if kind != "flip" or name.endswith(CHECKED)
    ]


CHECKED = ("scans", "masks", "records", ".keras", ".onnx", "predictions", "probabilities")
"""Files with a checksum; a text with a flipped bit may be valid."""

VANISH = """
from pathlib import Path
import thorax.datasets.dataset
original = thorax.datasets.dataset.load_dataset
def load_dataset(folder):
    dataset = original(folder)
    sorted(Path("data/phantom/{kind}").iterdir())[-1].rename("gone")
    return dataset
thorax.datasets.dataset.load_dataset = load_dataset
"""


def vanish(trial: Trial, kind: str) -> Answer:
    """Delete a file after the dataset was listed."""
    answer = trial.run_stage(VANISH.format(kind=kind))
    gone = trial.root / "gone"
    if gone.exists():
        folder = trial.root / "data/phantom" / kind
        names = {path.name for path in (trial.bench.project.root / "data/phantom" / kind).iterdir()}
        (missing,) = names - {path.name for path in folder.iterdir()}
        gone.rename(folder / missing)
    return answer


def damaged_checkpoint(trial: Trial, damage: Damage) -> Answer:
    """Kill a training after its second epoch and damage its checkpoint."""
    running = trial.start(trial.stage_command(), {})
    running.wait_for("epoch 2/")
    answer = running.kill()
    (checkpoint,) = (trial.root / "models/checkpoints").glob("*.npz")
    damage(checkpoint)
    return answer


def cut_lock(trial: Trial) -> Answer:
    """Truncate `dvc.lock` and run DVC."""
    lock = trial.root / "dvc.lock"
    lock.write_bytes(lock.read_bytes()[:30])
    return trial.repro()


FAULTS = (
    *damage_faults(),
    Fault("cut-lock", cut_lock, ("prepare",)),
    Fault("vanish-scan", partial(vanish, kind="scans"), ("prepare",)),
    Fault("vanish-mask", partial(vanish, kind="masks"), ("prepare",)),
    Fault("cut-checkpoint", partial(damaged_checkpoint, damage=cut), ("train",)),
    Fault("flip-checkpoint", partial(damaged_checkpoint, damage=flip), ("train",)),
)
