"""Prose that people wrote: the documentation of installed Python packages.

Docstrings are read from the source files of the installed distributions, without importing them,
so the texts depend on the packages' versions and on nothing else. The pinned versions of
`requirements.lock` therefore give everyone the same texts.
"""

import ast
import hashlib
import inspect
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from lib.datasets.document import Document
from lib.errors import StudyError

HELD_OUT_SHARE = 0.15
SKIPPED_FOLDERS = {"tests", "test", "testing", "_vendor", "vendor", "vendored", "site-packages", "idle_test"}
STDLIB = "python"

RULE = re.compile(r"^[-=~^*_#+]{3,}$")
CITATION = re.compile(r"\s*\[[\w.-]+\]_")
ROLE = re.compile(r":[a-zA-Z:+-]+:`~?\.?([^`<]+?)(?:\s*<[^`>]*>)?`")
LINK = re.compile(r"`([^`<]+?)\s*<[^`>]*>`_+")
LITERAL = re.compile(r"`{1,2}([^`]+)`{1,2}_{0,2}")
NOT_PROSE = re.compile(r"^(\.\.|[-*|:@+#=\[>$%]|\d+[.)]|\(?[a-z]\))|>>>|::|https?://|\\[a-z]+\{")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z(\"'])")
ABBREVIATION = re.compile(r"(\b(e\.g|i\.e|cf|etc|vs|al|Fig|Eq|Ref|No|approx|resp)|\b[A-Z])\.$")


def documents(packages: Iterable[str], *, indented: bool = False) -> Iterator[Document]:
    """The documented names of `packages`, each with the prose of its docstring.

    `packages` are distribution names, or "python" for the standard library at hand. With
    `indented`, the descriptions of parameters and results count as prose as well.

    Raises StudyError for a package that is not installed.
    """
    for name, docstring in docstrings(packages):
        if paragraphs := list(prose(docstring, indented=indented)):
            yield document(name, paragraphs)


def held_out_documents(
    packages: Iterable[str], *, texts: int, min_characters: int, max_characters: int, indented: bool = False
) -> list[Document]:
    """The first `texts` held-out documents in reading order, no two with a paragraph in common.

    Their texts (what follows the prompt) have `min_characters` to `max_characters` characters.
    """
    named = {
        name: document(name, paragraphs)
        for name, docstring in docstrings(packages)
        if is_held_out(name) and (paragraphs := list(prose(docstring, indented=indented)))
    }
    chosen: list[Document] = []
    seen: set[str] = set()
    for name in sorted(named, key=reading_order):
        candidate = named[name]
        _, *paragraphs = (candidate.prompt + candidate.text).split("\n\n")
        if min_characters <= len(candidate.text) <= max_characters and seen.isdisjoint(paragraphs):
            seen.update(paragraphs)
            chosen.append(candidate)
    return chosen[:texts]


