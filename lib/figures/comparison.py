"""Charts of a comparison. Colour means class; densities and quantiles are computed, not left to the page."""

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd

from lib.figures.relations import sample, sampled
from lib.figures.source import density
from lib.figures.theme import class_colour, described, label, noted, source_dash
from lib.uid.measures import HEADLINE

GOLDEN = 0.618034  # its multiples spread points evenly, and the same way every time


def densities(texts: pd.DataFrame, classes: Mapping[str, str]) -> alt.TopLevelMixin:
    """The density of each headline metric in each source."""
    charts = []
    for metric in HEADLINE:
        curves = pd.concat(
            [
                density(texts.loc[texts["source"] == source, metric]).assign(source=source)
                for source in classes
            ]
        )
        charts.append(
            alt.Chart(curves)
            .mark_line(strokeWidth=2)
            .encode(
                x=alt.X("value:Q", title=label(metric)),
                y=alt.Y("density:Q", title="density over texts"),
                color=class_colour(classes),
                strokeDash=source_dash(classes),
            )
            .properties(width=210, height=190)
        )
    return described(alt.hconcat(*charts), "Densities over texts. " + _means(texts, classes, HEADLINE))


def boxes(texts: pd.DataFrame, classes: Mapping[str, str]) -> alt.TopLevelMixin:
    """Median, quartiles and the whole range of each headline metric, with some of the texts."""
    charts = []
    for metric in HEADLINE:
        quantiles = (
            texts.groupby("source")[metric]
            .quantile([0, 0.25, 0.5, 0.75, 1])
            .unstack()
            .set_axis(["min", "q25", "median", "q75", "max"], axis=1)
            .reset_index()
        )
        base = alt.Chart(quantiles).encode(
            y=alt.Y("source:N", sort=list(classes), title=None),
            color=class_colour(classes).legend(None),
            tooltip=["source", "min", "q25", "median", "q75", "max"],
        )
        whiskers = base.mark_rule().encode(
            x=alt.X("min:Q", title=label(metric), scale=alt.Scale(zero=False)), x2="max:Q"
        )
        middle = base.mark_bar(size=16, opacity=0.6).encode(x="q25:Q", x2="q75:Q")
        median = base.mark_tick(color="white", thickness=3, size=16).encode(
            x="median:Q", color=alt.value("white")
        )
        shown = sample(texts, classes)[["source", "doc_id", metric]]
        points = (
            alt.Chart(shown.assign(jitter=np.arange(len(shown)) * GOLDEN % 1 - 0.5))
            .mark_circle(size=8, opacity=0.35)
            .encode(
                x=f"{metric}:Q",
                y=alt.Y("source:N", sort=list(classes)),
                yOffset=alt.YOffset("jitter:Q", scale=alt.Scale(domain=[-1, 1])),
                color=class_colour(classes).legend(None),
                tooltip=["source", "doc_id", metric],
            )
        )
        charts.append((whiskers + middle + points + median).properties(width=210, height=34 * len(classes)))
    return noted(
        described(
            alt.hconcat(*charts),
            "Box plots: boxes from the lower to the upper quartile with the median in white, lines to the "
            "lowest and highest text. " + _means(texts, classes, HEADLINE),
        ),
        sampled(texts, classes),
    )


