"""What servers failed to write or to score in a finished study, and the commands that ask them again."""

import os
import sys
from collections.abc import Iterator
from itertools import product

from lib import paths, store
from lib.backends.engines import engine_of
from lib.params import Model, Study, load_scorer, load_source
from lib.running.make import given


def unanswered(name: str, study: Study) -> Iterator[str]:
    """A sentence for each file of the study that lacks what a server failed to give.

    Raises StudyError if one cannot be read.
    """
    if study.imported:
        return
    for dataset, source in product(study.datasets, study.sources):
        declared = load_source(source)
        of = {"model": source, "study": name, "dataset": dataset}
        if isinstance(declared, Model) and engine_of(declared.weights).remote:
            path = paths.texts(dataset, source)
            status = store.read(path, store.THE_STEP, ["status"])["status"]
            yield from _said(f"texts of {source} on {dataset}", int((status == "error").sum()), "texts", of)
        for scorer in study.scorers:
            if engine_of(load_scorer(scorer).weights).remote:
                path = paths.surprisals(scorer, dataset, source)
                count = len(store.measured(path).get("not_scored", []))
                what = f"texts of {source} on {dataset} by {scorer}"
                yield from _said(what, count, "surprisal", {**of, "scorer": scorer})


def _said(what: str, count: int, step: str, of: dict[str, str]) -> Iterator[str]:
    if count:
        python = os.path.relpath(sys.executable)
        again = " ".join([f"{python} -m lib.running.make", step, *given(of)])
        yield (
            f"{count} {what} have no usable answer of their server; `{again}`, then `make study`, asks again."
        )
