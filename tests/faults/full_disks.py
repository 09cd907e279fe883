"""Disks that are full, or become full, or cannot be written; and a temporary folder like that."""

from .bench import STAGES, Answer, outputs
from .fault import ALL, Fault
from .islands import Island, island, size_of

TIGHT = 8192


def full(trial: Island) -> Answer:
    """Leave no room for the first file."""
    trial.leave(TIGHT)
    answer = trial.run_stage()
    trial.mend()
    return answer


def filling(trial: Island) -> Answer:
    """Leave room for half of what the stage makes, and let dvc run it."""
    root = trial.bench.project.root
    made = outputs(root, trial.stage) if trial.stage in STAGES else [root / "masks"]
    trial.leave(size_of(made) // 2 + TIGHT)
    answer = trial.repro()
    trial.mend()
    return answer


def read_only(trial: Island) -> Answer:
    trial.make_read_only()
    answer = trial.run_stage()
    trial.mend()
    return answer


def full_temporary_folder(trial: Island) -> Answer:
    """Give a temporary folder with hardly any room, while the project has its own."""
    trial.sh(f"mkdir '{trial.disk}/tmp' && mount -t tmpfs -o size=8k tmpfs '{trial.disk}/tmp'")
    return trial.run_stage(env={"TMPDIR": f"{trial.disk}/tmp"})


FAULTS = (
    Fault("full-disk", full, ALL, island),
    Fault("filling-disk", filling, ALL, island),
    Fault("read-only", read_only, ALL, island),
    Fault("full-tmp", full_temporary_folder, ALL, island),
)
