"""What a fault is, and how the outcome of one is judged."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from .bench import COMMAND, STAGES, Answer, Trial

ALL = (*STAGES, COMMAND)
LINE = re.compile(r"^(?:thorax|Error|ERROR): (.+)$", re.MULTILINE)
CUT_LOCK = re.compile(r"^(?:ERROR: )?(.*dvc\.lock' validation failed.*)$", re.MULTILINE)
"""What DVC says of its lock file, which it writes in place, when it was killed meanwhile."""
GOOD = ("right", "line", "–")


class SkippedError(Exception):
    """This machine cannot make the fault happen."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Args:
        name: As on the command line.
        strike: Runs the stage of a trial under the fault, and takes the fault away again.
        stages: Where it is tried.
        setting: Where trials are held, such as on a small disk.
        by_default: Whether it is tried unless it is named.
        lasting: Whether it stays: then a refusal in one line is how it ends.
    """

    name: str
    strike: Callable[[Any], Answer]
    stages: tuple[str, ...] = ALL
    setting: Callable[[Any], AbstractContextManager[Any]] = nullcontext
    by_default: bool = True
    lasting: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a fault ended.

    Args:
        word: One of `GOOD`, or ``DEFECT``.
        seen: What was seen.
    """

    word: str
    seen: str = ""

    @property
    def good(self) -> bool:
        return self.word in GOOD


def defect(seen: str) -> Outcome:
    return Outcome("DEFECT", seen)


def attempt(fault: Fault, trial: Trial) -> Outcome:
    """Let a fault happen, take it away, run again, and compare all with the reference."""
    try:
        with fault.setting(trial) as there:
            first = judge(fault.strike(there), there)
            ended = first.word == "DEFECT" or (fault.lasting and first.word == "line")
            return first if ended else endure(first, there)
    except SkippedError as error:
        return Outcome("–", f"skipped: {error}")


def endure(first: Outcome, trial: Trial) -> Outcome:
    """Run again once the fault is gone."""
    again = trial.repro()
    if again.status != 0 and (line := CUT_LOCK.search(again.said)):
        first = Outcome("line", f"{line[1]}: `git checkout dvc.lock`, then right")
        trial.run("git", "checkout", "--", "dvc.lock")
        again = trial.repro()
    if again.status != 0:
        return defect(f"does not run again: {last_lines(again.said)}")
    if different := trial.differences():
        return defect(f"afterwards other files: {', '.join(different[:5])}")
    return first


def judge(answer: Answer, trial: Trial) -> Outcome:
    """Judge what was seen while the fault was there."""
    if answer.status is None:
        return defect(f"hung: {last_lines(answer.said)}")
    if answer.status == 0:
        different = trial.differences()
        return (
            defect(f"wrong: {', '.join(different[:5])}")
            if different
            else Outcome("right", told(answer))
        )
    if partial := trial.differences(finished=False):
        return defect(f"partial or wrong files: {', '.join(partial[:5])}")
    if answer.status < 0:
        return Outcome("right", "killed, then right")
    if "Traceback (most recent call last)" in answer.said:
        return defect(f"traceback: {last_lines(answer.said)}")
    lines = LINE.findall(answer.said) or CUT_LOCK.findall(answer.said)
    return Outcome("line", lines[0]) if lines else defect(f"no line: {last_lines(answer.said)}")


def told(answer: Answer) -> str:
    """What a measurement told; nothing of a stage that ran as always."""
    return answer.said if "\n" not in answer.said.strip() else ""


def last_lines(said: str) -> str:
    return " / ".join(line.strip() for line in said.strip().splitlines()[-4:])
