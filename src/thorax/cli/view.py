"""`thorax view`."""

import math
from collections.abc import Sequence
from pathlib import Path

import click

from thorax.cli.options import ANY_PATH, FILE, REGIONS, SERIES

PAGE_SUFFIXES = (".html", ".htm")


@click.command()
@click.argument("scan", type=ANY_PATH)
@click.argument("masks", nargs=-1, type=ANY_PATH, metavar="[MASK]...")
@REGIONS
@SERIES
@click.option(
    "--intensity",
    default="auto",
    show_default=True,
    metavar="TEXT",
    help="Meaning of the voxel values, as for predict; auto detects it, and shows scans that are "
    "not CT in their own range of values.",
)
@click.option(
    "--output", type=FILE, help="Write the page to this file instead of opening a browser."
)
@click.option("--no-browser", is_flag=True, help="Print the address instead of opening a browser.")
def view(
    scan: Path,
    masks: tuple[Path, ...],
    regions: tuple[str, ...],
    series: str | None,
    intensity: str,
    output: Path | None,
    no_browser: bool,
) -> None:
    """Show a SCAN and the outlines of MASKs in a browser.

    The page is served until Ctrl-C, to this machine only. With --output it is a single file that
    needs no network and no server. Masks must be on the grid of the scan.

    \b
    Example:
      thorax view ct.nii.gz truth.nii.gz lungs.nii.gz --region lung=1,2
    """
    from thorax.common.errors import InputError

    if output and output.suffix.lower() not in PAGE_SUFFIXES:
        raise InputError(f"--output must end in .html, got {output}")
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
    from thorax.imaging.intensity import parse_intensity
    from thorax.imaging.regions import parse_regions
    from thorax.inference.scan_folders import folder_name
    from thorax.io import Scan
    from thorax.reporting.viewer import make_viewer_case, viewer_page

    name = folder_name(scan)
    case = make_viewer_case(
        name,
        Scan(scan, series=series, nan=math.nan, allow_incomplete=True),
        dict(zip(_names(masks), map(Scan, masks), strict=True)),
        parse_regions(regions) if regions else None,
        intensity=parse_intensity(intensity),
    )
    return viewer_page([case], name)


def _names(masks: Sequence[Path]) -> list[str]:
    """Return the file names of masks, or their paths if two have the same file name."""
    names = [mask.name for mask in masks]
    return names if len(set(names)) == len(names) else [str(mask) for mask in masks]


def _serve(document: str, no_browser: bool) -> None:
    import webbrowser

    from thorax.reporting.viewer.server import serve

    def announce(url: str) -> None:
        click.echo(f"{url} (Ctrl-C to stop)", err=True)
        if not no_browser:
            webbrowser.open(url)

    serve(document, ready=announce)
