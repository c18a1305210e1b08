"""Bootstrap intervals of effects, resampling documents.

What one document gave rise to (a person's text and each model's continuation of the same prompt)
is drawn together, within its dataset. A resample is a weight per document, how often it was drawn;
so sorting is done once per metric and each draw costs a few cumulative sums, which is what makes
10,000 draws of thousands of texts affordable. The weights 1 for all and 0 for one document give
the jackknife that the bias-corrected and accelerated interval needs (Efron 1987).
"""

import math
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtr, ndtri

from lib.compare.effects import cohens_d_from_summary, small_sample_factor

DRAWS = 10_000
CONFIDENCE = 0.95
EFFECTS = ("cliffs_delta", "hedges_g", "variance_ratio", "matched_rank_biserial")
DRAWS_AT_ONCE = 128  # so that a block of weights stays in the processor's cache
LOST_AT_MOST = 0.01  # the share of draws in which an effect may be undefined

Interval = tuple[float, float]
UNKNOWN: Interval = (np.nan, np.nan)


class Resamples:
    """Weights [documents, columns]: `draws` bootstrap resamples, then the jackknife, one per document.

    `strata` [documents] says which documents are drawn from which; draws are the same for the same
    seed, whatever the number of processors.
    """

    def __init__(self, strata: np.ndarray, draws: int = DRAWS, seed: int = 0) -> None:
        self.draws, self.documents = draws, len(strata)
        self._drawn = np.empty((len(strata), draws), dtype=np.uint8)
        rng = np.random.default_rng(seed)
        for stratum in np.unique(strata):
            members = np.flatnonzero(strata == stratum)
            for columns in _blocks(draws):
                self._drawn[members, columns] = _multinomial(rng, len(members), columns.stop - columns.start)

    def blocks(self) -> list[slice]:
        """Columns that are worked on at once; none spans the draws and the jackknife."""
        jackknife = [slice(b.start + self.draws, b.stop + self.draws) for b in _blocks(self.documents)]
        return _blocks(self.draws) + jackknife

    def weights(self, columns: slice) -> np.ndarray:
        """float32 [documents, columns]."""
        if columns.stop <= self.draws:
            return self._drawn[:, columns].astype(np.float32)
        left_out = np.arange(columns.start, columns.stop) - self.draws
        weights = np.ones((self.documents, len(left_out)), dtype=np.float32)
        weights[left_out, np.arange(len(left_out))] = 0
        return weights


def _blocks(count: int) -> list[slice]:
    return [slice(i, min(i + DRAWS_AT_ONCE, count)) for i in range(0, count, DRAWS_AT_ONCE)]


def _multinomial(rng: np.random.Generator, size: int, columns: int) -> np.ndarray:
    """How often each of `size` members is among `size` draws with replacement, [size, columns]."""
    picks = rng.integers(0, size, size=(size, columns)) * columns + np.arange(columns)
    return np.bincount(picks.ravel(), minlength=size * columns).reshape(size, columns)


@dataclass(frozen=True)
class Group:
    """Texts of one group: `values` of a metric and the number of each one's document, both [texts]."""

    values: np.ndarray
    documents: np.ndarray

    @cached_property
    def order(self) -> np.ndarray:
        return np.argsort(self.values, kind="stable")

    @cached_property
    def ordered(self) -> np.ndarray:
        return self.values[self.order]

    @cached_property
    def centred(self) -> np.ndarray:
        """The values in order around their mean, float32: sums of squares then lose nothing."""
        return (self.ordered - self.values.mean()).astype(np.float32)

    @cached_property
    def rows(self) -> np.ndarray:
        """The documents in the order of the values."""
        return self.documents[self.order]

    def by_document(self, documents: int) -> np.ndarray:
        """The mean value of each document, missing where it has no text, [documents]."""
        counts = np.bincount(self.documents, minlength=documents)
        sums = np.bincount(self.documents, weights=self.values, minlength=documents)
        return np.divide(sums, counts, out=np.full(documents, np.nan), where=counts > 0)


