"""Everything that a study declares, looked at before the first step starts.

The graph of files is no place for this: Snakemake takes a file that it cannot work out for one that
is there. And what reaches it as a name must not read as a pattern to it or to a shell.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lib import commands, packages, paths
from lib.compare import named
from lib.datasets import folder, repository, rows, word_lists
from lib.errors import StudyError
from lib.params import (
    Corpus,
    Dataset,
    Folder,
    Human,
    Study,
    load_dataset,
    load_scorer,
    load_source,
    load_study,
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+=-]*")


def checked_study(name: str) -> Study:
    """The study `name`, of which everything that it names exists and is allowed.

    Raises StudyError with a line for each thing that is wrong, all at once.
    """
    study = _named("study", name, load_study)
    wrong = list(dict.fromkeys(_wrong_with(name, study)))
    if wrong:
        raise StudyError("\n".join(wrong))
    return study


def _wrong_with(name: str, study: Study) -> Iterator[str]:
    yield from _said(study.sources, _check_source)
    yield from _said(study.scorers, lambda scorer: _named("scorer", scorer, load_scorer))
    imports = study.imported is not None
    yield from _said(study.datasets, lambda dataset: _check_dataset(dataset, imports))
    yield from _said(study.comparisons, study.groups_of)
    yield from _said([study], named.check)
    if imports:
        yield from _said([study], lambda study: _check_import(name, study))


def _said(things: Iterable[Any], check: Callable[[Any], object]) -> Iterator[str]:
    """What is wrong with each of `things`, as its check says it."""
    for thing in things:
        try:
            check(thing)
        except StudyError as error:
            yield " ".join(str(error).split())
        except OSError as error:  # a name that no file system takes
            yield str(StudyError(f"{commands.about(error)}."))


def _named(what: str, name: str, load: Callable[[str], Any]) -> Any:
    found = load(name)
    if not NAME.fullmatch(name):
        raise StudyError(
            f"{name!r} cannot be the name of a {what}: letters, digits and . _ @ + = - are allowed; "
            f"rename its file."
        )
    return found


def _check_source(name: str) -> None:
    source = _named("source", name, load_source)
    if isinstance(source, Human) and source.human_dir is not None:
        folder.text_files(paths.resolve(source.human_dir))


def _check_dataset(name: str, imports: bool) -> None:
    dataset: Dataset = _named("dataset", name, load_dataset)
    if imports:
        return  # its texts lie in the imported project
    if words := word_lists.of(dataset):
        word_lists.read(words)
    match dataset:
        case Folder():
            folder.text_files(paths.resolve(dataset.folder))
        case Corpus(rows=table) if table.files is not None:
            rows.local_files(table.files)


def _check_import(name: str, study: Study) -> None:
    if study.imported and not repository.pairs(name, study):
        root = repository.root_of(name, study.imported)
        raise StudyError(
            f"{paths.shown(root)} has no texts of any source of the study {name!r}; correct `ROOT` or the "
            f"study's `import: root`."
        )


def packages_of(study: Study) -> list[str]:
    """The weights of `study` that lie in Python packages, as its params files name them."""
    found = []
    for name in (*study.sources, *study.scorers):
        if not paths.source_file(name).exists():
            continue  # said where everything is checked
        declared = load_scorer(name) if name in study.scorers else load_source(name)
        if isinstance(declared, Human):
            continue
        named = [value for _, value in declared.weights if isinstance(value, str)]
        found += [value for value in named if value.startswith(packages.SCHEME)]
    return list(dict.fromkeys(found))
