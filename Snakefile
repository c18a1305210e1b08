# The study as a graph of files. `make study` runs it; any file below is a target.
#
#     snakemake --cores all --config study=demo
#     snakemake --cores all data/uid/tiny-scorer/pydocs/human.parquet
#
# What costs (data) and what reads (a step's notebook, pages) are rules of their own: data follow from the
# code that makes them, reports from all code. `make study` has checked all that the study declares before
# it comes here; no name or path of a person's files stands in this graph but as a value.

import re
import shlex
import shutil
import sys
from functools import cache

from lib import machine, paths
from lib.datasets import repository
from lib.params import load_scorer, load_source, load_study
from lib.running import resources, steps

STUDY = config.get("study", "demo")
declared = load_study(STUDY)
study = repository.narrowed(STUDY, declared)
# What a machine that runs jobs has; a profile says so of a cluster's nodes.
PROCESSORS = int(config.get("processors", machine.processors()))
MEMORY = int(config.get("mem_mb", machine.memory()))
GPUS = int(config.get("gpus", len(machine.gpus())))
SHARDS = int(config.get("shards", 1))  # jobs that share what one source writes, or a scorer reads of it
PAIRS = repository.pairs(STUDY, study)  # the (dataset, source) that there are
SERVED = {} if study.imported else resources.served(study)  # what vLLM serves, and its rank
ROOT = paths.root()
PYTHON = sys.executable
# A library takes as many processors as there are, unless it is told.
PINNED = "export OMP_NUM_THREADS={threads} MKL_NUM_THREADS={threads} OPENBLAS_NUM_THREADS={threads} RAYON_NUM_THREADS={threads}; "
(BEFORE,) = config.get("before", [""])  # of a profile: modules to load, a container to enter
MAKE = PINNED + "{BEFORE} {PYTHON:q} -m lib.running.make"
# What only reads gives memory back at once: a notebook's kernel then holds a fifth less, in the same time.
LEAN = "export MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=1000000 ARROW_DEFAULT_MEMORY_POOL=system; "
EXECUTE = LEAN + "{BEFORE} {PYTHON:q} -m lib.running.execute --reads-only"
OF_SOURCE = " -p model {wildcards.source:q} -p study {STUDY:q} -p dataset {wildcards.dataset:q}"
OF_SCORER = OF_SOURCE + " -p scorer {wildcards.scorer:q}"
OF_COMPARISON = " -p comparison {wildcards.comparison:q} -p study {STUDY:q}"


workdir: str(ROOT)


# Not for a cluster's nodes, which may have no network, nor worth a job.
localrules:
    all,
    documents,
    text_page,
    front_page,
    paper_notebook,
    paper,


def pattern(function, *arguments):
    """A path of lib.paths, from the root, with wildcards in place of names."""
    return str(function(*arguments).relative_to(ROOT))


def one_of(names):
    return "|".join(re.escape(name) for name in names) or "(?!)"


def report(step, scorer=None):
    """The notebook of `step` and its page."""
    notebook = pattern(paths.rendered_notebook, step, "{dataset}", "{source}", scorer)
    return [notebook, page(notebook)]


def page(notebook):
    return notebook.removesuffix(".ipynb") + ".html"


@cache  # jobs by the thousand ask the same
def declared_by(load, name):
    """The weights that a source or a scorer declares; None for people."""
    return None if study.imported else getattr(load(name), "weights", None)


def written_by(wildcards):
    return declared_by(load_source, wildcards.source)


def read_by(wildcards):
    return declared_by(load_scorer, wildcards.scorer)


def need(of, weights, otherwise):
    """What a job needs, asked of its weights."""
    of = cache(of)

    def asked(wildcards):
        return of(weights(wildcards)) if weights(wildcards) else otherwise

    return asked


def shards(stamp, weights):
    """The stamps of the jobs that share what is made with `weights`, before one joins it."""

    def asked(wildcards):
        return expand(stamp, shard=range(1, SHARDS + 1), **wildcards) if SHARDS > 1 and weights(wildcards) else []

    return asked


def processors(weights):
    return need(lambda asked: resources.threads_of(asked, PROCESSORS), weights, 1)


def needs(weights):
    """The resources of a job that opens `weights`, and holds the texts that it writes or reads."""
    opened = need(resources.memory_of, weights, resources.READING)
    return {
        "mem_mb": lambda wildcards: min(opened(wildcards) + resources.held(study, wildcards.source), MEMORY),
        "gpu": need(lambda asked: min(resources.gpus_of(asked), GPUS), weights, 0),
    }


def turn(weights, writes):
    """The priority of a job, so that those of one server come in a row and it starts once.

    Writers come one server after the other, then what needs none, then scorers one after the other.
    """

    def asked(wildcards):
        rank = SERVED.get(weights(wildcards), 0)
        if rank and not writes:
            return rank
        return len(SERVED) + 1 + rank if SERVED else 0

    return asked


def reading(sources, each=resources.KB_PER_REPORTED):
    """The memory of a job that reads all texts of `sources`, in all datasets."""
    return min(resources.reading(study, sources, each), MEMORY)


