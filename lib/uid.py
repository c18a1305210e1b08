"""Step 03: measures of how evenly a text spreads its information, one row per text.

The Uniform Information Density hypothesis (Fenk & Fenk 1980; Levy & Jaeger 2007) says that speakers
spread information evenly. Lower variance of surprisal means more uniform. With the surprisals
s₁ … s_N of a text's tokens, in bits, and their mean m:

| column | formula | after |
|---|---|---|
| uid_variance | (1/N) Σ (sᵢ − m)² | Meister et al. 2021 |
| uid_pairwise | (1/(N−1)) Σ (sᵢ₊₁ − sᵢ)² | Collins 2014; Meister et al. 2021 |
| local_difference | (1/(N−1)) Σ |sᵢ₊₁ − sᵢ| | Collins 2014; Meister et al. 2021 |
| super_linear_cost | (1/N) Σ sᵢᵏ, k = 1.25 | Meister et al. 2021 |
| corpus_deviation | (1/N) Σ (sᵢ − μ)², μ the mean of all tokens of the source | Meister et al. 2021 |
| uid_variance_sentence, uid_pairwise_sentence | the same within each sentence, averaged | ibid. |
| coefficient_of_variation | √uid_variance / m | scale-free |
| pairwise_ratio | uid_pairwise / uid_variance, 2 without order | von Neumann 1941 |
| autocorrelation | Σ (sᵢ − m)(sᵢ₊₁ − m) / Σ (sᵢ − m)² | lag 1; Box & Jenkins 1976 |
| uid_variance_first_n | uid_variance of the first 64 tokens, missing in shorter texts | length-free |
| moving_ttr | mean share of distinct tokens in windows of 50 | Covington & McFall 2010 |

`word_…` are the same of the words' surprisal, corrected for white space (`lib.words`). The three
numbers 1.25, 64 and 50 are settings of a study. What a text is too short for is missing, never 0:
a single token has a mean but no variance; sentences of a single token do not enter the averages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from lib import paths, store
from lib.params import UidSettings
from lib.run import Run, command
from lib.sentences import sentence_spans
from lib.series import Series, codes, divide, whole_texts

OF_A_SERIES = {
    "mean_surprisal": "bits",
    "median_surprisal": "bits",
    "min_surprisal": "bits",
    "max_surprisal": "bits",
    "uid_variance": "bits²",
    "uid_pairwise": "bits²",
    "local_difference": "bits",
    "super_linear_cost": "bits^k",
    "corpus_deviation": "bits²",
    "uid_variance_sentence": "bits²",
    "uid_pairwise_sentence": "bits²",
    "coefficient_of_variation": "ratio",
    "pairwise_ratio": "ratio",
    "autocorrelation": "correlation",
    "uid_variance_first_n": "bits²",
}
CONTRACT = list(OF_A_SERIES)[:6]  # the columns that others rely on, in their order
METRICS = {
    "tokens": "tokens",
    **{name: OF_A_SERIES[name] for name in CONTRACT},
    "vocab_size": "distinct tokens",
    "sentence_length": "words per sentence",
    **{name: unit for name, unit in OF_A_SERIES.items() if name not in CONTRACT},
    "moving_ttr": "ratio",
    "words": "words",
    **{f"word_{name}": unit for name, unit in OF_A_SERIES.items()},
}
COUNTS = ("tokens", "vocab_size", "words")
SCHEMA = pa.schema(
    [("doc_id", pa.string())] + [(name, pa.int64() if name in COUNTS else pa.float64()) for name in METRICS]
)
HEADLINE = ["doc_id", "tokens", "mean_surprisal", "uid_variance", "uid_pairwise"]
CODE = ("lib.uid", "lib.series", "lib.sentences")


@dataclass(frozen=True)
class UidSummary:
    """What a file of metrics holds: the texts measured, and per metric how many have no value."""

    path: Path
    texts: int
    missing: dict[str, int]
    measured_now: bool

    def missing_table(self) -> pd.DataFrame:
        """The metrics that some texts are too short for: metric, texts."""
        return pd.DataFrame(self.missing.items(), columns=["metric", "texts without it"])


def measure(run: Run) -> UidSummary:
    """Write `paths.uid` of the run's source: one row of `SCHEMA` per scored text, in their order.

    Raises StudyError if an earlier step's file is missing or broken.
    """
    place = (run.scorer_name, run.dataset_name, run.source_name)
    path, surprisals, words = paths.uid(*place), paths.surprisals(*place), paths.words(*place)
    texts_path = paths.texts(run.dataset_name, run.source_name)
    for made_before in (surprisals, words):
        store.read(made_before, command("02_surprisal", run), [])
    texts = store.read(texts_path, command("01_generate", run), ["doc_id", "text"])
    made = store.record(
        "03_uid",
        parameters=run.study.uid.model_dump(),
        inputs={
            "surprisals": store.file_hash(surprisals),
            "words": store.file_hash(words),
            "texts": store.file_hash(texts_path),
        },
        packages=("numpy", "sentencex"),
        units=METRICS,
        code=CODE,
    )
    with store.lock(path):
        stale = run.regenerate or not store.is_complete(path, made)
        if stale:
            texts_by_id = dict(zip(texts["doc_id"], texts["text"].fillna(""), strict=True))
            store.write(path, metrics(surprisals, words, texts_by_id, run.study.uid), SCHEMA, made)
    rows = read_metrics(run)
    missing = {name: int(rows[name].isna().sum()) for name in METRICS if rows[name].isna().any()}
    return UidSummary(path, len(rows), missing, stale)


def read_metrics(run: Run) -> pd.DataFrame:
    """The rows of `SCHEMA` of the run's source."""
    path = paths.uid(run.scorer_name, run.dataset_name, run.source_name)
    return store.read(path, command("03_uid", run))


