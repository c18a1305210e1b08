"""Step 01: from prompts to texts, or from people's documents to texts."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
import pyarrow as pa

from lib import datasets, paths, store
from lib.backends import weights
from lib.backends.generating import Completion, Generator, Request, open_generator
from lib.datasets import imported
from lib.datasets.document import Document
from lib.generate.repetition import cut_repetition
from lib.params import Folder, Human, Model, OpenAI, Sampling
from lib.params.run import Run, command
from lib.progress import Bar

SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("source", pa.string()),
        ("dataset", pa.string()),
        ("title", pa.string()),
        ("prompt", pa.string()),
        ("text", pa.string()),
        ("status", pa.string()),  # ok, short or error
        ("error", pa.string()),
        ("retries", pa.int32()),
        ("seed", pa.int64()),
        ("finish_reason", pa.string()),  # stop or length
        ("seconds", pa.float64()),
        ("tokens", pa.int32()),  # that the model wrote
        ("sent", pa.string()),  # what the model was given: the prompt in its template
        ("cut", pa.string()),  # a repetition of the prompt, taken off the beginning of the text
    ]
)
UNITS = {"retries": "attempts after the first", "seconds": "s", "tokens": "tokens of the source's model"}
PACKAGES = {
    "transformers": ("torch", "transformers", "tokenizers"),
    "llama_cpp": ("llama-cpp-python",),
    "openai": (),  # the server writes; which client asks it changes nothing
}


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
    """Write `paths.texts` of the run's source: one row of `SCHEMA` per document, in their order.

    People's texts are those of the dataset, or of `human_dir`. A model writes one text per prompt;
    one with fewer than `min_characters` is tried again with another seed up to `max_retries` times
    and then kept with the status "short". What failed is a row with the status "error" and no text.

    A row's seed follows from the source, the document and the attempt, so neither the number of
    texts nor the size of a batch changes a text. `seconds` is how long a server took and null for a
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
        kept = {} if run.regenerate else _kept(run, path, made)
        if kept is not None:
            parts = store.Parts(path, SCHEMA, made, fresh=run.regenerate)
            match run.source:
                case _ if run.study.imported:
                    found = [_imported_row(run, row) for row in imported.texts(run)]
                    written = len(found)
                    store.write(path, pd.DataFrame(found), SCHEMA, made)
                case Human():
                    written = len(documents)
                    store.write(path, pd.DataFrame(_human_rows(run, documents)), SCHEMA, made)
                case Model():
                    written = _write_in_parts(run, run.source, documents, parts, kept)
        rows = store.read(path, command("01_generate", run))
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


def _kept(run: Run, path: Path, made: store.Record) -> dict[str, dict[str, Any]] | None:
    """The rows of `path` that stay, by `doc_id`; None if all do and there is nothing to write."""
    if not store.is_to_be_had(path, made):
        return {}
    behind_server = isinstance(run.source, Model) and isinstance(run.source.weights, OpenAI)
    rows = store.read_table(path, command("01_generate", run)).to_pylist() if behind_server else []
    kept = {row["doc_id"]: row for row in rows if row["error"] is None}
    return kept if len(kept) < len(rows) else None


def _documents(run: Run) -> list[Document]:
    match run.source:
        case Human(human_dir=str(folder)):
            documents = datasets.read_folder(Folder(kind="folder", folder=folder))
        case _:
            documents = datasets.load(run.dataset_name, run.dataset)
    wanted = run.source.generate if isinstance(run.source, Human) else run.source.sampling.generate
    kept = set(list(dict.fromkeys(_row_of(document) for document in documents))[:wanted])
    return [document for document in documents if _row_of(document) in kept]


def _row_of(document: Document) -> str:
    """The `doc_id` of the row that the document's text ends in."""
    return document.joined_as or document.doc_id


def _record(run: Run, documents: Sequence[Document]) -> store.Record:
    """What decides the texts. The code does not: texts are dear, `regenerate` makes them anew."""
    parameters: dict[str, Any] = {"source": run.source_name, "dataset": run.dataset_name}
    match run.source:
        case _ if run.study.imported:
            parameters |= {"import": run.study.imported.model_dump()}
            inputs = {"imported": imported.identity(run)}
            packages: tuple[str, ...] = ()
        case Human():
            inputs = {"documents": _digest(documents)}
            packages = ()
        case Model(weights=where):
            parameters |= run.source.model_dump(include={"sampling", "chat", "system_prompt"})
            parameters["weights"] = weights.deciding(where)
            prompts = [(document.doc_id, document.title, document.prompt) for document in documents]
            inputs = {"prompts": _digest(prompts), "weights": weights.identity(where)}
            packages = PACKAGES[where.backend]
    return store.record("01_generate", parameters=parameters, inputs=inputs, packages=packages, units=UNITS)


def _digest(content: Sequence[Any]) -> str:
    plain = [asdict(item) if isinstance(item, Document) else item for item in content]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def _human_rows(run: Run, documents: Sequence[Document]) -> list[dict[str, Any]]:
    rows = [
        {
            **_row(run, document),
            "text": document.text,
            "status": "ok" if document.text.strip() else "short",
            "retries": 0,
        }
        for document in documents
    ]
    return joined(rows, documents)


def _imported_row(run: Run, row: dict[str, Any]) -> dict[str, Any]:
    document = Document(doc_id=row["doc_id"], title="", prompt="", text=row["text"])
    return {**_row(run, document), "retries": 0, **row}


