"""The HTML report: one file, no requests, valid links, escaped names."""

import base64
import hashlib
import re
from collections import Counter
from dataclasses import replace

import pytest

from thorax.datasets.dataset import DatasetSpec
from thorax.evaluation.lesion_rows import LesionRow
from thorax.evaluation.lesions import Lesion
from thorax.reporting.report.page import render_report
from thorax.reporting.report.results import Results
from thorax.reporting.viewer.page import Fragment

from ...pages import Parsed
from .runs import model_spec, params_of, row

HOSTILE = """x"><script>alert('1')</script><img src=//evil.example/a onerror=alert(1)>&lt;$x^2$"""
VIEWER = Fragment('<section class="viewer" id="viewer"></section>', ".viewer { top: 0 }", "let a;")


@pytest.fixture(scope="module")
def hostile() -> Results:
    """Return results with an attack in every name and text."""
    name = HOSTILE
    spec = model_spec(
        split={"train": [name], "validation": [name], "test": [name], "note": name},
        loss=name,
        versions={name: name},
        machine={"instructions": name},
        network={name: name},
        precision=name,
    )
    metrics = {
        "dice": 0.5, "ceiling_dice": 1.0, "truth_ml": 3.0, "predicted_ml": 2.0, "lesions": 1.0
    }  # fmt: skip
    rows = (row(name, name, name, **metrics), row("b", name, "s", **metrics))
    return Results(
        params=replace(params_of(), dataset=name),
        dataset=DatasetSpec(regions={name: [1]}, title=name, licence=name, source=name, note=name),
        regions=(name,),
        columns=frozenset(metrics),
        rows=rows,
        sides=(row(name, name, name, "right", **metrics),),
        calibration={
            name: ({"low": 0, "high": 1, "mean_probability": 0.5, "observed": 0.5, "voxels": 9.0},)
        },
        lesions=(LesionRow(name, name, Lesion("truth", 3.0, 0.5, True)),),
        history=({"epoch": 1.0, "loss": 0.5, f"dice_{name}": 0.5, "dice_b": 0.5},),
        training={"epochs": 1, "seconds": 1.0, "machine": {"processor": name}},
        model=replace(spec, regions={name: (1,)}),
        overlays={name: b"png"},
        digests={name: name},
    )


@pytest.fixture(scope="module")
def hostile_page(hostile: Results) -> str:
    return render_report(hostile, VIEWER, viewed=[HOSTILE])


@pytest.fixture(scope="module")
def page(many: Results) -> str:
    return render_report(many, VIEWER, viewed=["case_00"])


def test_elements_are_closed_and_links_are_valid(page: str) -> None:
    parsed = Parsed(page)
    assert parsed.open == []
    names = parsed.all("id")
    assert [name for name, count in Counter(names).items() if count > 1] == []
    links = [link for link in parsed.all("href") if link != "data:,"]
    assert len(links) > 50
    assert {link for link in links if link[0] != "#" or link[1:] not in names} == set()
    for attribute in ("aria-labelledby", "aria-describedby"):
        assert set(parsed.all(attribute)) <= set(names)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(names)


def test_nothing_is_loaded(page: str) -> None:
    parsed = Parsed(page)
    assert [attrs["href"] for tag, attrs in parsed.tags if tag == "link"] == ["data:,"]
    assert {source.partition(",")[0] for source in parsed.all("src")} == {"data:image/png;base64"}
    assert re.findall(r"url\((?!#)", page) == []
    assert "@import" not in page
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_tables_have_captions_and_scoped_headings(page: str) -> None:
    parsed = Parsed(page)
    assert parsed.count("table") == parsed.count("thead") == parsed.count("caption") > 10
    scopes = [attrs.get("scope") for tag, attrs in parsed.tags if tag == "th"]
    assert set(scopes) == {"col", "row", "rowgroup"}


def test_charts_and_pictures_have_text_for_screen_readers(page: str) -> None:
    parsed = Parsed(page)
    charts = [attrs for tag, attrs in parsed.tags if tag == "svg"]
    assert len(charts) > 8
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in charts)
    assert all(attrs["alt"] for tag, attrs in parsed.tags if tag == "img")
    assert "DejaVu" not in page, "charts use the font of the page"


def test_only_the_scripts_of_the_page_may_run(page: str, few: Results) -> None:
    (policy,) = [value for value in Parsed(page).all("content") if "default-src" in value]
    assert policy.startswith("default-src 'none'; ")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "<script" not in render_report(few)


def test_hostile_names_are_escaped(hostile_page: str) -> None:
    parsed = Parsed(hostile_page)
    assert parsed.open == []
    assert parsed.count("script") == 2
    assert all("onerror" not in attrs for _, attrs in parsed.tags)
    assert all(source.startswith("data:") for source in parsed.all("src"))
    assert HOSTILE in parsed.words
    assert HOSTILE in parsed.all("data-viewer-case")
    assert "mathdefault" not in hostile_page


def test_equal_results_give_equal_pages(few: Results) -> None:
    assert render_report(few) == render_report(few)


def test_the_headline_is_one_sentence(few: Results) -> None:
    words = Parsed(render_report(few)).words
    assert (
        "Mean Dice on 3 test cases of phantom: lung 0.800 (95 % interval 0.710 to 0.880)." in words
    )
    assert "With 3 patients an interval is not meaningful: look at the single cases." in words


def test_cases_are_in_the_order_of_the_table(few: Results) -> None:
    page = render_report(few)
    order = re.findall(r'<section class="case" id="(case-\d)"', page)
    assert order == ["case-3", "case-1", "case-2"], "c, a, b"
    assert "reports/overlays has no picture of this case" in page
    assert page.count("data:image/png;base64,") == 1


def test_a_final_model_states_that_it_was_not_tested(few: Results) -> None:
    words = Parsed(render_report(replace(few, rows=(), summary={}, overlays={}))).words
    assert "was not tested" in words
    assert "give `split.fold` a number" in words
    assert "Training loss by epoch" in words


def test_a_single_case_has_no_interval(few: Results) -> None:
    words = Parsed(render_report(replace(few, rows=few.rows[:1], summary={}))).words
    assert "Dice on 1 test case of phantom: lung 0.900." in words
    assert "No 95 % interval is given" in words
    assert "1 case: too few for limits of agreement" in words


def test_missing_files_are_named(few: Results) -> None:
    bare = replace(few, rows=(row("a", dice=0.5),), summary={}, history=(), training={}, model=None)
    words = Parsed(render_report(bare)).words
    for text in (
        "The dataset states no sites",
        "The scores contain no volumes.",
        "Calibration was not measured: reports/calibration.csv is missing",
        "reports/history.csv is missing",
        "There is no model file",
        "there is no dvc.lock",
        "Not measured, or undefined in every case: NSD, HD95 (mm) and Difference (mL).",
    ):
        assert text in words


def test_missing_probability_maps_are_the_reason(few: Results) -> None:
    predict = replace(few.params.predict, bits=0)
    words = Parsed(render_report(replace(few, params=replace(few.params, predict=predict)))).words
    assert "probability maps were not kept (`predict.bits: 0`)" in words


def test_settings_that_differ_are_first(few: Results) -> None:
    page = render_report(replace(few, params=replace(few.params, seed=7)))
    assert "1 of 67 differ from params.yaml" in page
    rows = page.partition("differ from params.yaml")[2].split("</tr>")[1:4]
    assert [re.findall(r"<span>(.*?)</span>", row) for row in rows] == [
        ["seed", "0", "7"],
        ["loss", "focal_dice", "focal_dice"],
        ["network.name", "lean", "lean"],
    ], "the others are in the order of params.yaml"
