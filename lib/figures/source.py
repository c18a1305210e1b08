"""Charts of one source, in the colour of its class: its texts, its tokens, its measures.

Bins and densities are computed here, not left to the page.
"""

from collections.abc import Sequence
from itertools import combinations

import altair as alt
import numpy as np
import pandas as pd
from scipy import stats

from lib.datasets.document import KEYS
from lib.figures.theme import CLASS_COLOURS, DASHES, described, label, noted
from lib.uid import contours as of_position
from lib.uid.measures import HEADLINE

LINE = "#333333"  # of a curve over bars or points; people's are black, and lighter than it by their opacity
POINTS = 80  # of a density curve
ALONG = 150  # points of a curve along one text
# Several texts of one source have one colour, and each its dash and its strength.
FADING = [1, 0.8, 0.6, 0.45, 0.3]
SAMPLES = alt.Legend(symbolType="stroke", symbolSize=400, symbolStrokeWidth=2.5, columns=1, labelLimit=420)


def bins(values: pd.Series, count: int = 30) -> pd.DataFrame:
    """Columns `low`, `high`, `texts`: how many of `values` fall between."""
    there = values.dropna()
    if not _varies(there):
        there = there.clip(upper=there.min())
    counts, edges = np.histogram(there, bins=count)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "count": counts})


def _varies(values: pd.Series) -> bool:
    """Whether there are two values that differ by more than rounding does."""
    return len(values) > 1 and float(np.ptp(values)) > 1e-9 * float(values.abs().max())


def density(values: pd.Series, points: int = POINTS) -> pd.DataFrame:
    """Columns `value`, `density`: a Gaussian kernel density with Scott's bandwidth (Scott 1992).

    Empty where the values do not vary, since there is no density then.
    """
    clean = values.dropna().to_numpy(float)
    if not _varies(pd.Series(clean)):
        return pd.DataFrame({"value": [], "density": []}, dtype=float)
    margin = 0.1 * np.ptp(clean)
    at = np.linspace(clean.min() - margin, clean.max() + margin, points)
    return pd.DataFrame({"value": at, "density": stats.gaussian_kde(clean)(at)})


def _histogram(values: pd.Series, title: str, unit_of_count: str, text_class: str) -> alt.Chart:
    return (
        alt.Chart(bins(values))
        .mark_bar(color=CLASS_COLOURS[text_class], opacity=0.6)
        .encode(
            x=alt.X("low:Q", title=title, bin="binned"),
            x2="high:Q",
            y=alt.Y("count:Q", title=unit_of_count),
            tooltip=["low:Q", "high:Q", "count:Q"],
        )
    )


def length_histogram(texts: pd.DataFrame, text_class: str) -> alt.TopLevelMixin:
    """How long the texts are, in characters."""
    lengths = texts["text"].fillna("").str.len()
    return described(
        _histogram(lengths, "characters", "texts", text_class),
        f"Histogram of the lengths of {len(lengths)} texts; the median is {lengths.median():.0f} characters.",
    )


def surprisal_histogram(tokens: pd.DataFrame, text_class: str) -> alt.TopLevelMixin:
    """How surprising the tokens are."""
    values = tokens["surprisal"]
    return described(
        _histogram(values, "surprisal (bits)", "tokens", text_class),
        f"Histogram of the surprisal of {len(values):,} tokens; the mean is {values.mean():.2f} bits, "
        f"the median {values.median():.2f}.",
    )


def distributions(rows: pd.DataFrame, text_class: str) -> alt.TopLevelMixin:
    """Histogram and density of each headline metric."""
    charts = []
    for metric in HEADLINE:
        binned = bins(rows[metric])
        width = (binned["high"] - binned["low"]).iloc[0]
        binned["density"] = binned["count"] / max(binned["count"].sum(), 1) / width
        bars = (
            alt.Chart(binned)
            .mark_bar(color=CLASS_COLOURS[text_class], opacity=0.4)
            .encode(x=alt.X("low:Q", title=label(metric), bin="binned"), x2="high:Q", y="density:Q")
        )
        line = alt.Chart(density(rows[metric])).mark_line(color=LINE).encode(x="value:Q", y="density:Q")
        charts.append((bars + line).properties(width=200, height=160))
    means = ", ".join(f"{label(metric)} {rows[metric].mean():.2f}" for metric in HEADLINE)
    return described(alt.hconcat(*charts), f"Histograms with densities of {len(rows)} texts. Means: {means}.")


