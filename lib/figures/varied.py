"""Uniformity against a setting of a model that a study varies."""

import altair as alt
import pandas as pd

from lib.figures.theme import CLASS_COLOURS, described, label
from lib.params.varying import NUMBERS, variant_of
from lib.uid.measures import HEADLINE


def points(texts: pd.DataFrame) -> pd.DataFrame:
    """A row per varied source, metric and value: `mean` over documents with its 95 % interval.

    `texts` has `source`, `text_class`, `dataset`, `doc_id` and the metrics; samples of a document are
    averaged first. Empty where nothing is varied.
    """
    rows = []
    for (source, text_class), own in texts.groupby(["source", "text_class"], sort=False):
        variant = variant_of(str(source))
        if variant is None:
            continue
        documents = own.groupby(["dataset", "doc_id"])[list(HEADLINE)].mean()
        mean, error = documents.mean(), 1.96 * documents.sem()
        rows += [
            {
                "model": variant.source,
                "class": text_class,
                "parameter": variant.parameter,
                "value": variant.value if variant.parameter in NUMBERS else str(variant.value).lower(),
                "metric": metric,
                "mean": mean[metric],
                "low": mean[metric] - error[metric],
                "high": mean[metric] + error[metric],
                "documents": len(documents),
            }
            for metric in HEADLINE
        ]
    return pd.DataFrame(rows)


def varied(texts: pd.DataFrame) -> alt.TopLevelMixin | None:
    """Each headline metric against each varied parameter, a line per model; None where nothing is varied."""
    rows = points(texts)
    if rows.empty:
        return None
    classes = dict(zip(rows["model"], rows["class"], strict=True))
    colour = alt.Color(
        "model:N",
        scale=alt.Scale(domain=list(classes), range=[CLASS_COLOURS[c] for c in classes.values()]),
    )
    lines = []
    for parameter, of_parameter in rows.groupby("parameter", sort=False):
        kind = "Q" if parameter in NUMBERS else "N"
        panels = []
        for metric in HEADLINE:
            base = alt.Chart(of_parameter[of_parameter["metric"] == metric]).encode(
                x=alt.X(f"value:{kind}", title=str(parameter), sort=None, scale=alt.Scale(zero=False)),
                color=colour,
                strokeDash=alt.StrokeDash("model:N", legend=None),
                tooltip=["model", "value", "mean", "low", "high", "documents"],
            )
            if kind == "N":
                base = base.encode(x=alt.X("value:N", title=str(parameter), sort=None))
            axis = alt.Y("mean:Q", title=label(metric), scale=alt.Scale(zero=False))
            bars = base.mark_rule().encode(y=alt.Y("low:Q", title=label(metric)), y2="high:Q")
            panels.append(
                (base.mark_line(point=True).encode(y=axis) + bars).properties(width=200, height=170)
            )
        lines.append(alt.hconcat(*panels))
    shown = rows[rows["metric"] == "uid_variance"]
    said = "; ".join(
        f"{row.model} at {row.parameter} {row.value}: {row.mean:.2f}" for row in shown.itertuples()
    )
    return described(
        alt.vconcat(*lines), f"Means over documents with 95 % intervals. {label('uid_variance')}: {said}."
    )
