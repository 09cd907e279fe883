"""Put the planes of a dataset on the canvas and into records."""

from thorax.cases import load_dataset
from thorax.params import load_params
from thorax.preparation import prepare
from thorax.stages import DATA, RECORDS, run, tell


def main() -> None:
    """Write `data/records`, and say what the canvas costs."""
    params = load_params()
    dataset = load_dataset(DATA / params.dataset)
    index = prepare(dataset, RECORDS, canvas=params.prepare.canvas, crop=params.prepare.crop)
    for entry in index.records:
        ceilings = ", ".join(f"{name} {count.dice:.4f}" for name, count in entry.ceiling.items())
        tell(f"{entry.case}: {entry.planes} planes, ceiling of Dice: {ceilings}")


if __name__ == "__main__":
    run(main)
