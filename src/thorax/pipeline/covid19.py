"""Fetch the COVID-19 CT Lung and Infection Segmentation Dataset: scans and masks of 20 cases."""

from pathlib import Path

from thorax.datasets.download import COVID19, fetch
from thorax.pipeline import run

DATASET = Path("data/covid19")


def main() -> None:
    """Fetch the dataset into ``data/covid19`` of the working folder.

    Raises:
        InputError: It cannot be fetched, or what came is not the dataset.
    """
    fetch(COVID19, DATASET)


if __name__ == "__main__":
    run(main)
