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
    lines = CORPUS_FILE.read_text().splitlines()
    return [
        "python",
        *PINNED_PACKAGES,
        *(line.partition("==")[0] for line in lines if line and not line.startswith("#")),
    ]


def train_documents(half: int) -> list[Document]:
    """The documents of one half (0 or 1) of the train split, without repeated paragraphs.

    No paragraph of a held-out document of the study's packages is among them, whatever name it
    also stands under.
    """
    seen = held_out_paragraphs()
    kept = []
    for name, paragraphs in _paragraphs(packages(), indented=True):
        if pydocs.is_held_out(name):
            continue
        fresh = [paragraph for paragraph in dict.fromkeys(paragraphs) if paragraph not in seen]
        seen.update(fresh)
        if fresh and pydocs.train_half(name) == half:
            kept.append(pydocs.document(name, fresh))
    return sorted(kept, key=lambda document: pydocs.reading_order(document.doc_id))


def held_out_paragraphs() -> set[str]:
    """Every paragraph of a held-out docstring of the study's packages."""
    return {
        paragraph
        for name, paragraphs in _paragraphs(STUDY_PACKAGES, indented=True)
        if pydocs.is_held_out(name)
        for paragraph in paragraphs
    }


def _paragraphs(names: Iterable[str], *, indented: bool) -> Iterator[tuple[str, list[str]]]:
    for name, docstring in pydocs.docstrings(names):
        if paragraphs := list(pydocs.prose(docstring, indented=indented)):
            yield name, paragraphs
