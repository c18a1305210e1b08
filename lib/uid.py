"""Step 03: measures of how evenly a text spreads its information, one row per text.

The Uniform Information Density hypothesis (Fenk & Fenk 1980; Levy & Jaeger 2007) says that speakers
spread information evenly. Lower variance of surprisal means more uniform. With the surprisals
s₁ … s_N of a text's tokens and their mean m:

| column | formula | after |
|---|---|---|
| uid_variance | (1/N) Σ (sᵢ − m)² | Meister et al. 2021 |
| uid_pairwise | (1/(N−1)) Σ (sᵢ₊₁ − sᵢ)² | Collins 2014; Meister et al. 2021 |
| local_difference | (1/(N−1)) Σ |sᵢ₊₁ − sᵢ| | Meister et al. 2021 |
| super_linear_cost | (1/N) Σ sᵢ^1.25 | Meister et al. 2021 |
| coefficient_of_variation | √uid_variance / m | scale-free |
| pairwise_ratio | uid_pairwise / uid_variance | scale-free |
| autocorrelation | Σ (sᵢ − m)(sᵢ₊₁ − m) / Σ (sᵢ − m)² | lag 1 |
| uid_variance_first_n | uid_variance of the first 64 tokens, missing in shorter texts | length-free |
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lib import paths, store
from lib.run import Run, command
from lib.sentences import words_per_sentence

SUPERLINEAR_POWER = 1.25
LEADING_TOKENS = 64
METRICS = {
    "tokens": "tokens",
    "mean_surprisal": "bits",
    "median_surprisal": "bits",
    "min_surprisal": "bits",
    "max_surprisal": "bits",
    "uid_variance": "bits²",
    "uid_pairwise": "bits²",
    "vocab_size": "distinct tokens",
    "sentence_length": "words per sentence",
    "local_difference": "bits",
    "super_linear_cost": "bits^1.25",
    "coefficient_of_variation": "ratio",
    "pairwise_ratio": "ratio",
    "autocorrelation": "correlation",
    "uid_variance_first_n": "bits²",
}
COUNTS = ("tokens", "vocab_size")
UNIFORMITY = ("uid_variance", "uid_pairwise", *list(METRICS)[list(METRICS).index("sentence_length") + 1 :])
SCHEMA = pa.schema(
    [("doc_id", pa.string())] + [(name, pa.int64() if name in COUNTS else pa.float64()) for name in METRICS]
)
COLUMNS = ["doc_id", "token", "surprisal"]


@dataclass(frozen=True)
class UidSummary:
    """What a file of metrics holds: the texts measured, and per metric how many have no value."""

    path: Path
    texts: int
    missing: dict[str, int]
    measured_now: bool


def measure(run: Run) -> UidSummary:
    """Write `paths.uid` of the run's source: one row of `SCHEMA` per scored text, in their order.

    A text of fewer than two tokens has no differences, so its measures of uniformity are missing.
    Raises StudyError if an earlier step's file is missing or broken.
    """
    path = paths.uid(run.scorer_name, run.dataset_name, run.source_name)
    surprisals = paths.surprisals(run.scorer_name, run.dataset_name, run.source_name)
    texts_path = paths.texts(run.dataset_name, run.source_name)
    store.read(surprisals, command("02_surprisal", run), [])
    texts = store.read(texts_path, command("01_generate", run), ["doc_id", "text"])
    made = store.record(
        "03_uid",
        parameters={"superlinear_power": SUPERLINEAR_POWER, "leading_tokens": LEADING_TOKENS},
        inputs={"surprisals": store.file_hash(surprisals), "texts": store.file_hash(texts_path)},
        packages=("numpy", "sentencex"),
        units=METRICS,
        code=("lib.uid", "lib.sentences"),
    )
    stale = run.regenerate or not store.is_complete(path, made)
    if stale:
        rows = pd.concat([SCHEMA.empty_table().to_pandas(), *map(metrics, token_blocks(surprisals))])
        lengths = texts.set_index("doc_id")["text"].map(words_per_sentence)
        rows["sentence_length"] = rows["doc_id"].map(lengths).astype(float)
        store.write(path, rows, SCHEMA, made)
    rows = read_metrics(run)
    missing = {name: int(rows[name].isna().sum()) for name in METRICS if rows[name].isna().any()}
    return UidSummary(path, len(rows), missing, stale)


def read_metrics(run: Run) -> pd.DataFrame:
    """The rows of `SCHEMA` of the run's source."""
    path = paths.uid(run.scorer_name, run.dataset_name, run.source_name)
    return store.read(path, command("03_uid", run))


