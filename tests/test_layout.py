"""The shape that docs/architecture.md promises."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gate"
MODULES = sorted(PACKAGE.rglob("*.py"))
# what each layer may import from the package, besides itself; the composition root and the commands may import all
ALLOWED = {
    "core": set(),
    "store": {"core", "private", "process"},
    "wire": {"core"},
    "web": {"core", "operators", "preview", "private", "resources", "status"},
    "edges": {"core"},
    "config": {"core", "resources", "edges"},
    "simulation": {"core", "store", "web"},
}


def imports(path: Path) -> set[str]:
    """Second names of every ``gate.X`` that the module imports, at the top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "gate":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("gate.")}
    return found


@pytest.mark.parametrize("layer", ALLOWED)
def test_imports_point_one_way(layer):
    wrong = {
        str(path.relative_to(ROOT)): sorted(extra)
        for path in MODULES
        if path.relative_to(PACKAGE).parts[0] == layer
        if (extra := imports(path) - ALLOWED[layer] - {layer, "__version__"})
    }
    assert wrong == {}


@pytest.mark.parametrize("path", [p for p in MODULES if "core" in p.relative_to(PACKAGE).parts], ids=lambda p: p.name)
def test_the_core_touches_neither_clock_nor_chance_nor_the_world(path):
    forbidden = {
        "time",
        "random",
        "secrets",
        "os",
        "socket",
        "asyncio",
        "threading",
        "subprocess",
        "logging",
        "aiohttp",
        "redis",
    }
    tree = ast.parse(path.read_text())
    roots = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    roots |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert roots & forbidden == set()
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Await | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("word", ["utils", "helpers", "manager", "misc", "common"])
def test_no_module_is_a_drawer(word):
    assert [str(path) for path in MODULES if word in path.stem] == []


@pytest.mark.parametrize("folder", ["gate", "tests"])
def test_whatever_silences_the_linter_or_mypy_says_why(folder):
    """mypy looks at ``gate`` only, so in ``tests`` there is nothing to silence."""
    silent = re.compile(r"#\s*(?:noqa(?!: [A-Z0-9, ]+ - \S)|type: ignore(?!\[[a-z, -]+\]  # \S))")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if silent.search(line) and path != Path(__file__)
    ]
    assert found == []
