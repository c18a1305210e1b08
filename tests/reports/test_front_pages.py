"""The front page of a study, the page that lists every study, and studies that lie side by side."""

import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import yaml

from lib import paths, store
from lib.compare import hypotheses
from lib.compare.verdicts import VERDICTS, answers, by_claim
from lib.errors import StudyError
from lib.params import load_source, load_study
from lib.reports import claims, front_page, page
from lib.reports.studies_page import write_studies_page
from lib.uid.measures import HEADLINE
from tests.compare.test_verdicts import row


def claims_table(*rows: dict) -> str:
    """The HTML of the table of claims alone."""
    template = '{% import "claims.html.j2" as claimed %}{{ claimed.table(**claims) }}'
    environment = page.environment()
    return environment.from_string(template).render(claims=claims.table(answers(pd.DataFrame(list(rows)))))


def write_hypotheses(study: str, *rows: dict) -> Path:
    """A made-up file of hypotheses, as step 04 writes it."""
    given = {"of": ["a"], "against": ["b"], "unit": 1.0, "family": "confirmatory"}
    path = paths.hypotheses(study)
    made = store.record("made up", parameters={}, inputs={}, packages=(), units={})
    store.write(path, pd.DataFrame([r | given for r in rows]), hypotheses.SCHEMA, made)
    return path


@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_table_shows_the_verdict_of_each_claim(verdict):
    said = claims_table(row("h", verdict, claim="C1", sentence="A <b> & B"))
    assert f'<span class="badge {verdict.replace(" ", "-")}">{verdict}</span>' in said
    assert "<strong>C1</strong> A &lt;b&gt; &amp; B." in said
    assert said.count("badge") == 1
    assert "†" not in said


def test_datasets_and_further_scorers_have_a_column_each():
    said = claims_table(
        row("h", "open"),
        row("h", "supported", dataset="news"),
        row("h", "reversed", dataset="tales"),
        row("h", "reversed", scorer="two", independent=False),
    )
    heads = re.findall("<th>(.*?)</th>", said)
    assert heads[5:7] == ["in news", "in tales"]
    assert heads[7].startswith("by two <abbr")
    assert said.count('class="badge') == 3
    assert '<span class="said reversed">reversed</span>' in said
    assert "† No independent witness" in said


def test_a_study_without_hypotheses_has_none_and_one_that_was_not_tested_says_what_to_do(project):
    study = load_study("demo")
    assert claims.of_study("demo", study.model_copy(update={"hypotheses": {}})) == []
    with pytest.raises(StudyError, match="make study STUDY=demo"):
        claims.of_study("demo", study)


def test_every_study_that_ran_is_listed_with_its_verdicts(project):
    content = yaml.safe_load(paths.study_file("demo").read_text())
    bare = {name: value for name, value in content.items() if name != "hypotheses"}
    paths.study_file("bare").write_text(yaml.safe_dump(bare | {"title": "Bare"}))
    for name in ("demo", "gone", "bare"):
        front = paths.study_page(name)
        front.parent.mkdir(parents=True)
        front.write_text("")
    write_hypotheses("demo", *(row(f"h{v}", v, claim="C1") for v in VERDICTS))
    said = write_studies_page().read_text()
    assert 'href="studies/demo/index.html"' in said
    assert 'href="studies/gone/index.html">gone</a>' in said
    for verdict in VERDICTS:
        assert said.count(f">{verdict}</span>") == 1
    assert "This study declares no hypotheses" in said.split("Bare")[1].split("<section")[0]
    assert [len(group) for group in by_claim(claims.of_study("demo", load_study("demo"))).values()] == [4]


def test_no_file_of_a_study_lies_where_another_ones_does(project):
    def places(study: str) -> list[object]:
        return [
            paths.comparison(study, "all", "tests"),
            paths.hypotheses(study),
            paths.rendered_comparison(study, "all"),
            paths.study_page(study),
            paths.texts_page(study, "notes"),
        ]

    assert not set(places("one")) & set(places("two"))
    assert len(set(places("one"))) == len(places("one"))


def test_what_a_study_varies_is_the_first_figure_of_its_comparison(small_study):
    file = paths.study_file("small")
    declared = yaml.safe_load(file.read_text()) | {"vary": {"tiny-rlhf": {"temperature": [0.5, 1.0]}}}
    del declared["comparisons"]["all"]["sources"]
    file.write_text(yaml.safe_dump(declared, sort_keys=False))
    study = load_study("small")
    rows = pd.DataFrame({"doc_id": ["a", "b"], **{metric: [1.0, 2.0] for metric in HEADLINE}})
    made = store.record("made up", parameters={}, inputs={}, packages=(), units={})
    for source in study.sources:
        schema = pa.Schema.from_pandas(rows, preserve_index=False)
        store.write(paths.uid("tiny-scorer", "notes", source), rows, schema, made)
    classes = {source: load_source(source).text_class for source in study.sources}
    shown = front_page.settings("small", study, "tiny-scorer", classes)
    assert "Uniformity against the setting" in shown
    assert "tiny-rlhf at temperature 0.5: 1.50" in shown
    assert not front_page.settings("small", study, "tiny-scorer", {"human": "human"})
    for source in study.sources:  # of none of whose texts there are measures
        store.write(paths.uid("tiny-scorer", "notes", source), rows.head(0), schema, made)
    assert front_page.settings("small", study, "tiny-scorer", classes) == ""
