"""The cohort page: one file, no requests, valid links, escaped names, honest counts."""

import base64
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from thorax.evaluation.cohort.groups import group_scans
from thorax.evaluation.cohort.outliers import find_outliers
from thorax.evaluation.cohort.scans import (
    SHARE,
    VOLUME,
    Cohort,
    CohortScan,
    PartMeasurements,
)
from thorax.reporting.cohort_page.distributions import (
    make_strips,
    measure_heading,
    quartile_table,
    region_charts,
)
from thorax.reporting.cohort_page.page import render_cohort, write_page
from thorax.reporting.cohort_page.pictures import Picture, draw_picture
from thorax.reporting.cohort_page.review import outlier_table, remaining_table, review_cards
from thorax.reporting.report.tables import Cell

from ...pages import Parsed

HOSTILE = """x"><script>alert('1')</script><img src=//evil.example/a>&lt;{{ 7*7 }}"""


def scan(case: str, volume_ml: float = 4000, **fields: object) -> CohortScan:
    """Return a finished scan with two sided regions."""
    parts = tuple(
        PartMeasurements(
            region,
            side,
            volume_ml * share,
            mean_hu=-800,
            low_attenuation_percent=1,
            high_attenuation_percent=5,
            share_of_first_percent=10 if region == "infection" else None,
        )
        for region in ("lung", "infection")
        for side, share in (("whole", 1.0), ("right", 0.5), ("left", 0.5))
    )
    given = CohortScan(case, "done", Path("no"), Path("no"), first_region="lung", parts=parts)
    return replace(given, **fields)  # type: ignore[arg-type]


def small(case: str, volume_ml: float = 4000, **fields: object) -> CohortScan:
    """Return a finished scan with one value, whose page has one chart."""
    return scan(case, **{"parts": (PartMeasurements("lung", volume_ml=volume_ml),)} | fields)  # type: ignore[arg-type]


def failed(case: str) -> CohortScan:
    return CohortScan(case, "failed", Path("no"), Path("no"), error="no CT")


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    """Return 12 scans: one outlier, one with a warning, one failed."""
    scans = [scan(f"s{number}", 4000 + 100 * number) for number in range(9)]
    return Cohort(
        (
            *scans,
            scan("large", 9000),
            scan("warned", 4050, quality_warnings=("lung: uncertain",)),
            failed("broken"),
        )
    )


def with_groups(cohort: Cohort) -> Cohort:
    scans = tuple(
        replace(one, patient={"sex": "f" if number % 2 else "m"})
        for number, one in enumerate(cohort.scans)
    )
    return replace(cohort, scans=scans, patient_columns=("sex",))


# Review


def test_failed_scans_come_first_then_warnings_then_outliers(cohort: Cohort) -> None:
    cards = review_cards(cohort, find_outliers(cohort))
    assert [(card.key, card.scan.case, card.reasons[0].kind) for card in cards] == [
        ("scan-1", "broken", "error"),
        ("scan-2", "warned", "warning"),
        ("scan-3", "large", "note-severity"),
    ]
    assert [reason.text for card in cards[:2] for reason in card.reasons] == [
        "no CT",
        "lung: uncertain",
    ]


def test_an_outlying_side_is_not_listed_with_an_outlying_region(cohort: Cohort) -> None:
    """The median of 11 volumes is 4,400 mL, and their median absolute deviation 300 mL."""
    reasons = review_cards(cohort, find_outliers(cohort))[2].reasons
    assert [reason.text for reason in reasons] == [
        "lung: Volume 9,000 mL; median 4,400 mL (+10.3 SD)",
    ]


def test_an_unfinished_scan_is_reviewed() -> None:
    (card,) = review_cards(Cohort((CohortScan("a", "started", Path("a"), Path("b")),)), [])
    assert card.reasons[0].text == "not finished (started)"


def test_a_card_has_volume_density_and_quality() -> None:
    part = PartMeasurements("lung", volume_ml=4210.4, mean_hu=-812.6, certainty=0.97)
    parts = (part, replace(part, side="left"), PartMeasurements("infection", expected_dice=0.8))
    rows = review_cards(Cohort((scan("a", parts=parts, quality_warnings=("x",)),)), [])[0].rows
    assert rows == (
        ("lung", "4,210 mL, −813 HU"),
        ("infection", "–"),
        ("lung, quality", "certainty 0.97"),
        ("infection, quality", "expected Dice 0.80"),
    )


def test_outliers_are_listed_by_scan_and_link_to_their_card(cohort: Cohort) -> None:
    table = outlier_table(find_outliers(cohort), {"large": "#scan-3"})
    (group,) = table.groups
    assert len(group) == 1
    assert group[0][0] == Cell("large", href="#scan-3")
    assert [cell.text for cell in group[0]][3:] == ["Volume", "9,000 mL", "4,400 mL", "+10.3"]


# Distributions


