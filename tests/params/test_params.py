import re

import pytest
import yaml

from lib import params, paths
from lib.errors import StudyError
from lib.params.run import PARAMETERS, check_parameters, resolve


def test_every_params_file_of_the_repository_is_valid():
    for file in sorted((paths.root() / "params").glob("*.yaml")):
        kind = yaml.safe_load(file.read_text())["kind"]
        (params.load_scorer if kind == "scorer" else params.load_source)(file.stem)
    for file in (paths.root() / "params" / "datasets").glob("*.yaml"):
        params.load_dataset(file.stem)
    for file in (paths.root() / "params" / "studies").glob("*.yaml"):
        study = params.load_study(file.stem)
        for name in study.sources:
            params.load_source(name)
        for name in study.scorers:
            params.load_scorer(name)
        for name in study.datasets:
            params.load_dataset(name)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"model": "tiny-bass"}, r"no model 'tiny-bass'.*did you mean 'tiny-base'\?"),
        (
            {"model": "tiny-base", "temprature": 1.0},
            r"no parameter 'temprature'; did you mean 'temperature'\?",
        ),
        (
            {"model": "tiny-base", "temperature": -1},
            r"temperature` is -1, but it should be greater than or equal",
        ),
        ({"model": "tiny-base", "temperature": float("nan")}, "temperature` is nan"),
        (
            {"model": "tiny-base", "temperature": "hot"},
            "temperature` is 'hot', but it should be a valid number",
        ),
        ({"model": "tiny-base", "top_p": 1.5}, "top_p` is 1.5"),
        ({"model": "tiny-base", "generate": 0}, "generate` is 0"),
        ({"model": "tiny-base", "dataset": "pydoc"}, r"no dataset 'pydoc'.*did you mean 'pydocs'\?"),
        ({"model": "tiny-base", "study": "demos"}, r"no study 'demos'.*did you mean 'demo'\?"),
        ({"model": "tiny-base", "verbose": "yes"}, "'verbose' is 'yes', but must be true or false"),
        ({"model": 7}, r"'model' is 7, but must be a name.*`-r model 7`"),
        ({"model": "tiny-scorer"}, "is a scorer and writes no texts"),
        ({"model": "human", "temperature": 0.5}, "'temperature' is for models"),
        ({"model": "tiny-base", "human_dir": "texts"}, "'human_dir' is for human sources"),
    ],
)
def test_bad_parameters_end_in_one_sentence_that_names_them(given, sentence):
    with pytest.raises(StudyError, match=sentence) as caught:
        resolve("01_generate", given)
    assert "\n" not in str(caught.value)


def test_a_parameter_overrides_the_file_and_none_means_the_file():
    run = resolve("01_generate", {"model": "tiny-base", "temperature": 0.5, "top_p": None, "generate": 3})
    declared = params.load_source("tiny-base")
    assert (run.source.sampling.temperature, run.source.sampling.generate) == (0.5, 3)
    assert run.source.sampling.top_p == declared.sampling.top_p
    assert run.overridden == {"temperature": 0.5, "generate": 3}


def test_the_original_flags_are_parameters():
    flags = {"generate", "temperature", "top_p", "system_prompt", "regenerate", "verbose"}
    assert flags | {"max_tokens", "max_retries", "human_dir"} <= set(PARAMETERS["01_generate"])
    assert check_parameters("01_generate", {"system_prompt": "Go on:", "regenerate": True}) == {
        "system_prompt": "Go on:",
        "regenerate": True,
    }


def test_a_switch_may_come_as_the_word_that_a_shell_gives():
    """papermill makes a truth of `True` alone; `-p regenerate true` arrives as a text."""
    found = check_parameters("01_generate", {"regenerate": "true", "verbose": "FALSE", "model": "true"})
    assert found == {"regenerate": True, "verbose": False, "model": "true"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("kind: model\nclass: base\nfamily: x\n", "`weights` is missing"),
        ("kind: human\nlable: me\n", r"unknown field `lable`; did you mean 'label'\?"),
        ("kind: robot\n", "robot"),
        ("kind: [\n", "not valid YAML at line"),
        ("", "the file"),
    ],
)
def test_a_wrong_params_file_is_named_with_its_field(project, content, sentence):
    (project / "params" / "mine.yaml").write_text(content)
    with pytest.raises(StudyError, match=rf"params/mine\.yaml.*{sentence}"):
        params.load_source("mine")


def test_a_comparison_of_an_undeclared_source_names_the_nearest(project):
    file = project / "params" / "studies" / "demo.yaml"
    file.write_text(file.read_text().replace("    sources: [human,", "    sources: [humans,"))
    with pytest.raises(StudyError, match=re.escape("did you mean 'human'?")):
        params.load_study("demo")


def test_a_comparison_by_an_undeclared_scorer_names_the_nearest(project):
    file = project / "params" / "studies" / "demo.yaml"
    content = file.read_text()
    file.write_text(content.replace("    scorer: tiny-base", "    scorer: tiny-bass"))
    with pytest.raises(
        StudyError, match=r"scorer 'tiny-bass', not in `scorers`; did you mean 'tiny-base'\?$"
    ):
        params.load_study("demo")
    file.write_text(content.split("comparisons:")[0] + "paper: true\n")
    with pytest.raises(StudyError, match="needs a comparison to be about"):
        params.load_study("demo")


def test_the_scorer_of_a_comparison_is_the_first_unless_it_names_one():
    study = params.load_study("demo")
    assert study.main_comparison == "all"
    assert study.scorer_of("all") == study.scorers[0]
    assert study.scorer_of("other-scorer") == study.scorers[1]