def joined(rows: Sequence[dict[str, Any]], documents: Sequence[Document]) -> list[dict[str, Any]]:
    """One row per conversation where `documents` say so, its texts with a blank line between.

    The row is that of the first prompt, the context in which the whole is scored. Its status is
    "error" if nothing was written, and "ok" if one of its texts is.
    """
    conversations: dict[str, list[dict[str, Any]]] = {}
    for row, document in zip(rows, documents, strict=True):
        conversations.setdefault(_row_of(document), []).append(row)
    return [
        one[0] if doc_id == one[0]["doc_id"] else _joined_row(doc_id, one)
        for doc_id, one in conversations.items()
    ]


def _joined_row(doc_id: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    def total(column: str) -> int | None:
        found = [row[column] for row in rows if row[column] is not None]
        return sum(found) if found else None

    statuses = [row["status"] for row in rows]
    return {
        **rows[0],
        "doc_id": doc_id,
        "text": "\n\n".join(row["text"].strip() for row in rows if row["text"].strip()),
        "status": next(status for status in ("ok", "short", "error") if status in statuses),
        "error": "; ".join(row["error"] for row in rows if row["error"]) or None,
        **{column: total(column) for column in ("retries", "seconds", "tokens")},
        "sent": "\n\n".join(row["sent"] for row in rows if row["sent"]) or None,
    }


def _groups(documents: Sequence[Document], size: int) -> Iterator[list[Document]]:
    """About `size` consecutive documents each; a conversation stays in one group."""
    group: list[Document] = []
    for document in documents:
        if len(group) >= size and _row_of(document) != _row_of(group[-1]):
            yield group
            group = []
        group.append(document)
    if group:
        yield group


def _row(run: Run, document: Document) -> dict[str, Any]:
    return {
        **dict.fromkeys(SCHEMA.names),
        "doc_id": document.doc_id,
        "source": run.source_name,
        "dataset": run.dataset_name,
        "title": document.title,
        "prompt": document.prompt,
    }


def _write_in_parts(
    run: Run,
    model: Model,
    documents: Sequence[Document],
    parts: store.Parts,
    kept: dict[str, dict[str, Any]],
) -> int:
    """Write the parts that are not there yet and join them; the number of texts written.

    Rows that are `kept` are not written again.
    """
    generator = open_generator(model.weights)
    groups = list(_groups(documents, generator.at_once))
    written, tokens, began = 0, 0, perf_counter()
    with Bar(total=len(documents), unit="text", desc=run.source_name) as progress:
        for number, group in enumerate(groups):
            if not parts.done(number):
                missing = [document for document in group if _row_of(document) not in kept]
                rows = _model_rows(run, model, generator, missing)
                found = kept | {row["doc_id"]: row for row in rows}
                ids = dict.fromkeys(_row_of(document) for document in group)
                parts.write(number, pd.DataFrame([found[doc_id] for doc_id in ids]))
                written += len(rows)
                tokens += sum(row["tokens"] for row in rows)
                progress.set_postfix_str(f"{tokens / (perf_counter() - began):.0f} tokens/s")
                if run.verbose:
                    for row in rows:
                        progress.write(_line(row))
            progress.update(len(group))
    parts.finish(len(groups))
    return written


def _model_rows(
    run: Run, model: Model, generator: Generator, documents: Sequence[Document]
) -> list[dict[str, Any]]:
    """A row per document; those whose text is too short are tried again together."""
    rows: dict[str, dict[str, Any]] = {}
    pending = list(documents)
    # Without chance in it, another attempt gives the same text.
    attempts = 1 + (model.sampling.max_retries if model.sampling.temperature > 0 else 0)
    for attempt in range(attempts):
        requests = [_request(run, model, document, attempt) for document in pending]
        completions = generator.generate(requests, model.sampling)
        for document, request, completion in zip(pending, requests, completions, strict=True):
            found = _model_row(document, request, completion, model.sampling)
            earlier = rows.get(document.doc_id, {"retries": -1})["retries"]
            found["retries"] = earlier + 1 + completion.retries
            rows[document.doc_id] = {**_row(run, document), **found}
        pending = [document for document in pending if rows[document.doc_id]["status"] == "short"]
        if not pending:
            break
    return joined([rows[document.doc_id] for document in documents], documents)


def _request(run: Run, model: Model, document: Document, attempt: int) -> Request:
    return Request(
        prompt=document.prompt,
        seed=seed_of(model.sampling.seed, run.source_name, document.doc_id, attempt),
        chat=model.chat,
        system_prompt=model.system_prompt,
    )


def _model_row(
    document: Document, request: Request, completion: Completion, sampling: Sampling
) -> dict[str, Any]:
    cut, text = cut_repetition(document.prompt, completion.text)
    long_enough = len(text.strip()) >= max(sampling.min_characters, 1)
    return {
        "text": text,
        "status": "error" if completion.error else "ok" if long_enough else "short",
        "error": completion.error,
        "seed": request.seed,
        "finish_reason": completion.finish_reason,
        "seconds": completion.seconds,
        "tokens": completion.tokens,
        "sent": completion.sent,
        "cut": cut or None,
    }


def seed_of(seed: int, source: str, doc_id: str, attempt: int) -> int:
    """The seed of one text: 31 bits, which every backend takes."""
    digest = hashlib.sha256(f"{seed}:{source}:{doc_id}:{attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _line(row: dict[str, Any]) -> str:
    about = row["error"] or " ".join(row["text"].split())[:80]
    return f"{row['doc_id']}  {row['status']}, {row['tokens']} tokens, {row['retries']} retries: {about}"


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
