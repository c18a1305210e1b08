"""Step 02: every token of every text gets its surprisal, −log₂ p(token | what came before), in bits.

The sequence that the scorer reads is BOS, the prompt's tokens, the text's tokens. Prompt and text
are tokenised apart, so that no token straddles the border and the text's tokens tile the text.

As a library:

    from lib.surprisal import score

    score(["The cat sat on the mat."], scorer="tiny-scorer")
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from lib import paths, store
from lib.backends import weights
from lib.backends.scoring import Encoding, Request, ScoringModel, open_scoring_model
from lib.params import Scorer, load_scorer
from lib.run import Run, command
from lib.windows import windows
from lib.words import Words, boundaries, group, word_surprisal

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
    ]
)
UNITS = {
    "surprisal": "bits",
    "entropy": "bits",
    "surprisal_uncorrected": "bits",
    "start": "characters",
    "end": "characters",
    "context": "tokens",
}
CODE = (
    "lib.surprisal",
    "lib.windows",
    "lib.words",
    "lib.backends.scoring",
    "lib.backends.transformers_scoring",
)
CHARACTERS_PER_PART = 32_768


@dataclass(frozen=True)
class Text:
    """One text to score, with the prompt that it grew from."""

    doc_id: str
    prompt: str
    text: str


@dataclass(frozen=True)
class ScoringSummary:
    """What was scored and how fast; `not_scored` maps a doc_id to the reason."""

    texts: int
    tokens: int
    scored_now: int
    seconds: float
    not_scored: dict[str, str] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        speed = f"{self.scored_now / self.seconds:,.0f}" if self.scored_now else "all there already"
        return pd.DataFrame(
            {
                "texts": [self.texts],
                "tokens": [self.tokens],
                "tokens per second": [speed],
                "texts not scored": [len(self.not_scored)],
            }
        )

    def not_scored_table(self) -> pd.DataFrame:
        return pd.DataFrame(self.not_scored.items(), columns=["doc_id", "reason"])


def score(
    texts: Sequence[str], scorer: str, prompts: Sequence[str] | None = None, *, entropy: bool = False
) -> pd.DataFrame:
    """The tokens of `texts` as rows of `SCHEMA`; `doc_id` is a text's number, "0" for the first.

    `scorer` is the name of a params file. Raises StudyError if there is none or it cannot be opened.
    """
    declared = load_scorer(scorer)
    declared = declared.model_copy(
        update={"scoring": declared.scoring.model_copy(update={"entropy": entropy})}
    )
    given = prompts if prompts is not None else [""] * len(texts)
    rows = [Text(str(i), prompt, text) for i, (prompt, text) in enumerate(zip(given, texts, strict=True))]
    tokens, _ = score_part(open_scoring_model(declared.weights), declared, rows)
    return tokens.to_pandas()


def score_texts(run: Run) -> ScoringSummary:
    """Write `paths.surprisals` and `paths.words` of the run's source.

    Texts without a word (an error, or nothing written) are left out and listed with the reason. A
    run that was stopped continues after its last complete part; complete files are left alone.

    Raises StudyError for a missing or broken file of texts, or missing weights.
    """
    began = perf_counter()
    columns = ["doc_id", "prompt", "text", "status", "error"]
    rows = store.read(paths.texts(run.dataset_name, run.source_name), command("01_generate", run), columns)
    not_scored = {
        row.doc_id: row.error if isinstance(row.error, str) and row.error else "the text is empty"
        for row in rows.itertuples()
        if row.status == "error" or not row.text
    }
    texts = [
        Text(row.doc_id, row.prompt, row.text) for row in rows.itertuples() if row.doc_id not in not_scored
    ]
    tokens_path = paths.surprisals(run.scorer_name, run.dataset_name, run.source_name)
    words_path = paths.words(run.scorer_name, run.dataset_name, run.source_name)
    made = _record(run)
    scored_now = 0
    with store.lock(tokens_path):
        there = store.is_complete(tokens_path, made) and store.is_complete(words_path, made)
        if run.regenerate or not there:
            scored_now = _score_in_parts(
                run,
                texts,
                store.Parts(tokens_path, SCHEMA, made, fresh=run.regenerate),
                store.Parts(words_path, WORD_SCHEMA, made, fresh=run.regenerate),
            )
    doc_ids = store.read(tokens_path, command("02_surprisal", run), ["doc_id"])["doc_id"]
    return ScoringSummary(
        texts=doc_ids.nunique(),
        tokens=len(doc_ids),
        scored_now=scored_now,
        seconds=perf_counter() - began,
        not_scored=not_scored,
    )


def read_tokens(run: Run) -> pd.DataFrame:
    """The rows of `SCHEMA` of the run's source."""
    path = paths.surprisals(run.scorer_name, run.dataset_name, run.source_name)
    return store.read(path, command("02_surprisal", run))


def most_surprising(tokens: pd.DataFrame, count: int = 15, at_least: int = 5) -> pd.DataFrame:
    """The tokens with the highest mean surprisal among those that occur at least `at_least` times."""
    by_token = tokens.groupby("token")["surprisal"].agg(occurrences="size", mean_surprisal="mean")
    by_token = by_token[by_token["occurrences"] >= at_least].nlargest(count, "mean_surprisal").reset_index()
    return by_token.assign(token=by_token["token"].map(repr))


