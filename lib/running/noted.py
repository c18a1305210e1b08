"""Whether a file is still the one that the study made: somebody may have run a step by hand since.

Snakemake goes by times and would take such a file, of other parameters say, for newer and better. After
each step a note beside its files says which record they have; where note and file differ, the step
runs again, and finds the study's own file under `data/earlier/`.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

from lib import paths, store
from lib.params import Study
from lib.params.run import resolve, resolve_comparison

TABLES = ("summary", "tests", "models")


def note(step: str, parameters: Mapping[str, str]) -> None:
    """Note which record the files of a step have that just ran (`lib.running.make`)."""
    for path in _made_by(step, parameters):
        if path.exists():
            store.write_text(_note(path), store.key_of(path) or "")


def made_by_hand(name: str, study: Study) -> list[Path]:
    """The files of the study `name` that are there and were made otherwise than by its last run."""
    return [path for path in _files(name, study) if path.exists() and _noted(path) != store.key_of(path)]


def _files(name: str, study: Study) -> Iterator[Path]:
    for dataset, source in product(study.datasets, study.sources):
        yield paths.texts(dataset, source)
        for scorer in study.scorers:
            yield from _scored(scorer, dataset, source)
            yield paths.uid(scorer, dataset, source)
    for comparison in study.comparisons:
        yield from (paths.comparison(name, comparison, table) for table in TABLES)
    yield paths.hypotheses(name)


def _made_by(step: str, given: Mapping[str, str]) -> Iterator[Path]:
    if step == "hypotheses":
        yield paths.hypotheses(given["study"])
        return
    if step == "compare":
        study, _, name = resolve_comparison(given)
        yield from (paths.comparison(study, name, table) for table in TABLES)
        return
    run = resolve({"texts": "01_generate", "surprisal": "02_surprisal", "uid": "03_uid"}[step], given)
    match step:
        case "texts":
            yield paths.texts(run.dataset_name, run.source_name)
        case "surprisal":
            yield from _scored(run.scorer_name, run.dataset_name, run.source_name)
        case "uid":
            yield paths.uid(run.scorer_name, run.dataset_name, run.source_name)


def _scored(scorer: str, dataset: str, source: str) -> tuple[Path, Path]:
    return paths.surprisals(scorer, dataset, source), paths.words(scorer, dataset, source)


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.made")


def _noted(path: Path) -> str | None:
    note = _note(path)
    return note.read_text(errors="replace") if note.exists() else None
