"""Each stage in `dvc.yaml` depends on the modules that it imports."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def closure(module: str, source: Path) -> list[str]:
    """Return the files of the package that a module imports, from their source only.

    Included are imports inside functions, parent packages and data files of packages; imports
    under ``TYPE_CHECKING`` are excluded.

    Args:
        module: Such as ``thorax.pipeline.train``.
        source: Folder with the package.
    """
    package = module.partition(".")[0]
    files: set[Path] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name, source)
        if name.partition(".")[0] == package and path and path not in files:
            files.update((path, *_data(path)))
            waiting += [*_imports(path, source), name.rpartition(".")[0]]
    return sorted(path.relative_to(source.parent).as_posix() for path in files)


def _data(module: Path) -> Iterator[Path]:
    """Yield the data files of a package, also in its folders without modules."""
    if module.name == "__init__.py":
        for path in module.parent.rglob("*.*"):
            nearest = next(above for above in path.parents if (above / "__init__.py").exists())
            if path.is_file() and nearest == module.parent and path.suffix not in NO_DATA:
                yield path


NO_DATA = (".py", ".pyc", ".md", ".txt")


def _imports(path: Path, source: Path) -> Iterator[str]:
    around = path.relative_to(source).parent.parts
    for node in _run(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = around[: len(around) - node.level + 1] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module except those under ``if TYPE_CHECKING``."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    yield node
    for below in ast.iter_child_nodes(node):
        yield from _run(below)


def _file(name: str, source: Path) -> Path | None:
    base = source.joinpath(*name.split("."))
    places = base.with_suffix(".py"), base / "__init__.py"
    return next((path for path in places if name and path.is_file()), None)


STAGES = [
    pytest.param(stage, id=name)
    for path in (ROOT / "dvc.yaml", *sorted(ROOT.glob("data/*/dvc.yaml")))
    for name, stage in yaml.safe_load(path.read_text())["stages"].items()
]


EXACT = ("thorax.pipeline.train", "thorax.pipeline.export")
"""Stages that list files only, because other edits in a package must not retrain the network."""


def _module_and_sources(stage: dict[str, Any]) -> tuple[str, list[str], list[str]]:
    """Module of a stage, its entries for source, and the source files that it imports."""
    (module,) = re.findall(r"python -m (thorax\.\S+)", stage["cmd"])
    entries = [path for path in stage["deps"] if path.startswith("src/")]
    return module, entries, [p for p in closure(module, ROOT / "src") if not _is_empty(ROOT / p)]


def _is_empty(path: Path) -> bool:
    """Return whether a package module has only a docstring."""
    return path.name == "__init__.py" and len(ast.parse(path.read_text()).body) <= 1


def _covers(entry: str, path: str) -> bool:
    return path == entry or path.startswith(f"{entry}/")


@pytest.mark.parametrize("stage", STAGES)
def test_entries_cover_exactly_the_imported_modules(stage: dict[str, Any]) -> None:
    _, entries, imported = _module_and_sources(stage)
    assert [path for path in imported if not any(_covers(e, path) for e in entries)] == []
    assert [entry for entry in entries if not any(_covers(entry, p) for p in imported)] == []


@pytest.mark.parametrize("stage", STAGES)
def test_training_and_export_depend_on_imported_files_exactly(stage: dict[str, Any]) -> None:
    module, entries, imported = _module_and_sources(stage)
    if module in EXACT:
        source = ROOT / "src"
        folders = [ROOT / e for e in entries if (ROOT / e).is_dir()]
        files = {ROOT / e for e in entries} | {p for f in folders for p in f.rglob("*.py")}
        listed = {p.relative_to(source.parent).as_posix() for p in files if p.is_file()}
        assert {path for path in listed if not _is_empty(ROOT / path)} == set(imported)


@pytest.mark.parametrize("stage", STAGES)
def test_the_lists_are_sorted(stage: dict[str, Any]) -> None:
    for key in ("deps", "params"):
        assert stage.get(key, []) == sorted(set(stage.get(key, [])))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a source folder with a package of many modules."""
    files = {
        "lungs/__init__.py": "",
        "lungs/air.py": "",
        "lungs/left/__init__.py": "",
        "lungs/left/upper.py": "from lungs import air",
        "lungs/left/lower.py": "",
        "lungs/right/__init__.py": "from .middle import lobe",
        "lungs/right/middle.py": "from .. import air",
        "heart/__init__.py": "",
        "lungs/lobes/__init__.py": "",
        "lungs/lobes/README.md": "",
        "lungs/lobes/shapes/five.json": "",
    }
    for name, text in files.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "src"


LEFT = ["left/__init__.py"]
UPPER = ["air.py", "left/__init__.py", "left/upper.py"]
RIGHT = ["air.py", "right/__init__.py", "right/middle.py"]


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("import lungs.left", LEFT, id="package"),
        pytest.param("import lungs.left.upper as u", UPPER, id="module with imports"),
        pytest.param("from lungs import left", LEFT, id="package from package"),
        pytest.param("from lungs.left import upper, x", UPPER, id="module from package"),
        pytest.param("from lungs.left.upper import x", UPPER, id="name from module"),
        pytest.param("from lungs.right import lobe", RIGHT, id="name re-exported by a package"),
        pytest.param("from . import air", ["air.py"], id="relative"),
        pytest.param("from .left.upper import x", UPPER, id="relative, deeper"),
        pytest.param("def f():\n    import lungs.air", ["air.py"], id="in a function"),
        pytest.param("if x:\n    from lungs import air", ["air.py"], id="under a condition"),
        pytest.param(
            "import lungs.lobes", ["lobes/__init__.py", "lobes/shapes/five.json"], id="data"
        ),
        pytest.param("import heart, numpy, lungsfish", [], id="other packages"),
        pytest.param("import lungs.top", [], id="itself"),
    ],
)
def test_the_closure_follows_each_form_of_import(
    package: Path, line: str, needed: list[str]
) -> None:
    (package / "lungs" / "top.py").write_text(line)
    expected = ["src/lungs/__init__.py", "src/lungs/top.py", *(f"src/lungs/{n}" for n in needed)]
    assert closure("lungs.top", package) == sorted(expected)


def test_a_checkpoint_depends_on_the_source_that_the_training_stage_lists() -> None:
    code = (
        "import thorax.pipeline.train\n"
        "from thorax.training.checkpoint import source_files\n"
        "print(*source_files(), sep='\\n')"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    assert printed.stdout.split() == [
        str(ROOT / path) for path in closure("thorax.pipeline.train", ROOT / "src")
    ]


def test_compiled_files_are_no_dependencies() -> None:
    compiled = "src/thorax/common/__pycache__/files.pyc"
    command = [sys.executable, "-m", "dvc", "check-ignore", "--quiet", compiled]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
