"""Charts of pages that no notebook makes."""

import json

import altair as alt
import vl_convert as vlc

from lib.figures.theme import lean
from lib.reports.page import chart_figure


def chart_html(chart: alt.TopLevelMixin) -> str:
    """A chart of the project as the figure that `chart_figure` makes of a stored one."""
    spec = lean(chart.to_dict())
    return chart_figure(spec, vlc.vegalite_to_svg(json.dumps(spec)))
