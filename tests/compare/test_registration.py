"""What is registered is held against what the study says later."""

from datetime import date

import pytest
import yaml

from lib import paths
from lib.compare.registration import register, registration
from lib.errors import StudyError
from lib.params import load_study


def test_a_study_is_as_registered_until_something_in_it_changes(project):
    assert str(registration("demo")) == "not registered"
    path = register("demo")
    today = date.today()
    assert str(registration("demo")) == f"as registered on {today}"
    assert not registration("demo").after_data
    written = yaml.safe_load(path.read_text())
    assert written["fixed"]["hypotheses"].keys() == load_study("demo").hypotheses.keys()
    assert all(written["fixed"]["hypotheses"][name]["margin"] > 0 for name in load_study("demo").hypotheses)
    assert written["versions"]["numpy"]

    study = paths.study_file("demo")
    text = study.read_text()
    study.write_text(text.replace("title: ", "title: Another "))
    assert not registration("demo").changed  # a title decides nothing
    study.write_text(text.replace("expect: more", "expect: less", 1) + "uid: {power: 1.5}\n")
    source = paths.source_file("tiny-base")
    source.write_text(source.read_text().replace("temperature: 0.9", "temperature: 0.8"))
    said = str(registration("demo"))
    assert said.startswith(f"registered on {today}; changed since: hypothesis instruct-and-base")
    assert set(registration("demo").changed) == {
        "hypothesis instruct-and-base",
        "source tiny-base",
        "measures",
    }
    with pytest.raises(StudyError, match="registered already"):
        register("demo")


def test_samples_sources_and_hypotheses_that_come_or_go_are_named(project):
    register("demo")
    study = paths.study_file("demo")
    content = yaml.safe_load(study.read_text())
    before = content.get("samples", 1)
    content["samples"] = before + 1
    content["sources"].append("tiny-base@q8_0")
    del content["hypotheses"]["rlhf-and-people"]
    study.write_text(yaml.safe_dump(content))
    changed = registration("demo").changed
    assert f"samples ({before} → {before + 1})" in changed
    assert "source tiny-base@q8_0 added" in changed
    assert "hypothesis rlhf-and-people taken out" in changed


def test_a_registration_after_the_data_says_so_and_an_edited_one_is_refused(project):
    measured = paths.uid("tiny-scorer", "pydocs", "human")
    measured.parent.mkdir(parents=True)
    measured.touch()
    path = register("demo")
    assert "after texts had been measured" in str(registration("demo"))
    path.write_text(path.read_text().replace("margin: 0.3", "margin: 0.1", 1))
    with pytest.raises(StudyError, match=r"params/registered/demo.yaml was edited after it was written"):
        registration("demo")
    path.write_text("nothing")
    with pytest.raises(StudyError, match="is no registration"):
        registration("demo")


def test_a_study_without_hypotheses_has_nothing_to_register(small_study):
    file = paths.study_file("small")
    content = yaml.safe_load(file.read_text())
    del content["hypotheses"]
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(StudyError, match="declares no hypothesis"):
        register("small")
