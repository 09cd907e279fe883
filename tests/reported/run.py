"""Print how inputs of public bug reports are read, by this version and by another one.

    python tests/reported/run.py --before OTHER/src

Each row is one test of this folder, which builds its input itself. The other version may be any
checkout with ``src/thorax``; without it, only this version is tested. The outcome is ``right`` if
the scan is read correctly, or refused with the right reason; else ``wrong``; or ``lacking`` if the
version reads the input, but lacks an interface that the test uses, such as ``Scan.warnings``.
"""

import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import click

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]

OUTCOMES = {"failure": "wrong", "error": "wrong", "skipped": "skipped"}

LACKING = re.compile(
    "has no attribute|cannot import name|No module named|unexpected keyword|No such option"
)


def outcomes(source: Path, *, slow: bool) -> dict[tuple[str, str], str]:
    """Run the tests against a version; return file and test → outcome."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE)]
        command += [f"--junit-xml={report}", "-o", "junit_family=xunit1"]
        command += [] if slow else ["-m", "not slow"]
        environment = {**os.environ, "PYTHONPATH": str(source.resolve())}
        subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, check=False)
        cases = ElementTree.parse(report).iter("testcase")
        return {_name(case): _outcome(case) for case in cases}


def _name(case: ElementTree.Element) -> tuple[str, str]:
    file = Path(case.get("file", "")).stem.removeprefix("test_")
    return file, re.sub(r"^test_", "", case.get("name", "")).replace("_", " ")


def _outcome(case: ElementTree.Element) -> str:
    for part in case:
        if part.tag in OUTCOMES:
            text = (part.get("message") or "") + (part.text or "")[-500:]
            return "lacking" if LACKING.search(text) else OUTCOMES[part.tag]
    return "right"


@click.command()
@click.option("--before", type=click.Path(exists=True, path_type=Path), help="Other src folder.")
@click.option("--slow", is_flag=True, help="Also run the tests that run DVC many times.")
def main(before: Path | None, slow: bool) -> None:
    """Print one row per test, and the number of right results."""
    after = outcomes(PROJECT / "src", slow=slow)
    earlier = outcomes(before, slow=slow) if before else {}
    for (file, name), outcome in sorted(after.items()):
        columns = [file, earlier.get((file, name), "-"), outcome, name]
        click.echo("{:<14} {:<8} {:<8} {}".format(*columns))
    for title, results in {"before": earlier, "after": after}.items():
        counts = ", ".join(f"{count} {name}" for name, count in Counter(results.values()).items())
        click.echo(f"{title}: {counts or 'not run'}")


if __name__ == "__main__":
    main()
