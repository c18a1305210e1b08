"""Effects of a contrast of documents, and their intervals by resampling documents within datasets.

An effect follows from sums over documents (how many, their values, their squares), so a resample is a product
of weights and a small table. Of more than a thousand documents in a dataset random groups are drawn
in their place, and left out in the jackknife: neither draws × documents nor a jackknife per document
is ever made.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

from lib.compare.bootstrap import CONFIDENCE, DRAWS, Interval, bca
from lib.compare.documents import Side, Stratum
from lib.params import Aspect

GROUPS = 1000  # of documents in a dataset, which are drawn together
AT_ONCE = 512  # draws
OF_SQUARES, FEWEST = 7, 4  # degrees of freedom for one of squares; as many, or all, there are at least
EFFECT_NAMES: dict[Aspect, str] = {"level": "standardised_mean_difference", "spread": "variance_ratio"}
NO_EFFECT: dict[Aspect, float] = {"level": 0.0, "spread": 1.0}


def effect(strata: Sequence[Stratum], aspect: Aspect) -> float:
    """The effect over all of `strata`, each dataset counting by its documents.

    `level`: the difference of the sides' means over documents, in standard deviations of a text, whose
    variance is averaged over each side's sources, both sides and the datasets. For one source with one
    text per document on either side this is Cohen's d_av (Cumming 2012), of pairs or not.

    `spread`: the ratio of the sides' variances, each averaged over its sources, as the geometric mean
    over the datasets. It is missing where nothing varies.
    """
    table = [_Table.of(stratum) for stratum in strata]
    whole = _combined([part.estimates(part.whole) for part in table], table, aspect)
    return float(np.exp(whole[0])) if aspect == "spread" else float(whole[0])


def unit(strata: Sequence[Stratum], aspect: Aspect) -> float:
    """What a margin of 1 is: a standard deviation, averaged as the effect's is.

    `level`: of texts around their source's mean. `spread`: of documents' distances from the median.
    """
    total = sum(stratum.sides.documents for stratum in strata)
    squares = 0.0
    for stratum in strata:
        if aspect == "level":
            part = _Table.of(stratum)
            found = part.estimates(part.whole)
            variance = float(found.variance_of[0] + found.variance_against[0]) / 2
        else:
            variance = float(stratum.of.values.var(ddof=1) + stratum.against.values.var(ddof=1)) / 2
        squares += variance * stratum.sides.documents / total
    return float(np.sqrt(squares))


def interval(strata: Sequence[Stratum], aspect: Aspect, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The bias-corrected and accelerated 95 % interval of `effect` (Efron 1987).

    It is as much wider as a t-interval is than a normal one (Hesterberg 2015, section 3.3): a resample
    varies less than a sample, by one document in each dataset. How far a variance varies is a variance of
    squares, and known as well as another variance is from a seventh as many: of normal values the squares'
    kurtosis is 15, and 2 / (15 − 1) a seventh.
    """
    rng = np.random.default_rng(seed)
    tables = [_Table.of(stratum).grouped(rng) for stratum in strata]
    whole = [table.estimates(table.whole) for table in tables]
    estimate = float(_combined(whole, tables, aspect)[0])
    drawn = np.concatenate(
        [
            _combined([table.estimates(table.drawn(block, rng)) for table in tables], tables, aspect)
            for block in _blocks(draws)
        ]
    )
    deviations = []
    for i, table in enumerate(tables):
        for left_out in table.each_left_out():
            parts: list[Estimates] = [*whole[:i], table.estimates(left_out), *whole[i + 1 :]]
            found = _combined(parts, tables, aspect)
            deviations.append((len(found) - 1) / len(found) * (found - found.mean()))
    expanded = _expanded(CONFIDENCE, sum(table.documents for table in tables), len(tables), aspect)
    low, high = bca(estimate, drawn, np.concatenate(deviations), expanded)
    return (float(np.exp(low)), float(np.exp(high))) if aspect == "spread" else (low, high)


def _expanded(confidence: float, documents: int, datasets: int, aspect: Aspect) -> float:
    """The confidence that a normal interval needs to be as wide as that of t."""
    freedom = documents - datasets
    known = freedom if aspect == "level" else max(freedom / OF_SQUARES, min(freedom, FEWEST))
    z = stdtrit(known, (1 + confidence) / 2) * np.sqrt(documents / freedom)
    return float(1 - 2 * ndtr(-z))


def _blocks(draws: int) -> list[int]:
    return [min(AT_ONCE, draws - start) for start in range(0, draws, AT_ONCE)]


