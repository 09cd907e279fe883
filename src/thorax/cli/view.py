"""Looking at scans and masks."""

from collections.abc import Sequence
from pathlib import Path

import click

from thorax.cli.options import ANY, FILE, REGIONS, SERIES

SUFFIXES = (".html", ".htm")


@click.command()
@click.argument("scan", type=ANY)
@click.argument("masks", nargs=-1, type=ANY, metavar="[MASK]...")
@REGIONS
@SERIES
@click.option(
    "--intensity",
    default="auto",
    show_default=True,
    metavar="TEXT",
    help="What voxel values mean, as for predict; auto finds out, and shows what is no CT in the "
    "range of its own values.",
)
@click.option("--output", type=FILE, help="Write the page to this file, and open nothing.")
@click.option("--no-browser", is_flag=True, help="Print the address, and open no browser.")
def view(
    scan: Path,
    masks: tuple[Path, ...],
    regions: tuple[str, ...],
    series: str | None,
    intensity: str,
    output: Path | None,
    no_browser: bool,
) -> None:
    """Look at a SCAN and the outlines of MASKs in a browser.

    The page comes from memory, from an address that only this machine can reach, until Ctrl-C. With
    --output it is one file that needs no network and no server. Masks lie on the grid of the scan.

    \b
    Example:
      thorax view ct.nii.gz truth.nii.gz lungs.nii.gz --region lung=1,2
    """
    from thorax.common.errors import InputError

    if output and output.suffix.lower() not in SUFFIXES:
        raise InputError(f"a page must have a name that ends in .html, got {output}")
    document = _document(scan, masks, regions, series=series, intensity=intensity)
    if output:
        from thorax.common.files import write_text

        write_text(output, document)
    else:
        _serve(document, no_browser)


def _document(
    scan: Path,
    masks: Sequence[Path],
    regions: Sequence[str],
    *,
    series: str | None,
    intensity: str,
) -> str:
    from thorax.imaging.intensity import LOWEST_HU, parse_intensity
    from thorax.imaging.regions import parse_regions
    from thorax.io import Scan
    from thorax.reporting.viewer import make_viewer_case, page

    exhibit = make_viewer_case(
        scan.name,
        Scan(scan, series=series, nan=LOWEST_HU),
        dict(zip(_names(masks), map(Scan, masks), strict=True)),
        parse_regions(regions) if regions else None,
        domain=parse_intensity(intensity),
    )
    return page([exhibit], scan.name)


def _names(masks: Sequence[Path]) -> list[str]:
    """What masks are called: by their files, or where these are called alike by their paths."""
    short = [mask.name for mask in masks]
    return short if len(set(short)) == len(short) else [str(mask) for mask in masks]


def _serve(document: str, no_browser: bool) -> None:
    import webbrowser

    from thorax.reporting.viewer.server import serve

    def ready(url: str) -> None:
        click.echo(f"{url} (Ctrl-C ends it)", err=True)
        if not no_browser:
            webbrowser.open(url)

    serve(document, ready=ready)
