"""SIGKILL at random moments, and two programs at once."""

import random
import time

from .bench import COMMAND, STAGES, Answer, Trial, repro_command, title_of
from .fault import Fault

KILLS = 3
"""Moments a stage."""


def kill(trial: Trial, moment: int) -> Answer:
    """Kill `dvc repro` and all below it at some moment of a stage."""
    draw = random.Random(f"{trial.stage} {moment}")
    if trial.stage == COMMAND:
        running = trial.begin(trial.stage_command(), {})
        time.sleep(draw.uniform(0, 8))
    else:
        running = trial.begin(repro_command(), {})
        running.wait_for(f"Running stage '{title_of(trial.stage)}'")
        time.sleep(draw.uniform(0, trial.bench.seconds[trial.stage]))
    return running.kill() if running.process.poll() is None else running.wait()


def killer(moment: int) -> Fault:
    return Fault(f"kill-{moment + 1}", lambda trial: kill(trial, moment))


def two_at_once(trial: Trial) -> Answer:
    """Start `dvc repro` while another one is in the middle of a stage."""
    first = trial.begin(repro_command(), {})
    first.wait_for(f"Running stage '{title_of(trial.stage)}'")
    time.sleep(1)
    second_log = trial.bench.folder / "second.txt"
    first.log.rename(second_log)  # the first one goes on writing to it
    second = trial.run(*repro_command())
    ended = type(first)(first.process, second_log).wait()
    return ended if ended.status != 0 else second


FAULTS = (
    *map(killer, range(KILLS)),
    Fault("two-at-once", two_at_once, STAGES),
)
