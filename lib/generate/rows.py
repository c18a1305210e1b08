"""The rows of step 01: what they are called, and how texts become rows."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa

from lib.backends.generating import Completion, Request
from lib.datasets.document import Document, Key
from lib.generate.reasoning import split_reasoning
from lib.generate.repetition import cut_repetition
from lib.params import Sampling
from lib.params.run import Run

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
        ("reasoning", pa.string()),  # what a model thought aloud before the text
        ("sample", pa.int32()),  # which of the texts of one prompt
    ]
)
UNITS = {
    "retries": "attempts after the first",
    "seconds": "s",
    "tokens": "tokens of the source's model",
    "sample": "number of a text among those of its prompt, from 0",
}


@dataclass(frozen=True, slots=True)
class Task:
    """One text to write: number `sample` of those that go on from the document's prompt."""

    document: Document
    sample: int = 0

    @property
    def key(self) -> Key:
        """Of the row that the text ends in."""
        return row_of(self.document), self.sample


def row_of(document: Document) -> str:
    """The `doc_id` of the row that the document's text ends in."""
    return document.joined_as or document.doc_id


def blank(run: Run, task: Task) -> dict[str, Any]:
    """A row that says which text it is of, and nothing about it yet."""
    return {
        **dict.fromkeys(SCHEMA.names),
        "doc_id": task.document.doc_id,
        "source": run.source_name,
        "dataset": run.dataset_name,
        "title": task.document.title,
        "prompt": task.document.prompt,
        "sample": task.sample,
    }


def human_rows(run: Run, documents: Sequence[Document]) -> list[dict[str, Any]]:
    tasks = [Task(document) for document in documents]
    rows = [
        {
            **blank(run, task),
            "text": task.document.text,
            "status": "ok" if task.document.text.strip() else "short",
            "retries": 0,
        }
        for task in tasks
    ]
    return joined(rows, tasks)


def imported_row(run: Run, row: dict[str, Any]) -> dict[str, Any]:
    document = Document(doc_id=row["doc_id"], title="", prompt="", text=row["text"])
    return {**blank(run, Task(document)), "retries": 0, **row}


def tasks_of(documents: Sequence[Document], samples: int) -> Iterator[Task]:
    """Document by document the samples of each; of a conversation, each sample as a whole."""
    for _, one in groupby(documents, key=row_of):
        conversation = list(one)
        for sample in range(samples):
            yield from (Task(document, sample) for document in conversation)


def joined(rows: Sequence[dict[str, Any]], tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """One row per conversation and sample where the documents say so, a blank line between its texts.

    The row is that of the first prompt, the context in which the whole is scored. Its status is
    "error" if nothing was written, and "ok" if one of its texts is.
    """
    conversations: dict[Key, list[dict[str, Any]]] = {}
    for row, task in zip(rows, tasks, strict=True):
        conversations.setdefault(task.key, []).append(row)
    return [
        one[0] if doc_id == one[0]["doc_id"] else _joined_row(doc_id, one)
        for (doc_id, _), one in conversations.items()
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
        "reasoning": "\n\n".join(row["reasoning"] for row in rows if row.get("reasoning")) or None,
    }


def model_row(
    document: Document, request: Request, completion: Completion, sampling: Sampling
) -> dict[str, Any]:
    reasoning, text = completion.reasoning, completion.text
    if request.chat and reasoning is None:
        reasoning, text = split_reasoning(text, completion.sent)
    cut, text = cut_repetition(document.prompt, text)
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
        "reasoning": reasoning,
    }


def seed_of(seed: int, source: str, doc_id: str, attempt: int, sample: int = 0) -> int:
    """The seed of one text: 31 bits, which every backend takes."""
    about = f"{seed}:{source}:{doc_id}:{attempt}" + (f" sample {sample}" if sample else "")
    digest = hashlib.sha256(about.encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
