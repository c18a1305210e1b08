"""The front page of a study, and the page that lists every study: `python -m lib.reports.front_page demo`."""

import argparse
import html
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat

from lib import datasets, paths, store
from lib.commands import a_command
from lib.compare import findings, published, verdicts
from lib.compare.measured import texts_of
from lib.compare.registration import registration
from lib.compare.verdicts import Answer
from lib.datasets import repository
from lib.figures import comparison, effects, hypotheses, varied
from lib.params import Study, load_source, load_study
from lib.params.varying import variant_of
from lib.reports import charts, claims
from lib.reports import page as report
from lib.reports.studies_page import write_studies_page
from lib.uid import contours
from lib.uid.measures import HEADLINE


@a_command
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", nargs="?", default="demo")
    print(paths.shown(write_front_page(parser.parse_args().study)))
    write_studies_page()
    return 0


def write_front_page(name: str) -> Path:
    """Write the page of the study `name` from what its runs have left; return its path."""
    declared = load_study(name)
    study = repository.narrowed(name, declared)
    target = paths.study_page(name)
    answers = claims.of_study(name, study)
    page = report.page_of(
        "index.html.j2",
        home=_link(paths.index_page(), target),
        study=study,
        claims=claims.table(answers),
        tally=verdicts.tally(answers),
        registered=str(registration(name)),
        scorers=verdicts.disagreement(answers),
        answers=_answers(answers),
        comparisons=_comparisons(name, study),
        groups=_groups(name, study),
        lacking=repository.lacking(name, declared).to_dict("records"),
        failed=_failed(target),
        figures=_figures(name, study),
        files=_files(name, study),
        versions=_versions(name, study),
        vega=report.vega_bundle(),
        hydrate=report.hydrate_script(),
    )
    return report.write_page(target, page)


def _answers(found: Sequence[Answer]) -> str:
    """The hypotheses as figures: by scorer, and by dataset where there are several."""
    if not found:
        return ""
    by_dataset = hypotheses.by_dataset(found)
    drawn = [hypotheses.by_scorer(found), *([] if by_dataset is None else [by_dataset])]
    return "".join(map(charts.chart_html, drawn))


def _comparisons(study_name: str, study: Study) -> list[dict[str, Any]]:
    page = paths.study_page(study_name)
    return [
        {
            "name": name,
            "sources": study.sources_of(name),
            "scorer": study.scorer_of(name),
            "published": study.imported is not None and published.covers(study.sources_of(name)),
            "link": _link(paths.rendered_comparison(study_name, name).with_suffix(".html"), page),
        }
        for name in study.comparisons
    ]


def _figures(study_name: str, study: Study) -> str:
    """The effects and the contours of the study's main comparison."""
    name = study.main_comparison
    if name is None:
        return ""
    tests = store.read(paths.comparison(study_name, name, "tests"), "make study")
    sources, scorer = study.sources_of(name), study.scorer_of(name)
    classes = {source: load_source(source).text_class for source in sources}
    families = {source: load_source(source).family for source in sources}
    first = findings.pairs_to_begin_with(tests, classes, families)
    along = contours.of_sources(scorer, repository.pairs(study_name, study), classes)
    said = html.escape(f"{name}, surprisal by {scorer}")
    return (
        f"{settings(study_name, study, scorer, classes)}<h3>All effects ({said})</h3>"
        "<p>Level of uniformity by three effects, spread between texts by the ratio of variances; lines are "
        "95 % intervals, and a point is filled where its test stands after Benjamini and Hochberg's "
        f"correction.</p>{charts.chart_html(effects.forest(tests, first))}"
        "<h3>Where in the text</h3><p>Mean surprisal along the texts, with 95 % bands over texts.</p>"
        f"{charts.chart_html(comparison.contours(along))}"
    )


def settings(study_name: str, study: Study, scorer: str, classes: Mapping[str, str]) -> str:
    """Uniformity against what the study varies; empty where it varies nothing."""
    sources = [source for source in classes if variant_of(source) is not None]
    if not sources:
        return ""
    texts = texts_of(study_name, study, scorer, sources, HEADLINE, "make study")
    chart = varied.varied(texts.assign(text_class=texts["source"].map(classes)))
    if chart is None:
        return ""
    return (
        "<h3>Uniformity against the setting</h3><p>Each model at each value that the study takes; means over "
        f"documents with 95 % intervals.</p>{charts.chart_html(chart)}"
    )


def _groups(study_name: str, study: Study) -> list[dict[str, Any]]:
    page = paths.study_page(study_name)
    there = repository.pairs(study_name, study)
    return [
        {
            "dataset": dataset,
            "scorer": scorer,
            "left_out": datasets.left_out_said([dataset]),
            "texts": _link(paths.texts_page(study_name, dataset), page),
            "rows": [_row(page, scorer, dataset, source) for where, source in there if where == dataset],
        }
        for dataset in study.datasets
        for scorer in study.scorers
    ]


def _row(page: Path, scorer: str, dataset: str, source: str) -> dict[str, Any]:
    statuses = store.read(paths.texts(dataset, source), "make study", ["status"])["status"]
    metrics = ["tokens", "mean_surprisal", "uid_variance", "uid_pairwise"]
    measured = store.read(paths.uid(scorer, dataset, source), "make study", metrics)
    reports = [
        paths.rendered_notebook("01_generate", dataset, source),
        paths.rendered_notebook("02_surprisal", dataset, source, scorer),
        paths.rendered_notebook("03_uid", dataset, source, scorer),
    ]
    return {
        "source": source,
        "text_class": load_source(source).text_class,
        "texts": len(statuses),
        "not_ok": int((statuses != "ok").sum()),
        "tokens": int(measured["tokens"].sum()),
        **measured[metrics[1:]].mean().to_dict(),
        "reports": [
            {"name": notebook.stem[3:], "link": _link(notebook.with_suffix(".html"), page)}
            for notebook in reports
        ],
    }


def _failed(page: Path) -> list[dict[str, str]]:
    found = []
    for notebook in sorted(paths.failed_notebook("x", "y").parent.glob("*.ipynb")):
        content = nbformat.read(notebook, as_version=4)
        errors = [
            out for cell in content.cells for out in cell.get("outputs", []) if out.output_type == "error"
        ]
        sentence = errors[0].evalue if errors else "stopped before its end"
        found.append(
            {"name": notebook.stem, "link": _link(notebook.with_suffix(".html"), page), "sentence": sentence}
        )
    return found


def _files(name: str, study: Study) -> list[dict[str, str]]:
    files = [paths.study_file(name), *map(paths.dataset_file, study.datasets)]
    files += [*map(paths.source_file, study.sources), *map(paths.source_file, study.scorers)]
    return [{"name": paths.shown(file), "content": file.read_text()} for file in dict.fromkeys(files)]


def _versions(name: str, study: Study) -> dict[str, str]:
    versions = {"Python": platform.python_version()}
    for dataset, source in repository.pairs(name, study):
        made = [paths.texts(dataset, source)]
        for scorer in study.scorers:
            made += [paths.surprisals(scorer, dataset, source), paths.uid(scorer, dataset, source)]
        for path in made:
            versions |= store.read_record(path)["versions"]
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


def _link(path: Path, page: Path) -> str:
    """How `page` refers to `path`."""
    return Path(os.path.relpath(path, page.parent)).as_posix()


if __name__ == "__main__":
    sys.exit(main())
