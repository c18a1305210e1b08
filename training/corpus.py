"""The training corpus of the demo models: documentation prose outside the held-out part."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from lib.datasets import pydocs
from lib.datasets.document import Document

CORPUS_FILE = Path(__file__).parent / "corpus.txt"
PINNED_PACKAGES = (
    *("altair", "datasets", "debugpy", "docutils", "GitPython", "huggingface_hub", "ipython", "pydantic"),
    *("jinja2", "mpmath", "networkx", "numpy", "pandas", "prompt_toolkit", "scipy", "SQLAlchemy"),
    *("statsmodels", "sympy", "torch", "tornado", "transformers"),
)
STUDY_PACKAGES = ("numpy", "pandas", "scipy", "statsmodels", "sympy", "networkx")


def packages() -> list[str]:
    """The distributions that the corpus is read from, and Python's own library."""
    pins = (line for line in CORPUS_FILE.read_text().splitlines() if line and not line.startswith("#"))
    return ["python", *PINNED_PACKAGES, *(pin.partition("==")[0] for pin in pins)]


def train_documents(half: int) -> list[Document]:
    """The documents of one half (0 or 1) of the train split, without repeated paragraphs.

    No paragraph of a held-out document of the study's packages is among them, whatever name it
    also stands under.
    """
    seen = {paragraph for _, paragraphs in _held_out(STUDY_PACKAGES) for paragraph in paragraphs}
    kept = []
    for name, paragraphs in _paragraphs(packages()):
        if pydocs.is_held_out(name):
            continue
        fresh = [paragraph for paragraph in dict.fromkeys(paragraphs) if paragraph not in seen]
        seen.update(fresh)
        if fresh and pydocs.train_half(name) == half:
            kept.append(pydocs.document(name, fresh))
    return sorted(kept, key=lambda document: pydocs.reading_order(document.doc_id))


def held_out_documents(names: Iterable[str] | None = None) -> list[Document]:
    """Held-out documents of the packages `names` (all of the corpus by default), one per text."""
    documents = {
        tuple(paragraphs): pydocs.document(name, paragraphs)
        for name, paragraphs in _held_out(packages() if names is None else names)
    }
    return sorted(documents.values(), key=lambda document: pydocs.reading_order(document.doc_id))


def _held_out(names: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    return ((name, found) for name, found in _paragraphs(names) if pydocs.is_held_out(name))


def _paragraphs(names: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    for name, docstring in pydocs.docstrings(names):
        if paragraphs := list(pydocs.prose(docstring, indented=True)):
            yield name, paragraphs
