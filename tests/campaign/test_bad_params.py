"""200 params files with something wrong, each of which must end in one sentence that names its file.

CAMPAIGN=1000 python -m pytest -s tests/campaign/test_bad_params.py    # more of the drawn ones
"""

import os
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml

from lib import params
from lib.errors import StudyError
from lib.params.run import PARAMETERS, resolve, resolve_comparison
from lib.running import check
from tests.campaign.changing import IN_YAML, changed

COUNT = int(os.environ.get("CAMPAIGN", "200"))
MODEL = """\
kind: model
class: base
family: x
weights: {backend: transformers, model: data/models/tiny-base}
"""
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
FILES: dict[str, bytes] = {
    "empty": b"",
    "a list": b"- a\n- b\n",
    "a word": b"human\n",
    "Latin-1": "kind: human\nlabel: Grün\n".encode("latin-1"),
    "UTF-16": "kind: human\n".encode("utf-16"),
    "bytes": bytes(range(256)),
    "a bomb": BOMB.encode(),
    "itself": b"kind: &a [*a]\n",
    "depth": b"kind: " + b"[" * 5_000 + b"]" * 5_000,
    "depth in blocks": "".join(" " * n + "a:\n" for n in range(700)).encode(),
    "size": b"kind: human\n" + b"# much\n" * 100_000,
    "digits": MODEL.encode() + b"sampling: {seed: " + b"1" * 5_000 + b"}\n",
    "hexadecimal digits": MODEL.encode() + b"sampling: {seed: 0x" + b"f" * 9_000 + b"}\n",
    "a day that is none": b"kind: human\nlabel: 2026-02-31\n",
    "a day": b"kind: human\nlabel: 2026-02-03\n",
    "a tag": b"kind: !!python/object/apply:os.system [ls]\n",
    "two documents": b"kind: human\n---\nkind: human\n",
    "a tab": b"kind:\n\thuman\n",
    "a key twice": b"kind: human\nlabel: a\nlabel: b\n",
    "a key twice within": MODEL.encode() + b"sampling: {seed: 1, seed: 2}\n",
    "a key that is a list": b"? [a]\n: b\nkind: human\n",
    "a number as key": b"kind: human\n7: x\n",
    "no alias": b"kind: *nothing\n",
    "an open quote": b'kind: "human\n',
    "the character 0": b'kind: human\nhuman_dir: "a\\0b"\n',
    "an infinite number": MODEL.encode() + b"sampling: {temperature: .inf}\n",
    "no number": MODEL.encode() + b"sampling: {temperature: .nan}\n",
    "a switch for a number": MODEL.encode() + b"sampling: {temperature: true}\n",
    "a switch for a whole number": MODEL.encode() + b"sampling: {generate: true}\n",
    "a number for a switch": MODEL.encode() + b"chat: 1\n",
    "a word for a switch": MODEL.encode() + b'chat: "yes"\n',
    "a large number": MODEL.encode() + b"sampling: {generate: 10000000000000000000000}\n",
}


