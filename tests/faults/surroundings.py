"""Unusual environments: no home, other locales, unusual paths, links, a wrong clock."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from .bench import COMMAND, Answer, Trial
from .fault import Fault

DVC = {f"DVC_{name}_DIR": None for name in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE")}
NO_UTF8 = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
DAY_S = 86400


def with_environment(trial: Trial, env: Mapping[str, str | None]) -> Answer:
    return trial.repro(env=env)


@contextmanager
def odd_path(trial: Trial) -> Iterator[Trial]:
    """Move the project to a path with spaces and letters beyond ASCII."""
    root = trial.project.root.rename(trial.project.root.with_name("Grüße an's  影像 (2)"))
    yield replace(trial, project=replace(trial.project, root=root))


@contextmanager
def linked(trial: Trial) -> Iterator[Trial]:
    """Replace `data` by a link to another folder."""
    root = trial.project.root
    target = root.with_name("elsewhere")
    (root / "data").rename(target)
    (root / "data").symlink_to(target)
    yield trial


def linked_scans(trial: Trial) -> Answer:
    """Replace each scan by a link to a file outside of the project."""
    store = trial.root.with_name("store")
    store.mkdir()
    for scan in sorted((trial.root / "data/phantom/scans").iterdir()):
        scan.rename(store / scan.name)
        scan.symlink_to(store / scan.name)
    return trial.repro()


def clock_set_back(trial: Trial) -> Answer:
    """Set the modification time of all files to tomorrow."""
    tomorrow = time.time() + DAY_S
    for path in trial.root.rglob("*"):
        os.utime(path, (tomorrow, tomorrow), follow_symlinks=False)
    return trial.repro()


BACK = """
import time
original, start = time.time, time.monotonic()
time.time = lambda: original() - (86400 if time.monotonic() - start > 3 else 0)
"""


def clock_jumps(trial: Trial) -> Answer:
    """Set the clock back by a day while the stage runs."""
    return trial.run_stage(BACK)


FAULTS = (
    Fault("no-home", partial(with_environment, env={"HOME": None, **DVC})),
    # Without DVC, which rejects such a home.
    Fault("odd-home", partial(Trial.run_stage, env={"HOME": "/dev/null/home"})),
    Fault("no-utf8", partial(with_environment, env=NO_UTF8)),
    Fault("odd-path", Trial.repro, setting=odd_path),
    Fault("data-is-a-link", Trial.repro, setting=linked, lasting=True),
    Fault("scans-are-links", linked_scans, ("prepare", "predict", "evaluate", COMMAND)),
    Fault("files-of-tomorrow", clock_set_back),
    Fault("clock-goes-back", clock_jumps),
)
