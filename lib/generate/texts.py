"""Step 01: from prompts to texts, or from people's documents to texts."""

import glob
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
import pyarrow as pa
from pydantic import ValidationError

from lib import datasets, paths, store
from lib.backends import agreed
from lib.backends.engines import deciding, engine_of, identity, open_generator
from lib.backends.generating import Generator
from lib.backends.prompts import TODAY
from lib.batches import batches
from lib.datasets import imported
from lib.datasets.document import Document, Key
from lib.errors import StudyError
from lib.generate.rows import (
    SCHEMA,
    UNITS,
    Task,
    human_rows,
    imported_row,
    joined,
    row_of,
    tasks_of,
)
from lib.generate.writing import line_about, written_rows
from lib.journal import Journal
from lib.params import Folder, Human, Model, Sampling
from lib.params.run import Run, command
from lib.progress import Bar

ROWS = 8192  # that are made a table at once, and divide a group of the file


@dataclass(frozen=True)
class GenerationSummary:
    """What a file of texts holds, and what it took to make it: 0 texts were `written` if it was there."""

    path: Path
    texts: int
    ok: int
    short: int
    errors: int
    retries: int
    written: int
    seconds: float

    def __str__(self) -> str:
        made = f"{self.written} written in {self.seconds:.0f} s" if self.written else "all there already"
        return (
            f"{paths.shown(self.path)}: {self.texts} texts ({made}), {self.ok} ok, {self.short} short, "
            f"{self.errors} failed, {self.retries} retries"
        )


def generate_texts(run: Run) -> GenerationSummary:
    """Write `paths.texts` of the run's source: rows of `SCHEMA` in the order of documents and samples.

    People's texts are those of the dataset, or of `human_dir`. A model writes `run.samples` texts per
    prompt; one with fewer than `min_characters` is tried again with another seed up to `max_retries` times
    and then kept with the status "short". What failed is a row with the status "error" and no text.

    A row's seed follows from the source, the document, the sample and the attempt, so neither the
    number of texts or samples nor the size of a batch changes a text: where only these numbers
    changed, the texts that are there stay. `seconds` is how long a server took and null for a
    model that runs here; a file that such a model writes on one machine twice is therefore the same
    to the byte. A run that was stopped goes on where it stopped. A complete file is left alone, apart
    from failed rows of a server, which get another chance.

    Raises StudyError for documents or weights that are missing or cannot be read.
    """
    began = perf_counter()
    path = paths.texts(run.dataset_name, run.source_name)
    documents = [] if run.study.imported else _documents(run)
    made = _record(run, documents)
    with store.lock(path):
        written = 0
        if run.regenerate:
            store.keep(path)
            for each in (path, *_shards(path)):
                Journal(each, made).remove()
        kept = {} if run.regenerate else _kept(run, path, made, documents)
        if kept is not None:
            match run.source:
                case _ if run.study.imported:
                    found = [imported_row(run, row) for row in imported.texts(run)]
                    written = len(found)
                    store.write(path, pd.DataFrame(found), SCHEMA, made)
                case Human():
                    written = len(documents)
                    store.write(path, pd.DataFrame(human_rows(run, documents)), SCHEMA, made)
                case Model():
                    tasks = list(tasks_of(documents, run.samples))
                    written = _write(run, run.source, tasks, path, made, kept)
        rows = store.read(path, command("01_generate", run), ["status", "retries"])
    counts = rows["status"].value_counts()
    return GenerationSummary(
        path=path,
        texts=len(rows),
        ok=int(counts.get("ok", 0)),
        short=int(counts.get("short", 0)),
        errors=int(counts.get("error", 0)),
        retries=int(rows["retries"].sum()),
        written=written,
        seconds=perf_counter() - began,
    )


