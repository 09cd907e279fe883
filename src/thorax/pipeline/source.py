"""Reuse of earlier records and audits, only if the same source code of `thorax` wrote them."""

import hashlib
from pathlib import Path

import thorax
from thorax.common.files import write_text

PACKAGES = "common", "datasets", "imaging", "io", "phantom", "preprocessing"


def source_digest() -> str:
    """Digest of the source code that audits scans and writes records.

    It covers the name and the content of each module of `PACKAGES`.
    """
    top = Path(thorax.__file__).parent
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((top / package).rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(top).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def written_by_this_source(results: Path) -> bool:
    """Compare the digest that `note_source` wrote with that of the present code and results.

    Args:
        results: File that an earlier run wrote into a folder of its own, such as the index of the
            records. DVC may have replaced it since by that of another revision.
    """
    try:
        return _file(results).read_text(encoding="utf-8") == _note(results)
    except (OSError, UnicodeDecodeError):
        return False


def note_source(results: Path) -> None:
    """Write the digest of the present code and of its results to a hidden file beside their folder.

    The file is not an output of DVC: a change of the code that leaves the records as they are does
    not train a network again.

    Raises:
        InputError: The file cannot be written.
    """
    write_text(_file(results), _note(results))


def _file(results: Path) -> Path:
    """Path of the digest.

    Example:
        >>> _file(Path("data/records/index.json")).as_posix()
        'data/.records-source'
    """
    return results.parent.with_name(f".{results.parent.name}-source")


def _note(results: Path) -> str:
    return f"source {source_digest()}\nresults {hashlib.sha256(results.read_bytes()).hexdigest()}\n"
