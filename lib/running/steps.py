"""What the graph asks about a step before it runs: what it follows from, and what it needs.

Snakemake compares these values with those of the last run, so a step runs again when what it follows
from has changed, wherever the project was moved to and whenever its files were written.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from lib import datasets, imports, paths, store
from lib.datasets import imported, repository
from lib.datasets.folder import text_files
from lib.errors import StudyError
from lib.params import Corpus, Folder, Human, Model, Study, load_dataset
from lib.params.declared import Declared
from lib.params.run import resolve
from lib.surprisal import scoring

MEASURES = ("lib.uid.measures",)
COMPARISON = ("lib.compare.comparison",)
HYPOTHESES = ("lib.compare.hypotheses",)
# Sources whose notebooks share a kernel, where nothing waits for a model: the more, the fewer kernels start,
# and the more pages one changed source makes anew.
BUNDLE = 8

code_hash = cache(imports.code_hash)  # the graph asks again and again


@cache
def documents(dataset: str) -> str:
    """What the openings of `dataset` follow from, besides its own file: the texts themselves and the code."""
    declared = load_dataset(dataset)
    match declared:
        case Folder():
            files = {
                paths.shown(file): store.file_hash(file)
                for file in text_files(paths.resolve(declared.folder))
            }
        case Corpus(rows=table):
            files = datasets.rows.identity(table)
        case _:
            files = {}
    return _digest({"files": files, "code": code_hash(*datasets.code(declared))})


def texts(study_name: str, study: Study, dataset: str, source: str) -> str:
    """What texts follow from besides files of params/ and openings: files that a person put somewhere."""
    run = resolve("01_generate", {"model": source, "study": study_name, "dataset": dataset})
    if study.imported:
        return imported.identity(run)
    match run.source:
        case Human(human_dir=str(folder)):
            return _digest([store.file_hash(file) for file in text_files(paths.resolve(folder))])
        case Model(weights=where):
            return weights(where)
    return ""


def surprisal(study_name: str, dataset: str, source: str, scorer: str) -> str:
    """The code that scores, that of one engine; the scorer's files, and the words that a person cut."""
    given = {"model": source, "study": study_name, "dataset": dataset, "scorer": scorer}
    run = resolve("02_surprisal", given)
    code = code_hash(*scoring.code(run))
    if run.study.imported:
        return code
    return _digest({"code": code, "weights": weights(run.scorer.weights), **scoring.lists(run)})


@cache
def weights(declared: Declared) -> str:
    """The files of weights that lie on this machine: names, sizes and times, since to read them takes long.

    Where one has changed, the step looks at what is in them.
    """
    files = []
    for value in declared.model_dump().values():
        if not isinstance(value, str):
            continue
        try:
            path = paths.resolve(value)
            files += sorted(path.iterdir()) if path.is_dir() else [path]
        except (StudyError, OSError, ValueError):
            continue  # a package that is not there yet, a name that is no path; the step says so
    stamps = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    return _digest(stamps)


def uid(study: Study) -> str:
    return _digest({"settings": study.uid.model_dump(), "code": code_hash(*MEASURES)})


def comparison(study: Study, name: str) -> str:
    declared = study.comparisons[name].model_dump()
    return _digest({"declared": declared, "groups": study.groups_of(name), "code": code_hash(*COMPARISON)})


def hypotheses(study: Study) -> str:
    declared = {name: each.model_dump() for name, each in study.hypotheses.items()}
    return _digest({"declared": declared, "sources": study.sources, "code": code_hash(*HYPOTHESES)})


def bundles(study_name: str, study: Study) -> list[tuple[str, list[str]]]:
    """The dataset and the sources whose notebooks share a kernel: one source, or of imported ones a few."""
    found = []
    size = BUNDLE if study.imported else 1
    for dataset in study.datasets:
        sources = [source for where, source in repository.pairs(study_name, study) if where == dataset]
        found += [(dataset, sources[i : i + size]) for i in range(0, len(sources), size)]
    return found


@cache
def reports() -> str:
    """All code of the library: a page may show whatever it makes, and costs little to make again."""
    files = sorted(path for path in imports.LIB.rglob("*") if path.suffix in (".py", ".j2", ".css", ".js"))
    return store.digest(f"{path.relative_to(imports.LIB)} {store.file_hash(path)}" for path in files)


def _digest(content: Mapping[str, Any] | list[Any]) -> str:
    return store.digest([json.dumps(content, sort_keys=True, default=str)])
