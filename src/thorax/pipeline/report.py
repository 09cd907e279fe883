"""Write what the run found as one page, and as text for a paper."""

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from thorax.common.files import write_text
from thorax.common.params import load_params
from thorax.datasets.dataset import SPEC as DATASET
from thorax.datasets.dataset import Case, Dataset, load_dataset, load_spec
from thorax.io import Scan
from thorax.pipeline import log, run, with_rerun_hint
from thorax.pipeline.paths import DATA, MODEL_FILE, PREDICTIONS, REPORTS
from thorax.reporting.report.estimates import worst_first
from thorax.reporting.report.markdown import summarise
from thorax.reporting.report.page import MOST_VIEWED, render
from thorax.reporting.report.results import ResultPaths, gather, plain
from thorax.reporting.viewer import ViewerCase, fragment, make_viewer_case

PAGE, TEXT = REPORTS / "report.html", REPORTS / "report.md"

TRAINED = (REPORTS / "history.csv", REPORTS / "training.json")

LOCK = Path("dvc.lock")

MIB = 2**20


def main() -> None:
    """Write `reports/report.html` and `reports/report.md`."""
    params = load_params()
    folder = DATA / params.dataset
    dataset = load_dataset(folder)
    with (
        with_rerun_hint("evaluate", REPORTS),
        with_rerun_hint("train", *TRAINED),
        with_rerun_hint("export", MODEL_FILE),
    ):
        results = gather(
            ResultPaths(REPORTS, MODEL_FILE, LOCK),
            params=params,
            dataset=load_spec(folder / DATASET),
            cases=dataset.cases,
        )
    with with_rerun_hint("predict", PREDICTIONS):
        exhibits = show(dataset, worst_first(results)[:MOST_VIEWED])
    viewer = fragment(exhibits) if exhibits else None
    write_text(PAGE, render(results, viewer, viewed=[exhibit.name for exhibit in exhibits]))
    write_text(TEXT, summarise(results))
    log(f"{PAGE} ({PAGE.stat().st_size / MIB:.1f} MiB)")


def show(dataset: Dataset, names: Sequence[str]) -> list[ViewerCase]:
    """What the viewer holds: the cases of these names whose prediction is there, in this order."""
    cases = {plain(case.name): case for case in dataset.cases}
    there = [name for name in names if name in cases and predicted(cases[name]).is_file()]
    return [
        make_viewer_case(
            name,
            Scan(cases[name].scan),
            {"truth": Scan(cases[name].mask), "predicted": Scan(predicted(cases[name]))},
            dataset.regions,
            domain=cases[name].intensity,
        )
        for name in tqdm(there, desc="report", unit="case")
    ]


def predicted(case: Case) -> Path:
    """Where the predicted mask of a case lies."""
    return PREDICTIONS / f"{case.name}.nii.gz"


if __name__ == "__main__":
    run(main)
