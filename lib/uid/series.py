"""Many texts' values in one array, and what is computed of each text at once.

Values of all texts stand one after the other; `Series` says where each text begins. Everything is
numpy over the whole array.
"""

from collections.abc import Sequence

import numpy as np


class Series:
    """Consecutive series in one array: number i is `values[starts[i]:starts[i + 1]]`; none is empty."""

    def __init__(self, starts: np.ndarray, size: int) -> None:
        self.starts, self.size = np.asarray(starts, dtype=np.int64), size
        self.lengths = np.diff(self.starts, append=size)

    @classmethod
    def of_runs(cls, *labels: np.ndarray) -> "Series":
        """One series for each run in which none of `labels`, each [values], changes."""
        changed = np.any([each[1:] != each[:-1] for each in labels], axis=0)
        size = len(labels[0])
        return cls(np.concatenate([[0], np.flatnonzero(changed) + 1]) if size else np.empty(0), size)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def ends(self) -> np.ndarray:
        """Where each series ends: the next one's start, [series]."""
        return self.starts + self.lengths

    def sum(self, values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, self.starts, dtype=np.float64) if len(self) else np.empty(0)

    def mean(self, values: np.ndarray) -> np.ndarray:
        return self.sum(values) / self.lengths

    def minimum(self, values: np.ndarray) -> np.ndarray:
        return np.minimum.reduceat(values, self.starts) if len(self) else np.empty(0)

    def maximum(self, values: np.ndarray) -> np.ndarray:
        return np.maximum.reduceat(values, self.starts) if len(self) else np.empty(0)

    def median(self, values: np.ndarray) -> np.ndarray:
        ordered = values.copy()  # sorting short slices in place beats a lexsort
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            ordered[start:end].sort()
        low, high = self.starts + (self.lengths - 1) // 2, self.starts + self.lengths // 2
        return (ordered[low] + ordered[high]) / 2

    def spread(self, means: np.ndarray) -> np.ndarray:
        """`means` [series] repeated for each value, [values]."""
        return np.repeat(means, self.lengths)

    def of_neighbours(self, pairs: np.ndarray) -> np.ndarray:
        """The mean of `pairs` [values − 1] over the neighbours in each series; missing for a single value."""
        within = np.zeros(self.size)
        within[:-1] = pairs
        within[self.ends - 1] = 0.0
        return divide(self.sum(within), self.lengths - 1)


def previous(codes: np.ndarray) -> np.ndarray:
    """Where each code, a whole number from 0 on, stood last in the array, [codes]; −1 if nowhere."""
    # numpy sorts 16 bits by radix; stable, so that equal codes stay in their order.
    small = codes.astype(np.min_scalar_type(codes.max(initial=0)))
    order = np.argsort(small, kind="stable")
    ordered = small[order]
    found = np.full(len(codes), -1)
    found[order[1:]] = np.where(ordered[1:] == ordered[:-1], order[:-1], -1)
    return found


def sentences_of(series: Series, ends: np.ndarray, starts: Sequence[np.ndarray]) -> Series:
    """The sentences that the values of each text lie in; a token is where its last character is.

    `ends` [values] are character offsets within the text, which only rise; `starts` are those of the
    sentences of each text.
    """
    later = [of_text[1:] for of_text in starts]  # what stands before the first belongs to it
    text = np.repeat(np.arange(len(later)), [len(of_text) for of_text in later])
    begins = np.concatenate(later) if later else np.empty(0, dtype=np.int64)
    # Offsets as if the texts stood one after the other, each as long as the longest.
    longest = 1 + max(int(ends.max(initial=0)), int(begins.max(initial=0)))
    placed = ends + series.spread(np.arange(len(series)) * longest)
    begun = np.zeros(series.size + 1, dtype=bool)
    begun[series.starts] = True
    begun[np.searchsorted(placed, begins + text * longest, side="right")] = True
    return Series(np.flatnonzero(begun[:-1]), series.size)


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Element by element; missing where the denominator is 0."""
    out = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=out, where=np.asarray(denominator) != 0)
