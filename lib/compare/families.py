"""P-values corrected over a family of tests. A missing one is in no family and stays missing.

The same as `statsmodels.stats.multitest.multipletests`, which collects garbage at each call: a simulation of
thousands of studies would spend most of its time on that.
"""

import numpy as np
from scipy import stats

ALPHA = 0.05


def holm(p: np.ndarray) -> np.ndarray:
    """The chance of any false finding in the family is held (Holm 1979), [tests]."""
    p = np.asarray(p, float)
    adjusted = np.full(len(p), np.nan)
    made = np.flatnonzero(~np.isnan(p))
    order = made[np.argsort(p[made], kind="stable")]
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """The share of false ones among the findings is held (Benjamini & Hochberg 1995), [tests]."""
    p = np.asarray(p, float)
    adjusted = np.full(len(p), np.nan)
    made = ~np.isnan(p)
    if made.any():
        adjusted[made] = stats.false_discovery_control(p[made])
    return adjusted
