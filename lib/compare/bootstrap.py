"""Bootstrap intervals of effects between groups of texts, resampling documents.

What one document gave rise to (a person's text and each model's continuation of the same prompt)
is drawn together, within its dataset. A resample is a weight per document, how often it was drawn;
so sorting is done once per metric and each draw costs a few cumulative sums, which is what makes
10,000 draws of thousands of texts affordable. The weights 1 for all and 0 for one document give
the jackknife that the bias-corrected and accelerated interval needs (Efron 1987).

Weights are made a block at a time. Of a dataset with very many documents random groups of them are drawn,
and left out in the jackknife, and there are fewer draws: time and memory grow with the documents, not
with their square.
"""

import math
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtr, ndtri

from lib import machine
from lib.compare.effects import cohens_d_from_summary, small_sample_factor

DRAWS = 10_000
CONFIDENCE = 0.95
FEWEST_DRAWS = 1_000
WEIGHTS_IN_ALL = 200_000_000  # documents × draws; fewer draws above
DRAWS_AT_ONCE, FEWEST_AT_ONCE = 128, 8  # so that a block of weights stays in the processor's cache
WEIGHTS_AT_ONCE = 1 << 21  # documents × draws
EACH = 1_000  # documents of a dataset up to which each is drawn and left out alone
DRAWN_GROUPS, LEFT_OUT_GROUPS = 2_000, 200  # of the documents of a dataset that has more
LOST_AT_MOST = 0.01  # the share of draws in which an effect may be undefined

Interval = tuple[float, float]
UNKNOWN: Interval = (np.nan, np.nan)


