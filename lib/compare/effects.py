"""Effect sizes between two groups, signed: positive where the first group has the higher values."""

import numpy as np
from scipy import stats

Number = np.ndarray | float
Summary = tuple[Number, Number, Number]  # n, mean, standard deviation


def cliffs_delta(a: np.ndarray, b: np.ndarray) -> float:
    """P(a > b) − P(a < b), between −1 and 1 (Cliff 1993); from the Mann–Whitney U."""
    return float(2 * stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)) - 1)


def cohens_d(a: np.ndarray, b: np.ndarray) -> float:
    """Difference of means over the pooled standard deviation (Cohen 1988)."""
    return float(cohens_d_from_summary((len(a), a.mean(), a.std(ddof=1)), (len(b), b.mean(), b.std(ddof=1))))


def cohens_d_from_summary(a: Summary, b: Summary) -> np.ndarray:
    """Cohen's d from each group's n, mean and sample standard deviation."""
    (n_a, mean_a, std_a), (n_b, mean_b, std_b) = a, b
    return (np.asarray(mean_a) - mean_b) / pooled_std((n_a, std_a), (n_b, std_b))


def pooled_std(a: tuple[Number, Number], b: tuple[Number, Number]) -> np.ndarray:
    """The standard deviation of both groups together, from each one's n and standard deviation."""
    (n_a, std_a), (n_b, std_b) = a, b
    return np.sqrt(((n_a - 1) * np.square(std_a) + (n_b - 1) * np.square(std_b)) / (n_a + n_b - 2))


def small_sample_factor(n: Number) -> Number:
    """What makes Cohen's d of `n` values in all into Hedges' g (Hedges 1981, the approximation)."""
    return 1 - 3 / (4 * (n - 2) - 1)


def hedges_g(a: np.ndarray, b: np.ndarray) -> float:
    """Cohen's d corrected for small samples (Hedges 1981)."""
    return float(cohens_d(a, b) * small_sample_factor(len(a) + len(b)))


def variance_ratio(a: np.ndarray, b: np.ndarray) -> float:
    """The first group's variance over the second's; 1 where the spread is the same."""
    return float(a.var(ddof=1) / b.var(ddof=1))


def matched_rank_biserial(difference: np.ndarray) -> float:
    """Of the signed ranks' sum, the positive share less the negative (Kerby 2014); 0s are left out."""
    difference = difference[difference != 0]
    if not len(difference):
        return 0.0
    ranks = stats.rankdata(np.abs(difference))
    return float((np.sign(difference) * ranks).sum() / ranks.sum())
