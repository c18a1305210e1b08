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
| sentence_variance | variance of the sentences' mean surprisals: global uniformity | Gwak, Son & Kim 2025 |
| sentence_pairwise | mean squared step between neighbouring sentences' means: local | ibid. |
| spectral_peak | max Pₖ / Σ Pₖ, k ≤ N/2, Pₖ = |Σ (sⱼ − m) e^(−2πijk/N)|² | Fisher 1929; Ou et al. 2025 |

Gwak, Son & Kim (arXiv 2510.06953) set local against global uniformity of the steps of a reasoning, in
entropy; here the steps are sentences, in surprisal. Periods along a text are looked for by Tsipidi et al.
(2025, arXiv 2506.03902) and Ou et al. (2025, arXiv 2510.27241); `spectral_peak` is the share of the
variance that the strongest period has, 1 for a pure wave and small for noise.

`word_…` are the same of the words' surprisal, corrected for white space (`lib.surprisal.words`). The three
numbers 1.25, 64 and 50 are settings of a study. What a text is too short for is missing, never 0:
a single token has a mean but no variance; sentences of a single token do not enter the averages.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from lib import paths, store
from lib.datasets.document import KEYS
from lib.datasets.sentences import sentences
from lib.params import UidSettings, language_of
from lib.params.run import Run, command
from lib.uid.formulas import Measures
from lib.uid.reading import Block, InOrder, InStep, Texts, mean_of, side_by_side, whole_texts
from lib.uid.series import divide

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
    "sentence_variance": "bits²",
    "sentence_pairwise": "bits²",
    "spectral_peak": "ratio",
}
OF_SENTENCES = ("uid_variance_sentence", "uid_pairwise_sentence", "sentence_variance", "sentence_pairwise")
COUNTS = ("tokens", "vocab_size", "words")
SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        *((name, pa.int64() if name in COUNTS else pa.float64()) for name in METRICS),
        ("sample", pa.int32()),
    ]
)
HEADLINE = ("mean_surprisal", "uid_variance", "uid_pairwise")  # what is looked at first
DRAWN = ("tokens", *HEADLINE, "coefficient_of_variation", "pairwise_ratio")  # by the charts of step 04
CODE = ("lib.uid.measures",)


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
    store.read(texts_path, command("01_generate", run), [])
    made = store.record(
        "03_uid",
        parameters={**run.study.uid.model_dump(), "language": language_of(run.dataset)},
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
            texts, language = InOrder(texts_path), language_of(run.dataset)
            blocks = in_blocks(surprisals, words, texts, run.study.uid, language=language)
            tables = (pa.Table.from_pandas(rows, SCHEMA, preserve_index=False) for rows in blocks)
            store.write_stream(path, tables, SCHEMA, made)
    return UidSummary(path, store.count(path), _missing(path, command("03_uid", run)), stale)


def _missing(path: Path, made_by: str) -> dict[str, int]:
    """How many texts have no value of each metric that some lack."""
    found = dict.fromkeys(METRICS, 0)
    with store.opened(path, made_by, METRICS) as file:
        for batch in file.iter_batches(columns=list(METRICS)):
            for name in METRICS:
                found[name] += batch[name].null_count
    return {name: count for name, count in found.items() if count}


def read_metrics(run: Run) -> pd.DataFrame:
    """The rows of `SCHEMA` of the run's source."""
    path = paths.uid(run.scorer_name, run.dataset_name, run.source_name)
    return store.read(path, command("03_uid", run), schema=SCHEMA)


def metrics(
    tokens: Path,
    words: Path,
    texts: Texts,
    settings: UidSettings,
    names: Sequence[str] = tuple(METRICS),
    language: str = "en",
) -> pd.DataFrame:
    """One row per text of the file `tokens`, in its order: `doc_id`, the metrics `names` and `sample`.

    `tokens` and `words` are files of step 02, read some texts at a time, `words` only if a name asks
    for it; `texts` has each text by its doc_id and sample, in which sentences of
    `language` (ISO 639) are found. Raises StudyError if `words` has the texts in another order.
    """
    found = list(in_blocks(tokens, words, texts, settings, names, language))
    asked = [name for name in METRICS if name in names]
    return (
        pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["doc_id", *asked, "sample"])
    )


