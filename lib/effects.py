"""Effect sizes between two groups, signed: positive where the first group has the higher values.

Every function takes samples along the last axis, so that a bootstrap can hand over many resamples
at once; values are never missing.
"""

import numpy as np
from scipy import stats

DRAWS = 2000
CONFIDENCE = 0.95


def cliffs_delta(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
    """P(a > b) − P(a < b), between −1 and 1 (Cliff 1993); from the Mann–Whitney ranks."""
    a, b = np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)
    n_a, n_b = a.shape[-1], b.shape[-1]
    ranks = stats.rankdata(np.concatenate([a, b], axis=-1), axis=-1)[..., :n_a].sum(axis=-1)
    return 2 * (ranks - n_a * (n_a + 1) / 2) / (n_a * n_b) - 1


def cohens_d(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
    """Difference of means over the pooled standard deviation (Cohen 1988)."""
    n_a, n_b = a.shape[axis], b.shape[axis]
    return cohens_d_from_summary(
        (n_a, a.mean(axis=axis), a.std(axis=axis, ddof=1)), (n_b, b.mean(axis=axis), b.std(axis=axis, ddof=1))
    )


Summary = tuple[int, np.ndarray | float, np.ndarray | float]


def cohens_d_from_summary(a: Summary, b: Summary) -> np.ndarray:
    """Cohen's d from each group's n, mean and sample standard deviation."""
    (n_a, mean_a, std_a), (n_b, mean_b, std_b) = a, b
    pooled = np.sqrt(((n_a - 1) * np.square(std_a) + (n_b - 1) * np.square(std_b)) / (n_a + n_b - 2))
    return np.asarray((np.asarray(mean_a) - mean_b) / pooled)


def hedges_g(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
    """Cohen's d corrected for small samples (Hedges 1981)."""
    freedom = a.shape[axis] + b.shape[axis] - 2
    return cohens_d(a, b, axis) * (1 - 3 / (4 * freedom - 1))


def variance_ratio(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
    """The first group's variance over the second's; 1 where the spread is the same."""
    return a.var(axis=axis, ddof=1) / b.var(axis=axis, ddof=1)


def matched_rank_biserial(difference: np.ndarray) -> float:
    """Of the signed ranks' sum, the positive share less the negative (Kerby 2014)."""
    difference = difference[difference != 0]
    if not len(difference):
        return 0.0
    ranks = stats.rankdata(np.abs(difference))
    return float((np.sign(difference) * ranks).sum() / ranks.sum())


def interval(effect, a: np.ndarray, b: np.ndarray, *, paired: bool, seed: int) -> tuple[float, float]:
    """The bias-corrected and accelerated bootstrap interval of `effect(a, b)` (Efron 1987).

    With `paired`, a[i] and b[i] come from the same document, and documents are drawn.
    """
    found = stats.bootstrap(
        (a, b),
        effect,
        n_resamples=DRAWS,
        batch=200,
        paired=paired,
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="BCa",
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