def write_shard(run: Run, shard: tuple[int, int]) -> int:
    """Write every n-th of the missing texts from the i-th on, `shard` being (i, n); how many those are.

    Shards may be written at the same time, on machines that share the folder; `generate_texts` then
    joins them to the bytes that it would have written alone. Raises StudyError as it does, and the first
    shard where there are more of them than texts.
    """
    if run.study.imported or not isinstance(run.source, Model):
        return 0
    path = paths.texts(run.dataset_name, run.source_name)
    documents = _documents(run)
    made = _record(run, documents)
    tasks = list(tasks_of(documents, run.samples))
    if shard[1] > len(tasks) and shard[0] == 0:
        raise StudyError(
            f"{run.source_name!r} writes {len(tasks)} texts, which {shard[1]} shards cannot share; "
            f"give at most {len(tasks)}."
        )
    with store.lock(path):
        kept = _kept(run, path, made, documents)
    if kept is None:
        return 0
    mine = [task for task in tasks if task.key not in kept][shard[0] :: shard[1]]
    own = path.with_name(f"{path.stem}.shard-{shard[0] + 1}-of-{shard[1]}{path.suffix}")
    with store.lock(own), Bar(total=len(mine), unit="text", desc=run.source_name) as bar:
        with agreed.upon(_choices(path)):
            generator, journal = open_generator(run.source.weights), Journal(own, made)
        for group in batches(mine, lambda _: 1, generator.at_once):
            written_rows(run, run.source, generator, group, journal, bar)
    return len(mine)


def _kept(
    run: Run, path: Path, made: store.Record, documents: Sequence[Document]
) -> dict[Key, dict[str, Any]] | None:
    """The rows of `path` that stay, by their key; None if all do and there is nothing to write."""
    complete = store.is_to_be_had(path, made)
    if not isinstance(run.source, Model) or run.study.imported:
        return None if complete else {}
    if complete and (run.reads_only or not engine_of(run.source.weights).remote):
        return None
    if not complete and not _differs_in_number_only(path, made):
        return {}
    rows = [
        {"sample": 0, "reasoning": None, **row}
        for row in store.read_table(path, command("01_generate", run)).to_pylist()
    ]
    kept = {(row["doc_id"], row["sample"]): row for row in rows if row["error"] is None}
    if complete:
        return kept if len(kept) < len(rows) else None
    same = store.read_record(path)["inputs"] == made["inputs"]
    # Of a conversation only the first prompt is in the row.
    prompts = {each.doc_id: each.prompt for each in documents if same or not each.joined_as}
    first = {row_of(each): each.doc_id for each in reversed(documents)}
    return {
        key: row
        for key, row in kept.items()
        if key[0] in first and prompts.get(first[key[0]]) == row["prompt"]
    }


def _differs_in_number_only(path: Path, made: store.Record) -> bool:
    """Whether the texts at `path` were made as `made` says, but for how many there are."""

    def decided(record: store.Record) -> Any:
        parameters = dict(record["parameters"])
        parameters.pop("samples", None)
        sampling = Sampling.model_validate(parameters.pop("sampling"))
        inputs = {name: value for name, value in record["inputs"].items() if name != "prompts"}
        return parameters, sampling.model_copy(update={"generate": 1}), inputs, record["versions"]

    if not path.exists():
        return False
    try:
        return bool(decided(store.read_record(path)) == decided(made))
    except (StudyError, KeyError, ValidationError):
        return False  # broken, or of another time


def _documents(run: Run) -> list[Document]:
    match run.source:
        case Human(human_dir=str(folder)):
            documents = datasets.read_folder(Folder(kind="folder", folder=folder))
        case _:
            documents = datasets.load(run.dataset_name, run.dataset)
    wanted = run.source.generate if isinstance(run.source, Human) else run.source.sampling.generate
    kept = set(list(dict.fromkeys(row_of(document) for document in documents))[:wanted])
    return [document for document in documents if row_of(document) in kept]


def _record(run: Run, documents: Sequence[Document]) -> store.Record:
    """What decides the texts. The code does not: texts are dear, `regenerate` makes them anew."""
    parameters: dict[str, Any] = {"source": run.source_name, "dataset": run.dataset_name}
    match run.source:
        case _ if run.study.imported:
            parameters |= {"import": run.study.imported.model_dump(exclude={"root"})}
            inputs = {"imported": imported.identity(run)}
            packages: tuple[str, ...] = ()
        case Human():
            inputs = {"documents": _digest(documents)}
            packages = ()
        case Model(weights=where):
            parameters |= run.source.model_dump(include={"sampling", "chat", "system_prompt"})
            parameters["samples"] = run.samples
            parameters["weights"] = deciding(where)
            if run.source.chat and not engine_of(where).remote:
                parameters["today_in_templates"] = TODAY.date().isoformat()
            prompts = [(document.doc_id, document.title, document.prompt) for document in documents]
            inputs = {"prompts": _digest(prompts), "weights": identity(where)}
            packages = engine_of(where).packages(where, reading=False)
    return store.record("01_generate", parameters=parameters, inputs=inputs, packages=packages, units=UNITS)


