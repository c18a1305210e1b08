"""Permutation within documents: how often chance alone would set two sides so far apart.

Where both sides have a value of each document, the two are exchanged (a sign flip of their difference);
where they share no document, documents are dealt to the sides anew, within their dataset. All exchanges are
made where they are few, and else as many as `draws` asks for. The p-values are those of
`scipy.stats.permutation_test` (Phipson & Smyth 2010: the data count as one of the draws).

Sums of flipped differences come from a table: eight documents have 256 patterns of signs, whose sums
are made once, and a draw takes one random byte per eight documents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

DRAWS = 99_999
FEWER_DRAWS = 9_999  # of more than `MANY` documents
MANY = 20_000
EXACT = 1 << 14  # every exchange is made where there are at most so many
AT_ONCE = 1 << 12  # draws
TABLES_AT_ONCE = 1 << 12  # of eight documents each
ROOM = 1 << 22  # numbers of a block where documents are dealt anew
SIGNS = ((np.arange(256) >> np.arange(8)[:, None]) & 1) * 2.0 - 1  # [8 documents, 256 patterns]


@dataclass(frozen=True)
class Sides:
    """One dataset's documents: `of` and `against` have a value for each, in the same order if `paired`."""

    of: np.ndarray
    against: np.ndarray
    paired: bool

    @property
    def documents(self) -> int:
        """The documents of a side; of the smaller one if they are not the same."""
        return min(len(self.of), len(self.against))

    @property
    def difference(self) -> float:
        return float(self.of.mean() - self.against.mean())


@dataclass(frozen=True)
class Null:
    """The mean difference, and what exchanges make of it [draws], all of them if `exact`.

    Imaginary parts are what becomes of a constant added to the values of `of`: so one set of draws tests
    against every constant.
    """

    observed: float
    draws: np.ndarray  # complex
    exact: bool

    def p(self) -> float:
        """Of no difference, two-sided."""
        return min(2 * min(self._less(0.0), self._greater(0.0)), 1.0)

    def p_below(self, bound: float) -> float:
        """Of a difference of `bound` or more; small where there is less."""
        return self._less(bound)

    def p_above(self, bound: float) -> float:
        """Of a difference of `bound` or less; small where there is more."""
        return self._greater(bound)

    def _less(self, bound: float) -> float:
        return self._share(-self._from(bound), -(self.observed - bound))

    def _greater(self, bound: float) -> float:
        return self._share(self._from(bound), self.observed - bound)

    def _from(self, bound: float) -> np.ndarray:
        return self.draws.real - bound * self.draws.imag

    def _share(self, draws: np.ndarray, observed: float) -> float:
        """The share of draws that are as large as what was observed, or larger."""
        tie = 1e-12 * max(abs(observed), float(np.abs(draws).max()))
        reached = int((draws >= observed - tie).sum())
        return reached / len(draws) if self.exact else (reached + 1) / (len(draws) + 1)


def null(strata: Sequence[Sides], draws: int = DRAWS, seed: int = 0) -> Null:
    """The distribution of the mean difference over documents where sides are exchanged within documents.

    Each dataset of `strata` counts by its documents. `draws` are fewer for very many documents.
    """
    total = sum(stratum.documents for stratum in strata)
    shares = [stratum.documents / total for stratum in strata]
    observed = sum(share * stratum.difference for share, stratum in zip(shares, strata, strict=True))
    if total > MANY:
        draws = min(draws, FEWER_DRAWS)
    flipped = [stratum.of - stratum.against for stratum in strata if stratum.paired]
    # Exchanges of a constant with 0: the imaginary part.
    together = (np.concatenate(flipped) + 1j) / total if flipped else np.empty(0, complex)
    dealt = [(share, stratum) for share, stratum in zip(shares, strata, strict=True) if not stratum.paired]
    if not dealt and len(together) <= np.log2(EXACT):
        return Null(observed, _all_flips(together), exact=True)
    if not flipped and len(dealt) == 1:
        stratum = dealt[0][1]
        if comb(len(stratum.of) + len(stratum.against), len(stratum.of)) <= EXACT:
            return Null(observed, _all_deals(stratum), exact=True)
    rng = np.random.default_rng(seed)
    made = np.zeros(draws, complex)
    if len(together):
        made += _flips(together, draws, rng)
    for share, stratum in dealt:
        made += share * _deals(stratum, draws, rng)
    return Null(observed, made, exact=False)


def _all_flips(values: np.ndarray) -> np.ndarray:
    """The sums of `values` [n] with every pattern of signs, [2ⁿ]."""
    sums = np.zeros(1, complex)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return sums


def _flips(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """The sums of `values` [n] with random signs, [draws]."""
    eights = np.zeros((-(-len(values) // 8), 8), complex)
    eights.ravel()[: len(values)] = values
    sums = np.zeros(draws, complex)
    for first in range(0, len(eights), TABLES_AT_ONCE):
        tables = eights[first : first + TABLES_AT_ONCE] @ SIGNS  # [eights, 256]
        for start in range(0, draws, AT_ONCE):
            block = sums[start : start + AT_ONCE]
            patterns = np.frombuffer(rng.bytes(len(tables) * len(block)), np.uint8).reshape(len(tables), -1)
            for table, of_block in zip(tables, patterns, strict=True):
                block += table.take(of_block)
    return sums


def _pooled(stratum: Sides) -> np.ndarray:
    return np.concatenate([stratum.of + 1j, stratum.against])


def _all_deals(stratum: Sides) -> np.ndarray:
    """The difference of means for every choice of the documents that are `of`."""
    values, first, second = _pooled(stratum), len(stratum.of), len(stratum.against)
    sums = np.array([values[list(chosen)].sum() for chosen in combinations(range(len(values)), first)])
    return sums / first - (values.sum() - sums) / second


def _deals(stratum: Sides, draws: int, rng: np.random.Generator) -> np.ndarray:
    """The difference of means with documents dealt to the sides at random, [draws]."""
    values, first, second = _pooled(stratum), len(stratum.of), len(stratum.against)
    fewer, total = min(first, second), values.sum()
    sums = np.empty(draws, complex)
    rows = max(ROOM // len(values), 1)
    for start in range(0, draws, rows):
        block = sums[start : start + rows]
        # The smallest of random numbers are a random choice of documents.
        order = np.argpartition(rng.random((len(block), len(values)), np.float32), fewer - 1, axis=1)
        block[:] = values[order[:, :fewer]].sum(axis=1)
    if fewer == first:
        return sums / first - (total - sums) / second
    return (total - sums) / first - sums / second
