"""Charts of one source: its texts, its tokens, its measures. Bins and densities are computed here."""

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd
from scipy import stats

from lib.figures.theme import described, label

HEADLINE = ("mean_surprisal", "uid_variance", "uid_pairwise")
COLOUR = "#0072B2"
POINTS = 120  # of a density curve


def bins(values: pd.Series, count: int = 30) -> pd.DataFrame:
    """Columns `low`, `high`, `texts`: how many of `values` fall between."""
    counts, edges = np.histogram(values.dropna(), bins=count)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "count": counts})


def density(values: pd.Series, points: int = POINTS) -> pd.DataFrame:
    """Columns `value`, `density`: a Gaussian kernel density with Scott's bandwidth (Scott 1992).

    Empty where the values do not vary, since there is no density then.
    """
    clean = values.dropna().to_numpy(float)
    if len(clean) < 2 or np.ptp(clean) == 0:
        return pd.DataFrame({"value": [], "density": []}, dtype=float)
    margin = 0.1 * np.ptp(clean)
    at = np.linspace(clean.min() - margin, clean.max() + margin, points)
    return pd.DataFrame({"value": at, "density": stats.gaussian_kde(clean)(at)})


def _histogram(values: pd.Series, title: str, unit_of_count: str) -> alt.Chart:
    return (
        alt.Chart(bins(values))
        .mark_bar(color=COLOUR, opacity=0.7)
        .encode(
            x=alt.X("low:Q", title=title, bin="binned"),
            x2="high:Q",
            y=alt.Y("count:Q", title=unit_of_count),
            tooltip=["low:Q", "high:Q", "count:Q"],
        )
    )


def length_histogram(texts: pd.DataFrame) -> alt.TopLevelMixin:
    """How long the texts are, in characters."""
    lengths = texts["text"].fillna("").str.len()
    return described(
        _histogram(lengths, "characters", "texts"),
        f"Histogram of the lengths of {len(lengths)} texts; the median is {lengths.median():.0f} characters.",
    )


def surprisal_histogram(tokens: pd.DataFrame) -> alt.TopLevelMixin:
    """How surprising the tokens are."""
    values = tokens["surprisal"]
    return described(
        _histogram(values, "surprisal (bits)", "tokens"),
        f"Histogram of the surprisal of {len(values):,} tokens; the mean is {values.mean():.2f} bits, "
        f"the median {values.median():.2f}.",
    )


def distributions(rows: pd.DataFrame) -> alt.TopLevelMixin:
    """Histogram and density of each headline metric."""
    charts = []
    for metric in HEADLINE:
        binned = bins(rows[metric])
        width = (binned["high"] - binned["low"]).iloc[0]
        binned["density"] = binned["count"] / max(binned["count"].sum(), 1) / width
        bars = (
            alt.Chart(binned)
            .mark_bar(color=COLOUR, opacity=0.45)
            .encode(x=alt.X("low:Q", title=label(metric), bin="binned"), x2="high:Q", y="density:Q")
        )
        line = alt.Chart(density(rows[metric])).mark_line(color="#000000").encode(x="value:Q", y="density:Q")
        charts.append((bars + line).properties(width=200, height=160))
    means = ", ".join(f"{label(metric)} {rows[metric].mean():.2f}" for metric in HEADLINE)
    return described(alt.hconcat(*charts), f"Histograms with densities of {len(rows)} texts. Means: {means}.")


