"""Contribution of each part of the training of the model `lungs`, by short trainings.

    python tests/benchmarks/lungs_parts.py --lctsc FOLDER --real FOLDER --work FOLDER [VARIANT …]

Each variant changes one setting of ``models/lungs/params.yaml`` (see `BASE` and `VARIANTS`), and is
trained once per seed on equally many stacks. Scored are the scans of each source of FOLDER (as for
``lungs.py``), synthetic chests that no training uses, and findings painted into an LCTSC scan:
volumetric Dice on the grid of the scan. Of LCTSC, only the scan that is left out is scored.
Finished runs in the work folder are skipped.
"""

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import yaml
from lungs import FIRST_CHEST
from measuring import say

from thorax.common.parallel import in_processes
from thorax.phantom import PLAIN, WIDE, Variety
from thorax.pipeline.phantom import write_chest

PROJECT = Path(__file__).parents[2] / "models" / "lungs"

CASES = ("S1-101", "S1-102", "S1-104", "S1-201", "S1-202")

PAINTED_CASE = CASES[-1]
"""Scan to paint into if none is left out."""

GROUPS = ("anatomy", "diseases", "objects", "scans", "intensities")

BASE: dict[str, Any] = {
    "synthetic.chests": 120,
    "synthetic.copies": 10,
    "split.test": ["S1-202"],
    "train.epochs": 4,
    "train.ema_momentum": 0.99,
    # Compiling takes longer than it saves in a short training.
    "train.xla": False,
}
"""Settings of all short trainings; a variant replaces some."""

VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    **{
        f"without {group}": {"synthetic.variety": [name for name in GROUPS if name != group]}
        for group in GROUPS
    },
    "plain chests": {"synthetic.variety": []},
    "15 chests": {"synthetic.chests": 15},
    "480 chests": {"synthetic.chests": 480},
    "1500 chests": {"synthetic.chests": 1500},
    "no chests": {"synthetic.chests": 0},
    "no copies": {"synthetic.copies": 0},
    "no real scans": {"synthetic.copies": 0, "dataset": "phantoms", "split.test": []},
    "canvas 192": {"prepare.canvas": 192},
    "unet": {"network.name": "unet"},
    **{f"without {case}": {"split.test": [case]} for case in CASES},
}

HELD_OUT_CHESTS = 40


def put(params: dict[str, Any], settings: dict[str, Any]) -> None:
    """Set values by dotted names."""
    for name, value in settings.items():
        *groups, key = name.split(".")
        section = params
        for group in groups:
            section = section[group]
        if key not in section:
            raise KeyError(f"params.yaml has no `{name}`")
        section[key] = value


