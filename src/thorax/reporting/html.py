"""Parts shared by all HTML pages: templates, data URIs, content security policy."""

import base64
import hashlib
from collections.abc import Iterable

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def environment(package: str) -> Environment:
    """Templates of a package, then the shared ones; values are escaped, unknown names an error.

    Args:
        package: Name of the package with a folder ``templates``.
    """
    return Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("thorax.reporting")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_uri(picture: bytes, *, kind: str = "png") -> str:
    """A picture as part of the page; empty for none.

    Args:
        picture: Bytes of the image file.
        kind: Its MIME subtype, ``png`` or ``jpeg``.

    Example:
        >>> data_uri(b"abc")
        'data:image/png;base64,YWJj'
    """
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}" if picture else ""


def content_policy(scripts: Iterable[str]) -> str:
    """Write the Content-Security-Policy of a page that runs these inline scripts and no others.

    Args:
        scripts: The text between ``<script>`` and ``</script>``, to the letter.

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