def _digest(content: Sequence[Any]) -> str:
    plain = [asdict(item) if isinstance(item, Document) else item for item in content]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def _write(
    run: Run,
    model: Model,
    tasks: Sequence[Task],
    path: Path,
    made: store.Record,
    kept: dict[Key, dict[str, Any]],
) -> int:
    """Write `path` with the rows that are `kept` and those of all other tasks; how many those are."""
    journal = Journal(path, made)
    shards = [Journal(shard, made) for shard in _shards(path)]
    for shard in shards:
        journal.take_over(shard)
    with agreed.upon(_choices(path)) as chosen:
        generator = open_generator(model.weights)
    missing = [task for task in tasks if task.key not in kept]
    with Bar(total=len(tasks), initial=len(tasks) - len(missing), unit="text", desc=run.source_name) as bar:
        rows = _written(run, model, generator, missing, journal, bar)
        tables = list(_tables(rows))  # a tenth of the memory that rows take
    written = sum(map(len, tables))
    if kept:
        rows = (row for table in tables for row in table.to_pylist())
        found = kept | {(row["doc_id"], row["sample"]): row for row in rows}
        tables = list(_tables(found[key] for key in dict.fromkeys(task.key for task in tasks)))
    how = {**made, store.MEASURED: {"products": chosen}} if chosen else made
    store.write_stream(path, tables or [SCHEMA.empty_table()], SCHEMA, how)
    for each in (journal, *shards):
        each.remove()
    _choices(path).unlink(missing_ok=True)
    return written


def _written(
    run: Run, model: Model, generator: Generator, tasks: Sequence[Task], journal: Journal, bar: Bar
) -> Iterator[dict[str, Any]]:
    """The rows of `tasks` in their order; those of a conversation, which are written together, as one."""
    conversations = [list(one) for _, one in groupby(tasks, key=lambda task: task.key)]
    for some in batches(conversations, len, generator.at_once):
        group = [task for one in some for task in one]
        rows = written_rows(run, model, generator, group, journal, bar)
        if run.verbose:
            for row in rows:
                bar.write(line_about(row))
        yield from joined(rows, group)


def _tables(rows: Iterable[dict[str, Any]]) -> Iterator[pa.Table]:
    """`rows` as tables of `ROWS` each."""
    return (pa.Table.from_pylist(some, SCHEMA) for some in batches(rows, lambda _: 1, ROWS))


def _shards(path: Path) -> list[Path]:
    """What stands in the place of `path` for the shards that have a journal."""
    found = path.parent.glob(f".{glob.escape(path.stem)}.shard-*{path.suffix}.journal")
    return [path.with_name(file.name[1:].removesuffix(".journal")) for file in sorted(found)]


def _choices(path: Path) -> Path:
    """Where those who write the texts of `path` agree on what decides last digits (`lib.backends.agreed`)."""
    return path.with_name(f".{path.name}.choices")


def read_texts(run: Run) -> pd.DataFrame:
    """The rows of `SCHEMA` of the run's source."""
    path = paths.texts(run.dataset_name, run.source_name)
    return store.read(path, command("01_generate", run), schema=SCHEMA)


def summary_table(texts: pd.DataFrame) -> pd.DataFrame:
    """Per status: how many texts, their mean length, and how many hit the limit of new tokens."""
    texts = texts.assign(
        characters=texts["text"].fillna("").str.len(), cut_off=texts["finish_reason"] == "length"
    )
    grouped = texts.groupby("status", sort=False)
    return grouped.agg(
        texts=("doc_id", "size"),
        mean_characters=("characters", "mean"),
        retries=("retries", "sum"),
        cut_off=("cut_off", "sum"),
    ).reset_index()


def print_samples(texts: pd.DataFrame, count: int = 3) -> None:
    """The first texts, each with its prompt, as plain print: a model's text is never markup."""
    for row in texts.head(count).itertuples():
        print(f"--- {row.doc_id}\n[{row.prompt}]{row.text}\n")
