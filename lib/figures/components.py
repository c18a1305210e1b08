"""How much of the spread between texts is the document's."""

import altair as alt
import pandas as pd

from lib.figures.theme import described

COLOURS = {"prompt": "#0072B2", "chance": "#E69F00", "length": "#999999"}


def components(table: pd.DataFrame) -> alt.TopLevelMixin | None:
    """A bar per source and part of `lib.compare.components`, with 95 % intervals; None without rows."""
    if table.empty:
        return None
    base = alt.Chart(table).encode(
        y=alt.Y("part:N", title=None, sort=list(COLOURS)), tooltip=["source", "part", "share", "low", "high"]
    )
    colour = alt.Color(
        "part:N", scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())), legend=None
    )
    scale = alt.Scale(domain=[0, 1])
    bars = base.mark_bar(opacity=0.7).encode(
        x=alt.X("share:Q", title="share of the variance between texts", scale=scale), color=colour
    )
    ends = base.mark_rule().encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    chart = (
        (bars + ends).properties(width=320, height=70).facet(row=alt.Row("source:N", title=None, sort=None))
    )
    said = "; ".join(f"{row.source}, {row.part}: {row.share:.0%}" for row in table.itertuples())
    return described(chart, f"Shares of the variance between texts with 95 % intervals: {said}.")
