"""Each stage depends on just the modules that it imports, or a change would not run it again."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def closure(module: str, source: Path) -> list[str]:
    """Return the files of the package that a module needs, worked out without running it.

    Imports inside functions count, and so do the packages around a module, which Python runs too,
    and the data that lie in a package; what is imported for type checkers alone does not.

    Args:
        module: Such as ``thorax.stages.train``.
        source: The folder that holds the package.
    """
    package = module.partition(".")[0]
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name, source)
        if name.partition(".")[0] == package and path and path not in found:
            found.update((path, *_data(path)))
            waiting += [*_imports(path, source), name.rpartition(".")[0]]
    return sorted(path.relative_to(source.parent).as_posix() for path in found)


def _data(module: Path) -> Iterator[Path]:
    """What lies in a package besides modules and texts for people, in folders of its own too."""
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
    """The nodes of a module, but those that stand under ``if TYPE_CHECKING``."""
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


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_just_the_modules_that_it_imports(stage: dict[str, Any]) -> None:
    (module,) = re.findall(r"python -m (thorax\.\S+)", stage["cmd"])
    listed = [path for path in stage["deps"] if path.startswith("src/")]
    assert listed == closure(module, ROOT / "src")


@pytest.mark.parametrize("stage", STAGES)
def test_the_lists_are_sorted_so_that_a_diff_reads_well(stage: dict[str, Any]) -> None:
    for key in ("deps", "params"):
        assert stage.get(key, []) == sorted(set(stage.get(key, [])))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a source folder with a package that has more modules than anything needs."""
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
        pytest.param("import lungs.left.upper as u", UPPER, id="module and what it needs"),
        pytest.param("from lungs import left", LEFT, id="package from package"),
        pytest.param("from lungs.left import upper, x", UPPER, id="module from package"),
        pytest.param("from lungs.left.upper import x", UPPER, id="name from module"),
        pytest.param("from lungs.right import lobe", RIGHT, id="name that a package passes on"),
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
