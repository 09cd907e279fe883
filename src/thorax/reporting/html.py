"""Shared parts of all HTML pages: templates, data URIs, content security policy."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render_page(package: str, template: str, *, scripts: Sequence[str] = (), **values: Any) -> str:
    """Render a template that extends the shared ``base.html``.

    Args:
        package: Package with the folder ``templates``.
        template: File name of the template.
        scripts: Inline scripts, the only ones that the page may run.
        **values: Values of the template. Text is escaped; an unknown name is an error.
    """
    return render_fragment(
        package,
        template,
        scripts=list(map(Markup, scripts)),
        policy=content_policy(scripts),
        **values,
    )


def render_fragment(package: str, template: str, **values: Any) -> str:
    """Render a template of a package, or a shared one, as part of a page."""
    return _environment(package).get_template(template).render(**values)


@cache
def asset(package: str, name: str) -> str:
    """Read a text file of a package, such as a style sheet or a script."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def data_uri(picture: bytes, *, kind: str = "png") -> str:
    """Encode a picture as part of the page; empty for no picture.

    Args:
        picture: Bytes of the image file.
        kind: Its MIME subtype, ``png`` or ``jpeg``.

    Example:
        >>> data_uri(b"abc")
        'data:image/png;base64,YWJj'
    """
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}" if picture else ""


def content_policy(scripts: Iterable[str]) -> str:
    """Write the Content-Security-Policy of a page that may run these inline scripts only.

    Args:
        scripts: The exact text between ``<script>`` and ``</script>``.

    Example:
        >>> content_policy(["1"]).split("; ")[1]
        "script-src 'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s='"
    """
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


@cache
def _environment(package: str) -> Environment:
    return Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("thorax.reporting")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