def test_strips_have_the_values_of_their_side(cohort: Cohort) -> None:
    strips = make_strips(cohort, None, VOLUME, "lung", find_outliers(cohort))
    assert [(strip.label, len(strip.values)) for strip in strips] == [
        ("whole", 11),
        ("right", 11),
        ("left", 11),
    ]
    assert strips[1].values["large"] == 4500
    assert strips[0].quartiles == (4150, 4400, 4650)
    assert {strip.outliers for strip in strips} == {frozenset({"large"})}
    assert make_strips(cohort, None, SHARE, "lung") == []


def test_groups_split_the_strips(cohort: Cohort) -> None:
    grouped = with_groups(cohort)
    strips = make_strips(grouped, group_scans(grouped, "sex"), VOLUME, "lung")
    assert [strip.label for strip in strips] == [
        *("whole, f", "whole, m", "right, f", "right, m", "left, f", "left, m")
    ]
    assert len({strip.colour for strip in strips}) == 2
    assert set(strips[0].values) == {"s1", "s3", "s5", "s7", "large"}


def test_the_table_has_medians_and_quartiles(cohort: Cohort) -> None:
    table = quartile_table(cohort, None)
    assert table.columns[:4] == ("Region", "Side", "Scans", "Volume (mL)")
    assert table.columns[-1] == "Share of lung (%)"
    lung, infection = table.groups
    assert lung[0][:4] == (
        Cell("lung"),
        Cell("whole"),
        Cell("11"),
        Cell("4,400", "4,150 to 4,650"),
    )
    assert (lung[0][-1], infection[0][-1]) == (Cell("–"), Cell("10.0", "10.0 to 10.0"))
    grouped = with_groups(cohort)
    by_sex = quartile_table(grouped, group_scans(grouped, "sex"))
    assert by_sex.columns[2] == "sex"
    assert [row[2].text for row in by_sex.groups[0]] == ["f", "m"] * 3


def test_the_first_region_is_named_only_if_it_is_the_same(cohort: Cohort) -> None:
    assert measure_heading(cohort, SHARE) == "Share of lung (%)"
    mixed = Cohort((*cohort.scans, scan("x", first_region="lobe")))
    assert measure_heading(mixed, SHARE) == "Share of the first region (%)"


def test_every_measure_has_a_chart_with_the_numbers_as_text(cohort: Cohort) -> None:
    lung, infection = region_charts(cohort, None, [], {})
    assert (len(lung.charts), len(infection.charts)) == (4, 5)
    assert lung.charts[0].title == "lung: Volume (mL)"
    assert lung.charts[0].text.startswith(
        "whole: median 4,400, quartiles 4,150 to 4,650, 11 scans; right: "
    )


def test_few_scans_are_points_that_link_to_their_card() -> None:
    few = Cohort((small("a"), small("b", 4100), small("large", 9000)))
    ((chart,),) = (region.charts for region in region_charts(few, None, [], {"large": "#scan-3"}))
    svg = Parsed(chart.svg)
    assert svg.all("href").count("#scan-3") == 1
    assert "large" in svg.words


def test_many_scans_are_histograms_of_constant_size() -> None:
    sizes = []
    for count in (100, 1000):
        many = Cohort(tuple(small(f"s{n}", 4000 + 2000 * (n % 97) / 97) for n in range(count)))
        ((chart,),) = (region.charts for region in region_charts(many, None, [], {}))
        sizes.append(len(chart.svg))
    assert sizes[1] < 1.5 * sizes[0]


@pytest.mark.parametrize("count", [1, 2, 100])
def test_equal_values_can_be_drawn(count: int) -> None:
    same = Cohort(tuple(small(f"s{number}") for number in range(count)))
    page = render_cohort(same, "ward", None, without_pictures)
    assert "median 4,000, quartiles 4,000 to 4,000" in Parsed(page).words


# Page


def pictures(*cases: str) -> dict[str, Picture]:
    return {case: Picture(b"abc") for case in cases}


def without_pictures(scans: Sequence[CohortScan]) -> dict[str, Picture]:
    return {}


@pytest.fixture(scope="module")
def page(cohort: Cohort) -> str:
    """Return a page with groups, whose scans to review have a picture except for one."""
    grouped = with_groups(cohort)
    return render_cohort(
        grouped, "ward", group_scans(grouped, "sex"), lambda scans: pictures("broken", "large")
    )


def test_the_counts_add_up(page: str) -> None:
    words = Parsed(page).words
    assert "12 scans, 11 segmented and 3 to review." in words
    assert "12 scans 11 done 1 failed 3 to review" in words
    assert "with statistics 11 of 12 scans" in words
    assert "groups by sex f (6) and m (6)" in words


def test_scans_without_a_picture_are_listed(cohort: Cohort, page: str) -> None:
    words = Parsed(page).words
    assert "2 of 3 scans have a picture" in words
    assert "1 more scan to review, without a picture" in words
    cards = review_cards(cohort, find_outliers(cohort))
    table = remaining_table(cards[1:])
    assert table.caption == "2 more scans to review, without a picture"
    assert [cells[0].text for group in table.groups for cells in group] == ["warned", "large"]


def test_elements_are_closed_and_links_are_valid(page: str) -> None:
    parsed = Parsed(page)
    assert parsed.open == []
    names = parsed.all("id")
    assert [name for name, count in Counter(names).items() if count > 1] == []
    links = [link for link in parsed.all("href") if link != "data:,"]
    assert {"#scan-3", "#review"} <= set(links)
    assert {link for link in links if link[0] != "#" or link[1:] not in names} == set()
    assert set(parsed.all("aria-labelledby")) <= set(names)