def token_blocks(path: Path) -> Iterator[pd.DataFrame]:
    """The tokens of `path`, block by block in file order; no text is cut in two."""
    rest = pd.DataFrame()
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            block = file.read_row_group(number, columns=COLUMNS).to_pandas()
            rows = pd.concat([rest, block], ignore_index=True) if len(rest) else block
            last = rows["doc_id"] == rows["doc_id"].iat[-1] if len(rows) else rows["doc_id"].astype(bool)
            rest = rows[last]
            if not last.all():
                yield rows[~last]
    if len(rest):
        yield rest


def metrics(tokens: pd.DataFrame) -> pd.DataFrame:
    """One row of `SCHEMA` per text of `tokens` (columns `COLUMNS`, each text's rows together).

    `sentence_length` is left missing: it is a matter of the text, not of its tokens.
    """
    doc_ids = tokens["doc_id"].to_numpy()
    s = tokens["surprisal"].to_numpy(dtype=np.float64)
    first = np.flatnonzero(np.r_[True, doc_ids[1:] != doc_ids[:-1]])
    n = np.diff(np.r_[first, len(s)])
    mean = np.add.reduceat(s, first) / n
    deviation = s - np.repeat(mean, n)
    squares = np.add.reduceat(deviation**2, first)

    # Differences of neighbours; the one that crosses from a text into the next counts nothing.
    inside = np.ones(len(s), dtype=bool)
    inside[first[1:] - 1] = inside[-1] = False
    difference = np.where(inside, np.r_[s[1:], np.nan] - s, 0.0)
    product = np.where(inside, np.r_[deviation[1:], np.nan] * deviation, 0.0)

    by_text = tokens.groupby(np.repeat(np.arange(len(first)), n), sort=False)
    leading = np.arange(len(s)) - np.repeat(first, n) < LEADING_TOKENS
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = squares / n
        pairwise = np.add.reduceat(difference**2, first) / (n - 1)
        rows = {
            "doc_id": doc_ids[first],
            "tokens": n,
            "mean_surprisal": mean,
            "median_surprisal": by_text["surprisal"].median().to_numpy(),
            "min_surprisal": np.minimum.reduceat(s, first),
            "max_surprisal": np.maximum.reduceat(s, first),
            "uid_variance": variance,
            "uid_pairwise": pairwise,
            "vocab_size": by_text["token"].nunique().to_numpy(),
            "sentence_length": np.full(len(first), np.nan),
            "local_difference": np.add.reduceat(np.abs(difference), first) / (n - 1),
            "super_linear_cost": np.add.reduceat(np.maximum(s, 0) ** SUPERLINEAR_POWER, first) / n,
            "coefficient_of_variation": np.sqrt(variance) / mean,
            "pairwise_ratio": pairwise / variance,
            "autocorrelation": np.add.reduceat(product, first) / squares,
            "uid_variance_first_n": _leading_variance(s, first, n, leading),
        }
    table = pd.DataFrame(rows)
    return table.mask((table["tokens"] < 2).to_numpy()[:, None] & table.columns.isin(UNIFORMITY))


def _leading_variance(s: np.ndarray, first: np.ndarray, n: np.ndarray, leading: np.ndarray) -> np.ndarray:
    kept = np.minimum(n, LEADING_TOKENS)
    mean = np.add.reduceat(np.where(leading, s, 0.0), first) / kept
    squares = np.where(leading, (s - np.repeat(mean, n)) ** 2, 0.0)
    return np.where(n < LEADING_TOKENS, np.nan, np.add.reduceat(squares, first) / kept)


def summary_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean, median, standard deviation, extremes and missing values of the first metrics."""
    names = ["tokens", "mean_surprisal", "uid_variance", "uid_pairwise", "vocab_size", "sentence_length"]
    table = rows[names].agg(["mean", "median", "std", "min", "max"]).T
    table["missing"] = rows[names].isna().sum()
    return table.reset_index(names="metric").assign(unit=lambda t: t["metric"].map(METRICS))


def most_uniform(rows: pd.DataFrame, count: int = 5) -> pd.DataFrame:
    """The `count` texts with the lowest variance of surprisal."""
    names = ["doc_id", "tokens", "mean_surprisal", "uid_variance", "uid_pairwise"]
    return rows.nsmallest(count, "uid_variance")[names]
