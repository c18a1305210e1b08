"""An archive says of itself whether it is whole, and of this place in what it differs."""

import json
import shutil
import zipfile

import pandas as pd
import pytest

from lib import paths, store
from lib.errors import StudyError
from lib.params.run import resolve
from lib.running import archive as module
from lib.running.archive import METADATA, _sha256, archive, verify
from lib.running.export import export
from lib.running.make import make
from lib.uid.measures import SCHEMA, measure
from tests.conftest import make_project, make_small_study

CHAT = "llama-2-7b-chat@q8_0"
SCORED = "data/surprisals/tiny-scorer/notes/human.parquet"


@pytest.fixture(scope="module")
def archived(study_root):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_ROOT", str(study_root))
        return archive("demo")


def rewritten(archived, target, change):
    """A copy of the archive whose files `change` may alter."""
    folder = target.with_suffix("")
    with zipfile.ZipFile(archived) as packed:
        packed.extractall(folder)
    change(folder)
    return folder


def test_a_fresh_archive_is_whole_and_nothing_differs(archived, finished_study):
    assert verify(archived) == ([], [])


def test_the_crate_names_each_file_with_its_hash(archived):
    with zipfile.ZipFile(archived) as packed:
        graph = json.loads(packed.read(METADATA))["@graph"]
        files = {entity["@id"] for entity in graph if entity["@type"] == "File"}
        assert files == set(packed.namelist()) - {METADATA}
    assert {SCORED, "params/studies/demo.yaml", "params/tiny-base.yaml"} <= files


def test_one_flipped_bit_is_found(archived, finished_study, tmp_path):
    def flip(folder):
        content = bytearray((folder / SCORED).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / SCORED).write_bytes(content)

    damaged, _ = verify(rewritten(archived, tmp_path / "flipped.zip", flip))
    assert damaged == [f"{SCORED} is damaged: its content is not what the archive's record says."]


def test_a_missing_and_an_added_file_are_found(archived, finished_study, tmp_path):
    def change(folder):
        (folder / SCORED).unlink()
        (folder / "notes.txt").write_text("mine")

    damaged, _ = verify(rewritten(archived, tmp_path / "changed.zip", change))
    assert len(damaged) == 2
    assert damaged[0].startswith(f"{SCORED} is missing")
    assert damaged[1].startswith("notes.txt was not there")


def test_other_params_here_are_named(archived, project):
    shutil.copy(project / "params" / "tiny-rlhf.yaml", project / "params" / "tiny-base.yaml")
    damaged, different = verify(archived)
    assert damaged == []
    assert "params/tiny-base.yaml says something else here." in different


def test_a_second_checkout_verifies_and_measures_the_same(archived, tmp_path, monkeypatch):
    second = tmp_path / "second"
    second.mkdir()
    make_project(second)
    make_small_study(second)
    monkeypatch.setenv("STUDY_ROOT", str(second))
    with zipfile.ZipFile(archived) as packed:
        steps = "data/documents/", "data/texts/", "data/surprisals/", "data/words/", "params/studies/"
        packed.extractall(second, [name for name in packed.namelist() if name.startswith(steps)])
    measure(resolve("03_uid", {"model": "human", "study": "demo"}))
    assert paths.uid("tiny-scorer", "notes", "human").exists()
    assert verify(archived) == ([], [])
    measures = paths.uid("tiny-scorer", "notes", "human")
    rows = store.read(measures, "")
    store.write(measures, rows.assign(uid_variance=0.0), SCHEMA, store.read_record(measures))
    place = str(measures.relative_to(second))
    assert verify(archived) == (
        [],
        [f"{place} has other bytes here, though it was made of the same things."],
    )


def test_code_differs_by_what_is_written_not_by_what_python_made_of_it(tmp_path, monkeypatch):
    """Two clones have the same code, and each what its own Python compiled when it read it."""
    before = module.library_hash()
    shutil.copytree(module.CODE, tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "CODE", tmp_path / "lib")
    assert module.library_hash() == before
    (tmp_path / "lib" / "__pycache__").mkdir()
    (tmp_path / "lib" / "__pycache__" / "store.cpython-311.pyc").write_bytes(b"compiled")
    assert module.library_hash() == before
    with (tmp_path / "lib" / "store.py").open("a") as stream:
        stream.write("# more\n")
    assert module.library_hash() != before


def test_each_file_is_hashed_once(archived, finished_study, monkeypatch):
    hashed = []
    monkeypatch.setattr(module, "_sha256", lambda file: hashed.append(file) or _sha256(file))
    verify(archived)
    assert len(hashed) == len(set(hashed))


def test_an_imported_study_is_archived_and_exported_without_what_its_repository_lacks(imported_study):
    for source in ("human", CHAT):
        for step in ("texts", "surprisal", "uid"):
            make(step, {"model": source, "study": "original"})
    made = archive("original")
    assert verify(made) == ([], [])
    with zipfile.ZipFile(made) as packed:
        assert f"data/uid/gpt2/daily_dialog/{CHAT}.parquet" in packed.namelist()
    texts = pd.read_csv(export("original") / "texts.csv")
    assert texts["source"].tolist() == ["human", CHAT]
    assert texts["mean_surprisal"].tolist() == [1.5, 1.5]


def test_no_text_is_in_an_archive_of_hashes(finished_study, tmp_path):
    whole = store.read(paths.texts("notes", "human"), "")
    hashed = archive("demo", hashed=True)
    with zipfile.ZipFile(hashed) as packed:
        packed.extractall(tmp_path)
        for text in whole["text"]:
            longest = max(text.split(), key=len).encode()
            assert not any(longest in packed.read(name) for name in packed.namelist() if "data/" in name)
    tokens = store.read(tmp_path / SCORED, "")
    assert tokens["token"].isna().all()
    original = store.read(paths.surprisals("tiny-scorer", "notes", "human"), "")
    assert tokens["surprisal"].equals(original["surprisal"])
    assert not (tmp_path / "rendered").exists()
    assert verify(hashed)[0] == []


def test_what_is_no_archive_is_said(tmp_path):
    (tmp_path / "some.zip").write_text("no zip")
    with pytest.raises(StudyError, match=r"some\.zip cannot be unpacked"):
        verify(tmp_path / "some.zip")
    with pytest.raises(StudyError, match="There is no"):
        verify(tmp_path / "other.zip")
    with pytest.raises(StudyError, match=r"it has no ro-crate-metadata\.json"):
        verify(tmp_path)