@dataclass(frozen=True)
class Estimates:
    """What sums over documents say of one dataset; each [resamples]."""

    difference: np.ndarray
    variance_of: np.ndarray
    variance_against: np.ndarray


@dataclass(frozen=True)
class _Table:
    """What is summed over the documents of a dataset: a row per document, or group of documents.

    The columns of a side are its documents, the sum of their values, and its sources' moments. Paired
    sides stand beside each other in the same rows, others are drawn apart.
    """

    parts: tuple[np.ndarray, ...]  # one [rows, columns of both], or two
    columns_of: int  # of the side `of`
    shares: tuple[np.ndarray, np.ndarray]
    documents: int

    @classmethod
    def of(cls, stratum: Stratum) -> "_Table":
        of, against = _columns(stratum.of), _columns(stratum.against)
        parts = (np.concatenate([of, against], axis=1),) if stratum.paired else (of, against)
        shares = stratum.of.shares, stratum.against.shares
        return cls(parts, of.shape[1], shares, stratum.sides.documents)

    @property
    def whole(self) -> np.ndarray:
        """The sums over all documents, [1, columns of both]."""
        return np.concatenate([part.sum(axis=0) for part in self.parts])[None]

    def grouped(self, rng: np.random.Generator) -> "_Table":
        """The same with at most `GROUPS` rows, random groups of documents."""
        return _Table(
            tuple(_grouped(part, rng) for part in self.parts), self.columns_of, self.shares, self.documents
        )

    def drawn(self, draws: int, rng: np.random.Generator) -> np.ndarray:
        """The sums over `draws` resamples of the rows, [draws, columns of both]."""
        return np.concatenate([_weights(len(part), draws, rng) @ part for part in self.parts], axis=1)

    def each_left_out(self) -> Iterator[np.ndarray]:
        """The sums without one row, [rows, columns of both], for each part."""
        sums = [part.sum(axis=0) for part in self.parts]
        for i, part in enumerate(self.parts):
            rows = [np.broadcast_to(total, (len(part), len(total))) for total in sums]
            rows[i] = sums[i] - part
            yield np.concatenate(rows, axis=1)

    def estimates(self, sums: np.ndarray) -> Estimates:
        """What `sums` [resamples, columns of both] come to."""
        of, against = sums[:, : self.columns_of], sums[:, self.columns_of :]
        with np.errstate(divide="ignore", invalid="ignore"):
            return Estimates(
                of[:, 1] / of[:, 0] - against[:, 1] / against[:, 0],
                _variance(of[:, 2:], self.shares[0]),
                _variance(against[:, 2:], self.shares[1]),
            )


def _columns(side: Side) -> np.ndarray:
    """Per document 1, its value, and of each source the number of texts, their sum and squares."""
    moments = np.moveaxis(side.moments, 0, 1).reshape(len(side.values), -1)
    return np.column_stack([np.ones(len(side.values)), side.values, moments])


def _variance(moments: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The sources' sample variances, averaged by their shares, from sums [resamples, sources × 3]."""
    n, total, squares = np.moveaxis(moments.reshape(len(moments), -1, 3), 2, 0)
    return ((squares - total**2 / n) / (n - 1)) @ shares


def _grouped(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if len(rows) <= GROUPS:
        return rows
    starts = np.linspace(0, len(rows), GROUPS, endpoint=False).astype(int)
    return np.add.reduceat(rows[rng.permutation(len(rows))], starts, axis=0)


def _weights(rows: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of `rows` is among as many draws with replacement, [draws, rows]."""
    picks = rng.integers(0, rows, size=(draws, rows)) + rows * np.arange(draws)[:, None]
    return np.bincount(picks.ravel(), minlength=draws * rows).reshape(draws, rows).astype(float)


def _combined(parts: Sequence[Estimates], tables: Sequence[_Table], aspect: Aspect) -> np.ndarray:
    """The effect over datasets, [resamples]; a ratio as its logarithm."""
    total = sum(table.documents for table in tables)
    shares = [table.documents / total for table in tables]
    with np.errstate(divide="ignore", invalid="ignore"):
        if aspect == "spread":
            logs = [np.log(part.variance_of / part.variance_against) for part in parts]
            return sum(s * log for s, log in zip(shares, logs, strict=True)) + np.zeros(1)
        difference = sum(s * part.difference for s, part in zip(shares, parts, strict=True))
        variances = [(part.variance_of + part.variance_against) / 2 for part in parts]
        variance = sum(s * some for s, some in zip(shares, variances, strict=True)) + np.zeros(1)
        return np.where(variance > 0, difference / np.sqrt(variance), np.nan)
