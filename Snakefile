# The study as a graph of files: one rule per notebook. `make study` runs it; any file below is a target.
#
#     snakemake --cores all --config study=demo
#     snakemake --cores all data/uid/tiny-scorer/pydocs/human.parquet

import re
import shutil
import sys
from pathlib import Path

import lib
from lib import paths
from lib.datasets import imported
from lib.datasets.folder import text_files
from lib.params import load_dataset, load_study
from lib.params.run import resolve

STUDY = config.get("study", "demo")
study = load_study(STUDY)
ROOT = paths.root()
PYTHON = sys.executable
LIBRARY = sorted(str(file) for file in Path(lib.__file__).parent.rglob("*.py"))


workdir: str(ROOT)


def inside(path):
    return str(path.relative_to(ROOT))


def one_of(names):
    return "|".join(re.escape(name) for name in names)


def pattern(function, *arguments):
    """A path of lib.paths with wildcards in place of names."""
    return inside(function(*arguments))


def report(step, dataset, source, scorer=None):
    return pattern(paths.rendered_notebook, step, dataset, source, scorer)


def beside(notebook):
    return notebook.removesuffix(".ipynb") + ".html"


wildcard_constraints:
    dataset=one_of(study.datasets),
    source=one_of(study.sources),
    scorer=one_of(study.scorers),
    comparison=one_of(study.comparisons) or "(?!)",


ANALYSED = [
    beside(report("03_uid", dataset, source, scorer))
    for dataset in study.datasets
    for source in study.sources
    for scorer in study.scorers
]
TEXT_PAGES = [inside(paths.texts_page(STUDY, dataset)) for dataset in study.datasets]
COMPARED = [beside(inside(paths.rendered_comparison(STUDY, name))) for name in study.comparisons]
PAPER = [inside(paths.paper_notebook())] if study.paper else []
if study.paper and shutil.which("quarto"):
    PAPER += [inside(paths.paper_page(kind)) for kind in ("html", "pdf")]


rule all:
    input:
        inside(paths.study_page(STUDY)),
        PAPER,


def folder_files(wildcards):
    """A folder's texts are inputs: a new or changed one makes the study anew, a moved project does not."""
    dataset = load_dataset(wildcards.dataset)
    return [paths.shown(file) for file in text_files(paths.resolve(dataset.folder))] if dataset.kind == "folder" else []


def imported_files(wildcards):
    """As for a folder: a new or changed file of an imported source makes the study anew."""
    given = {"model": wildcards.source, "study": STUDY, "dataset": wildcards.dataset}
    return [paths.shown(file) for file in imported.files(resolve("01_generate", given))]


rule documents:
    input:
        LIBRARY,
        folder_files,
        pattern(paths.dataset_file, "{dataset}"),
    output:
        update(pattern(paths.documents, "{dataset}")),
    shell:
        "{PYTHON} -m lib.datasets {wildcards.dataset} && touch {output}"


# Data files are marked `update`: Snakemake must not delete what a step would continue or keep.
# `touch` afterwards tells it that a file which needed no change is up to date.
rule generate:
    input:
        LIBRARY,
        "notebooks/01_generate.ipynb",
        pattern(paths.source_file, "{source}"),
        imported_files if study.imported else pattern(paths.documents, "{dataset}"),
    output:
        update(pattern(paths.texts, "{dataset}", "{source}")),
        report("01_generate", "{dataset}", "{source}"),
        beside(report("01_generate", "{dataset}", "{source}")),
    shell:
        "{PYTHON} -m lib.running.execute 01_generate -p model {wildcards.source} -p study {STUDY}"
        " -p dataset {wildcards.dataset} && touch {output}"


rule surprisal:
    input:
        LIBRARY,
        "notebooks/02_surprisal.ipynb",
        pattern(paths.source_file, "{scorer}"),
        pattern(paths.texts, "{dataset}", "{source}"),
    output:
        update(pattern(paths.surprisals, "{scorer}", "{dataset}", "{source}")),
        update(pattern(paths.words, "{scorer}", "{dataset}", "{source}")),
        report("02_surprisal", "{dataset}", "{source}", "{scorer}"),
        beside(report("02_surprisal", "{dataset}", "{source}", "{scorer}")),
    shell:
        "{PYTHON} -m lib.running.execute 02_surprisal -p model {wildcards.source} -p study {STUDY}"
        " -p dataset {wildcards.dataset} -p scorer {wildcards.scorer} && touch {output}"


rule uid:
    input:
        LIBRARY,
        "notebooks/03_uid.ipynb",
        pattern(paths.texts, "{dataset}", "{source}"),
        pattern(paths.surprisals, "{scorer}", "{dataset}", "{source}"),
        pattern(paths.words, "{scorer}", "{dataset}", "{source}"),
    output:
        update(pattern(paths.uid, "{scorer}", "{dataset}", "{source}")),
        report("03_uid", "{dataset}", "{source}", "{scorer}"),
        beside(report("03_uid", "{dataset}", "{source}", "{scorer}")),
    shell:
        "{PYTHON} -m lib.running.execute 03_uid -p model {wildcards.source} -p study {STUDY}"
        " -p dataset {wildcards.dataset} -p scorer {wildcards.scorer} && touch {output}"


rule compare:
    input:
        LIBRARY,
        "notebooks/04_compare.ipynb",
        inside(paths.study_file(STUDY)),
        lambda wildcards: [
            inside(paths.uid(study.scorer_of(wildcards.comparison), dataset, source))
            for dataset in study.datasets
            for source in study.sources_of(wildcards.comparison)
        ],
    output:
        update(
            [
                pattern(paths.comparison, STUDY, "{comparison}", table)
                for table in ("summary", "tests", "models")
            ]
        ),
        inside(paths.rendered_comparison(STUDY, "{comparison}")),
        beside(inside(paths.rendered_comparison(STUDY, "{comparison}"))),
    shell:
        "{PYTHON} -m lib.running.execute 04_compare -p comparison {wildcards.comparison} -p study {STUDY}"
        " && touch {output}"


rule text_page:
    input:
        LIBRARY,
        inside(paths.study_file(STUDY)),
        lambda wildcards: [
            inside(file(study.scorers[0], wildcards.dataset, source))
            for source in study.sources
            for file in (paths.surprisals, paths.uid)
        ],
    output:
        pattern(paths.texts_page, STUDY, "{dataset}"),
    shell:
        "{PYTHON} -m lib.reports.texts_page {STUDY} {wildcards.dataset}"


rule front_page:
    input:
        LIBRARY,
        ANALYSED,
        COMPARED,
        TEXT_PAGES,
        inside(paths.study_file(STUDY)),
    output:
        inside(paths.study_page(STUDY)),
    shell:
        "{PYTHON} -m lib.reports.front_page {STUDY}"


if study.paper:

    # The paper takes its figures, and which study it is about, from one place, whatever the study.
    rule paper_notebook:
        input:
            inside(paths.rendered_comparison(STUDY, study.main_comparison)),
        output:
            inside(paths.paper_notebook()),
        shell:
            "cp {input:q} {output:q}"

    rule paper:
        input:
            "_quarto.yml",
            "paper/index.qmd",
            "paper/references.bib",
            inside(paths.paper_notebook()),
            COMPARED,
        output:
            inside(paths.paper_page("html")),
            inside(paths.paper_page("pdf")),
        shell:
            "quarto render paper/ --quiet"
