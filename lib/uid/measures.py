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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from lib import paths, store
from lib.datasets.document import KEYS, Key
from lib.datasets.sentences import sentences
from lib.params import UidSettings, language_of
from lib.params.run import Run, command
from lib.uid.series import Block, Series, codes, divide, of_blocks, previous, sentences_of

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
SHORTEST_WAVE, SMALLEST_WAVE = 4, 1e-3  # tokens and bits below which a text has no period
COUNTS = ("tokens", "vocab_size", "words")
SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        *((name, pa.int64() if name in COUNTS else pa.float64()) for name in METRICS),
        ("sample", pa.int32()),
    ]
)
HEADLINE = ("mean_surprisal", "uid_variance", "uid_pairwise")  # what is looked at first
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
    texts = store.read(texts_path, command("01_generate", run), [*KEYS, "text"])
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
            keys = zip(texts["doc_id"], texts["sample"], strict=True)
            by_key = dict(zip(keys, texts["text"].fillna(""), strict=True))
            language = language_of(run.dataset)
            rows = metrics(surprisals, words, by_key, run.study.uid, language=language)
            store.write(path, rows, SCHEMA, made)
    rows = read_metrics(run)
    missing = {name: int(rows[name].isna().sum()) for name in METRICS if rows[name].isna().any()}
    return UidSummary(path, len(rows), missing, stale)


def read_metrics(run: Run) -> pd.DataFrame:
    """The rows of `SCHEMA` of the run's source."""
    path = paths.uid(run.scorer_name, run.dataset_name, run.source_name)
    return store.read(path, command("03_uid", run), schema=SCHEMA)


def metrics(
    tokens: Path,
    words: Path,
    texts: Mapping[Key, str],
    settings: UidSettings,
    names: Sequence[str] = tuple(METRICS),
    language: str = "en",
) -> pd.DataFrame:
    """One row per text of the file `tokens`, in its order: `doc_id`, the metrics `names` and `sample`.

    `tokens` and `words` are files of step 02, read some texts at a time, `words` only if a name asks
    for it; `texts` maps doc_id and sample to the text, in which sentences of
    `language` (ISO 639) are found.
    """
    starts: dict[Key, np.ndarray] = {}
    of_words = [name.removeprefix("word_") for name in names if name == "words" or name.startswith("word_")]

    def measured_tokens(block: Block) -> dict[str, np.ndarray]:
        found = sentences([texts[key] for key in block.keys], language)
        starts.update(zip(block.keys, found.starts, strict=True))
        sentence_length = divide(found.words, np.array([len(each) for each in found.starts]))
        measures = Measures(block, found.starts, settings)
        return measures.columns(names) | {"sentence_length": sentence_length}

    def measured_words(block: Block) -> dict[str, np.ndarray]:
        return Measures(block, [starts[key] for key in block.keys], settings).columns(of_words)

    ends = any(name.removeprefix("word_") in OF_SENTENCES for name in names)
    columns = ["surprisal", *(["end"] if ends else [])]
    table = _joined(of_blocks(measured_tokens, tokens, ["token", *columns]))
    table = table.rename(columns={"count": "tokens"})
    if of_words:
        by_word = _joined(of_blocks(measured_words, words, columns)).add_prefix("word_")
        table = table.join(by_word.rename(columns={"word_count": "words"}))
    asked = [name for name in METRICS if name in names]
    return table.reindex(columns=asked).reset_index()[["doc_id", *asked, "sample"]]


def _joined(blocks: Iterable[dict[str, np.ndarray]]) -> pd.DataFrame:
    """The columns of all `blocks`, by `doc_id` and `sample`, with the corpus deviation.

    Σ (s − μ)²/N is the variance and the squared distance of the text's mean from μ.
    """
    none = dict.fromkeys((*KEYS, "count", "mean_surprisal", "uid_variance"), np.empty(0))
    found = list(blocks) or [none]
    table = pd.DataFrame({name: np.concatenate([block[name] for block in found]) for name in found[0]})
    mean = np.average(table["mean_surprisal"], weights=table["count"]) if len(table) else np.nan
    table["corpus_deviation"] = table["uid_variance"] + (table["mean_surprisal"] - mean) ** 2
    return table.set_index(KEYS)