def docstrings(packages: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of a qualified name and its docstring, in the order of the files' names."""
    for package in packages:
        for module, path in sorted(_modules(package)):
            yield from _module_docstrings(module, path)


def document(name: str, paragraphs: list[str]) -> Document:
    """The document of `name`: its first sentence goes into the prompt, the rest is the text."""
    opening, rest = first_sentence(paragraphs[0])
    text = "\n\n".join([rest, *paragraphs[1:]])
    return Document(doc_id=name, title=name, prompt=f"{name}\n\n{opening}", text=text)


def is_held_out(name: str) -> bool:
    """Whether `name` belongs to the part that no demo model was trained on.

    The last component decides, so that `DataFrame.sum` and `Series.sum`, which share most of
    their words, fall on the same side.
    """
    return _fraction(f"split:{_leaf(name)}") < HELD_OUT_SHARE


def train_half(name: str) -> int:
    """0 or 1: which half of the training part `name` belongs to."""
    return int(_fraction(f"half:{_leaf(name)}") < 0.5)


def reading_order(name: str) -> str:
    """A sort key that mixes packages and topics, the same on every machine."""
    return hashlib.sha256(f"order:{name}".encode()).hexdigest()


def first_sentence(paragraph: str) -> tuple[str, str]:
    """Split `paragraph` into its first sentence and the rest (with its leading space)."""
    for match in SENTENCE_END.finditer(paragraph):
        if not ABBREVIATION.search(paragraph[: match.start()]):
            return paragraph[: match.start()], paragraph[match.start() :]
    return paragraph, ""


def _leaf(name: str) -> str:
    return name.rpartition(".")[2].strip("_").lower()


def _fraction(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64


def version(package: str) -> str:
    """The installed version of `package`. Raises StudyError if it is not installed."""
    return platform.python_version() if package == STDLIB else _distribution(package).version


def _distribution(package: str) -> metadata.Distribution:
    try:
        return metadata.distribution(package)
    except metadata.PackageNotFoundError:
        raise StudyError(
            f"The package {package!r}, whose documentation the dataset reads, is not installed: "
            f"run `pip install -r requirements.lock`, or take it out of the dataset's `packages`."
        ) from None


def _modules(package: str) -> Iterator[tuple[str, Path]]:
    if package == STDLIB:
        root = Path(sysconfig.get_path("stdlib"))
        files: Iterable[Path] = (path.relative_to(root) for path in root.rglob("*.py"))
        located = [(path, root / path) for path in files]
    else:
        distribution = _distribution(package)
        located = [
            (Path(str(path)), Path(str(distribution.locate_file(path))))
            for path in distribution.files or []
            if path.suffix == ".py"
        ]
    for relative, path in located:
        parts = relative.with_suffix("").parts
        if SKIPPED_FOLDERS.isdisjoint(parts) and ".." not in parts:
            yield ".".join(parts).removesuffix(".__init__"), path


def _module_docstrings(module: str, path: Path) -> Iterator[tuple[str, str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return  # templates and files for another Python are no documentation
    for name, node in _walk(module, tree):
        if docstring := ast.get_docstring(node, clean=False):
            yield name, docstring


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _walk(name: str, node: Documented) -> Iterator[tuple[str, Documented]]:
    yield name, node
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _walk(f"{name}.{child.name}", child)


def prose(docstring: str, *, indented: bool = False) -> Iterator[str]:
    """The paragraphs of `docstring` that are running prose, each on one line, markup removed."""
    for block in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        for level, lines in _same_indentation(_without_headings(block.splitlines())):
            if level and not indented:
                continue
            paragraph = _plain(" ".join(line.strip() for line in lines))
            if _is_prose(paragraph):
                yield paragraph


def _without_headings(lines: list[str]) -> list[str]:
    """Drop each line of dashes, and the heading that it underlines."""
    ruled = {number for number, line in enumerate(lines) if RULE.match(line.strip())}
    return [line for number, line in enumerate(lines) if ruled.isdisjoint({number, number + 1})]


def _same_indentation(lines: list[str]) -> list[tuple[int, list[str]]]:
    groups: list[tuple[int, list[str]]] = []
    for line in lines:
        level = len(line) - len(line.lstrip())
        if groups and groups[-1][0] == level:
            groups[-1][1].append(line)
        else:
            groups.append((level, [line]))
    return groups


def _plain(paragraph: str) -> str:
    if NOT_PROSE.search(paragraph):
        return ""
    paragraph = CITATION.sub("", paragraph)
    for markup in (ROLE, LINK, LITERAL):
        paragraph = markup.sub(r"\1", paragraph)
    return re.sub(r"\s+", " ", paragraph.replace("**", "")).strip()


def _is_prose(paragraph: str) -> bool:
    if len(paragraph.split()) < 6 or paragraph[-1] not in ".!?" or not paragraph[0].isupper():
        return False
    plain = sum(character.isalpha() or character in " ,.'" for character in paragraph)
    return paragraph.isascii() and plain / len(paragraph) >= 0.92
