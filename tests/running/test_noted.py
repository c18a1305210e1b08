"""A file that somebody made by hand with other parameters is not taken for the study's."""

from lib import paths, store
from lib.generate.texts import generate_texts
from lib.params import load_study
from lib.params.run import resolve
from lib.running.make import make
from lib.running.noted import made_by_hand

GIVEN = {"model": "human", "study": "small", "dataset": "notes"}


def test_texts_of_other_parameters_are_seen_and_the_studys_own_come_back(small_study):
    study = load_study("small")
    path = paths.texts("notes", "human")
    make("texts", GIVEN)
    own = path.read_bytes()
    assert made_by_hand("small", study) == []

    generate_texts(resolve("01_generate", GIVEN | {"generate": 3}))
    assert store.count(path) == 3
    assert made_by_hand("small", study) == [path]
    make("texts", GIVEN)
    assert path.read_bytes() == own
    assert made_by_hand("small", study) == []


def test_a_damaged_file_and_one_of_an_unknown_run_are_looked_at_again(small_study):
    study = load_study("small")
    path = paths.texts("notes", "human")
    generate_texts(resolve("01_generate", GIVEN))
    assert made_by_hand("small", study) == [path]
    make("texts", GIVEN)
    path.write_bytes(path.read_bytes()[:-20])
    assert made_by_hand("small", study) == [path]
    make("texts", GIVEN)
    assert made_by_hand("small", study) == []
    note = path.with_name(f".{path.name}.made")
    note.write_bytes(b"\xff" + note.read_bytes()[1:])
    assert made_by_hand("small", study) == [path]
