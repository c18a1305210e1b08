"""Which modules of this project a module stands on, read from its source and not kept as a list.

What a step's results follow from is the code that it imports. An import within a function does not
count: the engines are opened so, and a result follows from the one that made it, which a step names.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock

LIB = Path(__file__).parent
_PARSING = Lock()  # Python 3.11 counts the depth of two trees that threads make at once as one
# What shapes no value that is not in a file's record anyway: parameters stand in it as resolved. These
# rooms are read, but a change to them makes no result anew.
RECORDED = (
    "lib.errors",
    "lib.imports",
    "lib.machine",
    "lib.params",
    "lib.paths",
    "lib.progress",
    "lib.store",
)


def closure(*modules: str) -> tuple[str, ...]:
    """`modules` (dotted names) and every module of `lib` that they import, sorted, without `RECORDED`.

    Raises ModuleNotFoundError for a module that does not exist.
    """
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found and not _is_recorded(name):
            found.add(name)
            waiting += _imported(name)
    return tuple(sorted(found))


def code_hash(*modules: str) -> str:
    """One hash over the source of the `closure` of `modules`: a name, and what stands in its file."""
    digest = hashlib.sha256()
    for name in closure(*modules):
        digest.update(f"{name}\n".encode())
        digest.update(_file(name).read_bytes())
    return digest.hexdigest()


def _is_recorded(name: str) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in RECORDED)


def _imported(name: str) -> Iterator[str]:
    file = _file(name)
    with _PARSING:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    for node in _at_module_level(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name.partition(".")[0] == "lib")
            case ast.ImportFrom(module=str(module), names=names) if module.partition(".")[0] == "lib":
                yield from _from(module, [alias.name for alias in names])


def _at_module_level(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs when the module is imported: those within functions do not."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _at_module_level(node)


def _from(module: str, names: Iterable[str]) -> Iterator[str]:
    """`from module import names`: a name is a module of its own, or stands in `module`.

    Of a package, its own file counts only where a name is taken from it.
    """
    for name in names:
        yield f"{module}.{name}" if _path(f"{module}.{name}") else module


def _file(name: str) -> Path:
    found = _path(name)
    if found is None:
        raise ModuleNotFoundError(f"There is no module {name!r}.")
    return found


def _path(name: str) -> Path | None:
    """The file of the module `name`; it is not imported to find out."""
    place = LIB.joinpath(*name.split(".")[1:])
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.exists():
            return file
    return None
