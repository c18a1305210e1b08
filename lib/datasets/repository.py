"""The original study's repository on this disk: where its files lie, and what stands in them.

Every file is read once. What stands in the files of a source and dataset goes into one Parquet file
(`paths.imported`), with the size, time and hash of each; afterwards only files whose size or time have
changed are read again, and the Parquet file is written anew only if something in it changed.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from lib import machine, paths, store
from lib.errors import StudyError
from lib.params import Comparison, Import, Source, Study, load_source
from lib.progress import Bar

NUMBER = re.compile(r"_(\d+)$")
LEFT_OUT = "old_analysis"  # what the original itself put aside
SCHEMA = pa.schema(
    [
        ("number", pa.int32()),
        ("text_stat", pa.string()),  # size and time of the file; null: there is none
        ("text_hash", pa.string()),
        ("text", pa.string()),
        ("text_problem", pa.string()),
        ("tokens_stat", pa.string()),
        ("tokens_hash", pa.string()),
        ("tokens_problem", pa.string()),
        ("tokens", pa.list_(pa.string())),
        ("surprisal", pa.list_(pa.float64())),
    ]
)


@dataclass(frozen=True)
class Place:
    """A source and a dataset of a study that imports."""

    study: str
    declared: Import
    datasets: tuple[str, ...]
    dataset: str
    source: str
    human: bool

    @property
    def folder_name(self) -> str:
        return "human_texts" if self.human else self.source

    def folders(self) -> tuple[Path, Path, Path]:
        """Where its texts, surprisals and metrics are; where there is nothing, a folder that is not there."""
        root = root_of(self.study, self.declared)
        written = root / "Sources" if self.human else root / "Generations" / self.source
        scored, measured = (root / name / self.folder_name for name in ("Surprisals", "UID_Analysis"))
        return self._level(written), self._level(scored), self._level(measured)

    def _level(self, folder: Path) -> Path:
        """The folder of the dataset within `folder`, whatever its case.

        Results without a level of datasets belong to the dataset that `older` names, or to the only one.
        """
        found = [name for name in _names(folder) if name.lower() == self.dataset.lower()]
        if found:
            return folder / found[0]
        older = self.declared.older or (self.datasets[0] if len(self.datasets) == 1 else None)
        return folder if self.dataset == older else folder / self.dataset


def place_of(study_name: str, study: Study, dataset: str, name: str, source: Source) -> Place:
    """Raises StudyError if the study imports nothing."""
    if study.imported is None:
        raise StudyError(f"The study {study_name!r} has no `import`.")
    human = source.text_class == "human"
    return Place(study_name, study.imported, tuple(study.datasets), dataset, name, human)


def root_of(study: str, declared: Import) -> Path:
    """The repository's folder. Raises StudyError if nobody said where it is, or it is not there."""
    if not declared.root:
        raise StudyError(
            f"The study {study!r} is about a repository that lies on this disk; say where, as in "
            f"`make study STUDY={study} ROOT=~/Balancing-The-Flow`."
        )
    root = paths.resolve(declared.root)
    if not root.is_dir():
        raise StudyError(
            f"There is no folder {paths.shown(root)}; correct `ROOT` or the study's `import: root`."
        )
    return root


def pairs(study_name: str, study: Study) -> list[tuple[str, str]]:
    """The (dataset, source) of which a study has texts: all of them, or those that the repository has."""
    everything = [(dataset, source) for dataset in study.datasets for source in study.sources]
    if study.imported is None:
        return everything
    places = {pair: place_of(study_name, study, *pair, load_source(pair[1])) for pair in everything}
    return [
        pair for pair, place in places.items() if any(_numbered(folder) for folder in place.folders()[:2])
    ]


