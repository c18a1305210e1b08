"""What a study would find: power against effect, prompts and samples."""

import altair as alt
import pandas as pd

from lib.figures.theme import described

AXES = {
    "effect": "effect (standard deviations; of spread: ratio of variances)",
    "prompts": "prompts, at a difference as large as the margin",
    "samples": "samples per prompt, at a difference as large as the margin",
}
PER_LINE = 3


def power(points: pd.DataFrame, kind: str, wanted: float) -> alt.TopLevelMixin:
    """`points` of `lib.compare.power.plan`: a panel per hypothesis, a rule at the power that is wanted."""
    rows = points[points["kind"] == kind]
    base = alt.Chart(rows).encode(
        x=alt.X("x:Q", title=None, scale=alt.Scale(zero=False)),
        y=alt.Y("power:Q", title="power", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")),
        tooltip=["hypothesis", "x", alt.Tooltip("power:Q", format=".0%")],
    )
    rule = alt.Chart(rows).mark_rule(strokeDash=[4, 3], color="#777").encode(y=alt.datum(wanted))
    panel = (base.mark_line(color="#0072B2", point=True) + rule).properties(width=200, height=120)
    chart = panel.facet(
        facet=alt.Facet("hypothesis:N", title=AXES[kind], sort=None), columns=PER_LINE
    ).resolve_scale(x="independent")
    best = rows.groupby("hypothesis", sort=False)["power"].agg(["min", "max"])
    said = "; ".join(f"{name} {low:.0%} to {high:.0%}" for name, low, high in best.itertuples())
    return described(chart, f"Power against {AXES[kind]}: {said}.")
