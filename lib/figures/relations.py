"""Charts of how the measures go together in each source of a comparison, and how they go with length."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import altair as alt
import numpy as np
import pandas as pd
from scipy import stats

from lib.figures.source import trend
from lib.figures.theme import class_colour, described, label, noted, source_dash
from lib.uid.measures import DRAWN, HEADLINE

LENGTH_BINS = 5
POINTS = 160  # of a chart, over all sources
PANELS = 3  # heat maps side by side


def pairs(texts: pd.DataFrame, classes: Mapping[str, str]) -> alt.TopLevelMixin:
    """Each pair of the headline metrics, with a trend line per source."""
    return _scatters(texts, classes, list(combinations(HEADLINE, 2)))


def lengths(texts: pd.DataFrame, classes: Mapping[str, str]) -> alt.TopLevelMixin:
    """Each headline metric against the length of a text, with a trend line per source."""
    return _scatters(texts, classes, [("tokens", metric) for metric in HEADLINE])


def _scatters(
    texts: pd.DataFrame, classes: Mapping[str, str], axes: Sequence[tuple[str, str]]
) -> alt.TopLevelMixin:
    """Some texts of each source are drawn; the lines are those of all."""
    shown = sample(texts, classes)
    charts, words = [], []
    for x, y in axes:
        lines = []
        for source in classes:
            ends, r = trend(texts[texts["source"] == source], x, y)
            lines.append(ends.assign(source=source))
            words.append(f"{source}, {label(x)} and {label(y)}: r = {r:.2f}")
        points = (
            alt.Chart(shown[["source", "doc_id", x, y]])
            .mark_circle(size=14, opacity=0.4)
            .encode(
                x=alt.X(f"{x}:Q", title=label(x), scale=alt.Scale(zero=False)),
                y=alt.Y(f"{y}:Q", title=label(y), scale=alt.Scale(zero=False)),
                color=class_colour(classes),
                tooltip=["source", "doc_id", x, y],
            )
        )
        line = (
            alt.Chart(pd.concat(lines))
            .mark_line(strokeWidth=2.5)
            .encode(
                x=f"{x}:Q",
                y=f"{y}:Q",
                color=class_colour(classes),
                strokeDash=source_dash(classes),
            )
        )
        charts.append((points + line).properties(width=210, height=190))
    return noted(
        described(alt.hconcat(*charts), f"Scatter plots with a trend line per source. {'; '.join(words)}."),
        sampled(texts, classes),
    )


def by_length(texts: pd.DataFrame, classes: Mapping[str, str], count: int = LENGTH_BINS) -> alt.TopLevelMixin:
    """Both measures of uniformity in bins of length with as many texts each; bars are 95 % of the mean."""
    edges = texts["tokens"].quantile([i / count for i in range(count + 1)]).unique()
    length_bin = pd.cut(texts["tokens"], edges, include_lowest=True)
    charts = []
    for metric in HEADLINE[1:]:
        grouped = texts.groupby(["source", length_bin], observed=True)
        table = grouped[metric].agg(mean="mean", error="sem", texts="count").reset_index()
        table["tokens"] = grouped["tokens"].mean().to_numpy()
        table["low"], table["high"] = (table["mean"] + sign * 1.96 * table["error"] for sign in (-1, 1))
        table = table[table["texts"] > 0].drop(columns="error")
        base = alt.Chart(table).encode(
            x=alt.X("tokens:Q", title="tokens, mean of the bin", scale=alt.Scale(zero=False)),
            color=class_colour(classes),
            tooltip=["source", "tokens", "mean", "low", "high", "texts"],
        )
        line = base.mark_line(point=True).encode(
            y=alt.Y("mean:Q", title=f"mean {label(metric)}", scale=alt.Scale(zero=False)),
            strokeDash=source_dash(classes),
        )
        bars = base.mark_rule().encode(y="low:Q", y2="high:Q")
        charts.append((line + bars).properties(width=300, height=220))
    limits = ", ".join(f"{edge:.0f}" for edge in edges)
    return described(
        alt.hconcat(*charts),
        f"Means of UID variance and UID pairwise in bins of length (limits {limits} tokens).",
    )


def correlations(texts: pd.DataFrame, classes: Mapping[str, str]) -> alt.TopLevelMixin:
    """Spearman's correlation of length and measures: over all texts, and within each source."""
    names = [name for name in DRAWN if name in texts and texts[name].notna().any()]
    rows = []
    for title, some in [("all", texts), *((source, texts[texts["source"] == source]) for source in classes)]:
        found = some[names].dropna().corr(method="spearman")
        rows += [
            {"texts": title, "x": label(a), "y": label(b), "correlation": found.loc[a, b]}
            for a in names
            for b in names
        ]
    table = pd.DataFrame(rows)
    order = [label(name) for name in names]
    titles = list(dict.fromkeys(table["texts"]))
    panels = [
        _heat_map(
            table[table["texts"] == title],
            order,
            labelled=(place % PANELS == 0, place >= (len(titles) - 1) // PANELS * PANELS),
        ).properties(title=alt.TitleParams(title, fontSize=11, fontWeight="normal", anchor="middle"))
        for place, title in enumerate(titles)
    ]
    of_all = table[(table["texts"] == "all") & (table["x"] == label("tokens"))]
    said = ", ".join(f"{row.y} {row.correlation:.2f}" for row in of_all.itertuples() if row.x != row.y)
    return described(
        alt.concat(*panels, columns=PANELS, spacing=12),
        f"Heat maps of Spearman's correlations, over all texts and within each source. With length: {said}.",
    )


def _heat_map(
    table: pd.DataFrame, order: Sequence[str], labelled: tuple[bool, bool]
) -> alt.LayerChart | alt.FacetChart:
    """`labelled`: whether the measures are named at the left, and below."""
    left, below = (alt.Axis(grid=False, labels=named, ticks=named, domain=False) for named in labelled)
    base = alt.Chart(table).encode(
        x=alt.X("x:N", title=None, sort=list(order), axis=below),
        y=alt.Y("y:N", title=None, sort=list(order), axis=left),
    )
    # Blue to orange, not red to green; white at 0.
    colour = alt.Color("correlation:Q", scale=alt.Scale(scheme="blueorange", domain=[-1, 1]))
    cells = base.mark_rect().encode(color=colour, tooltip=["texts", "x", "y", "correlation"])
    numbers = base.mark_text(fontSize=9).encode(
        text=alt.Text("correlation:Q", format=".1f"),
        color=alt.condition("abs(datum.correlation) > 0.7", alt.value("white"), alt.value("black")),
    )
    return alt.layer(cells, numbers).properties(width=170, height=170)


def residuals(table: pd.DataFrame, classes: Mapping[str, str]) -> alt.TopLevelMixin:
    """Quantiles of each source's residuals against those of a normal distribution: on the line, all is well.

    `table` is of `lib.compare.mixed.residuals`; residuals are in standard deviations of all of them.
    """
    at = np.linspace(0.005, 0.995, 100)
    spread = table["residual"].std()
    curves = [
        pd.DataFrame({"source": source, "normal": stats.norm.ppf(at), "residual": rows.quantile(at) / spread})
        for source in classes
        if len(rows := table.loc[table["source"] == source, "residual"]) > 2
    ]
    if not curves:
        curves = [pd.DataFrame({"source": [], "normal": [], "residual": []})]
    points = (
        alt.Chart(pd.concat(curves))
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("normal:Q", title="quantile of a normal distribution"),
            y=alt.Y("residual:Q", title="residual (standard deviations)"),
            color=class_colour(classes),
            strokeDash=source_dash(classes),
        )
    )
    ends = pd.DataFrame({"normal": [-2.6, 2.6], "residual": [-2.6, 2.6]})
    line = alt.Chart(ends).mark_line(color="grey", strokeDash=[3, 3]).encode(x="normal:Q", y="residual:Q")
    skew, kurtosis = stats.skew(table["residual"]), stats.kurtosis(table["residual"])
    shape = f"{len(table):,} texts, skewness {skew:.2f}, excess kurtosis {kurtosis:.2f}"
    return noted(
        described(
            (line + points).properties(width=320, height=260),
            f"Quantiles of the mixed model's residuals against normal ones: {shape}.",
        ),
        f"The middle 99 % of each source; of all: {shape}.",
    )


def sample(texts: pd.DataFrame, classes: Mapping[str, str]) -> pd.DataFrame:
    """At most `POINTS` texts, equally many of each source if it has them, always the same ones."""
    most = max(POINTS // len(classes), 1)
    by_source = [texts[texts["source"] == source] for source in classes]
    return pd.concat([rows.sample(min(most, len(rows)), random_state=0) for rows in by_source])


def sampled(texts: pd.DataFrame, classes: Mapping[str, str]) -> str:
    """How many of the texts `sample` leaves to be drawn; all else in a chart is of every text."""
    drawn = len(sample(texts, classes))
    return f"Points: {drawn:,} of {len(texts):,} texts; all else is of all texts."
