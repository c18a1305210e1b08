"""What may be declared as a hypothesis; each mistake is one sentence that says the way out."""

import pytest
import yaml

from lib import paths
from lib.errors import StudyError
from lib.params import load_study
from lib.running.declare import declare_folder


@pytest.fixture
def declare(project):
    """Gives the demo study one hypothesis `h` with the fields that are named, and returns its contrast."""
    file = paths.study_file("demo")
    study = yaml.safe_load(file.read_text())

    def write(**changed):
        fields = {
            "sentence": "So.",
            "metric": "uid_variance",
            "of": "rlhf",
            "against": "human",
            "expect": "less",
        }
        fields = {name: value for name, value in (fields | changed).items() if value is not None}
        sources = fields.pop("sources", study["sources"])
        file.write_text(
            yaml.safe_dump(
                study | {"sources": sources, "comparisons": {}, "paper": False, "hypotheses": {"h": fields}}
            )
        )
        (found,) = load_study("demo").contrasts()
        return found

    return write


def test_sides_are_sources_classes_families_or_their_own_base(declare):
    found = declare()
    assert (dict(found.of), dict(found.against)) == ({"tiny-rlhf": 1}, {"human": 1})
    assert found.declared.margin == 0.3
    assert found.declared.aspect == "level"
    assert dict(declare(of="tiny").of) == pytest.approx(
        dict.fromkeys(("tiny-base", "tiny-instruct", "tiny-rlhf"), 1 / 3)
    )
    assert dict(declare(of=["tiny-base", "rlhf"]).of) == {"tiny-base": 0.5, "tiny-rlhf": 0.5}
    assert dict(declare(against="own base").against) == {"tiny-base": 1}
    assert dict(declare(against="own instruct").against) == {"tiny-instruct": 1}


def test_families_count_alike_against_their_own_base():
    found = {contrast.name: contrast for contrast in load_study("paper").contrasts()}["rlhf-and-base"]
    assert dict(found.of) == {"llama-2-7b-chat@q8_0": 0.5, "mistral-plus-7b@q8_0": 0.5}
    assert dict(found.against) == {
        "llama-2-7b@q8_0": 0.5,
        "mistral-7b-v0.1": 0.25,
        "mistral-7b-v0.1@q8_0": 0.25,
    }


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"sources": ["human", "tiny-base"]},
            "class 'rlhf', of which the study has no source; its sources are",
        ),
        (
            {"of": "tiny-rlfh"},
            "names 'tiny-rlfh', which is no source, class or family.*did you mean 'tiny-rlhf'",
        ),
        ({"of": "tiny", "against": "base"}, "has tiny-base on both sides"),
        (
            {"of": "base", "against": "own base"},
            "tiny-base against its own base, but it is of the class 'base'",
        ),
        (
            {"of": "human", "against": "own base"},
            "human against its own base, but it is of the class 'human'",
        ),
        ({"sources": ["human", "tiny-rlhf"], "against": "own base"}, "no base model of the family 'tiny'"),
        ({"against": ["own base", "human"]}, "stands alone there"),
        ({"margin": 0}, "`hypotheses.h.margin` is 0, but it should be greater than 0"),
        ({"margin": float("inf")}, "`hypotheses.h.margin` is inf, but it should be a finite number"),
        ({"margin": float("nan")}, "`hypotheses.h.margin` is nan"),
        ({"expect": "fewer"}, "`hypotheses.h.expect` is 'fewer', but it should be 'more', 'less'"),
        ({"aspect": "shape"}, "`hypotheses.h.aspect` is 'shape'"),
        ({"of": []}, "`hypotheses.h.of`"),
        ({"sentence": None}, "`hypotheses.h.sentence` is missing"),
        ({"expects": "less"}, "unknown field `hypotheses.h.expects`; did you mean 'expect'"),
    ],
)
def test_mistakes(declare, changed, sentence):
    with pytest.raises(StudyError, match=sentence) as caught:
        declare(**changed)
    assert str(caught.value).count("\n") == 0


def test_a_new_study_has_hypotheses(project):
    folder = project / "mine"
    folder.mkdir()
    (folder / "one.txt").write_text("Words that somebody wrote.\n")
    declare_folder("mine", "mine")
    assert [contrast.name for contrast in load_study("mine").contrasts()] == [
        "rlhf-and-people",
        "spread-rlhf-and-base",
    ]
