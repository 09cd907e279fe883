"""Full disks, disks that fill up, read-only disks, and a full temporary folder."""

from .bench import STAGES, Answer, outputs
from .fault import ALL, Fault
from .islands import Island, island, size_of

TIGHT = 8192


def full(trial: Island) -> Answer:
    """Leave no space for the first file."""
    trial.leave(TIGHT)
    answer = trial.run_stage()
    trial.repair()
    return answer


def filling(trial: Island) -> Answer:
    """Leave space for half of the outputs of the stage, and run it with DVC."""
    root = trial.bench.project.root
    written = outputs(root, trial.stage) if trial.stage in STAGES else [root / "masks"]
    trial.leave(size_of(written) // 2 + TIGHT)
    answer = trial.repro()
    trial.repair()
    return answer


def read_only(trial: Island) -> Answer:
    trial.make_read_only()
    answer = trial.run_stage()
    trial.repair()
    return answer


def full_temporary_folder(trial: Island) -> Answer:
    """Use a temporary folder without space on another disk."""
    trial.sh(f"mkdir '{trial.disk}/tmp' && mount -t tmpfs -o size=8k tmpfs '{trial.disk}/tmp'")
    return trial.run_stage(env={"TMPDIR": f"{trial.disk}/tmp"})


FAULTS = (
    Fault("full-disk", full, ALL, island),
    Fault("filling-disk", filling, ALL, island),
    Fault("read-only", read_only, ALL, island),
    Fault("full-tmp", full_temporary_folder, ALL, island),
)
