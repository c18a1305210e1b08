"""The tests between two groups of texts, one record each.

A record says what its test asks, how it is computed, how its effect reads with the groups turned
round, which family its p-value is in, and how figures draw it. What compares, resamples, draws or speaks
reads `TESTS`; a new test is a function and an entry there.

Effects are signed, positive (a ratio: above 1) where the first group has more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, ttost_ind

from lib.compare import bootstrap, effects
from lib.compare.bootstrap import Group, Weighted

Turning = Literal["negated", "inverted", "unchanged"]
Family = Literal["difference", "equivalence"]
SMALLEST_GROUP = 3


@dataclass(frozen=True)
class Pair:
    """Two groups of texts, the number of documents in all, and the margin of the equivalence tests."""

    a: Group
    b: Group
    documents: int
    margin: float


@dataclass(frozen=True)
class Axis:
    """How figures draw an effect: its title, and where its axis ends at the latest on either side of none.

    Ratios are drawn on a log axis.
    """

    title: str
    widest: float
    fixed: bool = False  # the axis always ends there
    place: int = 0  # among the panels of a row


@dataclass(frozen=True)
class GroupTest:
    """One test between two groups.

    `call` gives `statistic`, `p` and `effect` of a pair, and whatever else differs from the other tests;
    None where the test cannot be made. `family` is that of the p-value: the p-values of a comparison's
    difference tests are corrected together, those of its equivalence tests too, and a test without a
    family is description and has no p. `weighted` gives the effect in resamples, and so an interval.
    `said_of` is the aspect that the test decides in the findings.
    """

    name: str
    question: str
    effect: str
    label: str  # of the effect, in tables and sentences
    call: Callable[[Pair], Mapping[str, float] | None]
    family: Family | None = "difference"
    turned: Turning = "negated"
    weighted: Weighted | None = None
    axis: Axis | None = None  # drawn where there is one
    said_of: Literal["level", "spread"] | None = None

    @property
    def none(self) -> float:
        """The effect where there is no difference."""
        return 1.0 if self.turned == "inverted" else 0.0

    def row(self, pair: Pair) -> dict[str, Any] | None:
        """The test of a pair as a row of the table, without its interval by resampling."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found = self.call(pair)
        if found is None:
            return None
        row = {"test": self.name, "effect_name": self.effect, "margin": np.nan}
        row |= {"n_a": len(pair.a.values), "n_b": len(pair.b.values)}
        return row | dict(found) | ({"p": np.nan} if self.family is None else {})

    def turn(self, effect: float, low: float, high: float) -> tuple[float, float, float]:
        """The effect and its interval with the second group first."""
        match self.turned:
            case "negated":
                return -effect, -high, -low
            case "inverted":
                with np.errstate(divide="ignore"):
                    turned = 1 / np.array([effect, high, low], dtype=float)
                return float(turned[0]), float(turned[1]), float(turned[2])
            case _:
                return effect, low, high


def _found(result: Any, effect: float) -> dict[str, float]:
    return {"statistic": float(result.statistic), "p": float(result.pvalue), "effect": effect}


def _mann_whitney_u(pair: Pair) -> dict[str, float]:
    a, b = pair.a.values, pair.b.values
    return _found(stats.mannwhitneyu(a, b), effects.cliffs_delta(a, b))


def _welch_t(pair: Pair) -> dict[str, float]:
    a, b = pair.a.values, pair.b.values
    return _found(stats.ttest_ind(a, b, equal_var=False), effects.hedges_g(a, b))


def _student_t(pair: Pair) -> dict[str, float]:
    a, b = pair.a.values, pair.b.values
    return _found(stats.ttest_ind(a, b), effects.cohens_d(a, b))


def _brown_forsythe(pair: Pair) -> dict[str, float]:
    a, b = pair.a.values, pair.b.values
    return _found(stats.levene(a, b, center="median"), effects.variance_ratio(a, b))


