"""From texts to the rows of step 02: one scorer, some texts, their tokens and words.

Prompt and text are tokenised apart, so that no token straddles the border and the text's tokens
tile the text. BOS stands there once; the further windows of a long text begin in its midst.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from lib.backends.scoring import Encoding, Request, Scores, ScoringModel, TextScoringModel
from lib.datasets.document import Key
from lib.errors import StudyError
from lib.params import Scoring
from lib.surprisal import listed
from lib.surprisal.windows import windows
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
NO_MEMORY = "one window of it does not fit into memory; set `scoring: window` lower"
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


def score_rows(model: ScoringModel | TextScoringModel, scoring: Scoring, texts: Sequence[Text]) -> Scored:
    """The tokens and the words of `texts`. Raises StudyError if `scoring` does not suit `model`."""
    not_scored = {each.key: reason for each in texts if (reason := _unreadable(each))}
    texts = [each for each in texts if each.key not in not_scored]
    if isinstance(model, TextScoringModel):
        return _read_rows(model, scoring, texts, not_scored)
    window, stride = reading(model, scoring)
    encodings = model.encode([each.text for each in texts])
    prompts = model.encode([each.prompt if scoring.context == "prompt" else "" for each in texts])

    requests: list[Request] = []
    contexts: list[list[np.ndarray]] = []
    for encoding, prompt in zip(encodings, prompts, strict=True):
        ids = np.concatenate([[model.bos], prompt.ids, encoding.ids]).astype(np.int64)
        first = 1 + len(prompt.ids)
        reads = list(windows(len(ids), first, window, stride))
        requests += [Request(ids[read.start : read.end], read.scored - read.start) for read in reads]
        contexts.append([np.arange(read.scored, read.end) - read.start for read in reads])

    scores = iter(model.score(requests, entropy=scoring.entropy))
    tokens, words = _Columns(SCHEMA), _Columns(WORD_SCHEMA)
    for text, encoding, context in zip(texts, encodings, contexts, strict=True):
        own = [score for _ in context if (score := next(scores)) is not None]
        if len(own) < len(context):
            not_scored[text.key] = NO_MEMORY
        elif not own:
            not_scored[text.key] = "the scorer's tokenizer makes no token of it"
        elif not all(np.isfinite(score.surprisal).all() for score in own):
            not_scored[text.key] = NOT_FINITE
        else:
            spelled = [text.text[a:b] for a, b in zip(encoding.starts, encoding.ends, strict=True)]
            surprisal = np.concatenate([score.surprisal for score in own])
            tokens.add(
                doc_id=[text.doc_id] * len(spelled),
                position=np.arange(len(spelled)),
                token_id=encoding.ids,
                token=spelled,
                start=encoding.starts,
                end=encoding.ends,
                surprisal=surprisal,
                entropy=np.concatenate([s.entropy for s in own if s.entropy is not None])
                if scoring.entropy
                else np.full(len(spelled), np.nan),
                context=np.concatenate(context),
                rank=np.concatenate([score.rank for score in own]),
                sample=np.full(len(spelled), text.sample),
            )
            if model.word_begins is not None:
                words.add(**_words(model.word_begins, text, encoding, spelled, surprisal, own))
    return Scored(tokens.table(), words.table(), not_scored)


def _read_rows(
    model: TextScoringModel, scoring: Scoring, texts: Sequence[Text], not_scored: dict[Key, str]
) -> Scored:
    """As `score_rows`, where the model makes the tokens."""
    if scoring.entropy or scoring.window or scoring.stride:
        raise StudyError(
            "A scorer behind a server gives no entropy and reads a text in one piece; take `entropy`, "
            "`window` and `stride` out of its `scoring`."
        )
    prompts = [each.prompt if scoring.context == "prompt" else "" for each in texts]
    readings = model.read([(prompt, each.text) for prompt, each in zip(prompts, texts, strict=True)])
    tokens = _Columns(SCHEMA)
    for text, found in zip(texts, readings, strict=True):
        if isinstance(found, str):
            not_scored[text.key] = found
            continue
        count = len(found.surprisal)
        tokens.add(
            doc_id=[text.doc_id] * count,
            position=np.arange(count),
            token_id=np.full(count, np.nan),
            token=[text.text[a:b] for a, b in zip(found.starts, found.ends, strict=True)],
            start=found.starts,
            end=found.ends,
            surprisal=found.surprisal,
            entropy=np.full(count, np.nan),
            context=found.context,
            rank=np.full(count, np.nan),
            sample=np.full(count, text.sample),
        )
    return Scored(tokens.table(), WORD_SCHEMA.empty_table(), not_scored)


def described(model: ScoringModel | TextScoringModel, scoring: Scoring) -> dict[str, Any]:
    """How `model` reads, for the record: BOS, window and stride, and why there are no words."""
    if isinstance(model, TextScoringModel):
        return {"why_no_words": model.why_no_words}
    window, stride = reading(model, scoring)
    found = {"bos": model.bos, "window": window, "stride": stride}
    return {**found, "why_no_words": model.why_no_words} if model.why_no_words else found


def reading(model: ScoringModel, scoring: Scoring) -> tuple[int, int]:
    """Window and stride in tokens. Raises StudyError if `model` cannot be read so."""
    window = scoring.window or model.context_length
    if window is None:
        raise StudyError(
            "The scorer's config.json does not say how many positions it has; set `scoring: window`."
        )
    if model.context_length is not None and window > model.context_length:
        raise StudyError(
            f"`scoring: window` is {window}, but the scorer has {model.context_length} positions; set it to "
            f"{model.context_length} or less."
        )
    stride = scoring.stride or window // 2
    if stride >= window:
        raise StudyError(
            f"`scoring: stride` is {stride}, but must be below the window of {window} tokens, so that "
            f"windows overlap."
        )
    return window, stride


def _unreadable(text: Text) -> str | None:
    try:
        (text.prompt + text.text).encode()
    except UnicodeEncodeError:
        return "it has half a surrogate pair, which is no character"
    return None if text.text else "the text is empty"


def _words(
    begins: np.ndarray,
    text: Text,
    encoding: Encoding,
    spelled: list[str],
    surprisal: np.ndarray,
    scores: Sequence[Scores],
) -> dict[str, Any]:
    """The columns of `WORD_SCHEMA` for one text."""
    terms = [score.boundary for score in scores if score.boundary is not None]
    boundary = np.concatenate([*(term[:-1] for term in terms), terms[-1][-1:]])  # [tokens + 1, 2]
    words = (
        group(spelled) if text.words is None else listed.group(text.text, spelled, text.words, text.doc_id)
    )
    corrected, uncorrected = word_surprisal(words, surprisal, boundary, marked=bool(begins[encoding.ids[0]]))
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
