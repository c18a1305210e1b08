"""The paper: all that can be checked without Quarto, and the rendered page where Quarto is installed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from lib import generate, paths, store
from lib.compare import compare
from lib.paper import paper
from tests.conftest import REPOSITORY, SMALL_STUDY

PAPER = (REPOSITORY / "paper" / "index.qmd").read_text()
EMBED = re.compile(r"{{< embed (\S+?)#(\S+) >}}")
INLINE = re.compile(r"`{python} ([^`]+)`")
CITATION = re.compile(r"@([a-z]+\d{4})")


def test_the_front_matter_and_the_project_file_are_valid_yaml():
    front = yaml.safe_load(PAPER.split("---\n")[1])
    assert {"title", "abstract", "bibliography", "format"} <= set(front)
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
        assert path == "../rendered/compare/all/04_compare.ipynb"
        assert {"fig-cap", "fig-alt"} <= set(options[label])


def test_every_figure_reference_is_embedded():
    assert set(re.findall(r"@(fig-[a-z]+)", PAPER)) == {label for _, label in EMBED.findall(PAPER)}


def test_no_result_is_typed_into_the_text():
    prose = INLINE.sub("", EMBED.sub("", PAPER.split("```\n", 1)[1]))
    assert not re.findall(r"(?<![\w@])\d+\.\d+", prose)


def test_numbers_and_figures_come_from_the_study(finished_study):
    expressions = INLINE.findall(PAPER)
    assert len(expressions) > 10
    found = paper("demo", "all")
    names = {"p": found}
    for text_class in ("human", "base", "rlhf"):
        names[text_class] = found.of_class(text_class)
    for expression in expressions:
        said = str(eval(expression, names))
        assert said
        assert "nan" not in said
    executed = nbformat.read(finished_study / "rendered/compare/all/04_compare.ipynb", as_version=4)
    for _, label in EMBED.findall(PAPER):
        (cell,) = [cell for cell in executed.cells if f"label: {label}" in cell.source]
        (output,) = [output for output in cell.outputs if "data" in output]
        assert {"image/svg+xml", "image/png"} <= set(output.data)
    kinds = {kind for cell in executed.cells for o in cell.get("outputs", []) for kind in o.get("data", {})}
    assert "text/html" not in kinds  # with it, Quarto would load require.js from the network


def made_up_study(root: Path, shift: float, scale: float) -> None:
    """Measures of 300 texts each, where tuning shifts UID variance and scales its spread."""
    rng = np.random.default_rng(3)
    n = 300
    ids = [f"d{i:03}" for i in range(n)]
    (root / "params" / "studies" / "demo.yaml").write_text(SMALL_STUDY.replace("[notes]", "[pydocs]"))
    for source in ("human", "tiny-base", "tiny-rlhf"):
        tuned = source == "tiny-rlhf"
        variance = 15 + rng.normal(size=n) * (scale if tuned else 1) + (shift if tuned else 0)
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
        store.write(
            paths.uid("tiny-scorer", "pydocs", source),
            rows,
            pa.Schema.from_pandas(rows, preserve_index=False),
            made,
        )
        texts = pd.DataFrame({**dict.fromkeys(generate.SCHEMA.names), "doc_id": ids, "status": "ok"})
        store.write(paths.texts("pydocs", source), texts, generate.SCHEMA, made)


MORE, LESS = "are more uniform than those of the base model", "are less uniform than those of the base model"
ALIKE, APART = "differ less among themselves than those of", "differ more among themselves than those of"


@pytest.mark.parametrize(
    ("shift", "scale", "said"),
    [(0.0, 1.0, set()), (-2.0, 0.5, {MORE, ALIKE}), (2.0, 2.0, {LESS, APART})],
    ids=["no effect", "a large effect", "a reversed one"],
)
def test_the_paper_reads_right_whichever_way_the_results_fall(project, shift, scale, said):
    made_up_study(project, shift, scale)
    compare({"study": "demo", "comparison": "all"})
    found = paper("demo", "all")
    names = {"p": found} | {name: found.of_class(name) for name in ("human", "base", "rlhf")}
    prose = INLINE.sub(lambda inline: str(eval(inline[1], names)), PAPER)
    results = prose.split("## Results")[1].split("## Limits")[0]
    assert "nan" not in results
    assert {phrase for phrase in (MORE, LESS, ALIKE, APART) if phrase in results} == said
    assert ("could not be told apart" in results) == (not said)
    for answer in found.answer.values():
        assert answer in results


@pytest.mark.skipif(shutil.which("quarto") is None, reason="Quarto is not on PATH")
def test_quarto_renders_a_page_that_loads_nothing(finished_study):
    done = subprocess.run(
        ["quarto", "render", "paper/"],
        cwd=finished_study,
        env=os.environ | {"QUARTO_PYTHON": sys.executable},  # as an activated environment has it
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    page = (finished_study / "_site" / "paper" / "index.html").read_text()
    assert page.count("<figure") >= len(EMBED.findall(PAPER))
    assert not re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)=["']https?://""", page)
    assert "?fig-" not in page
    assert "{python}" not in page
    found = paper("demo", "all")
    assert found.mean(found.of_class("rlhf"), "uid_variance") in page