def testing(sources):
    """The same of a job that tests them."""
    return reading(sources, resources.KB_PER_TESTED)


OF_TEXTS = "data/texts/{dataset}/.{source}.shard-{shard}-of-" + str(SHARDS)
OF_SURPRISALS = "data/surprisals/{scorer}/{dataset}/.{source}.shard-{shard}-of-" + str(SHARDS)
TEXTS = pattern(paths.texts, "{dataset}", "{source}")
SURPRISALS = pattern(paths.surprisals, "{scorer}", "{dataset}", "{source}")
WORDS = pattern(paths.words, "{scorer}", "{dataset}", "{source}")
UID = pattern(paths.uid, "{scorer}", "{dataset}", "{source}")
CONTRASTS = {contrast.name: contrast for contrast in declared.contrasts()}
COMPARED = [pattern(paths.comparison, STUDY, "{comparison}", table) for table in ("summary", "tests", "models")]
COMPARISON = pattern(paths.rendered_comparison, STUDY, "{comparison}")
CONTRASTED = {source for name in study.hypotheses for source in CONTRASTS[name].sources}
HYPOTHESES = [pattern(paths.hypotheses, STUDY)] if CONTRASTED else []
STUDY_FILE = pattern(paths.study_file, STUDY)
READING_SURPRISALS = ("02_surprisal", "03_uid")
OF_A_SOURCE = ("01_generate", *READING_SURPRISALS)
WRITTEN = [page(pattern(paths.rendered_notebook, "01_generate", d, s)) for d, s in PAIRS]
ANALYSED = [
    page(pattern(paths.rendered_notebook, step, dataset, source, scorer))
    for step in READING_SURPRISALS
    for dataset, source in PAIRS
    for scorer in study.scorers
]
COMPARISONS = [page(pattern(paths.rendered_comparison, STUDY, name)) for name in study.comparisons]
TEXT_PAGES = [pattern(paths.texts_page, STUDY, dataset) for dataset in study.datasets]
PAPER = [pattern(paths.paper_notebook)] if study.paper else []
if study.paper and shutil.which("quarto"):
    PAPER += [pattern(paths.paper_page, kind) for kind in ("html", "pdf")]


wildcard_constraints:
    dataset=one_of(study.datasets),
    source=one_of(study.sources),
    scorer=one_of(study.scorers),
    comparison=one_of(study.comparisons),
    shard=r"\d+",


# Data are asked for by name: what somebody took away would not be missed while the pages stand.
rule all:
    input:
        pattern(paths.study_page, STUDY),
        PAPER,
        [] if study.imported else [pattern(paths.documents, dataset) for dataset in study.datasets],
        [
            expand([TEXTS, SURPRISALS, WORDS, UID], dataset=dataset, source=source, scorer=study.scorers)
            for dataset, source in PAIRS
        ],
        [expand(COMPARED, comparison=name) for name in study.comparisons],
        HYPOTHESES,


# Data files are marked `update`: Snakemake must not delete what a step would continue or keep.
# `touch` afterwards tells it that a file which needed no change is up to date.
rule documents:
    input:
        pattern(paths.dataset_file, "{dataset}"),
    output:
        update(pattern(paths.documents, "{dataset}")),
    priority: 3 * len(SERVED) + 1  # a source that has some datasets only is not written in a row
    params:
        follows=lambda wildcards: steps.documents(wildcards.dataset),
    shell:
        "{PYTHON:q} -m lib.datasets {wildcards.dataset:q} && touch {output:q}"


rule generate:
    input:
        lambda wildcards: pattern(paths.source_file, wildcards.source),
        [] if study.imported else pattern(paths.documents, "{dataset}"),
        shards(OF_TEXTS, written_by),
    output:
        update(TEXTS),
    params:
        follows=lambda wildcards: steps.texts(STUDY, study, wildcards.dataset, wildcards.source),
    threads: processors(written_by)
    priority: turn(written_by, writes=True)
    resources:
        **needs(written_by),
    shell:
        MAKE + " texts" + OF_SOURCE + " --gpu {resources.gpu} && touch {output:q}"


rule surprisal:
    input:
        lambda wildcards: pattern(paths.source_file, wildcards.scorer),
        TEXTS,
        shards(OF_SURPRISALS, read_by),
    output:
        update(SURPRISALS),
        update(WORDS),
    params:
        follows=lambda wildcards: steps.surprisal(STUDY, wildcards.dataset, wildcards.source, wildcards.scorer),
    threads: processors(read_by)
    priority: turn(read_by, writes=False)
    resources:
        **needs(read_by),
    shell:
        MAKE + " surprisal" + OF_SCORER + " --gpu {resources.gpu} && touch {output:q}"