def score_part(model: ScoringModel, scorer: Scorer, texts: Sequence[Text]) -> tuple[pa.Table, pa.Table]:
    """The tokens and the words of `texts`, as tables of `SCHEMA` and `WORD_SCHEMA`."""
    plans = [_plan(model, scorer, text) for text in texts]
    requests = [request for plan in plans for request in plan.requests]
    scores = iter(model.score(requests, entropy=scorer.scoring.entropy))
    tokens, words = [], []
    for plan in plans:
        own = [next(scores) for _ in plan.requests]
        surprisal = _joined([part.surprisal for part in own])
        entropy = _joined([part.entropy for part in own if part.entropy is not None])
        tokens.append(plan.token_rows(surprisal, entropy if scorer.scoring.entropy else None))
        if model.marks_words:
            words.append(plan.word_rows(surprisal, _joined([part.boundary for part in own])))
    return (
        pa.concat_tables([SCHEMA.empty_table(), *tokens]),
        pa.concat_tables([WORD_SCHEMA.empty_table(), *words]),
    )


@dataclass(frozen=True)
class Plan:
    """One text, its tokens and words, and the windows in which the scorer reads it."""

    text: Text
    encoding: Encoding
    spelled: list[str]
    words: Words
    requests: list[Request]
    context: np.ndarray  # [tokens]

    def token_rows(self, surprisal: np.ndarray, entropy: np.ndarray | None) -> pa.Table:
        count = len(self.encoding.ids)
        columns = {
            "doc_id": [self.text.doc_id] * count,
            "position": np.arange(count),
            "token_id": self.encoding.ids,
            "token": self.spelled,
            "start": self.encoding.starts,
            "end": self.encoding.ends,
            "surprisal": surprisal,
            "entropy": pa.nulls(count) if entropy is None else entropy,
            "context": self.context,
        }
        return _table(columns, SCHEMA)

    def word_rows(self, surprisal: np.ndarray, boundary: np.ndarray) -> pa.Table:
        corrected, uncorrected = word_surprisal(self.words, self.spelled, surprisal, boundary)
        spans = list(zip(self.words.starts, self.words.ends, strict=True))
        columns = {
            "doc_id": [self.text.doc_id] * len(spans),
            "position": np.arange(len(spans)),
            "word": [self.text.text[start:end] for start, end in spans],
            "start": self.words.starts,
            "end": self.words.ends,
            "surprisal": corrected,
            "surprisal_uncorrected": uncorrected,
        }
        return _table(columns, WORD_SCHEMA)


def _plan(model: ScoringModel, scorer: Scorer, text: Text) -> Plan:
    encoding = model.encode(text.text)
    prompt = model.encode(text.prompt).ids if scorer.scoring.context == "prompt" else []
    ids = [model.bos, *prompt, *encoding.ids]
    first = 1 + len(prompt)
    spelled = [text.text[a:b] for a, b in zip(encoding.starts, encoding.ends, strict=True)]
    words = group(spelled)
    marks = [first + i for i in boundaries(words, spelled)]
    window = min(scorer.scoring.window or model.context_length, model.context_length)
    stride = scorer.scoring.stride or window // 2
    requests, contexts = [], []
    for read in windows(len(ids), first, window, stride) if encoding.ids else ():
        last = read.end == len(ids)
        inside = [m - read.start for m in marks if read.scored <= m < read.end or (last and m == read.end)]
        requests.append(Request(ids[read.start : read.end], read.scored - read.start, inside))
        contexts.append(np.arange(read.scored, read.end) - read.start)
    return Plan(text, encoding, spelled, words, requests, _joined(contexts))


def _score_in_parts(run: Run, texts: Sequence[Text], tokens: store.Parts, words: store.Parts) -> int:
    """Score the parts that are not there yet; the number of tokens scored."""
    parts = list(_parts(texts))
    missing = [number for number in range(len(parts)) if not (tokens.done(number) and words.done(number))]
    count = 0
    if missing:
        model = open_scoring_model(run.scorer.weights)
        with tqdm(total=sum(len(parts[i]) for i in missing), unit="text", desc="scoring") as progress:
            for number in missing:
                token_rows, word_rows = score_part(model, run.scorer, parts[number])
                words.write(number, word_rows)
                tokens.write(number, token_rows)
                count += len(token_rows)
                progress.update(len(parts[number]))
                elapsed = progress.format_dict["elapsed"] or 1e-9
                progress.set_postfix_str(f"{count / elapsed:,.0f} tokens/s")
    words.finish(len(parts))
    tokens.finish(len(parts))
    return count


def _parts(texts: Sequence[Text]) -> Iterator[list[Text]]:
    """Consecutive texts of about `CHARACTERS_PER_PART`: what one interruption can cost."""
    part: list[Text] = []
    for text in texts:
        part.append(text)
        if sum(len(each.prompt) + len(each.text) for each in part) >= CHARACTERS_PER_PART:
            yield part
            part = []
    if part:
        yield part


def _record(run: Run) -> store.Record:
    texts = paths.texts(run.dataset_name, run.source_name)
    return store.record(
        "02_surprisal",
        parameters={"scorer": run.scorer_name, **run.scorer.model_dump(include={"weights", "scoring"})},
        inputs={"texts": store.file_hash(texts), "weights": weights.identity(run.scorer.weights)},
        packages=("torch", "transformers", "tokenizers"),
        units=UNITS,
        code=CODE,
    )


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.empty(0)


def _table(columns: dict, schema: pa.Schema) -> pa.Table:
    return pa.table({field.name: pa.array(columns[field.name]).cast(field.type) for field in schema})
