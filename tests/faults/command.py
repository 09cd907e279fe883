"""Command line of the fault tests: run chosen faults and print a table of outcomes."""

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
    """Run the chosen faults; return 1 if any outcome is a defect."""
    options = parse()
    with tempfile.TemporaryDirectory(prefix="thorax-faults-") as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        bench = make_bench(folder)
        table: Table = {}
        for name in options.faults:
            fault = FAULTS[name]
            for stage in [stage for stage in fault.stages if stage in options.stages]:
                outcome = attempt(fault, bench.trial(stage))
                table.setdefault(name, {})[stage] = outcome
                log(f"{name:<18} {stage:<9} {outcome.word:<8} {outcome.detail}")
    print(as_markdown(table))  # noqa: T201
    return int(any(not outcome.good for row in table.values() for outcome in row.values()))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Run the pipeline under faults.")
    default = [name for name, fault in FAULTS.items() if fault.by_default]
    parser.add_argument("--faults", type=names_of(FAULTS), default=default, metavar="A,B")
    parser.add_argument("--stages", type=names_of(ALL), default=ALL, metavar="A,B")
    parser.add_argument(
        "--folder", type=Path, help="keep the reference project here, or use the one here"
    )
    return parser.parse_args()


def names_of(names: Iterable[str]):
    """Return a parser of comma-separated names; ``kill`` selects ``kill-1`` and so on."""

    def parse_names(text: str) -> Sequence[str]:
        chosen = [name for name in names for part in text.split(",") if matches(name, part)]
        if not chosen:
            raise argparse.ArgumentTypeError(f"must be of {', '.join(names)}, got {text}")
        return chosen

    return parse_names


def matches(name: str, chosen: str) -> bool:
    return name == chosen or name.startswith(f"{chosen}-")


def as_markdown(table: Table) -> str:
    """Format outcomes as a table of faults by stages, with details of defects below."""
    stages = [stage for stage in ALL if any(stage in row for row in table.values())]
    lines = [f"| fault | {' | '.join(stages)} |", "|---" * (len(stages) + 1) + "|"]
    for name, row in table.items():
        cells = [row[stage].word if stage in row else "" for stage in stages]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name, row in table.items():
        lines += [
            f"- {name}, {stage}: {outcome.detail}"
            for stage, outcome in row.items()
            if not outcome.good
        ]
    return "\n".join(lines)


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201