def violins(texts: pd.DataFrame, classes: Mapping[str, str]) -> alt.TopLevelMixin:
    """The density of each headline metric as a violin per source, with its quartiles."""
    sources = list(classes)
    charts = []
    for metric in HEADLINE:
        shapes, quartiles = [], []
        for place, source in enumerate(sources):
            values = texts.loc[texts["source"] == source, metric]
            curve = density(values)
            half = 0.42 * curve["density"] / curve["density"].max() if len(curve) else curve["density"]
            shapes.append(curve.assign(source=source, left=place - half, right=place + half))
            for at, width in ((0.25, 0.15), (0.5, 0.3), (0.75, 0.15)):
                quartiles.append(
                    {
                        "source": source,
                        "value": values.quantile(at),
                        "left": place - width,
                        "right": place + width,
                    }
                )
        names = "[" + ", ".join(f"'{source}'" for source in sources) + "][datum.value]"
        axis = alt.Axis(
            values=list(range(len(sources))), labelExpr=names, grid=False, labelAngle=-30, labelOverlap=False
        )
        x = alt.X(
            "left:Q", title=None, axis=axis, scale=alt.Scale(domain=[-0.6, len(sources) - 0.4], nice=False)
        )
        y = alt.Y("value:Q", title=label(metric), scale=alt.Scale(zero=False))
        violin = (
            alt.Chart(pd.concat(shapes).drop(columns="density"))
            .mark_area(orient="horizontal", opacity=0.45)
            .encode(y=y, x=x, x2="right:Q", color=class_colour(classes).legend(None), detail="source:N")
        )
        rules = (
            alt.Chart(pd.DataFrame(quartiles))
            .mark_rule(strokeWidth=2)
            .encode(y=y, x=x, x2="right:Q", tooltip=["source", "value"])
        )
        charts.append((violin + rules).properties(width=52 * len(sources), height=220))
    return described(
        alt.hconcat(*charts),
        "Violins of each measure per source; lines at the quartiles. " + _means(texts, classes, HEADLINE),
    )


def cumulative(texts: pd.DataFrame, tests: pd.DataFrame, classes: Mapping[str, str]) -> alt.TopLevelMixin:
    """The share of texts at or below each value, per source: what the Kolmogorov–Smirnov test compares."""
    shares = np.linspace(0, 1, 101)
    charts = []
    for metric in HEADLINE:
        curves = [
            pd.DataFrame(
                {
                    "value": np.quantile(values, shares, method="inverted_cdf"),
                    "share": shares,
                    "source": source,
                }
            )
            for source in classes
            if len(values := texts.loc[texts["source"] == source, metric].dropna())
        ]
        charts.append(
            alt.Chart(pd.concat(curves))
            .mark_line(interpolate="step-after", strokeWidth=2)
            .encode(
                x=alt.X("value:Q", title=label(metric), scale=alt.Scale(zero=False)),
                y=alt.Y("share:Q", title="share of texts at or below"),
                color=class_colour(classes),
                strokeDash=source_dash(classes),
            )
            .properties(width=210, height=190)
        )
    distances = tests[(tests["test"] == "kolmogorov_smirnov") & tests["metric"].isin(HEADLINE)]
    said = "; ".join(
        f"{r.group_a} – {r.group_b}, {label(r.metric)}: D = {r.effect:.2f}" for r in distances.itertuples()
    )
    return described(alt.hconcat(*charts), f"Cumulative distributions. Kolmogorov–Smirnov distances: {said}.")


def contours(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Mean surprisal by relative position for each source, with 95 % bands over texts.

    `table` is of `lib.uid.contours.of_sources`.
    """
    classes = dict(zip(table["source"], table["text_class"], strict=True))
    columns = ["source", "position", "mean", "low", "high"]
    base = alt.Chart(table[columns]).encode(
        x=alt.X("position:Q", title="relative position in the text", scale=alt.Scale(domain=[0, 1])),
        color=class_colour(classes),
        detail="source:N",
    )
    band = base.mark_area(opacity=0.15, line=False).encode(
        y=alt.Y("low:Q", title="mean surprisal (bits)", scale=alt.Scale(zero=False)), y2="high:Q"
    )
    line = base.mark_line(strokeWidth=2).encode(y="mean:Q", strokeDash=source_dash(classes), tooltip=columns)
    ends = table.groupby("source")["mean"].agg(["first", "last"])
    said = "; ".join(
        f"{name}: {ends.loc[name, 'first']:.2f} bits in the first twentieth, "
        f"{ends.loc[name, 'last']:.2f} in the last"
        for name in classes
    )
    return described(
        (band + line).properties(width=520, height=260), f"Mean surprisal along the texts. {said}."
    )


def _means(texts: pd.DataFrame, classes: Mapping[str, str], metrics: Sequence[str]) -> str:
    means = texts.groupby("source")[list(metrics)].mean()
    return " ".join(
        f"Mean {label(metric)}: " + ", ".join(f"{s} {means.loc[s, metric]:.2f}" for s in classes) + "."
        for metric in metrics
    )
