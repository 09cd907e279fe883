"""The command line of the faults: what is tried, and the table of what came of it."""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from . import crowds, damage, full_disks, kills, surroundings
from .bench import make_bench
from .fault import ALL, Fault, Outcome, attempt

FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for family in (kills, full_disks, damage, surroundings, crowds)
    for fault in family.FAULTS
}
Table = dict[str, dict[str, Outcome]]


def main() -> int:
    """Try what was asked for; 1 if anything is a defect."""
    asked = parse()
    with tempfile.TemporaryDirectory(prefix="thorax-faults-") as temporary:
        folder = (asked.folder or Path(temporary)).resolve()
        bench = make_bench(folder)
        table: Table = {}
        for name in asked.faults:
            fault = FAULTS[name]
            for stage in [stage for stage in fault.stages if stage in asked.stages]:
                outcome = attempt(fault, bench.trial(stage))
                table.setdefault(name, {})[stage] = outcome
                say(f"{name:<18} {stage:<9} {outcome.word:<8} {outcome.seen}")
    print(as_markdown(table))  # noqa: T201
    return int(any(not outcome.good for row in table.values() for outcome in row.values()))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Try faults on the pipeline.")
    default = [name for name, fault in FAULTS.items() if fault.by_default]
    parser.add_argument("--faults", type=names_of(FAULTS), default=default, metavar="A,B")
    parser.add_argument("--stages", type=names_of(ALL), default=ALL, metavar="A,B")
    parser.add_argument(
        "--folder", type=Path, help="keep the reference project here, and use the one that is there"
    )
    return parser.parse_args()


def names_of(known: Iterable[str]):
    """Return what parses names, each known, parted by commas; ``kill`` stands for ``kill-1``."""

    def parse_names(text: str) -> Sequence[str]:
        found = [name for name in known for asked in text.split(",") if matches(name, asked)]
        if not found:
            raise argparse.ArgumentTypeError(f"must be of {', '.join(known)}, got {text}")
        return found

    return parse_names


def matches(name: str, asked: str) -> bool:
    return name == asked or name.startswith(f"{asked}-")


def as_markdown(table: Table) -> str:
    """Write fault by stage; what was seen of defects comes below."""
    stages = [stage for stage in ALL if any(stage in row for row in table.values())]
    lines = [f"| fault | {' | '.join(stages)} |", "|---" * (len(stages) + 1) + "|"]
    for name, row in table.items():
        cells = [row[stage].word if stage in row else "" for stage in stages]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name, row in table.items():
        lines += [
            f"- {name}, {stage}: {outcome.seen}"
            for stage, outcome in row.items()
            if not outcome.good
        ]
    return "\n".join(lines)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201