def metrics(tokens: Path, words: Path, texts: Mapping[str, str], settings: UidSettings) -> pd.DataFrame:
    """One row of `SCHEMA` per text of the file `tokens`, in its order.

    `tokens` and `words` are files of step 02, read some texts at a time; `texts` maps a doc_id to
    its text, in which sentences are found.
    """
    of_tokens, of_words = [], []
    spans: dict[str, list[tuple[int, int]]] = {}

    def measured(doc_ids: list[str], series: Series, rows: pa.Table) -> dict[str, np.ndarray]:
        sentences = sentences_of(series, rows["end"].to_numpy(), [spans[doc_id] for doc_id in doc_ids])
        return of_series(series, rows["surprisal"].to_numpy(), sentences, settings)

    for doc_ids, series, rows in whole_texts(tokens, ["token", "end", "surprisal"]):
        spans |= {doc_id: sentence_spans(texts[doc_id]) for doc_id in doc_ids}
        block = measured(doc_ids, series, rows)
        block |= of_vocabulary(series, codes(rows, "token"), settings.ttr_window)
        of_tokens.append(pd.DataFrame({"tokens": series.lengths, **block}, index=doc_ids))
    for doc_ids, series, rows in whole_texts(words, ["end", "surprisal"]):
        block = measured(doc_ids, series, rows)
        of_words.append(pd.DataFrame({"words": series.lengths, **block}, index=doc_ids))

    table = _with_corpus_deviation(of_tokens, "tokens")
    by_word = _with_corpus_deviation(of_words, "words")
    table = table.join(by_word.rename(columns={name: f"word_{name}" for name in OF_A_SERIES}))
    lengths = {doc_id: len(texts[doc_id].split()) / len(found) for doc_id, found in spans.items() if found}
    table["sentence_length"] = pd.Series(lengths, dtype=float)
    return table.reindex(columns=list(METRICS)).rename_axis("doc_id").reset_index()


def _with_corpus_deviation(blocks: list[pd.DataFrame], count: str) -> pd.DataFrame:
    """The rows of `blocks`; Σ (s − μ)²/N is the variance and the squared distance of the mean from μ."""
    table = pd.concat(blocks) if blocks else pd.DataFrame(columns=[count, *OF_A_SERIES], dtype=float)
    mean = np.average(table["mean_surprisal"], weights=table[count]) if len(table) else np.nan
    table["corpus_deviation"] = table["uid_variance"] + (table["mean_surprisal"] - mean) ** 2
    return table


