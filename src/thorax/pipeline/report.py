"""Stage `report`: write the results of the run as an HTML page and as Markdown."""

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from thorax.common.files import write_text
from thorax.common.params import load_params
from thorax.datasets.dataset import SPEC as DATASET
from thorax.datasets.dataset import Dataset, load_dataset, load_spec
from thorax.io import Scan
from thorax.pipeline import log, run, with_rerun_hint
from thorax.pipeline.paths import DATA, MODEL_FILE, PREDICTIONS, REPORTS, predicted_mask
from thorax.reporting.report.estimates import worst_first
from thorax.reporting.report.markdown import render_markdown
from thorax.reporting.report.page import MOST_VIEWED, render_report
from thorax.reporting.report.results import ResultPaths, load_results, xml_safe
from thorax.reporting.viewer import ViewerCase, make_viewer_case, viewer_fragment

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
        results = load_results(
            ResultPaths(REPORTS, MODEL_FILE, LOCK),
            params=params,
            dataset=load_spec(folder / DATASET),
            cases=dataset.cases,
        )
    with with_rerun_hint("predict", PREDICTIONS):
        viewed = make_viewer_cases(dataset, worst_first(results)[:MOST_VIEWED])
    viewer = viewer_fragment(viewed) if viewed else None
    write_text(PAGE, render_report(results, viewer, viewed=[case.name for case in viewed]))
    write_text(TEXT, render_markdown(results))
    log(f"{PAGE} ({PAGE.stat().st_size / MIB:.1f} MiB)")


def make_viewer_cases(dataset: Dataset, names: Sequence[str]) -> list[ViewerCase]:
    """Load the named cases for the viewer, in order; skip those without a predicted mask."""
    cases = {xml_safe(case.name): case for case in dataset.cases}
    masks = {name: predicted_mask(case.name) for name, case in cases.items()}
    viewable = [name for name in names if name in masks and masks[name].is_file()]
    return [
        make_viewer_case(
            name,
            Scan(cases[name].scan),
            {"truth": Scan(cases[name].mask), "predicted": Scan(masks[name])},
            dataset.regions,
            intensity=cases[name].intensity,
        )
        for name in tqdm(viewable, desc="report", unit="case")
    ]


if __name__ == "__main__":
    run(main)
