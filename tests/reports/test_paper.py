"""The paper: all that can be checked without Quarto, and the rendered page where Quarto is installed."""

import contextlib
import html
import io
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import combinations_with_replacement
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from lib import paths, store
from lib.compare import bootstrap, explored, hypotheses, permutation, verdicts
from lib.compare.comparison import compare
from lib.compare.verdicts import VERDICTS, answers
from lib.errors import StudyError
from lib.generate import texts as generate
from lib.params import load_study
from lib.reports.paper import Paper, paper
from tests.compare.test_verdicts import row
from tests.conftest import REPOSITORY, SMALL_STUDY

EMPTY = Paper("none", load_study("demo"), "all", [], *[pd.DataFrame()] * 4, others={})
PAPER = (REPOSITORY / "paper" / "index.qmd").read_text()
EMBED = re.compile(r"{{< embed (\S+?)#(\S+) >}}")
INLINE = re.compile(r"`{python} ([^`]+)`")
BLOCK = re.compile(r"^```{python}\n(.*?)^```", re.M | re.S)
CITATION = re.compile(r"@([a-z]+\d{4})")


def test_the_front_matter_and_the_project_file_are_valid_yaml():
    front = yaml.safe_load(PAPER.split("---\n")[1])
    assert {"title", "bibliography", "format"} <= set(front)  # the abstract is written by the study
    project = yaml.safe_load((REPOSITORY / "_quarto.yml").read_text())["project"]
    assert project["render"] == ["paper/index.qmd"]
    assert project["output-dir"] not in ("paper", "rendered", "data", ".")


def test_every_citation_is_in_the_bibliography():
    entries = set(re.findall(r"^@\w+{(\w+),", (REPOSITORY / "paper" / "references.bib").read_text(), re.M))
    cited = set(CITATION.findall(PAPER))
    assert len(cited) >= 5
    assert cited <= entries


def test_every_embedded_label_is_a_cell_with_caption_and_alternative_text():
    embedded = EMBED.findall(PAPER)
    assert embedded
    notebook = nbformat.read(REPOSITORY / "notebooks" / "04_compare.ipynb", as_version=4)
    options = {}
    for cell in notebook.cells:
        lines = [line.removeprefix("#| ") for line in cell.source.splitlines() if line.startswith("#| ")]
        if lines:
            given = yaml.safe_load("\n".join(lines))
            options[given["label"]] = given
    for path, label in embedded:
        assert (REPOSITORY / "paper" / path).resolve() == REPOSITORY / "rendered/paper/04_compare.ipynb"
        assert {"fig-cap", "fig-alt"} <= set(options[label])


def test_every_figure_reference_is_embedded():
    labels = {label for _, label in EMBED.findall(PAPER)}
    prose, _, listed = PAPER.partition("p.figures(")
    assert set(re.findall(r"@(fig-[a-z]+)", prose)) == labels
    assert set(re.findall(r'"(fig-[a-z]+)"', listed)) == labels


def test_the_paper_knows_what_each_of_its_figures_is_drawn_from(project):
    path = paths.paper_notebook()
    path.parent.mkdir(parents=True)
    shutil.copy(project / "notebooks" / "04_compare.ipynb", path)
    labels = [label for _, label in EMBED.findall(PAPER)]
    listed = EMPTY.figures(labels)
    assert listed.count("`data/") == len(labels)
    assert (
        "| @fig-hypotheses | None | `hypotheses.by_scorer` | `data/compare/none/hypotheses.parquet` |"
        in listed
    )


def test_no_number_of_a_result_is_typed():
    prose = INLINE.sub("", BLOCK.sub("", PAPER.split("---\n", 2)[2]))
    assert not re.findall(r"(?<![\w@])\d+\.\d+", prose)


def rendered(found: Paper) -> str:
    """The paper's text with everything that it computes, as Quarto puts it together."""

    def block(code: re.Match) -> str:
        said = io.StringIO()
        lines = [line for line in code[1].splitlines() if not line.startswith(("#|", "from", "p ="))]
        with contextlib.redirect_stdout(said):
            exec("\n".join(lines), {"p": found})
        return said.getvalue()

    def sentence(inline: re.Match) -> str:
        said = str(eval(inline[1], {"p": found}))
        assert said, inline[1]  # Quarto shows the code of an empty one
        return said

    return INLINE.sub(sentence, BLOCK.sub(block, PAPER))


