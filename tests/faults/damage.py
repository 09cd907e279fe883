"""Files that are cut short, have a flipped bit, or go while they are read.

Each stage is run without dvc, which would notice and make the file again; dvc runs it afterwards.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .bench import COMMAND, Answer, Trial
from .fault import Fault

Harm = Callable[[Path], None]
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
"""What each stage reads: of a folder, every file that lies in it."""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def harmed(trial: Trial, read: str, harm: Harm) -> Answer:
    """Harm what a stage reads, run it, and put back what was there."""
    top = trial.root / read
    paths = [path for path in top.iterdir() if path.is_file()] if top.is_dir() else [top]
    kept = {path: (path.read_bytes(), path.stat()) for path in paths}
    for path in paths:
        harm(path)
    answer = trial.run_stage()
    for path, (content, status) in kept.items():
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return answer


def every_harm() -> list[Fault]:
    """One fault a file that is read and a way to harm it."""
    harms: dict[str, Harm] = {"cut": cut, "empty": empty, "flip": flip}
    stages: dict[str, list[str]] = {}
    for stage, names in READ.items():
        for name in names:
            stages.setdefault(name, []).append(stage)
    return [
        Fault(
            f"{kind}-{Path(name).name}",
            partial(harmed, read=name, harm=harm),
            tuple(where),
            by_default=kind != "empty",
        )
        for kind, harm in harms.items()
        for name, where in stages.items()
        if kind != "flip" or name.endswith(CHECKED)
    ]


CHECKED = ("scans", "masks", "records", ".keras", ".onnx", "predictions", "probabilities")
"""What carries a checksum; a text with a flipped bit may just be another text."""

VANISH = """
from pathlib import Path
import thorax.cases
before = thorax.datasets.dataset.load_dataset
def load_dataset(folder):
    found = before(folder)
    sorted(Path("data/phantom/{kind}").iterdir())[-1].rename("gone")
    return found
thorax.datasets.dataset.load_dataset = load_dataset
"""


def vanish(trial: Trial, kind: str) -> Answer:
    """Take a file away once it was listed."""
    answer = trial.run_stage(VANISH.format(kind=kind))
    gone = trial.root / "gone"
    if gone.exists():
        folder = trial.root / "data/phantom" / kind
        names = {path.name for path in (trial.bench.project.root / "data/phantom" / kind).iterdir()}
        (missing,) = names - {path.name for path in folder.iterdir()}
        gone.rename(folder / missing)
    return answer


def damaged_checkpoint(trial: Trial, harm: Harm) -> Answer:
    """Kill a training after its second epoch and harm what it kept."""
    running = trial.begin(trial.stage_command(), {})
    running.wait_for("epoch 2/")
    answer = running.kill()
    (kept,) = (trial.root / "models/checkpoints").glob("*.npz")
    harm(kept)
    return answer


def cut_lock(trial: Trial) -> Answer:
    """Cut DVC's lock file short, and run."""
    lock = trial.root / "dvc.lock"
    lock.write_bytes(lock.read_bytes()[:30])
    return trial.repro()


FAULTS = (
    *every_harm(),
    Fault("cut-lock", cut_lock, ("prepare",)),
    Fault("vanish-scan", partial(vanish, kind="scans"), ("prepare",)),
    Fault("vanish-mask", partial(vanish, kind="masks"), ("prepare",)),
    Fault("cut-checkpoint", partial(damaged_checkpoint, harm=cut), ("train",)),
    Fault("flip-checkpoint", partial(damaged_checkpoint, harm=flip), ("train",)),
)