def of_series(
    series: Series, s: np.ndarray, sentences: Series, settings: UidSettings
) -> dict[str, np.ndarray]:
    """The metrics of `OF_A_SERIES` but for the corpus deviation, [texts] each.

    s [values] in bits; `sentences` cuts the same values more finely than `series` does.
    """
    s = s.astype(np.float64)
    mean = series.mean(s)
    deviation = s - series.spread(mean)
    squares = series.sum(deviation**2)
    # A single value varies about nothing.
    variance = np.where(series.lengths > 1, squares / series.lengths, np.nan)
    pairwise = series.of_neighbours(np.diff(s) ** 2)
    several = sentences.lengths > 1
    text_of_sentence = series.number[sentences.starts[several]] if len(sentences) else np.empty(0, int)
    centred = (s - sentences.spread(sentences.mean(s))) ** 2

    def averaged(of_sentences: np.ndarray) -> np.ndarray:
        total = np.bincount(text_of_sentence, of_sentences[several], minlength=len(series))
        return divide(total, np.bincount(text_of_sentence, minlength=len(series)))

    return {
        "mean_surprisal": mean,
        "median_surprisal": series.median(s),
        "min_surprisal": series.minimum(s),
        "max_surprisal": series.maximum(s),
        "uid_variance": variance,
        "uid_pairwise": pairwise,
        "local_difference": series.of_neighbours(np.abs(np.diff(s))),
        # A corrected word may be a little below 0 bits.
        "super_linear_cost": np.where(
            series.lengths > 1, series.mean(np.maximum(s, 0) ** settings.power), np.nan
        ),
        "uid_variance_sentence": averaged(sentences.mean(centred)),
        "uid_pairwise_sentence": averaged(sentences.of_neighbours(np.diff(s) ** 2)),
        "coefficient_of_variation": divide(np.sqrt(variance), mean),
        "pairwise_ratio": divide(pairwise, variance),
        "autocorrelation": divide(
            series.of_neighbours(deviation[1:] * deviation[:-1]) * (series.lengths - 1), squares
        ),
        "uid_variance_first_n": _leading_variance(series, s, settings.first_n),
    }


def _leading_variance(series: Series, s: np.ndarray, count: int) -> np.ndarray:
    leading = series.position < count
    mean = series.sum(np.where(leading, s, 0.0)) / count
    squares = np.where(leading, (s - series.spread(mean)) ** 2, 0.0)
    return np.where(series.lengths < count, np.nan, series.sum(squares) / count)


def of_vocabulary(series: Series, token_codes: np.ndarray, window: int) -> dict[str, np.ndarray]:
    """Distinct tokens of each text, and the mean share of distinct tokens in its windows of `window`.

    A token counts in a window if its last occurrence lies before it: at most min(i, N − W) −
    max(previous + 1, i − W + 1) + 1 of the windows that begin at 0 … N − W.
    """
    previous, i = series.previous(token_codes), series.position
    last = series.spread(series.lengths) - window
    counted = np.minimum(i, last) - np.maximum(previous + 1, i - window + 1).clip(0) + 1
    windows = series.lengths - window + 1
    total = series.sum(np.maximum(counted, 0)) / window
    return {
        "vocab_size": series.sum(previous < 0).astype(np.int64),
        "moving_ttr": np.where(windows > 0, total / np.maximum(windows, 1), np.nan),
    }


def sentences_of(series: Series, ends: np.ndarray, spans: list[list[tuple[int, int]]]) -> Series:
    """The sentences that the values of each text lie in; a token is where its last character is.

    `ends` [values] are character offsets within the text, `spans` the sentences of each text.
    """
    longest = int(ends.max(initial=0)) + 1
    starts = [
        number * longest + (start if i else 0)
        for number, of_text in enumerate(spans)
        for i, (start, _) in enumerate(of_text or [(0, 0)])
    ]
    place = series.number * longest + np.maximum(ends - 1, 0)
    return Series.of_runs(np.searchsorted(np.array(starts), place, side="right"))


def totals_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One row: texts, tokens, and Pearson's r of each pair of the headline metrics."""
    totals: dict[str, Any] = {"texts": len(rows), "tokens": int(rows["tokens"].sum())}
    for a, b in combinations(("mean_surprisal", "uid_variance", "uid_pairwise"), 2):
        totals[f"r({a}, {b})"] = rows[a].corr(rows[b])
    return pd.DataFrame([totals])


def summary_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean, median, standard deviation, extremes and missing values of the first metrics."""
    names = ["tokens", "mean_surprisal", "uid_variance", "uid_pairwise", "vocab_size", "sentence_length"]
    table = rows[names].agg(["mean", "median", "std", "min", "max"]).T
    table["missing"] = rows[names].isna().sum()
    return table.reset_index(names="metric").assign(unit=lambda t: t["metric"].map(METRICS))


def most_uniform(rows: pd.DataFrame, count: int = 5) -> pd.DataFrame:
    """The `count` texts with the lowest variance of surprisal."""
    return rows.nsmallest(count, "uid_variance")[HEADLINE]


def least_uniform(rows: pd.DataFrame, count: int = 5) -> pd.DataFrame:
    """The `count` texts with the highest variance of surprisal."""
    return rows.nlargest(count, "uid_variance")[HEADLINE]
