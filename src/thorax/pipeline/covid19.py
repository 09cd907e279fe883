"""Stage `download`: the COVID-19 CT Lung and Infection Segmentation Dataset, 20 cases."""

from pathlib import Path

from thorax.datasets.download import COVID19, fetch
from thorax.pipeline import run

DATASET = Path("data/covid19")


def main() -> None:
    """Download scans and masks to ``data/covid19``.

    Raises:
        InputError: The download fails, or a file has another checksum than the dataset.
    """
    fetch(COVID19, DATASET)


if __name__ == "__main__":
    run(main)