def in_blocks(
    tokens: Path,
    words: Path,
    texts: Texts,
    settings: UidSettings,
    names: Sequence[str] = tuple(METRICS),
    language: str = "en",
) -> Iterator[pd.DataFrame]:
    """As `metrics`, some rows at a time."""
    asked = [name for name in METRICS if name in names]
    of_tokens = [name for name in asked if not name.startswith("word")]
    of_words = [name.removeprefix("word_") for name in asked if name not in of_tokens]
    ends = any(name.removeprefix("word_") in OF_SENTENCES for name in asked)
    columns = ["surprisal", *(["end"] if ends else [])]
    corpus = mean_of(tokens)
    corpus_of_words = mean_of(words) if of_words else np.nan
    beside = InStep(words, columns) if of_words else None

    def given() -> Iterator[tuple[Block, list[str], Block | None]]:
        for block in whole_texts(tokens, ["token", *columns]):
            words_of = beside.of(block.keys) if beside else None
            yield block, [texts[key] for key in block.keys], words_of
        if beside:
            beside.check()

    def measured(given: tuple[Block, list[str], Block | None]) -> pd.DataFrame:
        block, spelled, by_word = given
        found = sentences(spelled, language)
        table = Measures(block, found.starts, settings, corpus).columns(of_tokens)
        table["sentence_length"] = divide(found.words, np.array([len(each) for each in found.starts]))
        if by_word:
            place = {key: number for number, key in enumerate(block.keys)}
            at = [place[key] for key in by_word.keys]
            measures = Measures(by_word, [found.starts[number] for number in at], settings, corpus_of_words)
            for name, values in measures.columns(of_words).items():
                table[name if name == "words" else f"word_{name}"] = _placed(values, at, len(block.keys))
        doc_ids, samples = zip(*block.keys, strict=True)
        kept = {"doc_id": doc_ids, **{name: table.get(name, np.nan) for name in asked}}
        return pd.DataFrame({**kept, "sample": np.array(samples, np.int32)})

    return side_by_side(measured, given())


def _placed(values: np.ndarray, at: Sequence[int], count: int) -> np.ndarray:
    """`values` as rows `at` of `count`; missing in the others."""
    found = np.full(count, np.nan)
    found[at] = values
    return found


def totals_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One row: texts, tokens, and Pearson's r of each pair of the headline metrics."""
    totals: dict[str, Any] = {"texts": len(rows), "tokens": int(rows["tokens"].sum())}
    for a, b in combinations(("mean_surprisal", "uid_variance", "uid_pairwise"), 2):
        totals[f"r({a}, {b})"] = rows[a].corr(rows[b])
    return pd.DataFrame([totals])


def summary_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean, median, standard deviation, extremes and missing values of the first metrics."""
    names = ["tokens", "mean_surprisal", "uid_variance", "uid_pairwise", "vocab_size", "sentence_length"]
    names += ["sentence_variance", "sentence_pairwise", "spectral_peak"]
    table = rows[names].agg(["mean", "median", "std", "min", "max"]).T
    table["missing"] = rows[names].isna().sum()
    return table.reset_index(names="metric").assign(unit=lambda t: t["metric"].map(METRICS))


def most_uniform(rows: pd.DataFrame, count: int = 5) -> pd.DataFrame:
    """The `count` texts with the lowest variance of surprisal."""
    return rows.nsmallest(count, "uid_variance")[[*KEYS, "tokens", *HEADLINE]]


def least_uniform(rows: pd.DataFrame, count: int = 5) -> pd.DataFrame:
    """The `count` texts with the highest variance of surprisal."""
    return rows.nlargest(count, "uid_variance")[[*KEYS, "tokens", *HEADLINE]]