def pairs(rows: pd.DataFrame, text_class: str, most: int = 400) -> alt.TopLevelMixin:
    """Scatter plots of each pair of the headline metrics with a trend line; at most `most` points."""
    return _scatters(
        rows, text_class, list(combinations(HEADLINE, 2)), most, "Scatter plots with trend lines."
    )


def _scatters(
    rows: pd.DataFrame, text_class: str, axes: Sequence[tuple[str, str]], most: int, what: str
) -> alt.TopLevelMixin:
    shown = rows if len(rows) <= most else rows.sample(most, random_state=0)
    charts, words = [], []
    for x, y in axes:
        points = (
            alt.Chart(shown[["doc_id", x, y]])
            .mark_circle(size=18, opacity=0.4, color=CLASS_COLOURS[text_class])
            .encode(
                x=alt.X(f"{x}:Q", title=label(x), scale=alt.Scale(zero=False)),
                y=alt.Y(f"{y}:Q", title=label(y), scale=alt.Scale(zero=False)),
                tooltip=["doc_id", x, y],
            )
        )
        ends, r = trend(rows, x, y)
        line = alt.Chart(ends).mark_line(color=LINE).encode(x=f"{x}:Q", y=f"{y}:Q")
        charts.append((points + line).properties(width=200, height=180))
        words.append(f"{label(x)} and {label(y)}: r = {r:.2f}")
    chart = described(alt.hconcat(*charts), f"{what} {'; '.join(words)}.")
    if len(shown) == len(rows):
        return chart
    return noted(chart, f"Points: {most:,} of {len(rows):,} texts; the lines are of all.")


def trend(rows: pd.DataFrame, x: str, y: str) -> tuple[pd.DataFrame, float]:
    """Both ends of the least-squares line, columns `x` and `y`, and Pearson's r.

    No ends, and nan, where fewer than two values of `x` differ.
    """
    complete = rows[[x, y]].dropna()
    if complete[x].nunique() < 2:
        return pd.DataFrame({x: [], y: []}, dtype=float), float("nan")
    fit = stats.linregress(complete[x], complete[y])
    ends = pd.DataFrame({x: [complete[x].min(), complete[x].max()]}, dtype=float)
    ends[y] = fit.intercept + fit.slope * ends[x]
    return ends, float(fit.rvalue)


def sample_curves(tokens: pd.DataFrame, texts: pd.DataFrame, text_class: str) -> alt.TopLevelMixin:
    """Surprisal along a few texts, rows of step 03, smoothed over 9 tokens; of a long one every few."""
    chosen = tokens.merge(texts[KEYS], on=KEYS)
    chosen["text"] = names(chosen)
    shown = pd.concat([_smoothed(text) for _, text in chosen.groupby("text", sort=False)])
    chart = (
        alt.Chart(shown)
        .mark_line(color=CLASS_COLOURS[text_class])
        .encode(
            x=alt.X("position:Q", title="token (surprisal averaged over nine)"),
            y=alt.Y("smoothed:Q", title="bits"),
            row=alt.Row("text:N", title=None, header=alt.Header(labelAngle=0, labelAlign="left")),
        )
        .properties(width=520, height=70)
    )
    return described(chart, f"Surprisal along {len(texts)} texts, averaged over nine tokens.")


def _smoothed(tokens: pd.DataFrame) -> pd.DataFrame:
    """`text`, `position` and `smoothed` of one text, in at most `ALONG` rows."""
    smoothed = tokens["surprisal"].rolling(9, center=True, min_periods=1).mean()
    table = tokens[["text", "position"]].assign(smoothed=smoothed)
    if len(table) <= ALONG:
        return table
    part = np.arange(len(table)) * ALONG // len(table)
    return table.groupby(["text", part])[["position", "smoothed"]].mean().reset_index(level="text")


