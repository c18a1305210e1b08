"""One source at several values of a parameter: names, what they resolve to, and what is refused."""

import pandas as pd
import pytest
import yaml

from lib import paths
from lib.errors import StudyError
from lib.figures import varied
from lib.params import Model, load_scorer, load_source, load_study
from lib.params.run import resolve
from lib.running.check import checked_study
from tests.conftest import SMALL_STUDY


def with_vary(vary: str) -> None:
    paths.study_file("small").write_text(f"{SMALL_STUDY}vary: {vary}\n")


def test_a_varied_source_is_several_wherever_it_stands(small_study):
    with_vary("{tiny-rlhf: {temperature: [0.5, 1]}}")
    study = checked_study("small")
    variants = ("tiny-rlhf+temperature=0.5", "tiny-rlhf+temperature=1")
    assert study.sources == ("human", "tiny-base", *variants)
    assert study.sources_of("all") == study.sources
    plain = load_source("tiny-rlhf")
    assert isinstance(plain, Model)
    for name, value in zip(variants, (0.5, 1.0), strict=True):
        run = resolve("01_generate", {"model": name, "study": "small"})
        assert isinstance(run.source, Model)
        assert run.source.sampling == plain.sampling.model_copy(update={"temperature": value})
        assert run.source.weights == plain.weights
        assert run.source.label == f"tiny-rlhf, temperature {value:g}"
        assert paths.source_file(name) == paths.source_file("tiny-rlhf")
    assert len({paths.texts("notes", name) for name in variants}) == 2


def test_chat_revision_and_top_p_are_taken_from_the_name():
    assert load_source("tiny-rlhf+chat=false").chat is False  # type: ignore[union-attr]
    assert load_source("tiny-rlhf+top_p=0.9").sampling.top_p == 0.9  # type: ignore[union-attr]
    olmo = load_source("olmo-2-7b+revision=stage1-step150-tokens1B")
    assert olmo.weights.revision == "stage1-step150-tokens1B"  # type: ignore[union-attr]
    assert load_scorer("gpt2").weights == load_scorer("gpt2").weights


def test_a_hypothesis_about_a_varied_source_is_about_all_its_values(small_study):
    content = yaml.safe_load(SMALL_STUDY) | {"vary": {"tiny-rlhf": {"top_p": [0.8, 1.0]}}}
    one = {"sentence": "s", "metric": "uid_variance", "of": "tiny-rlhf", "against": "human", "expect": "less"}
    content["hypotheses"] = {"all-values": one, "one-value": {**one, "of": "tiny-rlhf+top_p=0.8"}}
    paths.study_file("small").write_text(yaml.safe_dump(content))
    every, single = load_study("small").contrasts()
    assert dict(every.of) == {"tiny-rlhf+top_p=0.8": 0.5, "tiny-rlhf+top_p=1": 0.5}
    assert dict(single.of) == {"tiny-rlhf+top_p=0.8": 1.0}


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ("{tiny-rlhv: {temperature: [0.5, 1]}}", "not in `sources`; did you mean 'tiny-rlhf'"),
        ("{tiny-rlhf: {temprature: [0.5, 1]}}", "did you mean 'temperature'"),
        ("{tiny-rlhf: {temperature: [0.5]}}", "two values or more"),
        ("{tiny-rlhf: {temperature: [cold, hot]}}", "must have a number"),
        ("{tiny-rlhf: {chat: [1, 2]}}", "must have true or false"),
        ("{tiny-rlhf: {revision: [a/b, main]}}", "letters, digits"),
        ("{tiny-rlhf: {}}", "names no parameter"),
        ("{tiny-rlhf: {temperature: [0.5, 9]}}", "less than or equal to 5"),
        ("{human: {temperature: [0.5, 1]}}", "is no model that writes"),
    ],
)
def test_what_cannot_be_varied_is_said_in_a_sentence(small_study, vary, said):
    with_vary(vary)
    with pytest.raises(StudyError, match=said) as error:
        checked_study("small")
    assert "\n" not in str(error.value) or vary.startswith(("{tiny-rlhf: {temperature: [0.5, 9", "{human"))


@pytest.mark.parametrize("name", ["tiny-rlhf+heat=1", "tiny-rlhf+temperature=hot", "tiny-rlhf+chat=yes"])
def test_a_name_that_says_nothing_possible_is_refused(name):
    with pytest.raises(StudyError):
        load_source(name)


def test_the_figure_has_a_line_per_model_and_nothing_where_nothing_is_varied():
    rows = pd.DataFrame(
        [
            {
                "source": f"m+temperature={t:g}",
                "text_class": "rlhf",
                "dataset": "d",
                "doc_id": str(i),
                "sample": s,
            }
            | dict.fromkeys(("mean_surprisal", "uid_variance", "uid_pairwise"), 10 * t + i)
            for t in (0.5, 1.0)
            for i in range(4)
            for s in range(2)
        ]
    )
    table = varied.points(rows)
    assert list(table["value"].unique()) == [0.5, 1.0]
    assert set(table["documents"]) == {4}
    assert table.loc[table["value"] == 1.0, "mean"].iloc[0] == pytest.approx(11.5)
    chart = varied.varied(rows)
    assert chart is not None
    assert "m at temperature 0.5: 6.50" in chart.to_dict()["description"]
    assert varied.varied(rows.assign(source="m")) is None


def test_the_example_studies_are_well_declared():
    assert len(load_study("temperature").sources) == 7
    assert [len(contrast.sources) for contrast in load_study("temperature").contrasts()] == [2]
    assert len(load_study("olmo").contrasts()) == 4
