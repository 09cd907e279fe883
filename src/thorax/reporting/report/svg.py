"""Charts as SVG that stands inside a page: its font, its ink, its links."""

import io
import re
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from markupsafe import Markup
from matplotlib.figure import Figure

INK = "#010203"
"""Drawn in the colour of the page's text."""

RULE = "#040506"
"""Drawn in the colour of the page's rules."""

LOOK = {
    "svg.fonttype": "none",
    "svg.hashsalt": "thorax",
    "text.parse_math": False,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}
"""Settings of matplotlib under which a chart is drawn."""

SVG = "http://www.w3.org/2000/svg"

LINK = "{http://www.w3.org/1999/xlink}href"

DROPPED = ("metadata", "style")

_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def inline_svg(
    figure: Figure, *, key: str, title: str, words: str, hints: Mapping[str, str]
) -> Markup:
    """A figure as an SVG element for a page.

    What matplotlib sets for the whole document, a font and a style for every element, is left
    out; names inside are made the chart's own, because a page holds many charts.

    Args:
        figure: Drawn under `LOOK`.
        key: Name of the chart, unlike that of any other in the page.
        title: For people who hear the page.
        words: The same, at more length.
        hints: Link → what is shown where the pointer rests on it.
    """
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(text.getvalue().encode())
    for element in list(root.iter()):
        for child in [child for child in element if _tag(child) in DROPPED]:
            element.remove(child)
    _own_names(root, key)
    for element in root.iter():
        _own_look(element)
        _link(element, hints)
    _describe(root, key, title, words)
    return Markup(_serialised(root))


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _own_names(root: Element, key: str) -> None:
    """Keep only names that something refers to, and put the key before them."""
    known = set(_references(root))
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name in known:
            element.set("id", f"{key}-{name}")
        for attribute, value in list(element.attrib.items()):
            if attribute == LINK and value[1:] in known:
                element.set(attribute, f"#{key}-{value[1:]}")
            else:
                element.set(attribute, _REFERENCE.sub(rf"url(#{key}-\1)", value))


def _references(root: Element) -> Iterator[str]:
    names = {element.get("id") for element in root.iter()}
    for element in root.iter():
        for value in element.attrib.values():
            yield from _REFERENCE.findall(value)
        target = element.get(LINK, "")[1:]
        if target in names:
            yield target


def _own_look(element: Element) -> None:
    style = element.get("style")
    if style is None:
        return
    style = style.replace(INK, "currentColor").replace(RULE, "var(--rule)")
    style = re.sub(r"\bfont: (?:\w+ )*?([\d.]+)px [^;]*", r"font-size: \1px", style)
    style = re.sub(r"font-family:[^;]*(?:; )?", "", style)
    element.set("style", style)


def _link(element: Element, hints: Mapping[str, str]) -> None:
    """Links in the way of HTML, with what they lead to."""
    target = element.attrib.pop(LINK, None)
    if target is None:
        return
    element.set("href", target)
    if _tag(element) == "a":
        element.set("tabindex", "-1")
        element.insert(0, _with_text("title", hints.get(target, "")))


def _describe(root: Element, key: str, title: str, words: str) -> None:
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-label", title)
    described = _with_text("desc", words)
    described.set("id", f"{key}-words")
    root.set("aria-describedby", f"{key}-words")
    root.insert(0, described)


def _with_text(tag: str, text: str) -> Element:
    element = Element(f"{{{SVG}}}{tag}")
    element.text = text
    return element


def _serialised(root: Element) -> str:
    """Without prefixes of namespaces, which HTML does not know."""
    for element in root.iter():
        element.tag = _tag(element)
    return ElementTree.tostring(root, encoding="unicode")