def narrowed(study_name: str, study: Study) -> Study:
    """`study` with the sources, datasets, hypotheses and comparisons of which the repository has texts."""
    if study.imported is None:
        return study
    there = pairs(study_name, study)
    datasets = tuple(name for name in study.datasets if any(dataset == name for dataset, _ in there))
    sources = tuple(name for name in study.sources if any(source == name for _, source in there))
    hypotheses = {
        contrast.name: study.hypotheses[contrast.name]
        for contrast in study.contrasts()
        if contrast.among(sources) is not None
    }
    narrow = study.model_copy(update={"datasets": datasets, "sources": sources, "hypotheses": hypotheses})
    comparisons = {}
    for name, declared in study.comparisons.items():
        named = tuple(source for source in declared.sources if source in sources)
        comparison = declared.model_copy(update={"sources": named})
        if bool(named) == bool(declared.sources) and _possible(narrow, comparison):
            comparisons[name] = comparison
    return narrow.model_copy(update={"comparisons": comparisons})


def _possible(study: Study, comparison: Comparison) -> bool:
    try:
        study.model_copy(update={"comparisons": {"it": comparison}}).groups_of("it")
    except StudyError:
        return False
    return True


def lacking(study_name: str, study: Study) -> pd.DataFrame:
    """What an imported repository has not, and what of it is left out: `dataset`, `source`, `why`."""
    columns = ["dataset", "source", "why"]
    if study.imported is None:
        return pd.DataFrame(columns=columns)
    there = set(pairs(study_name, study))
    rows = [
        (dataset, source, "the repository has no texts and no surprisals of it")
        for dataset in study.datasets
        for source in study.sources
        if (dataset, source) not in there
    ]
    narrow = narrowed(study_name, study)
    for kind, declared, possible in (
        ("hypothesis", study.hypotheses, narrow.hypotheses),
        ("comparison", study.comparisons, narrow.comparisons),
    ):
        for name in declared:
            if name not in possible:
                rows.append(("–", "–", f"the {kind} {name!r} needs what is lacking"))
    root = root_of(study_name, study.imported)
    for folder in sorted(root.glob(f"*/*/{LEFT_OUT}")):
        rows.append(
            ("–", folder.parent.name, f"{folder.relative_to(root)} is left out, an analysis replaced since")
        )
    return pd.DataFrame(rows, columns=columns)


def image(place: Place) -> Path:
    """The Parquet file of what stands in the files of `place`, brought up to date.

    Raises StudyError if the repository has none.
    """
    written, scored, _ = place.folders()
    texts, surprisals = _numbered(written), _numbered(scored)
    numbers = sorted(texts.keys() | surprisals.keys())
    if not numbers:
        raise StudyError(
            f"{paths.shown(root_of(place.study, place.declared))} has no texts of {place.source!r} on "
            f"{place.dataset!r}; take the source or the dataset out of the study {place.study!r}."
        )
    path = paths.imported(place.dataset, place.source)
    made = store.record("import", parameters={}, inputs={}, packages=(), units={}, code=(__name__,))
    with store.lock(path):
        known = pq.read_table(path) if store.is_complete(path, made) else SCHEMA.empty_table()
        stats = known.select(["number", "text_stat", "tokens_stat"]).to_pylist()
        rows_of = {(row["number"], row["text_stat"], row["tokens_stat"]): i for i, row in enumerate(stats)}
        wanted = [(n, _stat(texts.get(n)), _stat(surprisals.get(n))) for n in numbers]
        if wanted == list(rows_of):
            return path
        kept = [rows_of[key] for key in wanted if key in rows_of]
        new = [(key, texts.get(key[0]), surprisals.get(key[0])) for key in wanted if key not in rows_of]
        fresh = _table(list(_read(new, place)))
        both = pa.concat_tables([known.take(pa.array(kept, pa.int64())), fresh])
        store.write(path, both.sort_by("number"), SCHEMA, made)
    return path


def refresh(study_name: str, study: Study) -> None:
    """Bring the images of everything that `study` imports up to date, so that changed files are seen."""
    if study.imported is not None:
        for dataset, source in pairs(study_name, study):
            image(place_of(study_name, study, dataset, source, load_source(source)))


