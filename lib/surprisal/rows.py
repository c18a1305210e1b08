"""From texts to the rows of step 02: one scorer, some texts, their tokens and words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from lib.backends.scoring import Reader, Reading
from lib.datasets.document import Key
from lib.params import Scoring
from lib.surprisal import listed
from lib.surprisal.words import group, word_surprisal

SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("position", pa.int32()),
        ("token_id", pa.int32()),
        ("token", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("surprisal", pa.float64()),
        ("entropy", pa.float64()),
        ("context", pa.int32()),
        ("rank", pa.int32()),
        ("sample", pa.int32()),
    ]
)
WORD_SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("position", pa.int32()),
        ("word", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("surprisal", pa.float64()),
        ("surprisal_uncorrected", pa.float64()),
        ("sample", pa.int32()),
    ]
)
NOT_FINITE = "the scorer gave a token no finite surprisal; try another dtype"


@dataclass(frozen=True)
class Text:
    """One text to score, with the prompt that it grew from; one of several has its number `sample`."""

    doc_id: str
    prompt: str
    text: str
    sample: int = 0
    words: tuple[str, ...] | None = None  # None: what white space separates

    @property
    def key(self) -> Key:
        return self.doc_id, self.sample


class Scored(NamedTuple):
    """Tokens as a table of `SCHEMA`, words of `WORD_SCHEMA`, and why a text is in neither."""

    tokens: pa.Table
    words: pa.Table
    not_scored: dict[Key, str]


def score_rows(model: Reader, scoring: Scoring, texts: Sequence[Text]) -> Scored:
    """The tokens and the words of `texts`. Raises StudyError if `scoring` does not suit `model`."""
    not_scored = {each.key: reason for each in texts if (reason := _unreadable(each))}
    texts = [each for each in texts if each.key not in not_scored]
    before = ["" if scoring.context == "none" else each.prompt for each in texts]
    readings = model.read([(prompt, each.text) for prompt, each in zip(before, texts, strict=True)], scoring)
    tokens, words = _Columns(SCHEMA), _Columns(WORD_SCHEMA)
    for text, found in zip(texts, readings, strict=True):
        if isinstance(found, str):
            not_scored[text.key] = found
        elif not np.isfinite(found.surprisal).all():
            not_scored[text.key] = NOT_FINITE
        else:
            spelled = [text.text[a:b] for a, b in zip(found.starts, found.ends, strict=True)]
            unknown = np.full(len(spelled), np.nan)
            tokens.add(
                doc_id=[text.doc_id] * len(spelled),
                position=np.arange(len(spelled)),
                token_id=unknown if found.ids is None else found.ids,
                token=spelled,
                start=found.starts,
                end=found.ends,
                surprisal=found.surprisal,
                entropy=unknown if found.entropy is None else found.entropy,
                context=found.context,
                rank=unknown if found.rank is None else found.rank,
                sample=np.full(len(spelled), text.sample),
            )
            if found.boundary is not None:
                words.add(**_words(text, spelled, found, found.boundary))
    return Scored(tokens.table(), words.table(), not_scored)


def described(model: Reader, scoring: Scoring) -> dict[str, Any]:
    """How `model` reads, for the record, and why there are no words."""
    found = model.described(scoring)
    return {**found, "why_no_words": model.why_no_words} if model.why_no_words else found


def listed_in_record(not_scored: Mapping[Key, str]) -> list[dict[str, Any]]:
    """Why texts are not scored, as a record keeps it."""
    return [{"doc_id": key[0], "sample": key[1], "reason": why} for key, why in not_scored.items()]


def _unreadable(text: Text) -> str | None:
    try:
        (text.prompt + text.text).encode()
    except UnicodeEncodeError:
        return "it has half a surrogate pair, which is no character"
    return None if text.text else "the text is empty"


def _words(text: Text, spelled: list[str], found: Reading, boundary: np.ndarray) -> dict[str, Any]:
    """The columns of `WORD_SCHEMA` for one text."""
    words = (
        group(spelled) if text.words is None else listed.group(text.text, spelled, text.words, text.doc_id)
    )
    corrected, uncorrected = word_surprisal(words, found.surprisal, boundary, marked=found.begins_word)
    return {
        "doc_id": [text.doc_id] * len(words.firsts),
        "position": np.arange(len(words.firsts)),
        "word": [text.text[a:b] for a, b in zip(words.starts, words.ends, strict=True)],
        "start": words.starts,
        "end": words.ends,
        "surprisal": corrected,
        "surprisal_uncorrected": uncorrected,
        "sample": np.full(len(words.firsts), text.sample),
    }


class _Columns:
    """The columns of a table, text by text."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.columns: dict[str, list[Any]] = {name: [] for name in schema.names}

    def add(self, **columns: Any) -> None:
        for name, values in columns.items():
            self.columns[name].append(values)

    def table(self) -> pa.Table:
        arrays = []
        for each in self.schema:
            pieces = self.columns[each.name]
            if pa.types.is_string(each.type):
                arrays.append(pa.array([value for piece in pieces for value in piece], each.type))
            else:
                values = np.concatenate(pieces) if pieces else np.empty(0)
                arrays.append(
                    pa.array(values, from_pandas=each.name in ("entropy", "token_id", "rank")).cast(each.type)
                )
        return pa.Table.from_arrays(arrays, schema=self.schema)