def test_numbers_and_figures_come_from_the_study(finished_study):
    assert len(INLINE.findall(PAPER)) + len(BLOCK.findall(PAPER)) > 10
    found = paper()
    assert (found.name, found.comparison) == ("demo", "all")
    text = rendered(found)
    assert not re.search(r"\bnan\b", text)
    assert "`data/compare/demo/all/tests.parquet`" in text
    assert "`data/compare/demo/hypotheses.parquet`" in text
    assert "| @fig-contours |" in text
    executed = nbformat.read(paths.paper_notebook(), as_version=4)
    assert executed == nbformat.read(paths.rendered_comparison("demo", "all"), as_version=4)
    for _, label in EMBED.findall(PAPER):
        (cell,) = [cell for cell in executed.cells if f"label: {label}" in cell.source]
        (output,) = [output for output in cell.outputs if "data" in output]
        assert {"image/svg+xml", "image/png"} <= set(output.data)
    kinds = {kind for cell in executed.cells for o in cell.get("outputs", []) for kind in o.get("data", {})}
    assert "text/html" not in kinds  # with it, Quarto would load require.js from the network


def made_up_study(
    root: Path, shift: float, scale: float, scorers: tuple[str, ...] = ("tiny-scorer",)
) -> None:
    """Measures of 300 texts each, where tuning shifts UID variance and scales its spread.

    Each further scorer has a comparison of its own, and sees much the same.
    """
    study = yaml.safe_load(SMALL_STUDY) | {"datasets": ["pydocs"], "scorers": list(scorers)}
    study["comparisons"] |= {f"by-{s}": study["comparisons"]["all"] | {"scorer": s} for s in scorers[1:]}
    (root / "params" / "studies" / "demo.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    for place, scorer in enumerate(scorers):
        for source in study["sources"]:
            tuned = source == "tiny-rlhf"
            write_measures(scorer, source, shift * tuned, scale if tuned else 1, noise=0.1 * place)


def write_measures(
    scorer: str, source: str, shift: float, scale: float, noise: float = 0, n: int = 300
) -> None:
    rng = np.random.default_rng(list(source.encode()))
    ids = [f"d{i:03}" for i in range(n)]
    variance = 15 + rng.normal(size=n) * scale + shift
    variance += noise * rng.normal(size=n)
    rows = pd.DataFrame(
        {
            "doc_id": ids,
            "tokens": rng.integers(80, 300, n),
            "mean_surprisal": rng.normal(4.5, 0.5, n),
            "uid_variance": variance,
            "uid_pairwise": 2 * variance + rng.normal(size=n),
        }
    )
    made = store.record("made up", parameters={}, inputs={}, packages=(), units={})
    schema = pa.Schema.from_pandas(rows, preserve_index=False)
    store.write(paths.uid(scorer, "pydocs", source), rows, schema, made)
    texts = pd.DataFrame({**dict.fromkeys(generate.SCHEMA.names), "doc_id": ids, "status": "ok"})
    store.write(paths.texts("pydocs", source), texts, generate.SCHEMA, made)


STUDIES = pytest.mark.parametrize(
    ("shift", "scale", "level", "spread"),
    [
        (0.0, 1.0, "no difference", "no difference"),
        (-2.0, 0.5, "supported", "supported"),
        (2.0, 2.0, "reversed", "reversed"),
        (-2.0, 2.0, "supported", "reversed"),
    ],
    ids=["no effect", "a large effect", "a reversed one", "one each"],
)


@STUDIES
def test_the_paper_reads_right_whichever_way_the_results_fall(
    project, shift, scale, level, spread, monkeypatch
):
    monkeypatch.setattr(bootstrap, "DRAWS", 300)
    monkeypatch.setattr(permutation, "DRAWS", 999)
    made_up_study(project, shift, scale, ("tiny-scorer", "tiny-base"))
    for name in ("all", "by-tiny-base"):
        compare({"study": "demo", "comparison": name})
    hypotheses.answer("demo")
    found = paper_of(project, "demo", "all")
    text = rendered(found)
    assert not re.search(r"\bnan\b", text)
    assert "cannot be told from what chance brings" in text  # one text of a prompt
    abstract, results = text.split("## Question")[0], text.split("## The claims")[1].split("## Limits")[0]
    assert yaml.safe_load(abstract.split("---\n")[3])["abstract"].startswith("Language models are tuned")
    for sentence, verdict in (
        ("Tuned texts are more uniform than people's", level),
        ("Tuned texts differ less among themselves than the base model's", spread),
    ):
        assert f"{sentence} ({verdict}" in abstract  # fmt: skip
        assert f"{sentence}. {verdicts.SAYS[verdict]}" in results
    assert "**C1 (" + level in results
    assert "No hypothesis stays open." not in results or "no difference" not in (level, spread)
    for name in ("which is no independent witness", "With tiny-base as the scorer,", "Paired by prompt"):
        assert name in results
    assert "This paper is about the study “demo”: A small study." in text
    way = "higher" if shift > 0 else "lower" if shift < 0 else "not clearly different"
    assert f"set against those of people, is {way} on all texts" in results
    stands = explored.table(found.tests)
    assert stands.empty == (shift == 0)
    assert ("| UID variance" in results.split("## Exploratory")[1]) == (shift != 0)


def paper_of(root: Path, study: str, comparison: str) -> Paper:
    """The paper of a study whose figures were not drawn: its sentences are what is read."""
    path = paths.paper_notebook()
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / "notebooks" / "04_compare.ipynb", path)
    return paper(study, comparison)


