"""One look for every figure: colours mean class, text is alike, nothing needs the network."""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import altair as alt

# Of Okabe & Ito's palette, which colour-blind readers can tell apart; each source also has its dash.
CLASS_COLOURS = {"human": "#000000", "base": "#0072B2", "instruct": "#E69F00", "rlhf": "#D55E00"}
DASHES = ([1, 0], [6, 2], [2, 2], [8, 2, 2, 2], [10, 4], [4, 1, 1, 1], [1, 3])

# A source in the legend: a piece of its line, whatever else is drawn in its colour.
LINES = alt.Legend(symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=2.5, symbolSize=400)

WIDTH, HEIGHT = 320, 220
# Stored charts are measured with Liberation Sans, which is as wide as Arial.
FONT = "Arial, Liberation Sans, Helvetica, DejaVu Sans, sans-serif"
NOTE_WIDTH = 62  # characters, so that a phone shows a line whole

LABELS = {
    "tokens": "tokens",
    "mean_surprisal": "mean surprisal (bits)",
    "uid_variance": "UID variance (bits²)",
    "uid_pairwise": "UID pairwise (bits²)",
}


def label(metric: str) -> str:
    """The axis title of a metric, with its unit."""
    return LABELS.get(metric, metric.replace("_", " "))


def class_colour(classes: Mapping[str, str]) -> alt.Color:
    """The colour encoding of `source`, given the class of each source."""
    return alt.Color(
        "source:N",
        scale=alt.Scale(domain=list(classes), range=[CLASS_COLOURS[c] for c in classes.values()]),
        legend=LINES,
    )


def source_dash(classes: Mapping[str, str]) -> alt.StrokeDash:
    """The dash of `source`: what tells sources of one class apart."""
    dashes = [DASHES[place % len(DASHES)] for place in range(len(classes))]
    return alt.StrokeDash(
        "source:N",
        scale=alt.Scale(domain=list(classes), range=dashes),
        legend=LINES,
    )


@alt.theme.register("study", enable=True)
def study_theme() -> alt.theme.ThemeConfig:
    return alt.theme.ThemeConfig(
        config={
            # Fonts differ between readers; a label that is wider must not be cut.
            "padding": {"left": 24, "top": 10, "right": 24, "bottom": 10},
            "view": {"continuousWidth": WIDTH, "continuousHeight": HEIGHT, "stroke": None},
            "font": FONT,
            "axis": {
                "labelLimit": 0,
                "labelFontSize": 11,
                "titleFontSize": 12,
                "grid": True,
                "gridOpacity": 0.4,
            },
            "legend": {
                "orient": "top",  # a phone shows it with the left of a wide chart
                "columns": 4,
                "columnPadding": 24,
                "labelFontSize": 11,
                "titleFontSize": 12,
                "labelLimit": 260,
            },
            "title": {"fontSize": 13, "anchor": "start"},
        }
    )


def noted(chart: alt.TopLevelMixin, *sentences: str) -> alt.TopLevelMixin:
    """`chart` with `sentences` above it: what a reader must know who sees the chart alone."""
    lines = textwrap.wrap(" ".join(sentences), NOTE_WIDTH)
    return chart.properties(
        title=alt.TitleParams(
            lines, anchor="start", fontSize=11, fontWeight="normal", color="#555", offset=10
        )
    )


def described(chart: alt.TopLevelMixin, alt_text: str) -> alt.TopLevelMixin:
    """`chart` with its alternative text, which screen readers and the printed page use."""
    return chart.properties(description=alt_text)


def lean(spec: dict[str, Any]) -> dict[str, Any]:
    """`spec` with the numbers of its data to five digits, which halves a page and shows the same."""
    datasets = spec.get("datasets", {})
    rounded = {
        name: [
            {k: float(f"{v:.5g}") if isinstance(v, float) and math.isfinite(v) else v for k, v in row.items()}
            for row in rows
        ]
        for name, rows in datasets.items()
    }
    return {**spec, "datasets": rounded} if datasets else spec