class Measures:
    """The metrics of some texts but for the corpus deviation: an attribute each, [texts].

    `starts` [texts] are where each text's sentences begin. Nothing is computed before it is asked for.
    """

    def __init__(self, block: Block, starts: Sequence[np.ndarray], settings: UidSettings) -> None:
        self.keys, self.series, self.rows = block  # tokens or words of step 02
        self.s = self.rows["surprisal"].to_numpy()  # [values], bits
        self.starts, self.settings = starts, settings

    def columns(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """`names` as far as they are here, and what the corpus deviation is made of."""
        here = {"mean_surprisal", "uid_variance"}.union(name for name in names if hasattr(Measures, name))
        doc_ids, samples = zip(*self.keys, strict=True) if self.keys else ((), ())
        found = {"doc_id": np.array(doc_ids, dtype=object), "sample": np.array(samples, dtype=np.int32)}
        found |= {"count": self.series.lengths}
        return found | {name: getattr(self, name) for name in here}

    @cached_property
    def deviation(self) -> np.ndarray:
        """From the text's mean, [values]."""
        return self.s - self.series.spread(self.mean_surprisal)

    @cached_property
    def squares(self) -> np.ndarray:
        """The sum of squared deviations, [texts]."""
        return self.series.sum(self.deviation**2)

    @cached_property
    def steps(self) -> np.ndarray:
        """From each value to the next, [values − 1]."""
        return np.diff(self.s)

    @cached_property
    def sentences(self) -> Series:
        return sentences_of(self.series, self.rows["end"].to_numpy(), self.starts)

    def over_sentences(self, values: np.ndarray) -> np.ndarray:
        """The mean of `values` [sentences] over a text's sentences of two values or more, [texts]."""
        of_texts = Series(np.searchsorted(self.sentences.starts, self.series.starts), len(self.sentences))
        several = self.sentences.lengths > 1
        return divide(of_texts.sum(np.where(several, values, 0.0)), of_texts.sum(several))

    @cached_property
    def previous(self) -> np.ndarray:
        """The row of each token's last occurrence, [values]; if in the same text, at least its start."""
        return previous(codes(self.rows, "token"))

    @cached_property
    def mean_surprisal(self) -> np.ndarray:
        return self.series.mean(self.s)

    @property
    def median_surprisal(self) -> np.ndarray:
        return self.series.median(self.s)

    @property
    def min_surprisal(self) -> np.ndarray:
        return self.series.minimum(self.s)

    @property
    def max_surprisal(self) -> np.ndarray:
        return self.series.maximum(self.s)

    @cached_property
    def uid_variance(self) -> np.ndarray:
        # A single value varies about nothing.
        return np.where(self.series.lengths > 1, self.squares / self.series.lengths, np.nan)

    @cached_property
    def uid_pairwise(self) -> np.ndarray:
        return self.series.of_neighbours(self.steps**2)

    @property
    def local_difference(self) -> np.ndarray:
        return self.series.of_neighbours(np.abs(self.steps))

    @property
    def super_linear_cost(self) -> np.ndarray:
        # A corrected word may be a little below 0 bits.
        cost = self.series.mean(np.maximum(self.s, 0) ** self.settings.power)
        return np.where(self.series.lengths > 1, cost, np.nan)

    @property
    def uid_variance_sentence(self) -> np.ndarray:
        deviation = self.s - self.sentences.spread(self.sentences.mean(self.s))
        return self.over_sentences(self.sentences.mean(deviation**2))

    @property
    def uid_pairwise_sentence(self) -> np.ndarray:
        return self.over_sentences(self.sentences.of_neighbours(self.steps**2))

    @cached_property
    def sentence_means(self) -> tuple[Series, np.ndarray]:
        """The sentences of each text as a series of their own, and the mean of each, [sentences]."""
        of_texts = Series(np.searchsorted(self.sentences.starts, self.series.starts), len(self.sentences))
        return of_texts, self.sentences.mean(self.s)

    @property
    def sentence_variance(self) -> np.ndarray:
        of_texts, means = self.sentence_means
        variance = of_texts.mean((means - of_texts.spread(of_texts.mean(means))) ** 2)
        return np.where(of_texts.lengths > 1, variance, np.nan)

    @property
    def sentence_pairwise(self) -> np.ndarray:
        of_texts, means = self.sentence_means
        return of_texts.of_neighbours(np.diff(means) ** 2)

    @property
    def spectral_peak(self) -> np.ndarray:
        varies = self.series.maximum(self.s) - self.series.minimum(self.s) > SMALLEST_WAVE
        found = np.full(len(self.series), np.nan)
        for i in np.flatnonzero(varies & (self.series.lengths >= SHORTEST_WAVE)):
            wave = self.deviation[self.series.starts[i] : self.series.ends[i]]
            power = np.abs(np.fft.rfft(wave)[1:]) ** 2
            found[i] = power.max() / power.sum()
        return found

    @property
    def coefficient_of_variation(self) -> np.ndarray:
        return divide(np.sqrt(self.uid_variance), self.mean_surprisal)

    @property
    def pairwise_ratio(self) -> np.ndarray:
        return divide(self.uid_pairwise, self.uid_variance)

    @property
    def autocorrelation(self) -> np.ndarray:
        products = self.series.of_neighbours(self.deviation[1:] * self.deviation[:-1])
        return divide(products * (self.series.lengths - 1), self.squares)

    @property
    def uid_variance_first_n(self) -> np.ndarray:
        n = self.settings.first_n
        long = self.series.lengths >= n
        found = np.full(len(self.series), np.nan)
        found[long] = self.s[self.series.starts[long, None] + np.arange(n)].var(axis=1)
        return found

    @property
    def vocab_size(self) -> np.ndarray:
        """Distinct tokens: those that have not occurred in the text before."""
        return self.series.sum(self.previous < self.series.spread(self.series.starts)).astype(np.int64)

    @property
    def moving_ttr(self) -> np.ndarray:
        """A token counts in the windows of W that it is in and its last occurrence is not.

        Token i of the tokens a … e − 1 of a text is in those that begin at max(a, i − W + 1) …
        min(i, e − W), and its last occurrence is not in those that begin after it.
        """
        window, i = self.settings.ttr_window, np.arange(self.series.size)
        begin = np.maximum(self.previous + 1, self.series.spread(self.series.starts))
        last = np.minimum(i, self.series.spread(self.series.ends - window))
        counted = np.maximum(last - np.maximum(begin, i - window + 1) + 1, 0)
        windows = self.series.lengths - window + 1
        total = self.series.sum(counted) / window
        return np.where(windows > 0, total / np.maximum(windows, 1), np.nan)


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
