"""What a stage really imports: worked out from the source, without running it."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"


def closure(module: str) -> set[str]:
    """Paths, from the root of the repo, of all modules of the package that a module needs."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name)
        relative = path.relative_to(SOURCE.parent).as_posix()
        if relative not in found:
            found.add(relative)
            waiting += _imports(path)
    return found


def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    with_parents = {
        ".".join(name.split(".")[:depth])
        for name in names
        if name.split(".")[0] == "thorax"
        for depth in range(1, name.count(".") + 2)
    }
    return [name for name in with_parents if _exists(name)]


def _exists(name: str) -> bool:
    base = SOURCE / name.replace(".", "/")
    return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()


def _file(name: str) -> Path:
    base = SOURCE / name.replace(".", "/")
    module = base.with_suffix(".py")
    return module if module.is_file() else base / "__init__.py"