class Parts:
    """The work folder: datasets, records, trainings and scores.

    Args:
        work: The folder.
        lctsc: Folder with the scans/ and masks/ of LCTSC.
        real: Folder of sources.
        stacks: Number of stacks of each training.
    """

    def __init__(self, work: Path, lctsc: Path, real: Path, stacks: int) -> None:
        self.work, self.stacks = work.resolve(), stacks
        self.results = self.work / "parts.csv"
        self._make_dataset("lctsc", "{lung: [1, 2]}", lctsc.resolve())
        self._make_sources(real.resolve())

    def run(self, variant: str, seed: int) -> None:
        """Train and score a variant, unless this was done before."""
        done = {(row["variant"], int(row["seed"])) for row in self.rows()}
        if (variant, seed) in done:
            return
        params = yaml.safe_load((PROJECT / "params.yaml").read_text())
        put(params, BASE | VARIANTS[variant] | {"seed": seed})
        folder = self.work / "runs" / f"{variant}_{seed}".replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        records = self._records(params)
        self._project(folder, params, records)
        self._set_fraction(folder, params)
        _stage(folder, "-m", "thorax.pipeline.train")
        _stage(folder, "-m", "thorax.cli", "export", "m.onnx", "--trained", "models/segmenter")
        left_out = params["split"]["test"]
        self._score(folder, "scores.csv")
        painted = left_out[0] if left_out else PAINTED_CASE
        self._score(folder, "painted.csv", "--painted", f"lctsc/scans/{painted}*")
        self._save(variant, seed, folder, left_out)

    def _score(self, folder: Path, table: str, *options: str) -> None:
        script = str(Path(__file__).with_name("lungs.py"))
        real = str(self.work / "sources")
        _stage(folder, script, "m.onnx", "--csv", table, "--real", real, *options)

    def rows(self) -> list[dict[str, str]]:
        """Read the scores of all finished runs."""
        return list(csv.DictReader(self.results.open())) if self.results.is_file() else []

    def _make_dataset(self, name: str, regions: str, source: Path) -> None:
        folder = self.work / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dataset.yaml").write_text(f"regions: {regions}\nintensity: hu\n")
        for kind in ("scans", "masks"):
            if not (folder / kind).exists():
                (folder / kind).symlink_to(source / kind)

    def _make_sources(self, real: Path) -> None:
        sources = self.work / "sources"
        sources.mkdir(exist_ok=True)
        for source in real.iterdir():
            if not (sources / source.name).exists():
                (sources / source.name).symlink_to(source)
        self._make_chests("sources/chests", range(FIRST_CHEST, FIRST_CHEST + HELD_OUT_CHESTS), WIDE)
        self._make_chests("phantoms", range(2), PLAIN)
        self._make_dataset("phantoms", "{lung: [1, 2, 3]}", self.work / "phantoms")

    def _make_chests(self, name: str, numbers: range, variety: Variety) -> None:
        folder = self.work / name
        if len(list(folder.glob("masks/*"))) == len(numbers):
            return
        for kind in ("scans", "masks"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        write = partial(write_chest, seed=0, folder=folder, variety=variety)
        in_processes([partial(write, number) for number in numbers], title=name)

    def _records(self, params: dict[str, Any]) -> Path:
        """Prepare the records, once for all variants that share them."""
        settings = {key: params[key] for key in ("dataset", "prepare", "synthetic")}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        folder = self.work / "records" / digest[:12]
        records = folder / "data" / "records"
        if not (records / "index.json").is_file():
            self._project(folder, params, None)
            _stage(folder, "-m", "thorax.pipeline.prepare")
        return records

    def _project(self, folder: Path, params: dict[str, Any], records: Path | None) -> None:
        for name in ("data", "models", "reports"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        (folder / "dvc.yaml").write_text("stages: {}\n")
        for dataset in ("lctsc", "phantoms"):
            if not (folder / "data" / dataset).exists():
                (folder / "data" / dataset).symlink_to(self.work / "data" / dataset)
        if records:
            (folder / "data" / "records").symlink_to(records)

    def _set_fraction(self, folder: Path, params: dict[str, Any]) -> None:
        """Choose epochs and share of the slices for the number of stacks."""
        index = json.loads((folder / "data" / "records" / "index.json").read_text())
        left_out = set(params["split"]["test"])
        entries = [*index["records"], *index["additional"]]
        planes = sum(entry["planes"] for entry in entries if entry["patient"] not in left_out)
        epochs = params["train"]["epochs"]
        if planes * epochs < self.stacks:
            epochs = round(self.stacks / planes)
        fraction = min(1.0, round(self.stacks / (planes * epochs), 5))
        put(params, {"train.epochs": epochs, "train.fraction": fraction})
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    def _save(self, variant: str, seed: int, folder: Path, left_out: list[str]) -> None:
        new = not self.results.is_file()
        with self.results.open("a", newline="") as stream:
            writer = csv.writer(stream)
            if new:
                writer.writerow(("variant", "seed", "source", "case", "dice"))
            for row in csv.DictReader((folder / "scores.csv").open()):
                case = row["case"].split(".")[0]
                if row["kinds"] != "lctsc" or case in left_out or not left_out:
                    writer.writerow((variant, seed, row["kinds"], case, row["dice"] or 0))
            for row in csv.DictReader((folder / "painted.csv").open()):
                writer.writerow((variant, seed, "painted", row["kinds"], row["dice"] or 0))


def _stage(folder: Path, *arguments: str) -> None:
    """Run Python in a project; its output goes to ``log.txt``."""
    with (folder / "log.txt").open("a") as log:
        command = [sys.executable, *arguments]
        environment = os.environ | {"PYTHONPATH": str(PROJECT.parents[1] / "src")}
        subprocess.run(
            command, cwd=folder, env=environment, check=True, stdout=log, stderr=subprocess.STDOUT
        )


def table(rows: list[dict[str, str]]) -> Iterator[str]:
    """Return one line per variant and seed: mean and lowest Dice of each source."""
    scores: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        scores[row["variant"], int(row["seed"])][row["source"]].append(float(row["dice"]))
    sources = sorted({row["source"] for row in rows})
    yield f"{'variant':<22}{'seed':>5}" + "".join(f"{source:>24}" for source in sources)
    for (variant, seed), by_source in sorted(scores.items()):
        cells = [
            f"{fmean(by_source[source]):.4f} (lowest {min(by_source[source]):.4f})"
            if source in by_source
            else "-"
            for source in sources
        ]
        yield f"{variant:<22}{seed:>5}" + "".join(f"{cell:>24}" for cell in cells)


@click.command()
@click.argument("variants", nargs=-1, type=click.Choice(list(VARIANTS)))
@click.option("--lctsc", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--real", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--stacks", default=10_000, show_default=True, help="Stacks per training.")
@click.option("--seeds", default=2, show_default=True, help="Trainings per variant.")
def main(
    variants: tuple[str, ...], lctsc: Path, real: Path, work: Path, stacks: int, seeds: int
) -> None:
    """Train and score the variants, by default all, and print the table."""
    parts = Parts(work, lctsc, real, stacks)
    for variant in variants or VARIANTS:
        for seed in range(seeds):
            parts.run(variant, seed)
    for line in table(parts.rows()):
        say(line)


if __name__ == "__main__":
    main()
