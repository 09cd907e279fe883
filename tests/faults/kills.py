"""SIGKILL at random times, and two runs at once."""

import random
import time

from .bench import COMMAND, STAGES, Answer, Trial, repro_command, title_of
from .fault import Fault

KILLS = 3
"""Number of kills per stage."""


def kill(trial: Trial, number: int) -> Answer:
    """Kill `dvc repro` and its child processes at a random time of a stage."""
    draw = random.Random(f"{trial.stage} {number}")
    if trial.stage == COMMAND:
        running = trial.start(trial.stage_command(), {})
        time.sleep(draw.uniform(0, 8))
    else:
        running = trial.start(repro_command(), {})
        running.wait_for(f"Running stage '{title_of(trial.stage)}'")
        time.sleep(draw.uniform(0, trial.bench.seconds[trial.stage]))
    return running.kill() if running.process.poll() is None else running.wait()


def killer(number: int) -> Fault:
    return Fault(f"kill-{number + 1}", lambda trial: kill(trial, number))


def two_at_once(trial: Trial) -> Answer:
    """Start `dvc repro` while another one runs a stage."""
    first = trial.start(repro_command(), {})
    first.wait_for(f"Running stage '{title_of(trial.stage)}'")
    time.sleep(1)
    second_log = trial.bench.folder / "second.txt"
    first.log.rename(second_log)  # the first process continues to write to it
    second = trial.run(*repro_command())
    ended = type(first)(first.process, second_log).wait()
    return ended if ended.status != 0 else second


FAULTS = (
    *map(killer, range(KILLS)),
    Fault("two-at-once", two_at_once, STAGES),
)
