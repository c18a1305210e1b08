"""Charts of a comparison. Colour means class; densities and quantiles are computed, not left to the page."""

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

from lib.figures.source import HEADLINE, density
from lib.figures.theme import class_colour, described, label


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
                strokeDash=alt.StrokeDash("source:N", sort=list(classes), legend=None),
            )
            .properties(width=210, height=190)
        )
    return described(alt.hconcat(*charts), "Densities over texts. " + _means(texts, classes, HEADLINE))


def boxes(texts: pd.DataFrame, classes: Mapping[str, str]) -> alt.TopLevelMixin:
    """Median, quartiles and the whole range of each headline metric in each source."""
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
        charts.append((whiskers + middle + median).properties(width=210, height=34 * len(classes)))
    return described(
        alt.hconcat(*charts),
        "Box plots: boxes from the lower to the upper quartile with the median in white, lines to the "
        "lowest and highest text. " + _means(texts, classes, HEADLINE),
    )


def forest(tests: pd.DataFrame, metrics: Sequence[str] = HEADLINE) -> alt.TopLevelMixin:
    """Cliff's delta with its interval for each pair of sources and metric: the level of uniformity."""
    return _intervals(
        tests[(tests["effect_name"] == "cliffs_delta") & tests["metric"].isin(list(metrics))],
        metrics,
        title="Cliff's delta",
        scale=alt.Scale(domain=[-1, 1]),
        none=0.0,
        what="Cliff's delta with 95 % intervals",
    )


def spread(tests: pd.DataFrame, metrics: Sequence[str] = HEADLINE) -> alt.TopLevelMixin:
    """The ratio of variances over texts with its interval: the spread of uniformity."""
    return _intervals(
        tests[(tests["effect_name"] == "variance_ratio") & tests["metric"].isin(list(metrics))],
        metrics,
        title="ratio of variances",
        scale=alt.Scale(type="log"),
        none=1.0,
        what="Ratios of the variance over texts with 95 % intervals",
    )


def _intervals(
    rows: pd.DataFrame, metrics: Sequence[str], *, title: str, scale: alt.Scale, none: float, what: str
) -> alt.TopLevelMixin:
    rows = rows.assign(
        pair=rows["group_a"] + " – " + rows["group_b"],
        metric=rows["metric"].map(label),
        differs=(rows["p_adjusted"] < 0.05).map({True: "p < 0.05 after Holm", False: "not"}),
    )[["pair", "metric", "effect", "ci_low", "ci_high", "p_adjusted", "differs"]]
    base = alt.Chart(rows).encode(
        y=alt.Y("pair:N", title=None, sort=None, axis=alt.Axis(labelLimit=260)),
        tooltip=["pair", "metric", "effect", "ci_low", "ci_high", "p_adjusted"],
    )
    line = base.mark_rule(strokeWidth=2).encode(x=alt.X("ci_low:Q", title=title, scale=scale), x2="ci_high:Q")
    point = base.mark_point(filled=True, size=70, color="black").encode(
        x="effect:Q",
        shape=alt.Shape(
            "differs:N",
            title=None,
            scale=alt.Scale(domain=["p < 0.05 after Holm", "not"], range=["circle", "square"]),
        ),
        fillOpacity=alt.condition(alt.datum.differs == "not", alt.value(0.2), alt.value(1)),
    )
    zero = alt.Chart().mark_rule(strokeDash=[3, 3], color="grey").encode(x=alt.datum(none))
    height = 22 * rows["pair"].nunique()
    chart = (
        alt.layer(zero, line, point, data=rows)
        .properties(width=210, height=height)
        .facet(column=alt.Column("metric:N", title=None, sort=[label(metric) for metric in metrics]))
    )
    found = "; ".join(
        f"{r.pair}, {r.metric}: {r.effect:.2f} ({r.ci_low:.2f} to {r.ci_high:.2f})" for r in rows.itertuples()
    )
    return described(chart, f"{what}. {found}.")


def length_scatter(texts: pd.DataFrame, classes: Mapping[str, str], most: int = 150) -> alt.TopLevelMixin:
    """UID variance against length; at most `most` texts of each source are drawn."""
    shown = pd.concat(
        [rows.sample(min(most, len(rows)), random_state=0) for _, rows in texts.groupby("source", sort=False)]
    )
    chart = (
        alt.Chart(shown[["source", "doc_id", "tokens", "uid_variance"]])
        .mark_point(size=22, filled=True, opacity=0.55)
        .encode(
            x=alt.X("tokens:Q", title="tokens"),
            y=alt.Y("uid_variance:Q", title=label("uid_variance"), scale=alt.Scale(zero=False)),
            color=class_colour(classes),
            shape=alt.Shape("source:N", sort=list(classes), legend=None),
            tooltip=["source", "doc_id", "tokens", "uid_variance"],
        )
        .properties(width=460, height=280)
    )
    return described(
        chart,
        f"UID variance against length, {len(shown)} of {len(texts)} texts. "
        + _means(texts, classes, ["tokens"]),
    )


def _means(texts: pd.DataFrame, classes: Mapping[str, str], metrics: Sequence[str]) -> str:
    means = texts.groupby("source")[list(metrics)].mean()
    return " ".join(
        f"Mean {label(metric)}: " + ", ".join(f"{s} {means.loc[s, metric]:.2f}" for s in classes) + "."
        for metric in metrics
    )
