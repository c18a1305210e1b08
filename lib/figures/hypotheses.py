"""A study's hypotheses: a row each, a point per scorer or per dataset, with its interval.

The shaded side of a row is where the hypothesis says that the effect lies. A filled point is decided,
supported or reversed after Holm's correction. A square is a scorer that is no independent
witness, being a source or the parent of one.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from lib.compare.verdicts import ALL, Answer, Reading, effect_label, is_ratio, none_of
from lib.figures.theme import LINES, described, noted

# Of Okabe & Ito's palette, those that stand for no class.
COLOURS = ("#333333", "#56B4E9", "#009E73", "#CC79A7", "#8C6D31", "#7570B3")
SHADE = "#dfe8f3"
LABEL = 38  # characters of a line of a hypothesis' sentence
LINE = 13  # pixels of a line of the sentence
ROW = 17  # pixels of a point with its interval
FURTHEST = 16  # a ratio beyond it is drawn at the axis' end
NOTE = "Shaded: where the hypothesis says that the effect lies. Filled: supported or reversed, after Holm."
SHARE = "datum.value < 1 ? '1/' + round(1 / datum.value) : datum.label"


def by_scorer(found: Sequence[Answer]) -> alt.TopLevelMixin:
    """A row per hypothesis and a point per scorer, over all datasets; without hypotheses it says so."""
    if not found:
        return _nothing()
    rows = [(answer, r.scorer, r) for answer in found for r in (answer.decisive, *answer.scorers)]
    notes = [NOTE]
    if not all(r.independent for _, _, r in rows):
        notes.append("Squares: by a scorer that is no independent witness (a source, or parent of one).")
    return _drawn(rows, "scorer", "Hypotheses by scorer", notes)


def by_dataset(found: Sequence[Answer]) -> alt.TopLevelMixin | None:
    """A row per hypothesis and a point per dataset, by the scorer that decides; None for one dataset."""
    if not any(answer.datasets for answer in found):
        return None
    rows = [(a, r.dataset, r) for a in found for r in (a.decisive, *a.datasets)]
    named = [(a, "all datasets" if name == ALL else name, r) for a, name, r in rows]
    return _drawn(named, "dataset", "Hypotheses by dataset", [NOTE])


def _drawn(
    rows: Sequence[tuple[Answer, str, Reading]], field: str, what: str, notes: list[str]
) -> alt.TopLevelMixin:
    names = list(dict.fromkeys(name for _, name, _ in rows))
    table = pd.DataFrame([_row(answer, name, reading) for answer, name, reading in rows])
    panels = []
    undefined = int(table["effect"].isna().sum())
    for effect in dict.fromkeys(table["effect_name"]):
        some = _within(table[table["effect_name"] == effect], effect)
        panels.append(_panel(some, effect, field, names))
    chart = alt.vconcat(*panels, spacing=16).resolve_scale(color="shared", shape="shared")
    if undefined:
        notes = [*notes, f"{undefined} could not be tested, not drawn."]
    said = " ".join(
        f"{rows['said'].iloc[0]} {'; '.join(rows['name'] + ': ' + rows['verdict'] + ', ' + rows['text'])}."
        for _, rows in table.groupby("hypothesis", sort=False)
    )
    return noted(described(chart, f"{what}. {said} {' '.join(notes)}"), *notes)


def _row(answer: Answer, name: str, reading: Reading) -> dict[str, Any]:
    """One point. `low` and `high` are missing where there is no interval."""
    return {
        "hypothesis": "\n".join(_lines(answer)),
        "said": answer.said,
        "name": name,
        "verdict": reading.verdict,
        "effect": reading.effect,
        "effect_name": reading.effect_name,
        "low": reading.low,
        "high": reading.high,
        "p": reading.p,
        "documents": reading.documents,
        "expected": reading.expected,
        "decided": reading.decided,
        "witness": "independent" if reading.independent else "no independent witness",
        "text": reading.effect_text,
    }


def _lines(answer: Answer) -> list[str]:
    claim = f"{answer.claim}: " if answer.claim else ""
    return textwrap.wrap(claim + answer.sentence.rstrip(". "), LABEL)


def _within(rows: pd.DataFrame, effect_name: str) -> pd.DataFrame:
    """`rows` with `at`, `from_` and `to` within the axis, and the side that is expected."""
    lowest, highest = _domain(rows, effect_name)
    ends = rows[["effect", "low", "high"]].clip(lowest, highest)
    none = none_of(effect_name)
    less, more = (rows["expected"].isin(words) for words in (("less", "not more"), ("more", "not less")))
    return rows.assign(
        at=ends["effect"],
        from_=ends["low"],
        to=ends["high"],
        expected_from=np.select([less, more], [lowest, none], np.nan),
        expected_to=np.select([less, more], [none, highest], np.nan),
    )


def _domain(rows: pd.DataFrame, effect_name: str) -> tuple[float, float]:
    """The ends of the axis, alike on both sides of no difference."""
    ends = rows[["effect", "low", "high"]].to_numpy(float)
    if is_ratio(effect_name):
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.abs(np.log2(ends))
        limit = 2.0 ** max(np.ceil(min(np.max(far[np.isfinite(far)], initial=0), np.log2(FURTHEST))), 1)
        return 1 / limit, limit
    far = np.abs(ends[np.isfinite(ends)])
    limit = max(np.ceil(5 * np.max(far, initial=0)) / 5, 0.4)
    return -limit, limit


def _panel(
    rows: pd.DataFrame, effect_name: str, field: str, names: Sequence[str]
) -> alt.LayerChart | alt.FacetChart:
    """The hypotheses whose effect is `effect_name`, one below the other."""
    lowest, highest = _domain(rows, effect_name)
    scale: dict[str, Any] = {"domain": [lowest, highest], "nice": False}
    marks: dict[str, Any] = {"tickCount": 5, "format": "~g"}
    if is_ratio(effect_name):
        scale |= {"type": "log"}
        powers = 2.0 ** np.arange(np.log2(lowest), np.log2(highest) + 1)
        marks = {"values": powers.tolist(), "format": "~g", "labelExpr": SHARE}
    x: dict[str, Any] = {
        "scale": alt.Scale(**scale),
        "axis": alt.Axis(title=f"{effect_label(effect_name)} (95 % interval)", **marks),
    }
    order = list(dict.fromkeys(rows["hypothesis"]))
    most = max(label.count("\n") + 1 for label in order)
    tallest = max(most * LINE, len(names) * ROW) + 10
    y = alt.Y(
        "hypothesis:N",
        title=None,
        sort=order,
        scale=alt.Scale(domain=order, paddingInner=0.12, paddingOuter=0.06),
        axis=alt.Axis(
            labelExpr="split(datum.label, '\\n')",
            labelLimit=0,
            labelOffset=_middle(most),
            grid=False,
            labelPadding=8,
        ),
    )
    columns = ["said", "name", "verdict", "effect", "low", "high", "p", "documents"]
    table = rows[[*columns, "hypothesis", "decided", "witness", "at", "from_", "to"]]
    sides = rows[["hypothesis", "expected_from", "expected_to"]].dropna().drop_duplicates()
    side = (
        alt.Chart(sides)
        .mark_bar(color=SHADE)
        .encode(x=alt.X("expected_from:Q", **x), x2="expected_to:Q", y=y)
    )
    none = (
        alt.Chart(pd.DataFrame({"none": [none_of(effect_name)]}))
        .mark_rule(strokeDash=[3, 3], color="grey")
        .encode(x=alt.X("none:Q", **x))
    )
    colours = [COLOURS[place % len(COLOURS)] for place in range(len(names))]
    colour: dict[str, Any] = {
        "title": field,
        "legend": LINES,
        "scale": alt.Scale(domain=list(names), range=colours),
    }
    points = alt.Chart(table).encode(
        y=y,
        yOffset=alt.YOffset("name:N", scale=alt.Scale(domain=list(names), padding=0.5)),
        tooltip=[alt.Tooltip("name:N", title=field), *(c for c in columns if c != "name")],
    )
    interval = points.mark_rule(strokeWidth=2).encode(
        x=alt.X("from_:Q", **x), x2="to:Q", color=alt.Color("name:N", **colour)
    )
    # A hollow point stands on white, so that the line does not run through it.
    base: dict[str, Any] = {"size": 70, "strokeWidth": 2, "opacity": 1}
    shape = alt.Shape(
        "witness:N",
        legend=None,
        scale=alt.Scale(domain=["independent", "no independent witness"], range=["circle", "square"]),
    )
    hollow = points.mark_point(fill="white", **base).encode(
        x=alt.X("at:Q", **x), color=alt.Color("name:N", **colour), shape=shape
    )
    filled = (
        points.transform_filter("datum.decided")
        .mark_point(filled=True, **base)
        .encode(x=alt.X("at:Q", **x), color=alt.Color("name:N", **colour), shape=shape)
    )
    return alt.layer(side, none, interval, hollow, filled).properties(width=330, height=tallest * len(order))


def _middle(most: int) -> Any:
    """The offset of an axis' label of up to `most` lines, which puts its middle at the row's."""
    tests = [
        {"test": f"length(split(datum.label, '\\n')) == {lines}", "value": -LINE / 2 * (lines - 1)}
        for lines in range(2, most + 1)
    ]
    return {"condition": tests, "value": 0} if tests else 0


def _nothing() -> alt.TopLevelMixin:
    said = "No hypotheses: this study declares none, or they have not been tested yet."
    return described(
        alt.Chart(pd.DataFrame({"said": [said]})).mark_text(fontSize=12).encode(text="said:N"), said
    ).properties(width=520, height=40)
