"""`thorax data download`: public datasets."""

from pathlib import Path

import click

from thorax.cli.options import echo
from thorax.common.errors import require_packages


@click.command()
@click.argument("name")
def download(name: str) -> None:
    """Download the public dataset NAME to data/NAME.

    The archives are checked against their published digests and unpacked; scans and masks are
    tracked with DVC. The only NAME is covid19: 20 scans with masks of the lungs and infections,
    1.1 GB.

    \b
    Example:
      thorax data download covid19
    """
    require_packages("`thorax data download`", "dvc", "pooch")
    from thorax.datasets.dataset import load_dataset
    from thorax.datasets.download import download_dataset

    dataset = load_dataset(download_dataset(name, Path()))
    echo(f"data/{name}: {len(dataset.cases)} cases. Next: git add data/{name}; ", nl=False)
    echo(f"dvc exp run -S dataset={name}")
