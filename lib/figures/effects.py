"""Charts of effects with their intervals. Filled: the test stands after Benjamini and Hochberg's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from lib.compare.families import ALPHA
from lib.compare.tests_between import TESTS, decides
from lib.figures.theme import described, label, noted
from lib.uid.measures import HEADLINE

KINDS = ["p < 0.05 after Benjamini–Hochberg", "not"]
ONE_LINE = 32  # characters of a pair's name; a longer one takes two lines
SHARE = "datum.value < 1 ? '1/' + round(1 / datum.value) : datum.label"
MOST_SAID = 12  # effects in the alternative text


@dataclass(frozen=True)
class Effect:
    """The effect that a test gives: its name, where no difference is, and how far an axis goes."""

    test: str
    title: str
    widest: float  # the axis ends here at the latest, on either side of `none`
    fixed: bool  # the axis always ends there
    ratio: bool  # on a log axis around 1
    none: float


DRAWN = {test.axis.place: (test, test.axis) for test in TESTS if test.axis}
EFFECTS = tuple(
    Effect(test.name, axis.title, axis.widest, axis.fixed, test.turned == "inverted", test.none)
    for _, (test, axis) in sorted(DRAWN.items())
)
OF_SPREAD = next(effect for effect in EFFECTS if effect.test == decides("spread", "difference").name)


def forest(
    tests: pd.DataFrame, pairs: Sequence[tuple[str, str]], metrics: Sequence[str] = HEADLINE
) -> alt.TopLevelMixin:
    """Every effect of `pairs`, with its interval: a row of panels per metric, a panel per effect.

    Level by Cliff's delta, by the matched-pairs rank-biserial and by Hedges' g; spread by the ratio
    of variances.
    """
    of_pairs = _of(tests, pairs)
    rows = _drawn(of_pairs, metrics, EFFECTS)
    panels = [
        alt.hconcat(
            *(_panel(rows, metric, effect, width=128, named=effect is EFFECTS[0]) for effect in EFFECTS),
            spacing=20,
        ).properties(title=alt.TitleParams(label(metric), anchor="start", fontSize=12, offset=4))
        for metric in metrics
    ]
    every = len(tests[["group_a", "group_b"]].drop_duplicates())
    part = [] if len(pairs) == every else [f"{len(pairs)} of {every} pairs."]
    return _finished(alt.vconcat(*panels, spacing=14), rows, "Effects with 95 % intervals", *part)


def others(tests: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> alt.TopLevelMixin | None:
    """The forest of the pairs that are not among `pairs`; None where there are none."""
    every = dict.fromkeys(zip(tests["group_a"], tests["group_b"], strict=True))
    left = [pair for pair in every if pair not in set(pairs)]
    return forest(tests, left) if left else None


def _of(tests: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    return tests[[pair in set(pairs) for pair in zip(tests["group_a"], tests["group_b"], strict=True)]]


def spread(tests: pd.DataFrame, metrics: Sequence[str] = HEADLINE) -> alt.TopLevelMixin:
    """The ratio of variances over texts with its interval: the spread of uniformity."""
    effect = OF_SPREAD
    rows = _drawn(tests, metrics, [effect])
    panels = [
        _panel(rows, metric, effect, width=190, named=metric == metrics[0]).properties(title=label(metric))
        for metric in metrics
    ]
    return _finished(
        alt.hconcat(*panels, spacing=20), rows, "Ratios of the variance over texts with 95 % intervals"
    )


def _drawn(tests: pd.DataFrame, metrics: Sequence[str], effects: Sequence[Effect]) -> pd.DataFrame:
    """What a panel draws: `at`, `low`, `high` within the axis, and `beyond` where the effect is not."""
    names = {effect.test: effect.title for effect in effects}
    rows = tests[tests["test"].isin(names) & tests["metric"].isin(list(metrics))]
    rows = rows.assign(
        pair=rows["group_a"] + " – " + rows["group_b"],
        kind=np.where(rows["p_adjusted_bh"] < ALPHA, *KINDS),
        name=rows["test"].map(names),
    )
    parts = []
    for effect in effects:
        some = rows[rows["test"] == effect.test]
        lowest, highest = _domain(some, effect)
        values = some[["effect", "ci_low", "ci_high"]]
        inside = values.clip(lowest, highest).set_axis(["at", "low", "high"], axis=1)
        beyond = np.select([some["effect"] > highest, some["effect"] < lowest], ["right", "left"], "")
        cut = ((inside.to_numpy() != values.to_numpy()) & values.notna().to_numpy()).sum(axis=1)
        parts.append(
            pd.concat([some, inside], axis=1).assign(beyond=beyond, cut=cut, lowest=lowest, highest=highest)
        )
    return pd.concat(parts)


def _domain(rows: pd.DataFrame, effect: Effect) -> tuple[float, float]:
    """The ends of an effect's axis, alike on both sides of no difference."""
    if effect.fixed:
        return -effect.widest, effect.widest
    ends = rows[["effect", "ci_low", "ci_high"]].to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.abs(np.log2(ends)) if effect.ratio else np.abs(ends)
    widest = np.log2(effect.widest) if effect.ratio else effect.widest
    reached = min(np.max(far[np.isfinite(far)], initial=0), widest)
    if effect.ratio:
        limit = 2.0 ** max(np.ceil(reached), 1)
        return 1 / limit, limit
    limit = max(np.ceil(2 * reached) / 2, 0.5)
    return -limit, limit


