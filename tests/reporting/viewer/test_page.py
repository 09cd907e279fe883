"""Viewer pages: self-contained, no requests, escaped names."""

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
from thorax.reporting.html import content_policy
from thorax.reporting.viewer import (
    NamedWindow,
    ViewerCase,
    ViewerMask,
    viewer_fragment,
    viewer_page,
)

HOSTILE = """</script><img src=x onerror=alert(1)><!--"'&<script>"""
NESTED = Regions({"lung": (1, 2), "lesion": (2,)})


class Reader(HTMLParser):
    """Elements with their attributes and texts, as a browser parses them."""

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
        parsed = zip(self.elements, self.texts, strict=True)
        return [(attributes, text) for (name, attributes), text in parsed if name == tag]


def case(name: str = "anna", **changed: Any) -> ViewerCase:
    masks = {"truth": ViewerMask(b"labels", {"lesion": b"mesh"}), "predicted": ViewerMask(b"p", {})}
    return replace(ViewerCase(name, b"scan", masks, NESTED), **changed)


@pytest.fixture(scope="module")
def hostile() -> Reader:
    """Return a page with an attack in every name."""
    region = HOSTILE.replace("/", "")
    labels = {region: (1, 2), "lesion": (2,)}
    masks = {HOSTILE: ViewerMask(b"labels", {region: b"mesh"})}
    windows = (NamedWindow(HOSTILE, 0, 1),)
    attack = ViewerCase(HOSTILE, b"", masks, Regions(labels), windows, notes=(HOSTILE,))
    return Reader(viewer_page([attack, case()], HOSTILE))


def test_names_are_escaped(hostile: Reader) -> None:
    assert {tag for tag, _ in hostile.elements} == {
        *("html", "head", "meta", "title", "link", "style", "body", "h1", "section", "noscript"),
        *("div", "label", "select", "option", "button", "canvas", "p", "span", "input", "output"),
        *("ul", "script"),
    }
    assert [text for _, text in hostile.named("h1")] == [f"{HOSTILE}\n"]
    assert [text.strip() for _, text in hostile.named("option")] == [HOSTILE, "anna"]
    assert len(hostile.named("script")) == 3
    assert not any(
        name.startswith("on") for _, attributes in hostile.elements for name in attributes
    )


def test_names_are_restored_from_the_data(hostile: Reader) -> None:
    attributes, text = hostile.named("script")[0]
    assert attributes["type"] == "application/json"
    assert attributes["data-name"] == HOSTILE
    assert not set(text) & set("<>&")
    content = json.loads(text)
    assert [content["name"], content["masks"][0]["name"]] == [HOSTILE] * 2
    assert content["regions"][0]["name"] == HOSTILE.replace("/", "")
    assert (content["windows"][0]["name"], content["notes"]) == (HOSTILE, [HOSTILE])


def test_the_data_of_a_case() -> None:
    content = json.loads(Reader(viewer_fragment([case()]).html).named("script")[0][1])
    assert base64.b64decode(content["scan"]) == b"scan"
    truth, predicted = content["masks"]
    assert (truth["name"], base64.b64decode(truth["labels"])) == ("truth", b"labels")
    assert {key: base64.b64decode(mesh) for key, mesh in truth["surfaces"].items()} == {
        "1": b"mesh"
    }
    assert (predicted["name"], predicted["surfaces"]) == ("predicted", {})
    assert content["regions"] == [
        {"name": "lung", "colour": "#56b4e9", "labels": [1, 2], "holds": True},
        {"name": "lesion", "colour": "#e69f00", "labels": [2], "holds": False},
    ]
    assert content["windows"] == [
        {"name": "Lung", "low": -1350, "high": 150},
        {"name": "Mediastinum", "low": -160, "high": 240},
    ]


def test_without_masks_there_is_no_legend() -> None:
    content = json.loads(Reader(viewer_fragment([case(masks={})]).html).named("script")[0][1])
    assert (content["masks"], content["regions"]) == ([], [])


def test_the_policy_allows_only_the_script_of_the_page() -> None:
    document = viewer_page([case()], "anna")
    read = Reader(document)
    (policy,) = (
        attributes["content"]
        for attributes, _ in read.named("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
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


def test_only_the_bundle_and_its_licences_contain_addresses() -> None:
    document = viewer_page([case()], "anna")
    viewer = viewer_fragment([case()])
    start = document.index(viewer.script)
    bundle_end = viewer.script.index("// One viewer per page")
    own = document[:start] + document[start + bundle_end :]
    assert re.findall(r"\w+://|url\(|@import|src=", own) == []
    assert 'href="data:,"' in own


def test_the_script_contains_the_licences_and_closes_no_element() -> None:
    script = viewer_fragment([case()]).script
    assert script.startswith("/*\nniivue.js is built from")
    assert "Copyright (c) 2021, Niivue" in script
    assert not re.search(r"</script|<!--", script, re.IGNORECASE)
    assert "</style" not in viewer_fragment([case()]).style


def test_the_bundle_has_the_digest_in_its_readme() -> None:
    from importlib.resources import files

    folder = files("thorax.reporting.viewer").joinpath("niivue")
    digest = hashlib.sha256(folder.joinpath("niivue.js").read_bytes()).hexdigest()
    assert digest in folder.joinpath("README.md").read_text()


def test_several_cases_have_a_list() -> None:
    assert "<select" not in viewer_fragment([case()]).html
    both = Reader(viewer_fragment([case("anna"), case("ben")]).html)
    assert [text.strip() for _, text in both.named("option")] == ["anna", "ben"]


@pytest.mark.parametrize("names", [[], ["anna", "anna"]])
def test_no_case_and_equal_names_are_rejected(names: list[str]) -> None:
    with pytest.raises(InputError) as error:
        viewer_fragment([case(name) for name in names])
    assert str(error.value) == (
        f"a viewer must have one case or more, with different names, got {names}; rename cases"
    )


def test_equal_cases_give_equal_pages() -> None:
    assert viewer_page([case()], "anna") == viewer_page([case()], "anna")
