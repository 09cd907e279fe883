"""Matplotlib charts as SVG inside a page: its font, its colours, its links."""

import io
import re
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from markupsafe import Markup
from matplotlib.figure import Figure

INK = "#010203"
"""Replaced by the text colour of the page."""

RULE = "#040506"
"""Replaced by the rule colour of the page."""

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
"""Matplotlib settings of all charts."""

SVG = "http://www.w3.org/2000/svg"

LINK = "{http://www.w3.org/1999/xlink}href"

DROPPED = ("metadata", "style")

_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def inline_svg(
    figure: Figure, *, key: str, title: str, text: str, hints: Mapping[str, str]
) -> Markup:
    """Convert a figure to an SVG element of a page.

    Matplotlib's settings for the whole document, a font and a style, are removed. Names inside the
    SVG get a prefix, because a page has many charts.

    Args:
        figure: Figure drawn with `LOOK`.
        key: Unique name of the chart in the page.
        title: Title for screen readers.
        text: Description for screen readers.
        hints: Link → tooltip.
    """
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(stream.getvalue().encode())
    for element in list(root.iter()):
        for child in [child for child in element if _tag(child) in DROPPED]:
            element.remove(child)
    _prefix_names(root, key)
    for element in root.iter():
        _use_page_style(element)
        _link(element, hints)
    _describe(root, key, title, text)
    return Markup(_serialised(root))


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _prefix_names(root: Element, key: str) -> None:
    """Remove names without a reference, and prefix the others with the key."""
    referenced = set(_references(root))
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name in referenced:
            element.set("id", f"{key}-{name}")
        for attribute, value in list(element.attrib.items()):
            if attribute == LINK and value[1:] in referenced:
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


def _use_page_style(element: Element) -> None:
    style = element.get("style")
    if style is None:
        return
    style = style.replace(INK, "currentColor").replace(RULE, "var(--rule)")
    style = re.sub(r"\bfont: (?:\w+ )*?([\d.]+)px [^;]*", r"font-size: \1px", style)
    style = re.sub(r"font-family:[^;]*(?:; )?", "", style)
    element.set("style", style)


def _link(element: Element, hints: Mapping[str, str]) -> None:
    """Turn XLink links into HTML links with a tooltip."""
    target = element.attrib.pop(LINK, None)
    if target is None:
        return
    element.set("href", target)
    if _tag(element) == "a":
        element.set("tabindex", "-1")
        element.insert(0, _with_text("title", hints.get(target, "")))


def _describe(root: Element, key: str, title: str, text: str) -> None:
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-label", title)
    description = _with_text("desc", text)
    description.set("id", f"{key}-text")
    root.set("aria-describedby", f"{key}-text")
    root.insert(0, description)


def _with_text(tag: str, text: str) -> Element:
    element = Element(f"{{{SVG}}}{tag}")
    element.text = text
    return element


def _serialised(root: Element) -> str:
    """Serialise without namespace prefixes, which HTML does not have."""
    for element in root.iter():
        element.tag = _tag(element)
    return ElementTree.tostring(root, encoding="unicode")