def sentence_of(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(StudyError) as caught:
        params.load_source(path.stem)
    said = str(caught.value)
    assert "\n" not in said
    assert f"params/{path.name}" in said
    assert len(said) < 700
    return said


@pytest.mark.parametrize("what", FILES)
def test_a_bad_file_is_one_sentence(project: Path, what: str) -> None:
    sentence_of(project / "params" / "mine.yaml", FILES[what])


def test_drawn_faults_are_one_sentence_each(project: Path) -> None:
    """Fields with values of another kind, fields that are missing, and files that are cut."""
    wrong = [True, -1, "", "\x00", [], {}, [[1]], {"a": 1}, 10**30, float("inf"), float("nan"), None, 1.5]
    chance, path = random.Random(16), project / "params" / "mine.yaml"
    right = {
        **yaml.safe_load(MODEL),
        "sampling": {"generate": 3, "temperature": 0.5, "top_p": 0.9, "max_tokens": 9, "seed": 1},
        "scoring": {"context": "none", "window": 16, "stride": 8, "entropy": False},
    }
    tried = 0
    while tried < COUNT - len(FILES):
        content = yaml.safe_load(yaml.safe_dump(right))
        place = chance.choice([content, content["weights"], content["sampling"], content["scoring"]])
        name = chance.choice(list(place))
        place[name] = chance.choice(wrong)
        try:
            path.write_text(yaml.safe_dump(content, allow_unicode=False))
            params.load_source("mine")
        except StudyError:
            sentence_of(path, path.read_bytes())
            tried += 1
        else:
            accepted = place[name]
            assert not isinstance(accepted, bool) or name == "entropy"
            assert not isinstance(accepted, float) or accepted == 1.5
            assert accepted not in (10**30, "\x00", [], [[1]])


def test_drawn_faults_of_studies_datasets_and_parameters_are_a_line_each(small_study: Path) -> None:
    chance, outcomes = random.Random(6), Counter[str]()
    declared = small_study / "params"
    kinds = {kind: sorted((declared / kind).glob("*.yaml")) for kind in ("studies", "datasets")}
    study = yaml.safe_load((declared / "studies" / "small.yaml").read_text())

    def looked_at(what: str, look: Callable[[], object]) -> None:
        try:
            look()
            outcomes[f"{what} as they may be"] += 1
        except StudyError as error:
            lines = str(error).splitlines()
            outcomes[f"{what} named{'' if all(0 < len(line) < 900 for line in lines) else ' at length'}"] += 1

    for _ in range(COUNT // 3):
        odd = changed(yaml.safe_load(chance.choice(kinds["studies"]).read_text()), chance, IN_YAML)
        (declared / "studies" / "odd.yaml").write_text(yaml.safe_dump(odd))
        looked_at("studies", lambda: check.checked_study("odd"))
        odd = changed(yaml.safe_load(chance.choice(kinds["datasets"]).read_text()), chance, IN_YAML)
        (declared / "datasets" / "odd.yaml").write_text(yaml.safe_dump(odd))
        content = {**study, "datasets": ["odd"], "comparisons": {}, "hypotheses": {}, "paper": False}
        (declared / "studies" / "odd.yaml").write_text(yaml.safe_dump(content))
        looked_at("datasets", lambda: check.checked_study("odd"))
        step = chance.choice(list(PARAMETERS))
        given = {
            "study": "small",
            "model": "tiny-base",
            chance.choice(PARAMETERS[step]): chance.choice(IN_YAML),
        }
        resolved = resolve_comparison if step == "04_compare" else partial(resolve, step)
        looked_at("parameters", lambda: resolved(given))  # noqa: B023 (called at once)
    print(f"\n{dict(outcomes)}")
    assert all(outcomes[f"{what} named"] for what in ("studies", "datasets", "parameters"))
    assert not [outcome for outcome in outcomes if outcome.endswith("at length")]


def test_a_folder_in_the_files_place_is_named(project: Path) -> None:
    (project / "params" / "mine.yaml").mkdir()
    with pytest.raises(StudyError, match=r"params/mine\.yaml is a folder"):
        params.load_source("mine")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("datasets: [notes]", "datasets: [notes, notes]", "`datasets` names 'notes' twice"),
        (
            "scorers: [tiny-scorer]",
            "scorers: [tiny-scorer, tiny-scorer]",
            "`scorers` names 'tiny-scorer' twice",
        ),
        (
            "sources: [human, tiny-base, tiny-rlhf]",
            "sources: [human, human]",
            "`sources` names 'human' twice",
        ),
        ("uid_variance, uid_pairwise]", "uid_variance, uid_variance]", "names 'uid_variance' twice"),
        ("all: {", "all: {margin: .inf, ", "margin` is inf"),
        ("all: {", "all: {margin: .nan, ", "margin` is nan"),
        ("paper: true", "paper: 1", "`paper` is 1, but it should be true or false"),
    ],
)
def test_what_a_study_says_twice_or_without_end_is_named(
    small_study: Path, old: str, new: str, said: str
) -> None:
    file = small_study / "params" / "studies" / "small.yaml"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(StudyError, match=r"params/studies/small\.yaml") as caught:
        params.load_study("small")
    assert said in str(caught.value)