def read_metrics(place: Place) -> pd.DataFrame:
    """`doc_id` and the metrics that the original stored of the texts of `place`; empty if it did not."""
    file = place.folders()[2] / "uid_metrics.csv"
    if not file.exists():
        return pd.DataFrame({"doc_id": []})
    stored = pd.read_csv(file)
    numbers = stored["filename"].str.removesuffix(".csv").str.extract(NUMBER, expand=False)
    return stored.assign(doc_id=numbers.map(doc_id_of, na_action="ignore"))


def doc_id_of(number: int | str) -> str:
    return str(number).zfill(6)


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()) if folder.is_dir() else []


def _numbered(folder: Path) -> dict[int, os.DirEntry[str]]:
    """The numbered .txt or .csv files that lie in `folder` itself."""
    if not folder.is_dir():
        return {}
    found = {}
    for entry in os.scandir(folder):
        stem, _, suffix = entry.name.rpartition(".")
        if suffix in ("txt", "csv") and (number := NUMBER.search(stem)):
            found[int(number[1])] = entry
    return found


def _stat(entry: os.DirEntry[str] | None) -> str | None:
    if entry is None:
        return None
    stat = entry.stat()
    return f"{stat.st_size} {stat.st_mtime_ns}"


Key = tuple[int, str | None, str | None]
Files = tuple[Key, os.DirEntry[str] | None, os.DirEntry[str] | None]


def _read(files: list[Files], place: Place) -> Iterator[dict[str, Any]]:
    """The rows of `files`, read side by side: reading and pyarrow's parsing leave Python's lock."""
    about = f"reading {place.source}, {place.dataset}"
    with (
        ThreadPoolExecutor(machine.threads()) as pool,
        Bar(total=len(files), desc=about, disable=None) as bar,
    ):
        for row in pool.map(_row, files):
            bar.update()
            yield row


def _row(files: Files) -> dict[str, Any]:
    (number, text_stat, tokens_stat), text, surprisals = files
    row: dict[str, Any] = dict.fromkeys(SCHEMA.names)
    row |= {"number": number, "text_stat": text_stat, "tokens_stat": tokens_stat}
    if text is not None:
        try:
            content = Path(text.path).read_bytes()
            row |= {"text_hash": hashlib.sha256(content).hexdigest(), "text": content.decode("utf-8")}
        except (OSError, UnicodeDecodeError) as error:
            row["text_problem"] = f"{text.name} cannot be read ({error})"
    if surprisals is None:
        return row | {"tokens_problem": "there is no file of surprisals"}
    try:
        content = Path(surprisals.path).read_bytes()
        row["tokens_hash"] = hashlib.sha256(content).hexdigest()
        table = _parsed(content)
    except (OSError, pa.ArrowException, KeyError) as error:
        said = str(error).splitlines()[0].rstrip(".")
        return row | {"tokens_problem": f"{surprisals.name} cannot be read ({said})"}
    if not len(table):
        return row | {"tokens_problem": f"{surprisals.name} is empty"}
    if table["surprisal"].null_count or not np.isfinite(table["surprisal"]).all():
        return row | {"tokens_problem": f"{surprisals.name} has no surprisal for some of its tokens"}
    return row | {"tokens": table["token"], "surprisal": table["surprisal"]}


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    """`rows` of `_row` as a table of `SCHEMA`; a file with a problem has no tokens."""
    columns = []
    for column in SCHEMA:
        values = [row[column.name] for row in rows]
        if pa.types.is_list(column.type):
            found = [value.chunks if value is not None else [] for value in values]
            lengths = [sum(map(len, chunks)) for chunks in found]
            kind = column.type.value_type
            chunks = [pa.array([], kind), *(chunk for each in found for chunk in each)]
            offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
            columns.append(pa.ListArray.from_arrays(offsets, pa.concat_arrays(chunks)))
        else:
            columns.append(pa.array(values, column.type))
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _parsed(content: bytes) -> pa.Table:
    """Tokens and surprisals of a CSV file. "null", "NA" and "" are tokens."""
    types = {"token": pa.string(), "surprisal": pa.float64()}
    return pa_csv.read_csv(
        pa.py_buffer(content),
        read_options=pa_csv.ReadOptions(use_threads=False),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(column_types=types, strings_can_be_null=False),
    ).select(list(types))
