"""Write what the run found as one page, and as text for a paper."""

from pathlib import Path

from thorax.cases import SPEC as DATASET
from thorax.cases import load_dataset, load_spec
from thorax.params import load_params
from thorax.report.page import render
from thorax.report.results import Places, gather
from thorax.report.summary import summarise
from thorax.stages import DATA, MODEL_FILE, REPORTS, run, tell
from thorax.writing import write_text

PAGE, TEXT = REPORTS / "report.html", REPORTS / "report.md"
LOCK = Path("dvc.lock")
MIB = 2**20


def main() -> None:
    """Write `reports/report.html` and `reports/report.md`."""
    params = load_params()
    folder = DATA / params.dataset
    dataset = load_dataset(folder)
    results = gather(
        Places(REPORTS, MODEL_FILE, LOCK),
        params=params,
        dataset=load_spec(folder / DATASET),
        patients={case.name: case.patient for case in dataset.cases},
    )
    page = render(results)
    write_text(PAGE, page)
    write_text(TEXT, summarise(results))
    tell(f"{PAGE} ({PAGE.stat().st_size / MIB:.1f} MiB)")


if __name__ == "__main__":
    run(main)
