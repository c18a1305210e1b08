"""The front page of a study, `rendered/index.html`: `python -m lib.reports.front_page demo`."""

import argparse
import html
import platform
import sys
from pathlib import Path
from typing import Any

import nbformat

from lib import paths, store
from lib.compare import findings
from lib.errors import StudyError
from lib.figures import comparison, effects
from lib.params import Study, load_source, load_study
from lib.reports import page as report
from lib.uid import contours


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", nargs="?", default="demo")
    try:
        print(write_index(parser.parse_args().study))
    except StudyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def write_index(name: str) -> Path:
    """Write the page of the study `name` from what its runs have left; return its path."""
    study = load_study(name)
    page = report.page_of(
        "index.html.j2",
        study=study,
        comparisons=_comparisons(study),
        groups=_groups(study),
        failed=_failed(),
        figures=_figures(study),
        files=_files(name, study),
        versions=_versions(study),
        vega=report.vega_bundle(),
        hydrate=report.hydrate_script(),
    )
    return report.write_page(paths.index_page(), page)


def _comparisons(study: Study) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "sources": study.sources_of(name),
            "scorer": study.scorer_of(name),
            "link": _link(paths.rendered_comparison(name).with_suffix(".html")),
        }
        for name in study.comparisons
    ]


def _figures(study: Study) -> str:
    """The effects and the contours of the study's main comparison: what to look at first."""
    name = study.main_comparison
    if name is None:
        return ""
    tests = store.read(paths.comparison(name, "tests"), "make study")
    sources, scorer = study.sources_of(name), study.scorer_of(name)
    classes = {source: load_source(source).text_class for source in sources}
    families = {source: load_source(source).family for source in sources}
    first = findings.pairs_to_begin_with(tests, classes, families)
    along = contours.of_sources(scorer, study.datasets, classes)
    said = html.escape(f"{name}, surprisal by {scorer}")
    return (
        f"<h3>All effects ({said})</h3>"
        "<p>Level of uniformity by three effects, spread between texts by the ratio of variances; lines are "
        f"95 % intervals.</p>{report.chart_html(effects.forest(tests, first))}"
        "<h3>Where in the text</h3><p>Mean surprisal along the texts, with 95 % bands over texts.</p>"
        f"{report.chart_html(comparison.contours(along))}"
    )


def _groups(study: Study) -> list[dict[str, Any]]:
    return [
        {
            "dataset": dataset,
            "scorer": scorer,
            "texts": _link(paths.texts_page(dataset)),
            "rows": [_row(study, scorer, dataset, source) for source in study.sources],
        }
        for dataset in study.datasets
        for scorer in study.scorers
    ]


def _row(study: Study, scorer: str, dataset: str, source: str) -> dict[str, Any]:
    statuses = store.read(paths.texts(dataset, source), "make study", ["status"])["status"]
    metrics = ["tokens", "mean_surprisal", "uid_variance", "uid_pairwise"]
    measured = store.read(paths.uid(scorer, dataset, source), "make study", metrics)
    folder = None if scorer == study.scorers[0] else scorer
    reports = [
        paths.rendered_notebook("01_generate", dataset, source),
        paths.rendered_notebook("02_surprisal", dataset, source, folder),
        paths.rendered_notebook("03_uid", dataset, source, folder),
    ]
    return {
        "source": source,
        "text_class": load_source(source).text_class,
        "texts": len(statuses),
        "not_ok": int((statuses != "ok").sum()),
        "tokens": int(measured["tokens"].sum()),
        **measured[metrics[1:]].mean().to_dict(),
        "reports": [
            {"name": notebook.stem[3:], "link": _link(notebook.with_suffix(".html"))} for notebook in reports
        ],
    }


def _failed() -> list[dict[str, str]]:
    found = []
    for notebook in sorted(paths.failed_notebook("x", "y").parent.glob("*.ipynb")):
        content = nbformat.read(notebook, as_version=4)
        errors = [
            out for cell in content.cells for out in cell.get("outputs", []) if out.output_type == "error"
        ]
        sentence = errors[0].evalue if errors else "stopped before its end"
        found.append(
            {"name": notebook.stem, "link": _link(notebook.with_suffix(".html")), "sentence": sentence}
        )
    return found


def _files(name: str, study: Study) -> list[dict[str, str]]:
    files = [paths.study_file(name), *map(paths.dataset_file, study.datasets)]
    files += [*map(paths.source_file, study.sources), *map(paths.source_file, study.scorers)]
    return [{"name": paths.shown(file), "content": file.read_text()} for file in dict.fromkeys(files)]


def _versions(study: Study) -> dict[str, str]:
    versions = {"Python": platform.python_version()}
    for dataset in study.datasets:
        for source in study.sources:
            made = [paths.texts(dataset, source)]
            made += [
                f(scorer, dataset, source) for scorer in study.scorers for f in (paths.surprisals, paths.uid)
            ]
            for path in made:
                versions |= store.read_record(path)["versions"]
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


def _link(path: Path) -> str:
    return path.relative_to(paths.index_page().parent).as_posix()


if __name__ == "__main__":
    sys.exit(main())