@pytest.mark.parametrize("mixture", list(combinations_with_replacement(VERDICTS, 2)))
def test_a_claim_of_several_hypotheses_is_one_paragraph(mixture):
    rows = [row(f"h{place}", verdict, claim="C1") for place, verdict in enumerate(mixture)]
    found = replace(EMPTY, answers=answers(pd.DataFrame(rows)))
    paragraph = found.claims()
    assert "\n\n" not in paragraph
    assert paragraph.startswith(f"**C1 ({verdicts.standing(found.answers)}).**")
    for place, verdict in enumerate(mixture):
        said = f"“Sentence of h{place}”" if verdict == "open" else f"h{place}. {verdicts.SAYS[verdict]}"
        assert said in paragraph
        assert (f"Sentence of h{place}." in found.open()) == (verdict in ("open", "no difference"))


def test_a_paper_without_hypotheses_says_so_everywhere():
    for said in (EMPTY.abstract(), EMPTY.declared(), EMPTY.claims(), EMPTY.open()):
        assert "declares no hypotheses" in said
    assert EMPTY.scorers() == "No hypothesis was tested by any scorer."


def test_a_paper_of_one_scorer_says_so(project, monkeypatch):
    monkeypatch.setattr(bootstrap, "DRAWS", 200)
    made_up_study(project, 0, 1)
    monkeypatch.setattr(permutation, "DRAWS", 199)
    compare({"study": "demo", "comparison": "all"})
    hypotheses.answer("demo")
    found = paper("demo", "all")
    assert "All is by one scorer, tiny-scorer" in found.scorers()
    assert found.by_another_scorer() == "Every comparison is by tiny-scorer."
    study = yaml.safe_load(paths.study_file("demo").read_text())
    study["comparisons"]["untuned"] = {"sources": ["human", "tiny-base"]}
    paths.study_file("demo").write_text(yaml.safe_dump(study, sort_keys=False))
    compare({"study": "demo", "comparison": "untuned"})
    sentences = rendered(paper_of(project, "demo", "untuned"))
    assert "No tuned model was set against others at equal length." in sentences
    paths.paper_notebook().unlink()
    with pytest.raises(StudyError, match="`make study` makes it for a study with `paper: true`"):
        paper()


def test_a_paper_of_several_models_of_a_class_names_them(project, monkeypatch):
    monkeypatch.setattr(bootstrap, "DRAWS", 200)
    params = project / "params"
    sources = ["human"]
    for family in ("one", "two"):
        for name in ("base", "rlhf"):
            content = (params / f"tiny-{name}.yaml").read_text().replace("family: tiny", f"family: {family}")
            (params / f"{family}-{name}.yaml").write_text(content)
            sources.append(f"{family}-{name}")
    study = {
        "title": "Two families",
        "sources": sources,
        "datasets": ["pydocs"],
        "scorers": ["tiny-scorer"],
        "comparisons": {
            "every": {"metrics": ["mean_surprisal", "uid_variance", "uid_pairwise"]},
            "classes": {"classes": ["base", "rlhf"], "pooled": True, "metrics": ["uid_variance"]},
        },
        "paper": True,
    }
    paths.study_file("two").write_text(yaml.safe_dump(study, sort_keys=False))
    for source in sources:
        shift = {"one-rlhf": -2, "two-rlhf": 2}.get(source, 0)
        write_measures("tiny-scorer", source, shift, 1)
    compare({"study": "two", "comparison": "every"})
    found = paper("two", load_study("two").main_comparison)
    assert "for one-base" in found.means("uid_variance")

    compare({"study": "two", "comparison": "classes"})
    pooled = paper("two", "classes")
    assert pooled.classes == {"base": "base", "rlhf": "rlhf"}
    assert "for the models tuned on preferences" in pooled.means("uid_variance")
    assert "set against those of class base" in pooled.at_equal_length()


def quarto(root: Path) -> str:
    """The page that Quarto makes of the paper in `root` by the README's command, white space made single."""
    done = subprocess.run(
        ["quarto", "render", "paper/"],
        cwd=root,
        env=os.environ | {"QUARTO_PYTHON": sys.executable},  # as an activated environment has it
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    page = (root / "_site" / "paper" / "index.html").read_text()
    return " ".join(html.unescape(page).replace("’", "'").split())


@pytest.mark.skipif(shutil.which("quarto") is None, reason="Quarto is not on PATH")
def test_quarto_renders_a_page_that_loads_nothing_and_a_pdf(finished_study):
    page = quarto(finished_study)
    assert page.count("<figure") >= len(EMBED.findall(PAPER))
    assert not re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)=["']https?://""", page)
    assert "?fig-" not in page
    assert "{python}" not in page
    assert paper().means("uid_variance") in page
    assert (finished_study / "_site" / "paper" / "index.pdf").read_bytes().startswith(b"%PDF")
