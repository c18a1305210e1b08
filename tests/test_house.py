"""The house is as the README draws it: imports point up, no circle, no long module, tests beside code."""

import ast
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import networkx
import pytest
import yaml

from tests.conftest import REPOSITORY

# Each line may import from the lines above it; modules of one line from each other without a circle.
ROOMS = (
    (
        "errors",
        "packages",
        "paths",
        "commands",
        "machine",
        "processes",
        "imports",
        "seal",
        "earlier",
        "store",
        "parts",
        "journal",
        "progress",
        "batches",
    ),
    ("params",),
    ("datasets",),
    ("backends",),
    ("generate",),
    ("surprisal",),
    ("uid",),
    ("compare",),
    ("figures",),
    ("reports",),
    ("running",),
)
LEVEL = {name: level for level, names in enumerate(ROOMS) for name in names}
LONGEST = 400


def modules() -> dict[str, Path]:
    """Every module of the library by its dotted name."""
    found = {}
    for file in sorted((REPOSITORY / "lib").rglob("*.py")):
        parts = file.relative_to(REPOSITORY).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(name: str, file: Path, known: set[str]) -> set[str]:
    """The modules of the library that `file` imports, those within functions included."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lib":
            each = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {full if full in known else node.module for full in each}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
    return found - {name, "lib"}


@pytest.fixture(scope="module")
def imports() -> networkx.DiGraph:
    known = modules()
    graph = networkx.DiGraph()
    graph.add_nodes_from(known)
    for name, file in known.items():
        graph.add_edges_from((name, other) for other in imported(name, file, set(known)))
    return graph


def room(module: str) -> str:
    return module.split(".")[1]


def test_every_module_is_in_a_room() -> None:
    assert {room(name) for name in modules() if name != "lib"} == set(LEVEL)


def test_imports_point_up(imports: networkx.DiGraph) -> None:
    below = [f"{a} imports {b}" for a, b in imports.edges if a != "lib" and LEVEL[room(b)] > LEVEL[room(a)]]
    assert below == []


def test_imports_have_no_circle(imports: networkx.DiGraph) -> None:
    assert [" → ".join(circle) for circle in networkx.simple_cycles(imports)] == []


def test_no_module_is_long() -> None:
    lengths = {name: len(file.read_text().splitlines()) for name, file in modules().items()}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_tests_lie_as_the_library_does() -> None:
    folders = {f.parent.name for f in (REPOSITORY / "tests").rglob("test_*.py")} - {"tests"}
    assert folders <= set(LEVEL) | {"cluster", "campaign"}


def test_the_readme_draws_the_rooms_in_their_order() -> None:
    tree = re.search(r"```\n(notebooks/.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
    assert tree is not None
    places = [tree[1].index(f"  {names[0]}") for names in ROOMS]
    assert all(a < b for a, b in pairwise(places))


def test_what_is_cited_is_the_version_there_is() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version"} <= cited.keys()
    assert cited["version"] == project["version"]
    assert cited["license"] == project["license"]
    assert f"\n## {project['version']} " in (REPOSITORY / "CHANGELOG.md").read_text()
