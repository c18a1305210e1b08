"""What a notebook's first cell needs: its parameters checked, its charts drawn for every reader."""

import json
import logging
import types
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd
import vl_convert as vlc
from IPython.display import Markdown, display

from lib import datasets
from lib.figures.theme import lean  # its import also registers the theme of every chart
from lib.params.run import Run, check_parameters, resolve

VEGALITE = f"application/vnd.vegalite.v{alt.SCHEMA_VERSION.split('.')[0].lstrip('v')}+json"
IPYTHON_NAMES = {"In", "Out", "get_ipython", "exit", "quit", "open"}


def begin(step: str, namespace: Mapping[str, Any]) -> Run:
    """The run that the parameters in a notebook's `globals()` describe, with a line that says it.

    Raises StudyError, in one sentence, for a parameter that does not exist or is not allowed.
    """
    prepare()
    run = resolve(step, given_parameters(namespace))
    changed = "".join(f" · {name} = {value!r}" for name, value in run.overridden.items())
    display(
        Markdown(
            f"**{run.source_name}** ({run.source.text_class}) · dataset **{run.dataset_name}** · "
            f"scorer **{run.scorer_name}** · study **{run.study_name}**{changed}"
            + _left_out([run.dataset_name])
        )
    )
    return run


def begin_comparison(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The checked parameters of 04_compare in a notebook's `globals()`."""
    prepare(printed=True)
    return check_parameters("04_compare", given_parameters(namespace))


def given_parameters(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values among a notebook's names: its parameters, and what papermill injected."""
    plain = (str, int, float, bool, list, dict, tuple, types.NoneType)
    return {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_") and name not in IPYTHON_NAMES and isinstance(value, plain)
    }


def prepare(*, printed: bool = False) -> None:
    """Draw charts offline, show tables as Markdown, keep libraries' chatter out of the report.

    Charts that are `printed`, as the paper's are, have a PNG, too, for what prints no SVG.
    """
    alt.renderers.register("study", chart_mimebundle)
    alt.renderers.enable("study", printed=printed)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)


def chart_mimebundle(spec: dict[str, Any], *, printed: bool = False, **_: Any) -> dict[str, Any]:
    """A chart for every reader: live in JupyterLab and reports, SVG for print, a PNG if it is `printed`.

    There is no text/html among the forms: with one, Quarto would load require.js from the network.
    """
    spec = lean(spec)
    svg = vlc.vegalite_to_svg(json.dumps(spec))
    forms = {VEGALITE: spec, "image/svg+xml": svg, "text/plain": spec.get("description", "a chart")}
    return forms | ({"image/png": vlc.svg_to_png(svg, scale=2)} if printed else {})


def say(text: str, of_datasets: Sequence[str] = ()) -> Markdown:
    """`text`, and what was left out of the datasets that it is about."""
    return Markdown(text + _left_out(of_datasets))


def _left_out(of_datasets: Sequence[str]) -> str:
    said = datasets.left_out_said(of_datasets)
    return f"\n\n{said}" if said else ""


def table(rows: pd.DataFrame, caption: str = "", digits: int = 3) -> Markdown:
    """`rows` as a Markdown table, which HTML, PDF and Quarto all show; text stays as it is."""
    if rows.empty:
        return Markdown(f"{caption}:\n\n*none*" if caption else "*none*")
    shown = rows.apply(lambda column: column.map(lambda value: _cell(value, digits)))
    right = ["right" if pd.api.types.is_numeric_dtype(rows[column]) else "left" for column in rows]
    text = shown.rename(columns=_escaped).to_markdown(index=False, disable_numparse=True, colalign=right)
    return Markdown(f"{caption}:\n\n{text}" if caption else text)


def _cell(value: Any, digits: int) -> str:
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.{digits}f}"
    return "–" if pd.isna(value) else _escaped(value)


def _escaped(value: Any) -> str:
    """`value` as it reads; a bar would end its cell."""
    return str(value).replace("|", r"\|")


def tables(*tables_with_captions: tuple[pd.DataFrame, str]) -> Markdown:
    """Several tables one below the other; those without rows are left out."""
    shown = [table(rows, caption).data for rows, caption in tables_with_captions if len(rows)]
    return Markdown("\n\n".join(shown))
