"""Where prompts and human texts come from: each dataset as a list of documents."""

from collections.abc import Iterable

import pandas as pd
import pyarrow as pa

from lib import paths, store
from lib.datasets import corpora, folder, pydocs, rows
from lib.datasets.document import Document
from lib.datasets.unfit import Found
from lib.params import Corpus, Dataset, Folder, Pydocs

SCHEMA = pa.schema([(column, pa.string()) for column in ("doc_id", "title", "prompt", "text", "joined_as")])


def load(name: str, dataset: Dataset) -> list[Document]:
    """The documents of `dataset`, always in the same order; each `doc_id` is there once.

    They are kept in `paths.documents(name)`, where every later step finds them; several processes
    may ask at once. Raises StudyError for what the dataset names and is not there or cannot be read.
    """
    path = paths.documents(name)
    made = _record(dataset)
    with store.lock(path):
        if not store.is_complete(path, made):
            found = _found(dataset)
            measured = {store.MEASURED: {"left_out": found.unfit}} if found.unfit else {}
            store.write(path, pd.DataFrame(found.documents), SCHEMA, made | measured)
    table = store.read(path, f"python -m lib.datasets {name}")
    return [Document(**row) for row in table.astype(object).where(table.notna(), None).to_dict("records")]


def left_out(name: str) -> dict[str, str]:
    """Why texts of the dataset are none of its documents, by their names.

    Empty for a dataset whose documents are not kept here, or not yet.
    """
    path = paths.documents(name)
    return store.measured(path).get("left_out", {}) if path.exists() else {}


def left_out_table(name: str) -> pd.DataFrame:
    """`left_out` as rows `text`, `reason`."""
    found = left_out(name)
    return pd.DataFrame({"text": list(found), "reason": list(found.values())})


def left_out_said(names: Iterable[str]) -> str:
    """How many texts of the datasets `names` were left out as unfit, in a sentence; empty if none was."""
    counts = {name: len(left_out(name)) for name in names}
    said = [
        f"{count} text{'s' if count > 1 else ''} of the dataset {name}"
        for name, count in counts.items()
        if count
    ]
    return f"Left out as unfit: {', '.join(said)}." if said else ""


def _found(dataset: Dataset) -> Found:
    match dataset:
        case Folder():
            found = folder.documents(paths.resolve(dataset.folder), dataset.title, dataset.language)
            return Found(found.checked(skip_unfit=dataset.skip_unfit).documents[: dataset.texts], found.unfit)
        case Pydocs():
            return Found(pydocs.held_out_documents(**dataset.model_dump(exclude={"kind"})))
        case Corpus():
            return corpora.documents(dataset).checked(skip_unfit=dataset.skip_unfit)


def read_folder(dataset: Folder) -> list[Document]:
    """The documents of a folder as it is now."""
    return _found(dataset).documents


def _record(dataset: Dataset) -> store.Record:
    match dataset:
        case Folder():
            files = folder.text_files(paths.resolve(dataset.folder))
            inputs = {paths.shown(file): store.file_hash(file) for file in files}
        case Pydocs():
            inputs = {package: pydocs.version(package) for package in dataset.packages}
        case Corpus(rows=table):
            inputs = rows.identity(table)
    return store.record(
        "documents", parameters=dataset.model_dump(), inputs=inputs, packages=(), units={}, code=code(dataset)
    )


def code(dataset: Dataset) -> tuple[str, ...]:
    """The module that, with what it imports, decides the documents of `dataset`."""
    kinds = {"folder": "lib.datasets.folder", "pydocs": "lib.datasets.pydocs"}
    return (kinds.get(dataset.kind, "lib.datasets.corpora"),)