def pairs(rows: pd.DataFrame, most: int = 400) -> alt.TopLevelMixin:
    """Scatter plots of each pair of the headline metrics with a trend line; at most `most` points."""
    shown = rows if len(rows) <= most else rows.sample(most, random_state=0)
    charts, words = [], []
    for x, y in ((HEADLINE[0], HEADLINE[1]), (HEADLINE[0], HEADLINE[2]), (HEADLINE[1], HEADLINE[2])):
        complete = rows[[x, y]].dropna()
        points = (
            alt.Chart(shown[["doc_id", x, y]])
            .mark_circle(size=18, opacity=0.5, color=COLOUR)
            .encode(
                x=alt.X(f"{x}:Q", title=label(x), scale=alt.Scale(zero=False)),
                y=alt.Y(f"{y}:Q", title=label(y), scale=alt.Scale(zero=False)),
                tooltip=["doc_id", x, y],
            )
        )
        fit = stats.linregress(complete[x], complete[y])
        ends = pd.DataFrame({x: [complete[x].min(), complete[x].max()]})
        ends[y] = fit.intercept + fit.slope * ends[x]
        line = alt.Chart(ends).mark_line(color="#000000").encode(x=f"{x}:Q", y=f"{y}:Q")
        charts.append((points + line).properties(width=200, height=180))
        words.append(f"{label(x)} and {label(y)}: r = {fit.rvalue:.2f}")
    left_out = "" if len(shown) == len(rows) else f" {most} of {len(rows)} texts are drawn."
    return described(alt.hconcat(*charts), f"Scatter plots with trend lines. {'; '.join(words)}.{left_out}")


def sample_curves(tokens: pd.DataFrame, doc_ids: Sequence[str]) -> alt.TopLevelMixin:
    """Surprisal along a few texts, smoothed over 9 tokens."""
    chosen = tokens[tokens["doc_id"].isin(list(doc_ids))].copy()
    chosen["smoothed"] = (
        chosen.groupby("doc_id")["surprisal"]
        .rolling(9, center=True, min_periods=1)
        .mean()
        .reset_index(level=0, drop=True)
    )
    chart = (
        alt.Chart(chosen[["doc_id", "position", "smoothed"]])
        .mark_line(color=COLOUR)
        .encode(
            x=alt.X("position:Q", title="token (surprisal averaged over nine)"),
            y=alt.Y("smoothed:Q", title="bits"),
            row=alt.Row("doc_id:N", title=None, header=alt.Header(labelAngle=0, labelAlign="left")),
        )
        .properties(width=520, height=70)
    )
    return described(chart, f"Surprisal along {len(doc_ids)} texts, averaged over nine tokens.")


def contour(tokens: pd.DataFrame, count: int = 20) -> alt.TopLevelMixin:
    """Mean surprisal by relative position in the text, with a 95 % band over texts."""
    table = relative_contour(tokens, count)
    base = alt.Chart(table).encode(x=alt.X("position:Q", title="relative position in the text"))
    band = base.mark_area(opacity=0.25, color=COLOUR).encode(
        y=alt.Y("low:Q", title="mean surprisal (bits)", scale=alt.Scale(zero=False)), y2="high:Q"
    )
    line = base.mark_line(color=COLOUR, point=True).encode(y="mean:Q")
    first, last = table["mean"].iloc[0], table["mean"].iloc[-1]
    return described(
        (band + line).properties(width=460),
        f"Mean surprisal along the texts: {first:.2f} bits in the first twentieth, {last:.2f} in the last.",
    )


def relative_contour(tokens: pd.DataFrame, count: int = 20) -> pd.DataFrame:
    """Columns `position` (middle of each of `count` bins, 0 to 1), `mean`, `low`, `high`, in bits.

    A text is averaged within each bin first, so long texts do not weigh more; the band is ±1.96
    standard errors over texts.
    """
    lengths = tokens.groupby("doc_id")["position"].transform("size")
    bin_number = (tokens["position"] * count // lengths).astype(int)
    by_text = tokens["surprisal"].groupby([tokens["doc_id"], bin_number]).mean()
    grouped = by_text.groupby(level=1)
    table = pd.DataFrame({"mean": grouped.mean(), "error": 1.96 * grouped.sem()}).reset_index(names="bin")
    table["position"] = (table["bin"] + 0.5) / count
    return table.assign(low=table["mean"] - table["error"], high=table["mean"] + table["error"])
