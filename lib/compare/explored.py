"""What a comparison's tests show that nobody declared: exploratory, after Benjamini and Hochberg (1995).

At the false discovery rate of 5 % one in twenty of what stands here is expected to be nothing.
"""

from collections.abc import Sequence

import pandas as pd

from lib.compare.wording import number, probability
from lib.uid.measures import HEADLINE

ALPHA = 0.05
ASPECTS = {"mann_whitney_u": "level", "brown_forsythe": "spread"}
EFFECTS = {"level": "Cliff's delta", "spread": "ratio of variances"}


def explored(tests: pd.DataFrame, metrics: Sequence[str] = HEADLINE) -> pd.DataFrame:
    """The tests of level and of spread on `metrics`, with the columns `aspect` and `stands`."""
    rows = tests[tests["test"].isin(ASPECTS) & tests["metric"].isin(list(metrics))]
    return rows.assign(aspect=rows["test"].map(ASPECTS), stands=rows["p_adjusted_bh"] < ALPHA)


def sentence(tests: pd.DataFrame, metrics: Sequence[str] = HEADLINE) -> str:
    """How many of the exploratory differences stand, of level and of spread."""
    rows = explored(tests, metrics)
    if rows.empty:
        return "Nothing was explored beyond the hypotheses."
    counts = [
        f"{int(some['stands'].sum())} of {len(some)} in {aspect}"
        for aspect, some in rows.groupby("aspect", sort=True)
    ]
    return (
        f"Of the exploratory differences between pairs of groups {' and '.join(counts)} stand after "
        "Benjamini and Hochberg's correction; they were not declared as hypotheses and confirm nothing."
    )


def table(tests: pd.DataFrame, metrics: Sequence[str] = HEADLINE, most: int = 12) -> pd.DataFrame:
    """The exploratory differences that stand, those with the smallest p first, `most` of them."""
    rows = explored(tests, metrics)
    rows = rows[rows["stands"]].sort_values("p_adjusted_bh", kind="stable").head(most)
    return pd.DataFrame(
        {
            "measure": [name.replace("_", " ").replace("uid", "UID") for name in rows["metric"]],
            "of": rows["aspect"].tolist(),
            "first": rows["group_a"].tolist(),
            "second": rows["group_b"].tolist(),
            "effect": rows["aspect"].map(EFFECTS).tolist(),
            "value (95 % interval)": [
                f"{number(r.effect)} ({number(r.ci_low)} to {number(r.ci_high)})"
                if pd.notna(r.ci_low)
                else number(r.effect)
                for r in rows.itertuples()
            ],
            "p (Benjamini–Hochberg)": [
                probability(p).removeprefix("p ").removeprefix("= ") for p in rows["p_adjusted_bh"]
            ],
        }
    )
