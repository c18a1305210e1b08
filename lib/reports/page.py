"""HTML reports of executed notebooks, and the front page that links them.

A report is one file that loads nothing from anywhere: charts stand in it as SVG, which prints, and
as Vega-Lite, which the page's own copy of Vega brings to life.
"""

import html
import json
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode

from lib import machine, paths, store
from lib.errors import StudyError
from lib.reports import cells

TEMPLATES = Path(__file__).parent / "templates"


class ChartFigures(Preprocessor):
    """Turn each stored Vega-Lite chart into a figure: its SVG, its alternative text, its spec."""

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        for output in cell.get("outputs", []):
            spec = next((v for k, v in output.get("data", {}).items() if k.startswith(VEGALITE_PREFIX)), None)
            if spec is not None:
                svg, caption = output["data"].get("image/svg+xml", ""), cells.options(cell).get("fig-cap", "")
                output["data"] = {"text/html": chart_figure(spec, svg, caption)}
                resources["report"]["has_charts"] = True
        return cell, resources


VEGALITE_PREFIX = "application/vnd.vegalite."


def chart_figure(spec: dict[str, Any], svg: str, caption: str = "") -> str:
    """One chart as HTML. The spec stands in a script element, where only "</" could end it."""
    description = html.escape(spec.get("description", "chart"), quote=True)
    data = json.dumps(spec).replace("<", "\\u003c")
    said = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure class="chart" role="group" aria-label="{description}"><div class="view">{svg}</div>'
        f'<script type="application/json">{data}</script>{said}</figure>'
    )


def write_report(notebook: Path) -> Path:
    """Write the HTML of an executed `notebook` beside it and return its path."""
    content = nbformat.read(notebook, as_version=4)
    exporter = HTMLExporter(
        template_name="report",
        extra_template_basedirs=[str(TEMPLATES)],
        preprocessors=[ChartFigures],
        embed_images=True,
    )
    page, _ = exporter.from_notebook_node(content, resources={"report": _report_resources(notebook, content)})
    return write_page(notebook.with_suffix(".html"), page)


def environment() -> jinja2.Environment:
    """Where the pages' templates are found, and what they are given is escaped."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )


def page_of(template: str, **values: Any) -> str:
    """The HTML that `template`, a file of `TEMPLATES`, makes of `values`; they are escaped."""
    return environment().get_template(template).render(style=style(), **values)


def write_page(path: Path, page: str) -> Path:
    """Write `page` as `path`; return `path`. As `store.write_text`."""
    store.write_text(path, page)
    return path


def _report_resources(notebook: Path, content: NotebookNode) -> dict[str, Any]:
    within = notebook.relative_to(paths.index_page().parent).parts
    depth = len(within) - (3 if within[0] == "studies" else 1)  # a comparison leads to its study's page
    given = content.metadata.get("papermill", {}).get("parameters", {})
    about = given.get("model") or given.get("comparison") or ""
    return {
        "title": f"{notebook.stem} {about}".strip(),
        "home": "../" * depth + "index.html",
        "style": style(),
        "vega": vega_bundle(),
        "hydrate": hydrate_script(),
        "has_charts": False,
    }


def style() -> str:
    return (TEMPLATES / "style.css").read_text()


def hydrate_script() -> str:
    return (TEMPLATES / "hydrate.js").read_text()


@cache
def vega_bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that may stand inside a page.

    To put it together costs more than the rest of a page, so a machine keeps it: below its digest, so
    that no page has a damaged one.
    """
    kept = machine.cache_folder() / f"vega-{metadata.version('vl-convert-python')}.js"
    with suppress(OSError, UnicodeDecodeError):
        digest, _, bundle = kept.read_text().partition("\n")
        if digest == store.digest([bundle]):
            return bundle
    import vl_convert as vlc  # hardly ever needed

    made: str = vlc.javascript_bundle()  # type: ignore[call-arg]  # the snippet has a default
    bundle = made.replace("</script", "<\\/script")
    with suppress(StudyError):  # then it is made again next time
        store.write_text(kept, f"{store.digest([bundle])}\n{bundle}")
    return bundle
