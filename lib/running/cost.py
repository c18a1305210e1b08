"""What a study would cost: tokens, hours by kind of device, memory, disk. Nothing is opened for it.

Speeds are those of short runs (`lib.running.speeds`), which `make plan SPEEDS=yes` does. How long texts are
is taken from texts of the source that are there, else from people's documents, else from what is allowed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import pyarrow.compute as pc

from lib import paths, progress, store
from lib.errors import StudyError
from lib.params import Human, Model, Study, Weights, load_scorer, load_source
from lib.running import resources, speeds

CHARACTERS_PER_TOKEN = 4.4  # taken for English prose and a large vocabulary; the demo's of 4,096 has 3.7
CHARACTERS = 3_000  # of a person's text of which nothing is known
# Of Parquet, measured on the demo: a token with its place, bits and rank; a word; a character of text.
BYTES_PER_TOKEN, BYTES_PER_WORD, BYTES_PER_CHARACTER = 11.3, 14.7, 0.62
TOKENS_PER_WORD = 1.65
HOUR = 3600


@dataclass(frozen=True)
class Work:
    """What a model has to do: `what` is "writes" or "reads"; `known` says that `tokens` are no mere bound."""

    name: str
    weights: Weights
    what: str
    texts: int
    tokens: float
    known: bool


def works(study: Study) -> list[Work]:
    """What each model of `study` writes, and each scorer reads, in all datasets."""
    found, reading, texts, all_known = [], 0.0, 0, True
    for name in study.sources:
        source = load_source(name)
        for dataset in study.datasets:
            count, characters, known = _size(study, source, name, dataset)
            texts += count
            reading += count * characters / CHARACTERS_PER_TOKEN
            all_known &= known
            if isinstance(source, Model):
                tokens = count * characters / CHARACTERS_PER_TOKEN
                found.append(Work(name, source.weights, "writes", count, tokens, known))
    names = dict.fromkeys(work.name for work in found)
    found = [_together([work for work in found if work.name == name]) for name in names]
    return found + [
        Work(name, load_scorer(name).weights, "reads", texts, reading, all_known) for name in study.scorers
    ]


def _together(of_one: list[Work]) -> Work:
    first = of_one[0]
    texts, tokens = sum(w.texts for w in of_one), sum(w.tokens for w in of_one)
    return Work(first.name, first.weights, first.what, texts, tokens, all(w.known for w in of_one))


def _size(study: Study, source: Human | Model, name: str, dataset: str) -> tuple[int, float, bool]:
    """How many texts of a source a dataset gets, their mean characters, and whether these are known."""
    there = paths.documents(dataset)
    documents = store.read_table(there, "make study") if there.exists() else None
    count = resources.texts_of(study, source)
    if documents is not None:
        count = min(count, len(documents) * (study.samples if isinstance(source, Model) else 1))
    written = paths.texts(dataset, name)
    if written.exists():
        texts = store.read_table(written, "make study").column("text")
        return count, float(pc.mean(pc.utf8_length(texts)).as_py() or 0), True
    if isinstance(source, Model):
        return count, source.sampling.max_tokens * CHARACTERS_PER_TOKEN, False
    if documents is not None and "text" in documents.column_names:
        return count, float(pc.mean(pc.utf8_length(documents.column("text"))).as_py() or 0), True
    return count, CHARACTERS, False


def table(study: Study) -> pd.DataFrame:
    """A row per model, what it does, and kind of device on which that was measured."""
    return pd.DataFrame([row for work in works(study) for row in _rows(work)])


def _rows(work: Work) -> Iterator[dict[str, str]]:
    most = "" if work.known else "at most "
    shared = {
        "model": f"{work.name} {work.what}",
        "texts": f"{work.texts:,}",
        "tokens": f"{most}{work.tokens:,.0f}",
    }
    disk = work.tokens * CHARACTERS_PER_TOKEN * BYTES_PER_CHARACTER
    if work.what == "reads":
        disk = work.tokens * (BYTES_PER_TOKEN + BYTES_PER_WORD / TOKENS_PER_WORD)
    shared["disk"] = f"{most}{_bytes(disk)}"
    measured = speeds.speeds().get(speeds.model_of(work.weights), {})

    def memory(measured: float | None) -> str:
        if measured is None:
            return f"about {_bytes(resources.memory_of(work.weights) * 1e6)}"
        return _bytes(measured * 1e6)

    known = {device: found for device, found in measured.items() if work.what in found}
    if not known:
        yield {**shared, "device": "not measured", "tokens/s": "–", "hours": "–", "memory": memory(None)}
    for device, found in known.items():
        speed = found[work.what]
        yield {
            **shared,
            "device": device,
            "tokens/s": f"{speed:,.0f}",
            "hours": f"{most}{work.tokens / speed / HOUR:.2g}",
            "memory": memory(found.get(f"{work.what}_mb")),
        }


def _bytes(count: float) -> str:
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 1000 or unit == "GB":
            return f"{count:.2g} {unit}" if count < 10 else f"{count:,.0f} {unit}"
    raise AssertionError


def measure(study: Study) -> list[str]:
    """Do the short runs of `study` that are missing here; a sentence for each that cannot be."""
    failed = []
    for work in works(study):
        if work.what in speeds.speeds().get(speeds.model_of(work.weights), {}).get(speeds.device(), {}):
            continue
        with progress.waiting(f"{work.name} {work.what} a little"):
            try:
                speeds.measure(work.weights, work.what)
            except StudyError as error:
                failed.append(f"How fast {work.name} {work.what} cannot be measured here: {error}")
    return failed