class Resamples:
    """Weights [documents, columns]: `draws` bootstrap resamples, then the jackknife.

    `strata` [documents] says which documents are drawn from which. The jackknife has a column for each
    document, or group of documents, that is left out. Weights are the same for the same seed, whatever
    the number of processors. Of very many documents there are fewer draws than were asked for.
    """

    def __init__(self, strata: np.ndarray, draws: int = DRAWS, seed: int = 0) -> None:
        self.documents, self._seed = len(strata), seed
        self.draws = min(draws, max(WEIGHTS_IN_ALL // max(len(strata), 1), FEWEST_DRAWS))
        self._at_once = min(max(WEIGHTS_AT_ONCE // max(len(strata), 1), FEWEST_AT_ONCE), DRAWS_AT_ONCE)
        rng = np.random.default_rng(seed)
        members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
        self._drawn = [(m, _groups(len(m), DRAWN_GROUPS, rng)) for m in members]
        # The number of the column that leaves each document out, [documents].
        self._left_out = np.empty(len(strata), dtype=np.int64)
        self.left_out = 0
        for some in members:
            groups = _groups(len(some), LEFT_OUT_GROUPS, rng)
            self._left_out[some] = self.left_out + groups
            self.left_out += int(groups.max(initial=-1)) + 1

    @property
    def columns(self) -> int:
        """The draws and the jackknife."""
        return self.draws + self.left_out

    def blocks(self) -> list[slice]:
        """Columns that are worked on at once; none spans the draws and the jackknife."""
        jackknife = [slice(b.start + self.draws, b.stop + self.draws) for b in self._blocks(self.left_out)]
        return self._blocks(self.draws) + jackknife

    def _blocks(self, count: int) -> list[slice]:
        return [slice(i, min(i + self._at_once, count)) for i in range(0, count, self._at_once)]

    def weights(self, columns: slice) -> np.ndarray:
        """float32 [documents, columns], for one of `blocks`."""
        if columns.start >= self.draws:
            numbers = np.arange(columns.start, columns.stop) - self.draws
            return (self._left_out[:, None] != numbers).astype(np.float32)
        rng = np.random.default_rng([self._seed, columns.start])
        weights = np.empty((self.documents, columns.stop - columns.start), dtype=np.float32)
        for members, groups in self._drawn:
            drawn = _multinomial(rng, int(groups.max(initial=-1)) + 1, weights.shape[1])
            weights[members] = drawn.astype(np.float32)[groups]
        return weights


def _groups(documents: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """The number of each document's group: its own, or one of `most` random ones of like size."""
    if documents <= max(EACH, most):
        return np.arange(documents)
    return rng.permutation(documents) * most // documents


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
    groups: Mapping[str, Group],
    pairs: Sequence[tuple[str, str]],
    resamples: Resamples,
    effects: Sequence["Weighted"],
) -> dict[tuple[str, str], np.ndarray]:
    """Each of `effects` for each pair in each column of `resamples`, [effects, columns].

    An effect that a resample leaves undefined is missing.
    """
    prepared = {pair: _Pair(groups[pair[0]], groups[pair[1]], resamples.documents) for pair in pairs}
    found = {pair: np.empty((len(effects), resamples.columns)) for pair in pairs}

    at_hand = threading.local()

    def work(block: slice) -> None:
        scratch = at_hand.__dict__.setdefault("scratch", _Scratch())
        weights = resamples.weights(block)
        drawn = {name: _Drawn(group, weights, scratch, name) for name, group in groups.items()}
        for (a, b), pair in prepared.items():
            resampled = Resampled(drawn[a], drawn[b], pair, weights, scratch)
            found[a, b][:, block] = resampled.effects(effects)

    with ThreadPoolExecutor(machine.threads()) as pool:
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


@dataclass(frozen=True)
class Resampled:
    """A pair of groups in a block of resamples."""

    a: _Drawn
    b: _Drawn
    pair: _Pair
    weights: np.ndarray
    scratch: _Scratch

    def effects(self, effects: Sequence["Weighted"]) -> np.ndarray:
        """[effects, columns]."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.stack([effect(self) for effect in effects])


Weighted = Callable[[Resampled], np.ndarray]  # an effect in each column of a block, [columns]


def cliffs_delta(drawn: Resampled) -> np.ndarray:
    won = _won(drawn.a.weights, drawn.b.counts, drawn.pair.ranking, drawn.scratch)
    return 2 * won / (drawn.a.n * drawn.b.n) - 1


def hedges_g(drawn: Resampled) -> np.ndarray:
    a, b = drawn.a, drawn.b
    d = cohens_d_from_summary(
        (a.n, a.mean + drawn.pair.offset, np.sqrt(a.variance)), (b.n, b.mean, np.sqrt(b.variance))
    )
    return d * small_sample_factor(a.n + b.n)


def log_variance_ratio(drawn: Resampled) -> np.ndarray:
    return np.log(drawn.a.variance / drawn.b.variance)


def matched_rank_biserial(drawn: Resampled) -> np.ndarray:
    return _rank_biserial(drawn.pair, drawn.weights, drawn.scratch)


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
    groups: Mapping[str, Group],
    pairs: Sequence[tuple[str, str]],
    resamples: Resamples,
    effects: Mapping[str, Weighted],
    ratios: Collection[str] = (),
) -> dict[tuple[str, str], dict[str, Interval]]:
    """The bias-corrected and accelerated interval of each of `effects` for each pair.

    `ratios` are those whose functions give logarithms; their intervals are of the ratio.
    """
    functions = list(effects.values())
    found = {}
    for pair, columns in distributions(groups, pairs, resamples, functions).items():
        whole = _effects_of_all(groups[pair[0]], groups[pair[1]], resamples.documents, functions)
        drawn, jackknife = columns[:, : resamples.draws], columns[:, resamples.draws :]
        made = {name: bca(float(whole[i]), drawn[i], jackknife[i]) for i, name in enumerate(effects)}
        for name in ratios:
            low, high = made[name]
            made[name] = (float(np.exp(low)), float(np.exp(high)))
        found[pair] = made
    return found


def _effects_of_all(a: Group, b: Group, documents: int, effects: Sequence[Weighted]) -> np.ndarray:
    ones, scratch = np.ones((documents, 1), dtype=np.float32), _Scratch()
    drawn = _Drawn(a, ones, scratch, "a"), _Drawn(b, ones, scratch, "b")
    return Resampled(*drawn, _Pair(a, b, documents), ones, scratch).effects(effects)[:, 0]


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