def contours(
    tokens: pd.DataFrame, texts: pd.DataFrame, text_class: str, language: str = "en"
) -> alt.TopLevelMixin:
    """Mean surprisal by relative position, by position and by sentence, each with a 95 % band over texts."""
    colour = CLASS_COLOURS[text_class]
    by_key = dict(zip(zip(texts["doc_id"], texts["sample"], strict=True), texts["text"], strict=True))
    panels = {
        "relative position in the text": of_position.by_relative_position(tokens),
        "position in the text (tokens)": of_position.by_position(tokens),
        "sentence of the text": of_position.by_sentence(tokens, by_key, language),
    }
    panels = {title: of_position.thinned(table) for title, table in panels.items()}
    charts = []
    for title, table in panels.items():
        base = alt.Chart(table).encode(x=alt.X("position:Q", title=title))
        band = base.mark_area(opacity=0.25, color=colour).encode(
            y=alt.Y("low:Q", title="mean surprisal (bits)", scale=alt.Scale(zero=False)), y2="high:Q"
        )
        line = base.mark_line(color=colour, point={"color": colour}).encode(
            y="mean:Q", tooltip=["position", "mean", "low", "high", "texts"]
        )
        charts.append((band + line).properties(width=200, height=170))
    ends = "; ".join(
        f"by {title}: {table['mean'].iloc[0]:.2f} bits first, {table['mean'].iloc[-1]:.2f} last"
        for title, table in panels.items()
    )
    return described(alt.hconcat(*charts), f"Mean surprisal along the texts with 95 % bands, {ends}.")


def samples_together(tokens: pd.DataFrame, texts: pd.DataFrame, text_class: str) -> alt.TopLevelMixin:
    """A few texts, rows of step 03, on one relative axis: the mean surprisal of each of their twentieths."""
    chosen = tokens.merge(texts[KEYS], on=KEYS)
    curves = pd.concat(
        [
            of_position.by_relative_position(own).assign(text=name)
            for name, own in chosen.groupby(names(chosen), sort=False)
        ]
    )
    chart = (
        alt.Chart(curves[["text", "position", "mean"]])
        .mark_line(strokeWidth=2, color=CLASS_COLOURS[text_class])
        .encode(
            x=alt.X("position:Q", title="relative position in the text"),
            y=alt.Y("mean:Q", title="mean surprisal (bits)"),
            strokeDash=alt.StrokeDash(
                "text:O", title="text", scale=alt.Scale(range=list(DASHES)), legend=SAMPLES
            ),
            opacity=alt.Opacity("text:O", title="text", scale=alt.Scale(range=FADING), legend=SAMPLES),
            tooltip=["text", "position", "mean"],
        )
        .properties(width=460, height=200)
    )
    return described(chart, f"Surprisal along {len(texts)} texts on one relative axis, in twentieths.")


def names(rows: pd.DataFrame) -> pd.Series:
    """What each of `rows` (doc_id, sample) calls its text: a further sample has its number."""
    numbers = rows["sample"].map(lambda sample: f" ({sample})" if sample else "")
    return (rows["doc_id"] + numbers).rename("text")


def boxes(rows: pd.DataFrame, text_class: str) -> alt.TopLevelMixin:
    """Box plots of the headline metrics; the lines reach the lowest and the highest text."""
    charts, words = [], []
    for metric in HEADLINE:
        values = rows[metric].dropna()
        levels = values.quantile([0, 0.25, 0.5, 0.75, 1]).set_axis(["min", "q25", "median", "q75", "max"])
        base = alt.Chart(levels.to_frame().T).encode(tooltip=list(levels.index))
        whisker = base.mark_rule().encode(
            x=alt.X("min:Q", title=label(metric), scale=alt.Scale(zero=False)), x2="max:Q"
        )
        box = base.mark_bar(size=22, color=CLASS_COLOURS[text_class], opacity=0.6).encode(
            x="q25:Q", x2="q75:Q"
        )
        median = base.mark_tick(color="white", thickness=3, size=22).encode(x="median:Q")
        charts.append((whisker + box + median).properties(width=200, height=50))
        words.append(
            f"{label(metric)}: median {levels['median']:.2f}, {levels['min']:.2f}–{levels['max']:.2f}"
        )
    return described(alt.hconcat(*charts), f"Box plots with the whole range. {'; '.join(words)}.")


def lengths(rows: pd.DataFrame, text_class: str, most: int = 400) -> alt.TopLevelMixin:
    """Both measures of uniformity against the length of a text, with trend lines."""
    return _scatters(
        rows,
        text_class,
        [("tokens", metric) for metric in HEADLINE[1:]],
        most,
        "Text length against the measures of uniformity.",
    )