def differences(a: Group, b: Group, documents: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the documents in both groups: the difference of their values, and their numbers."""
    difference = a.by_document(documents) - b.by_document(documents)
    both = np.flatnonzero(~np.isnan(difference))
    return difference[both], both


class _Ranking:
    """Where the sorted values [a] stand among other sorted ones: how many are below, and up to each."""

    def __init__(self, values: np.ndarray, others: np.ndarray) -> None:
        self.below = np.searchsorted(others, values, side="left")
        self.up_to = np.searchsorted(others, values, side="right")
        self.tied = bool((self.below != self.up_to).any())


class _Pair:
    """What stays the same over all resamples of one pair of groups."""

    def __init__(self, a: Group, b: Group, documents: int) -> None:
        self.ranking = _Ranking(a.ordered, b.ordered)
        self.offset = float(a.values.mean() - b.values.mean())
        difference, both = differences(a, b, documents)
        order = np.argsort(np.abs(difference), kind="stable")
        difference, both = difference[order], both[order]
        self.positive, self.negative = both[difference > 0], both[difference < 0]
        self.signed = _Ranking(difference[difference > 0], -difference[difference < 0])


def distributions(
    groups: Mapping[str, Group], pairs: Sequence[tuple[str, str]], resamples: Resamples
) -> dict[tuple[str, str], np.ndarray]:
    """Each effect of `EFFECTS` for each pair in each column of `resamples`, [effects, columns].

    The variance ratio is in logarithms. An effect that a resample leaves undefined is missing.
    """
    prepared = {pair: _Pair(groups[pair[0]], groups[pair[1]], resamples.documents) for pair in pairs}
    columns = resamples.draws + resamples.documents
    found = {pair: np.empty((len(EFFECTS), columns)) for pair in pairs}

    at_hand = threading.local()

    def work(block: slice) -> None:
        scratch = at_hand.__dict__.setdefault("scratch", _Scratch())
        weights = resamples.weights(block)
        drawn = {name: _Drawn(group, weights, scratch, name) for name, group in groups.items()}
        for (a, b), pair in prepared.items():
            found[a, b][:, block] = _effects(drawn[a], drawn[b], pair, weights, scratch)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, resamples.blocks()))
    return found


class _Scratch:
    """Arrays of a thread that are used again: fresh memory would cost more than the arithmetic."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def array(self, name: str, *shape: int) -> np.ndarray:
        """float32, of `shape`; what the last array of that name held is lost."""
        size = math.prod(shape)
        if name not in self._arrays or len(self._arrays[name]) < size:
            self._arrays[name] = np.empty(size, dtype=np.float32)
        return self._arrays[name][:size].reshape(shape)

    def take(self, name: str, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """`values[rows]`."""
        out = self.array(name, len(rows), values.shape[1])
        return np.take(values, rows, axis=0, out=out, mode="clip")

    def cumulative(self, name: str, weights: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """The sums of the first 0, 1, … n of the rows `chosen` [n] of `weights`, [n + 1, columns].

        In rows of a square, so that numpy adds long contiguous stretches; its own cumsum along the
        first axis walks down one column after the other and takes ten times as long.
        """
        rows = len(chosen) + 1
        side = math.isqrt(rows - 1) + 1
        sums = self.array(name, side, side, weights.shape[1])
        flat = sums.reshape(side * side, -1)
        flat[0], flat[rows:] = 0, 0
        np.take(weights, chosen, axis=0, out=flat[1:rows], mode="clip")
        for i in range(1, side):
            sums[:, i] += sums[:, i - 1]
        for i in range(1, side):
            sums[i] += sums[i - 1, -1]
        return flat[:rows]


class _Drawn:
    """A group in a block of resamples: weights in the order of its values, and its moments [columns]."""

    def __init__(self, group: Group, weights: np.ndarray, scratch: _Scratch, name: str) -> None:
        self.weights = scratch.take(f"weights of {name}", weights, group.rows)  # [texts, columns]
        self.counts = scratch.cumulative(f"counts of {name}", weights, group.rows)
        self.n = self.counts[-1].astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.mean = (group.centred @ self.weights) / self.n  # from the group's own mean
            squares = np.square(group.centred) @ self.weights
            self.variance = (squares - self.n * self.mean**2) / (self.n - 1)


def _effects(a: _Drawn, b: _Drawn, pair: _Pair, weights: np.ndarray, scratch: _Scratch) -> np.ndarray:
    """The effects of `EFFECTS` in each column of `weights`, [effects, columns]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        delta = 2 * _won(a.weights, b.counts, pair.ranking, scratch) / (a.n * b.n) - 1
        g = cohens_d_from_summary(
            (a.n, a.mean + pair.offset, np.sqrt(a.variance)), (b.n, b.mean, np.sqrt(b.variance))
        )
        ratio = np.log(a.variance / b.variance)
        g = g * small_sample_factor(a.n + b.n)
        return np.stack([delta, g, ratio, _rank_biserial(pair, weights, scratch)])


def _won(weights: np.ndarray, counts: np.ndarray, ranking: _Ranking, scratch: _Scratch) -> np.ndarray:
    """Mann and Whitney's U in each column: the pairs in which the first is above, ties by half.

    `weights` [a, columns] are of the first, `counts` [b + 1, columns] the cumulative ones of the others.
    """
    below = scratch.take("below", counts, ranking.below)
    if not ranking.tied:
        return np.einsum("ij,ij->j", weights, below).astype(float)
    below += scratch.take("up to", counts, ranking.up_to)
    return np.einsum("ij,ij->j", weights, below).astype(float) / 2


def _rank_biserial(pair: _Pair, weights: np.ndarray, scratch: _Scratch) -> np.ndarray:
    """The positive differences' share of all ranks, less the negative ones', in each column.

    Of n₊ positive and n₋ negative differences, the former's ranks sum to U + n₊(n₊ + 1) / 2, where U
    counts the pairs of a positive and a negative one in which the positive is the larger.
    """
    positive = scratch.take("positive", weights, pair.positive)  # by their size
    counts = scratch.cumulative("counts of negative", weights, pair.negative)
    more = (np.ones(len(positive), dtype=np.float32) @ positive).astype(float)
    n = more + counts[-1]
    ranks = _won(positive, counts, pair.signed, scratch) + more * (more + 1) / 2
    return 4 * ranks / (n * (n + 1)) - 1


def intervals(
    groups: Mapping[str, Group], pairs: Sequence[tuple[str, str]], resamples: Resamples
) -> dict[tuple[str, str], dict[str, Interval]]:
    """The bias-corrected and accelerated interval of each effect for each pair."""
    whole = {pair: _effects_of_all(groups[pair[0]], groups[pair[1]], resamples.documents) for pair in pairs}
    found = {}
    for pair, columns in distributions(groups, pairs, resamples).items():
        drawn, jackknife = columns[:, : resamples.draws], columns[:, resamples.draws :]
        made = {
            effect: bca(float(whole[pair][i]), drawn[i], jackknife[i]) for i, effect in enumerate(EFFECTS)
        }
        low, high = made["variance_ratio"]
        made["variance_ratio"] = (float(np.exp(low)), float(np.exp(high)))
        found[pair] = made
    return found


def _effects_of_all(a: Group, b: Group, documents: int) -> np.ndarray:
    ones, scratch = np.ones((documents, 1), dtype=np.float32), _Scratch()
    drawn = _Drawn(a, ones, scratch, "a"), _Drawn(b, ones, scratch, "b")
    return _effects(*drawn, _Pair(a, b, documents), ones, scratch)[:, 0]


def bca(
    estimate: float, drawn: np.ndarray, jackknife: np.ndarray, confidence: float = CONFIDENCE
) -> Interval:
    """The bias-corrected and accelerated interval (Efron 1987, eqs. 2.3 and 6.6; the same as SciPy's).

    Missing where it is undefined: the draws do not vary or lie all on one side of the estimate, as
    when two groups do not overlap, or too many draws are undefined themselves.
    """
    kept = drawn[np.isfinite(drawn)]
    jackknife = jackknife[np.isfinite(jackknife)]
    if len(kept) < (1 - LOST_AT_MOST) * len(drawn) or not len(jackknife) or not np.isfinite(estimate):
        return UNKNOWN
    bias = ndtri(((kept < estimate).mean() + (kept <= estimate).mean()) / 2)
    deviation = jackknife.mean() - jackknife
    spread = (deviation**2).sum()
    if not np.isfinite(bias) or spread == 0 or np.ptp(kept) == 0:
        return UNKNOWN
    acceleration = (deviation**3).sum() / (6 * spread**1.5)
    z = bias + ndtri([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(kept, ndtr(bias + z / (1 - acceleration * z)))
    return float(low), float(high)
