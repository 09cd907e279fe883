"""Pages: whole in themselves, closed to all else, and proof against names."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from thorax.common.errors import InputError
from thorax.imaging.regions import Regions
from thorax.reporting.viewer import (
    NamedWindow,
    ShownMask,
    ViewerCase,
    content_policy,
    fragment,
    page,
)

HOSTILE = """</script><img src=x onerror=alert(1)><!--"'&<script>"""
NESTED = Regions({"lung": (1, 2), "lesion": (2,)})


class Reader(HTMLParser):
    """What a browser would find: elements with their attributes, and texts by element."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self.texts:
            self.texts[-1] += data

    def named(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        found = zip(self.elements, self.texts, strict=True)
        return [(attributes, text) for (name, attributes), text in found if name == tag]


def case(name: str = "anna", **changed: Any) -> ViewerCase:
    masks = {"truth": ShownMask(b"labels", {"lesion": b"mesh"}), "predicted": ShownMask(b"p", {})}
    return replace(ViewerCase(name, b"scan", masks, NESTED), **changed)


@pytest.fixture(scope="module")
def hostile() -> Reader:
    """Return a page on which everything that has a name has a hostile one."""
    region = HOSTILE.replace("/", "")
    labels = {region: (1, 2), "lesion": (2,)}
    masks = {HOSTILE: ShownMask(b"labels", {region: b"mesh"})}
    windows = (NamedWindow(HOSTILE, 0, 1),)
    planted = ViewerCase(HOSTILE, b"", masks, Regions(labels), windows, notes=(HOSTILE,))
    return Reader(page([planted, case()], HOSTILE))


def test_no_name_becomes_markup(hostile: Reader) -> None:
    assert {tag for tag, _ in hostile.elements} == {
        *("html", "head", "meta", "title", "link", "style", "body", "h1", "section", "noscript"),
        *("div", "label", "select", "option", "button", "canvas", "p", "span", "input", "output"),
        *("ul", "script"),
    }
    assert [text for _, text in hostile.named("h1")] == [f"{HOSTILE}\n"]
    assert [text.strip() for _, text in hostile.named("option")] == [HOSTILE, "anna"]
    assert len(hostile.named("script")) == 3
    assert not any(name.startswith("on") for _, found in hostile.elements for name in found)


def test_names_come_back_from_the_data(hostile: Reader) -> None:
    attributes, text = hostile.named("script")[0]
    assert attributes["type"] == "application/json"
    assert attributes["data-name"] == HOSTILE
    assert not set(text) & set("<>&")
    shown = json.loads(text)
    assert [shown["name"], shown["masks"][0]["name"]] == [HOSTILE] * 2
    assert shown["regions"][0]["name"] == HOSTILE.replace("/", "")
    assert (shown["windows"][0]["name"], shown["notes"]) == (HOSTILE, [HOSTILE])


def test_the_data_of_a_case() -> None:
    shown = json.loads(Reader(fragment([case()]).html).named("script")[0][1])
    assert base64.b64decode(shown["scan"]) == b"scan"
    truth, predicted = shown["masks"]
    assert (truth["name"], base64.b64decode(truth["labels"])) == ("truth", b"labels")
    assert {key: base64.b64decode(mesh) for key, mesh in truth["surfaces"].items()} == {
        "1": b"mesh"
    }
    assert (predicted["name"], predicted["surfaces"]) == ("predicted", {})
    assert shown["regions"] == [
        {"name": "lung", "colour": "#56b4e9", "labels": [1, 2], "holds": True},
        {"name": "lesion", "colour": "#e69f00", "labels": [2], "holds": False},
    ]
    assert shown["windows"] == [
        {"name": "Lung", "low": -1350, "high": 150},
        {"name": "Mediastinum", "low": -160, "high": 240},
    ]


def test_without_masks_there_is_no_legend() -> None:
    shown = json.loads(Reader(fragment([case(masks={})]).html).named("script")[0][1])
    assert (shown["masks"], shown["regions"]) == ([], [])


def test_only_the_script_of_the_page_may_run_and_nothing_may_be_fetched() -> None:
    document = page([case()], "anna")
    read = Reader(document)
    (policy,) = (
        found["content"]
        for found, _ in read.named("meta")
        if found.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    (script,) = re.findall("<script>(.*?)</script>", document, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules == {
        "default-src": "'none'",
        "script-src": f"'sha256-{digest}'",
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert content_policy([script]) == policy


def test_nothing_but_the_bundle_and_its_licences_names_an_address() -> None:
    document = page([case()], "anna")
    viewer = fragment([case()])
    start = document.index(viewer.script)
    bundle_end = viewer.script.index("// One viewer a page")
    own = document[:start] + document[start + bundle_end :]
    assert re.findall(r"\w+://|url\(|@import|src=", own) == []
    assert 'href="data:,"' in own


def test_the_script_carries_the_licences_and_ends_no_element() -> None:
    script = fragment([case()]).script
    assert script.startswith("/*\nniivue.js is built from")
    assert "Copyright (c) 2021, Niivue" in script
    assert not re.search(r"</script|<!--", script, re.IGNORECASE)
    assert "</style" not in fragment([case()]).style


def test_the_bundle_is_the_one_that_its_readme_tells_of() -> None:
    from importlib.resources import files

    folder = files("thorax.reporting.viewer").joinpath("niivue")
    digest = hashlib.sha256(folder.joinpath("niivue.js").read_bytes()).hexdigest()
    assert digest in folder.joinpath("README.md").read_text()


def test_readers_choose_where_there_is_a_choice() -> None:
    assert "<select" not in fragment([case()]).html
    both = Reader(fragment([case("anna"), case("ben")]).html)
    assert [text.strip() for _, text in both.named("option")] == ["anna", "ben"]


@pytest.mark.parametrize("names", [[], ["anna", "anna"]])
def test_no_case_and_two_of_one_name_are_refused(names: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        fragment([case(name) for name in names])
    assert str(refused.value) == (
        f"a viewer must show one case or more, each of its own name, got {names}"
    )


def test_equal_cases_make_equal_pages() -> None:
    assert page([case()], "anna") == page([case()], "anna")
