"""Faults, and the judgement of their outcomes."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from .bench import COMMAND, STAGES, Answer, Trial

ALL = (*STAGES, COMMAND)
LINE = re.compile(r"^(?:thorax|Error|ERROR): (.+)$", re.MULTILINE)
CUT_LOCK = re.compile(r"^(?:ERROR: )?(.*dvc\.lock' validation failed.*)$", re.MULTILINE)
"""Message of DVC if it was killed while it wrote its lock file."""
GOOD = ("right", "line", "–")


class SkippedError(Exception):
    """This machine cannot produce the fault."""


@dataclass(frozen=True)
class Fault:
    """A fault of the environment or of the inputs.

    Args:
        name: Name on the command line.
        strike: Runs the stage of a trial under the fault, then removes the fault.
        stages: Stages to run under the fault.
        setting: Environment of the trial, such as a small disk.
        by_default: Run the fault without naming it.
        lasting: The fault cannot be removed; then a one-line error is the expected end.
    """

    name: str
    strike: Callable[[Any], Answer]
    stages: tuple[str, ...] = ALL
    setting: Callable[[Any], AbstractContextManager[Any]] = nullcontext
    by_default: bool = True
    lasting: bool = False


@dataclass(frozen=True)
class Outcome:
    """The outcome of a fault.

    Args:
        word: One of `GOOD`, or ``DEFECT``.
        detail: Observation or message.
    """

    word: str
    detail: str = ""

    @property
    def good(self) -> bool:
        return self.word in GOOD


def defect(detail: str) -> Outcome:
    return Outcome("DEFECT", detail)


def attempt(fault: Fault, trial: Trial) -> Outcome:
    """Run a stage under a fault, then without it, and compare all files with the reference."""
    try:
        with fault.setting(trial) as prepared:
            first = judge(fault.strike(prepared), prepared)
            ended = first.word == "DEFECT" or (fault.lasting and first.word == "line")
            return first if ended else rerun(first, prepared)
    except SkippedError as error:
        return Outcome("–", f"skipped: {error}")


def rerun(first: Outcome, trial: Trial) -> Outcome:
    """Run again without the fault."""
    again = trial.repro()
    if again.status != 0 and (line := CUT_LOCK.search(again.output)):
        first = Outcome("line", f"{line[1]}: `git checkout dvc.lock`, then right")
        trial.run("git", "checkout", "--", "dvc.lock")
        again = trial.repro()
    if again.status != 0:
        return defect(f"does not run again: {last_lines(again.output)}")
    if different := trial.differences():
        return defect(f"afterwards other files: {', '.join(different[:5])}")
    return first


def judge(answer: Answer, trial: Trial) -> Outcome:
    """Judge the run under the fault."""
    if answer.status is None:
        return defect(f"hung: {last_lines(answer.output)}")
    if answer.status == 0:
        different = trial.differences()
        return (
            defect(f"wrong: {', '.join(different[:5])}")
            if different
            else Outcome("right", single_line(answer))
        )
    if partial := trial.differences(finished=False):
        return defect(f"partial or wrong files: {', '.join(partial[:5])}")
    if answer.status < 0:
        return Outcome("right", "killed, then right")
    if "Traceback (most recent call last)" in answer.output:
        return defect(f"traceback: {last_lines(answer.output)}")
    lines = LINE.findall(answer.output) or CUT_LOCK.findall(answer.output)
    return Outcome("line", lines[0]) if lines else defect(f"no line: {last_lines(answer.output)}")


def single_line(answer: Answer) -> str:
    """Return the output of a measurement; empty for the log of a stage."""
    return answer.output if "\n" not in answer.output.strip() else ""


def last_lines(output: str) -> str:
    return " / ".join(line.strip() for line in output.strip().splitlines()[-4:])
