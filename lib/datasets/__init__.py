"""Where prompts and human texts come from: each dataset as a list of documents."""

import pandas as pd
import pyarrow as pa

from lib import paths, store
from lib.datasets import folder, pydocs
from lib.datasets.document import Document
from lib.params import Dataset, Folder, Pydocs

SCHEMA = pa.schema([(column, pa.string()) for column in ("doc_id", "title", "prompt", "text")])


def load(name: str, dataset: Dataset) -> list[Document]:
    """The documents of `dataset`, always in the same order; each `doc_id` is there once.

    What takes long to find is kept in `paths.documents(name)`; several processes may ask at once.
    Raises StudyError for what the dataset names and is not there or cannot be read.
    """
    match dataset:
        case Folder():
            return folder.documents(paths.resolve(dataset.folder), dataset.title)[: dataset.texts]
        case Pydocs():
            return _kept(name, dataset)


def _kept(name: str, dataset: Pydocs) -> list[Document]:
    path = paths.documents(name)
    made = store.record(
        "documents",
        parameters=dataset.model_dump(),
        inputs={package: pydocs.version(package) for package in dataset.packages},
        packages=(),
        units={},
        code=("lib.datasets.pydocs",),
    )
    with store.lock(path):
        if not store.is_complete(path, made):
            found = pydocs.held_out_documents(**dataset.model_dump(exclude={"kind"}))
            store.write(path, pd.DataFrame(found), SCHEMA, made)
    return [Document(*row) for row in store.read(path, "01_generate").itertuples(index=False)]