if SHARDS > 1:

    rule generate_shard:
        input:
            pattern(paths.source_file, "{source}"),
            [] if study.imported else pattern(paths.documents, "{dataset}"),
        output:
            temp(touch(OF_TEXTS)),
        threads: processors(written_by)
        priority: turn(written_by, writes=True)
        resources:
            **needs(written_by),
        shell:
            MAKE + " texts" + OF_SOURCE + " --gpu {resources.gpu} --shard {wildcards.shard}/{SHARDS}"

    rule surprisal_shard:
        input:
            pattern(paths.source_file, "{scorer}"),
            TEXTS,
        output:
            temp(touch(OF_SURPRISALS)),
        threads: processors(read_by)
        priority: turn(read_by, writes=False)
        resources:
            **needs(read_by),
        shell:
            MAKE + " surprisal" + OF_SCORER + " --gpu {resources.gpu} --shard {wildcards.shard}/{SHARDS}"


rule uid:
    input:
        TEXTS,
        SURPRISALS,
        WORDS,
    output:
        update(UID),
    params:
        follows=steps.uid(study),
    resources:
        mem_mb=min(resources.READING, MEMORY),
    shell:
        MAKE + " uid" + OF_SCORER + " && touch {output:q}"


rule compare:
    input:
        lambda wildcards: [
            pattern(paths.uid, study.scorer_of(wildcards.comparison), dataset, source)
            for dataset, source in PAIRS
            if source in study.sources_of(wildcards.comparison)
        ],
    output:
        update(COMPARED),
    params:
        follows=lambda wildcards: steps.comparison(study, wildcards.comparison),
    resources:
        mem_mb=lambda wildcards: testing(study.sources_of(wildcards.comparison)),
    shell:
        MAKE + " compare" + OF_COMPARISON + " && touch {output:q}"


if HYPOTHESES:

    rule hypotheses:
        input:
            [
                pattern(paths.uid, scorer, dataset, source)
                for scorer in study.scorers
                for dataset, source in PAIRS
                if source in CONTRASTED
            ],
        output:
            update(HYPOTHESES),
        params:
            follows=steps.hypotheses(study),
        resources:
            mem_mb=testing(study.sources),
        shell:
            MAKE + " hypotheses -p study {STUDY:q} && touch {output:q}"


# The notebooks: they find their data complete, and read. Those of a bundle of sources share one kernel,
# whose start is what costs.
for number, (dataset, sources) in enumerate(steps.bundles(STUDY, study)):

    rule:
        name:
            f"source_reports_{number}"
        input:
            expand("notebooks/{step}.ipynb", step=OF_A_SOURCE),
            expand([TEXTS, SURPRISALS, WORDS, UID], dataset=dataset, source=sources, scorer=study.scorers),
        output:
            expand(report("01_generate"), dataset=dataset, source=sources),
            expand(
                [page for step in READING_SURPRISALS for page in report(step, "{scorer}")],
                dataset=dataset,
                source=sources,
                scorer=study.scorers,
            ),
        params:
            code=steps.reports(),
            dataset=dataset,
            models=" ".join(f"-p model {shlex.quote(source)}" for source in sources),
            scorers=" ".join(f"-p scorer {shlex.quote(scorer)}" for scorer in study.scorers),
        resources:
            mem_mb=reading(sources),
        shell:
            EXECUTE + " " + " ".join(OF_A_SOURCE) + " {params.models} -p study {STUDY:q}"
            " -p dataset {params.dataset:q} {params.scorers}"


rule compare_report:
    input:
        "notebooks/04_compare.ipynb",
        STUDY_FILE,
        COMPARED,
        HYPOTHESES,
    output:
        COMPARISON,
        page(COMPARISON),
    params:
        code=steps.reports(),
    resources:
        mem_mb=lambda wildcards: reading(study.sources_of(wildcards.comparison)),
    shell:
        EXECUTE + " 04_compare" + OF_COMPARISON


rule text_page:
    input:
        STUDY_FILE,
        lambda wildcards: [
            pattern(file, study.scorers[0], dataset, source)
            for dataset, source in PAIRS
            if dataset == wildcards.dataset
            for file in (paths.surprisals, paths.uid)
        ],
    output:
        pattern(paths.texts_page, STUDY, "{dataset}"),
    params:
        code=steps.reports(),
    shell:
        LEAN + "{PYTHON:q} -m lib.reports.texts_page {STUDY:q} {wildcards.dataset:q}"


rule front_page:
    input:
        STUDY_FILE,
        WRITTEN,
        ANALYSED,
        COMPARISONS,
        TEXT_PAGES,
        HYPOTHESES,
    output:
        pattern(paths.study_page, STUDY),
    params:
        code=steps.reports(),
    shell:
        LEAN + "{PYTHON:q} -m lib.reports.front_page {STUDY:q}"


if study.paper:

    # The paper takes its figures, and which study it is about, from one place, whatever the study.
    rule paper_notebook:
        input:
            pattern(paths.rendered_comparison, STUDY, study.main_comparison),
        output:
            pattern(paths.paper_notebook),
        shell:
            "cp {input:q} {output:q}"

    rule paper:
        input:
            "_quarto.yml",
            "paper/index.qmd",
            "paper/references.bib",
            pattern(paths.paper_notebook),
            COMPARISONS,
        output:
            pattern(paths.paper_page, "html"),
            pattern(paths.paper_page, "pdf"),
        params:
            code=steps.reports(),
        shell:
            "{PYTHON:q} -m lib.running.quarto"