def test_the_page_sends_no_requests_and_runs_no_script(page: str) -> None:
    parsed = Parsed(page)
    assert parsed.all("src") == ["data:image/jpeg;base64,YWJj"] * 2
    assert parsed.count("script") == 0
    assert not re.search("https?:", page)


def test_names_and_texts_are_escaped() -> None:
    parts = (PartMeasurements(HOSTILE, volume_ml=1.0),)
    hostile = scan(HOSTILE, parts=parts, quality_warnings=(HOSTILE,), patient={HOSTILE: HOSTILE})
    broken = CohortScan("b", "failed", Path("no"), Path("no"), error=HOSTILE)
    cohort = Cohort((hostile, broken), (HOSTILE,), (HOSTILE,))
    grouping = group_scans(cohort, HOSTILE)
    page = render_cohort(cohort, HOSTILE, grouping, lambda scans: {HOSTILE: Picture(b"", HOSTILE)})
    parsed = Parsed(page)
    assert parsed.open == []
    assert (parsed.count("script"), parsed.count("img")) == (0, 0)
    assert "{{ 7*7 }}" in parsed.words
    assert all(not name.startswith("on") for _, attrs in parsed.tags for name in attrs)


def test_equal_cohorts_give_equal_pages() -> None:
    cohort = Cohort((small("a"), small("b", 5000)))
    first, second = (render_cohort(cohort, "a", None, without_pictures) for _ in range(2))
    assert first == second


def test_a_cohort_of_failed_scans_has_a_page() -> None:
    words = Parsed(
        render_cohort(Cohort((failed("a"),)), "ward", None, lambda scans: pictures("a"))
    ).words
    assert "1 scan, 0 segmented and 1 to review." in words
    assert "No scan is segmented." in words


# Pictures


@pytest.fixture
def drawn(tmp_path: Path) -> CohortScan:
    """Return a scan with files."""
    voxels = np.full((40, 40, 12), -1000, np.int16)
    mask = np.zeros(voxels.shape, np.uint8)
    mask[10:30, 10:30, 3:9] = 1
    for name, content in (("scan.nii.gz", voxels), ("mask.nii.gz", mask)):
        image = nibabel.Nifti1Image(content, np.diag([6.0, 6.0, 10.0, 1.0]))
        nibabel.save(image, tmp_path / name)
    files = {"scan": tmp_path / "scan.nii.gz", "mask": tmp_path / "mask.nii.gz"}
    return small("a", intensity="HU", **files)


def test_a_picture_has_the_outlines_of_the_mask(drawn: CohortScan) -> None:
    picture = draw_picture(drawn)
    assert picture.note == ""
    image = np.asarray(Image.open(BytesIO(picture.jpeg)), float)
    assert image.shape == (192, 388, 3)
    # The first colour is blue, and a scan of air without outlines is grey.
    assert (image[..., 2] - image[..., 0]).max() > 80
    without = draw_picture(replace(drawn, mask=drawn.scan.with_name("gone.nii.gz")))
    assert without.note == "The mask is no longer in its place."
    grey = np.asarray(Image.open(BytesIO(without.jpeg)), float)
    assert np.ptp(grey, axis=2).max() < 10


def test_what_a_picture_lacks_is_noted(drawn: CohortScan, tmp_path: Path) -> None:
    gone = replace(drawn, scan=tmp_path / "gone.nii.gz")
    assert draw_picture(gone) == Picture(note="The scan is no longer in its place.")
    drawn.mask.with_suffix(".dcm").touch()
    dicom = draw_picture(replace(drawn, mask=drawn.mask.with_suffix(".dcm")))
    assert dicom.note == "Outlines of DICOM masks are not drawn."
    assert dicom.jpeg
    assert draw_picture(replace(drawn, status="failed")).note == "There is no mask."
    drawn.scan.write_bytes(b"no image")
    assert draw_picture(drawn) == Picture(note="The scan cannot be read.")


def test_the_number_of_pictures_is_limited(tmp_path: Path, drawn: CohortScan) -> None:
    warned = [replace(drawn, case=f"s{number}", quality_warnings=("x",)) for number in range(5)]
    path = tmp_path / "pages" / "cohort.html"
    write_page(path, Cohort(tuple(warned)), "ward", grouping=None, most=2)
    parsed = Parsed(path.read_text(encoding="utf-8"))
    assert parsed.all("alt") == ["Coronal and axial slice of s0", "Coronal and axial slice of s1"]
    assert "2 of 5 scans have a picture" in parsed.words
    for source in parsed.all("src"):
        assert Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))).size == (388, 192)


def test_a_number_can_be_a_group() -> None:
    cohort = Cohort((small("a", patient={"stage": Decimal(2)}),), ("stage",))
    words = Parsed(
        render_cohort(cohort, "ward", group_scans(cohort, "stage"), without_pictures)
    ).words
    assert "groups by stage 2 (1)" in words