def _kolmogorov_smirnov(pair: Pair) -> dict[str, float]:
    found = stats.ks_2samp(pair.a.values, pair.b.values)
    return _found(found, float(found.statistic))


def _wilcoxon_signed_rank(pair: Pair) -> dict[str, float] | None:
    difference, _ = bootstrap.differences(pair.a, pair.b, pair.documents)
    if len(difference) < SMALLEST_GROUP or not difference.any():
        return None
    sizes = {"n_a": len(difference), "n_b": len(difference)}
    return _found(stats.wilcoxon(difference), effects.matched_rank_biserial(difference)) | sizes


def _tost_level(pair: Pair) -> dict[str, float]:
    return _equivalence(pair.a.values, pair.b.values, pair.margin)


def _tost_spread(pair: Pair) -> dict[str, float]:
    a, b = (np.abs(group.values - np.median(group.values)) for group in (pair.a, pair.b))
    return _equivalence(a, b, pair.margin)


def _equivalence(a: np.ndarray, b: np.ndarray, margin: float) -> dict[str, float]:
    """Two one-sided Welch tests that the means differ by less than `margin` pooled standard deviations."""
    unit = float(effects.pooled_std((len(a), a.std(ddof=1)), (len(b), b.std(ddof=1))))
    p, lower, upper = ttost_ind(a, b, -margin * unit, margin * unit, usevar="unequal")
    low, high = CompareMeans.from_data(a, b).tconfint_diff(alpha=0.1, usevar="unequal")
    return {
        "statistic": float(min(lower[0], -upper[0])),
        "p": float(p),
        "effect": effects.cohens_d(a, b),
        "ci_low": float(low / unit),
        "ci_high": float(high / unit),
        "margin": margin,
    }


TESTS = (
    GroupTest(
        "mann_whitney_u",
        "level",
        "cliffs_delta",
        "Cliff's delta",
        _mann_whitney_u,
        weighted=bootstrap.cliffs_delta,
        axis=Axis("Cliff's delta", 1, fixed=True, place=0),
        said_of="level",
    ),
    GroupTest(
        "welch_t",
        "level, of means",
        "hedges_g",
        "Hedges' g",
        _welch_t,
        weighted=bootstrap.hedges_g,
        axis=Axis("Hedges' g", 3, place=2),
    ),
    GroupTest(
        "student_t",
        "the original study's effect; description, without p",
        "cohens_d",
        "Cohen's d",
        _student_t,
        family=None,
    ),
    GroupTest(
        "brown_forsythe",
        "spread",
        "variance_ratio",
        "ratio of variances",
        _brown_forsythe,
        turned="inverted",
        weighted=bootstrap.log_variance_ratio,
        axis=Axis("ratio of variances", 16, place=3),
        said_of="spread",
    ),
    GroupTest(
        "kolmogorov_smirnov",
        "shape",
        "ks_distance",
        "distance",
        _kolmogorov_smirnov,
        turned="unchanged",
    ),
    GroupTest(
        "wilcoxon_signed_rank",
        "level, prompt by prompt",
        "matched_rank_biserial",
        "rank-biserial",
        _wilcoxon_signed_rank,
        weighted=bootstrap.matched_rank_biserial,
        axis=Axis("paired rank-biserial", 1, fixed=True, place=1),
    ),
    GroupTest(
        "tost_level",
        "no difference in level",
        "cohens_d",
        "difference (sd)",
        _tost_level,
        family="equivalence",
        said_of="level",
    ),
    GroupTest(
        "tost_spread",
        "no difference in spread",
        "cohens_d",
        "difference (sd)",
        _tost_spread,
        family="equivalence",
        said_of="spread",
    ),
)
BY_NAME = {test.name: test for test in TESTS}


def decides(aspect: str, family: Family) -> GroupTest:
    """The test of `family` that the findings of `aspect` go by."""
    return next(test for test in TESTS if test.said_of == aspect and test.family == family)