def _panel(
    rows: pd.DataFrame, metric: str, effect: Effect, *, width: int, named: bool
) -> alt.LayerChart | alt.FacetChart:
    """The pairs of one metric and effect, one below the other; `named`: with the names of the pairs."""
    pairs = list(dict.fromkeys(rows["pair"]))
    two_lines = max(map(len, pairs), default=0) > ONE_LINE
    some = rows[(rows["metric"] == metric) & (rows["test"] == effect.test)]
    lowest, highest = _domain(rows[rows["test"] == effect.test], effect)
    shown = ["pair", "effect", "ci_low", "ci_high", "p_adjusted_bh"]
    table = some[[*shown, "kind", "at", "low", "high", "beyond"]].assign(
        pair=some["pair"].str.replace(" – ", " –\n") if two_lines else some["pair"]
    )
    order = [pair.replace(" – ", " –\n") for pair in pairs] if two_lines else pairs
    axis: dict[str, Any] = {"labels": named, "ticks": named, "labelLimit": 0}
    if two_lines:
        axis |= {"labelExpr": "split(datum.label, '\\n')", "labelOffset": -6}
    ends: dict[str, Any] = {"domain": [lowest, highest], "nice": False}
    marks: dict[str, Any] = {"tickCount": 5, "format": "~g"}
    if effect.ratio:
        powers = np.arange(np.log2(lowest), np.log2(highest) + 1)
        ends |= {"type": "log"}
        marks = {"values": (2.0**powers).tolist(), "format": "~g", "labelExpr": SHARE}
    x_axis = alt.Axis(title=effect.title, labelOverlap="greedy", labelSeparation=4, labelFlush=False, **marks)
    base = alt.Chart(table).encode(
        y=alt.Y("pair:N", title=None, sort=order, scale=alt.Scale(domain=order), axis=alt.Axis(**axis)),
        tooltip=shown,
    )
    none = (
        alt.Chart(pd.DataFrame({"none": [effect.none]}))
        .mark_rule(strokeDash=[3, 3], color="grey")
        .encode(x=alt.X("none:Q", scale=alt.Scale(**ends), axis=x_axis))
    )
    line = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", scale=alt.Scale(**ends), axis=x_axis), x2="high:Q"
    )
    point = (
        base.transform_filter("datum.beyond == ''")
        .mark_point(size=50, stroke="black", strokeWidth=1.5, opacity=1)
        .encode(
            x=alt.X("at:Q", scale=alt.Scale(**ends)),
            shape=alt.Shape("kind:N", title=None, scale=alt.Scale(domain=KINDS, range=["circle", "square"])),
            fill=alt.Fill("kind:N", title=None, scale=alt.Scale(domain=KINDS, range=["black", "white"])),
        )
    )
    layers = [none, line, point]
    for side, shape in (("left", "triangle-left"), ("right", "triangle-right")):
        if (table["beyond"] == side).any():
            outside = base.transform_filter(f"datum.beyond == '{side}'")
            layers.append(
                outside.mark_point(shape=shape, size=70, filled=True, color="black", opacity=1).encode(
                    x="at:Q"
                )
            )
    return alt.layer(*layers).properties(width=width, height=max(len(pairs), 1) * (30 if two_lines else 18))


def _finished(
    chart: alt.TopLevelMixin, rows: pd.DataFrame, what: str, *first_notes: str
) -> alt.TopLevelMixin:
    """`chart` with what it does not show said above it, and its alternative text."""
    beyond, cut = int((rows["beyond"] != "").sum()), int(rows["cut"].sum())
    undefined, bare = (
        int(rows["effect"].isna().sum()),
        int((rows["ci_low"].isna() & rows["effect"].notna()).sum()),
    )
    notes = [*first_notes, "Right of the dashed line, the first of a pair has more."]
    if cut:
        plural = "values lie" if cut > 1 else "value lies"
        arrows = f", {beyond} of them effects, drawn as arrows" if beyond else ""
        notes.append(f"{cut} {plural} beyond the axes{arrows}.")
    if bare:
        notes.append(f"{bare} without an interval (no overlap, or nothing that varies).")
    if undefined:
        notes.append(f"{undefined} undefined, not drawn.")
    pairs = rows.groupby(["pair", "metric"])["test"].agg(set)
    unpaired = (
        sum("wilcoxon_signed_rank" not in tests for tests in pairs) if rows["test"].nunique() > 1 else 0
    )
    if unpaired:
        notes.append(f"No paired test of {unpaired} of the {len(pairs)} (no prompts in common).")
    stands = rows[rows["kind"] == KINDS[0]]
    named = "; ".join(
        f"{r.pair}, {label(r.metric)}, {r.name}: {r.effect:.2f}" + _interval(r.ci_low, r.ci_high)
        for r in stands.head(MOST_SAID).itertuples(index=False)
    )
    more = f"; and {len(stands) - MOST_SAID} more" if len(stands) > MOST_SAID else ""
    return noted(
        described(
            chart,
            f"{what}: {len(stands)} of {len(rows)} stand after Benjamini and Hochberg's correction"
            f"{': ' if named else ''}{named}{more}. {' '.join(notes)}",
        ),
        *notes,
    )


def _interval(low: float, high: float) -> str:
    return f" ({low:.2f} to {high:.2f})" if np.isfinite(low) else ""
