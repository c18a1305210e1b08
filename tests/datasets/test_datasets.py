"""Datasets: which documents they give, in which order, and what they refuse."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from lib import datasets, paths, store
from lib.datasets import pydocs
from lib.datasets.openings import split_opening
from lib.errors import StudyError
from lib.params import Folder, Pydocs, load_dataset


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("STUDY_ROOT", str(tmp_path))
    return tmp_path


SMALL = Pydocs(
    kind="pydocs", packages=("networkx",), texts=20, min_characters=300, max_characters=900, indented=True
)


def test_pydocs_are_held_out_within_bounds_and_share_no_paragraph(root):
    documents = datasets.load("small", SMALL)
    assert len({document.doc_id for document in documents}) == SMALL.texts
    assert all(pydocs.is_held_out(document.doc_id) for document in documents)
    assert all(300 <= len(document.text) <= 900 for document in documents)
    assert [d.doc_id for d in documents] == sorted((d.doc_id for d in documents), key=pydocs.reading_order)
    paragraphs = [p for d in documents for p in (d.prompt + d.text).split("\n\n")]
    assert len(paragraphs) == len(set(paragraphs))
    assert all(d.prompt.startswith(f"{d.title}\n\n") and d.text[0].isspace() for d in documents)


def test_more_texts_begin_with_the_same_texts(root):
    fewer = datasets.load("fewer", SMALL.model_copy(update={"texts": 7}))
    assert fewer == datasets.load("small", SMALL)[:7]


def test_documents_are_kept_until_the_declaration_changes(root, monkeypatch):
    documents = datasets.load("small", SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(pydocs, "docstrings", lambda packages: pytest.fail("parsed again"))
        assert datasets.load("small", SMALL) == documents
    longer = SMALL.model_copy(update={"min_characters": 500})
    assert min(len(document.text) for document in datasets.load("small", longer)) >= 500


def test_a_cut_off_file_of_documents_is_made_again(root):
    documents = datasets.load("small", SMALL)
    path = paths.documents("small")
    path.write_bytes(path.read_bytes()[:500])
    assert datasets.load("small", SMALL) == documents


def test_several_may_ask_at_once(root):
    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(lambda _: datasets.load("small", SMALL), range(4))
    assert all(other == first for other in others)
    assert store.read_record(paths.documents("small"))["step"] == "documents"


def test_a_package_that_is_not_installed_is_named(root):
    missing = SMALL.model_copy(update={"packages": ("no-such-package",)})
    with pytest.raises(StudyError, match=r"'no-such-package'.*pip install -r requirements.lock"):
        datasets.load("small", missing)


def test_bounds_the_wrong_way_round_are_refused():
    with pytest.raises(ValueError, match=r"min_characters: 10.*max_characters: 5"):
        Pydocs(kind="pydocs", packages=("numpy",), min_characters=10, max_characters=5)


# Folders.


def folder_of(root: Path, **files: bytes | str) -> Folder:
    (root / "mine").mkdir()
    for name, content in files.items():
        encoded = content if isinstance(content, bytes) else content.encode()
        (root / "mine" / f"{name}.txt").write_bytes(encoded)
    return Folder(kind="folder", folder="mine")


def test_a_folder_gives_title_prompt_and_the_rest(root):
    dataset = folder_of(
        root, b="On Tea\n\nTea is a drink. It is made of leaves.\n\nAnd water.\n", a="A\nB c. D e."
    )
    first, second = datasets.load("mine", dataset)
    assert (first.doc_id, first.title, first.prompt, first.text) == ("a", "A", "A\n\nB c.", " D e.")
    assert second.prompt == "On Tea\n\nTea is a drink."
    assert second.text == " It is made of leaves.\n\nAnd water."
    assert [d.doc_id for d in datasets.load("mine", dataset.model_copy(update={"texts": 1}))] == ["a"]


def test_the_title_may_be_the_files_name(root):
    dataset = folder_of(root, tea="Tea is a drink. It is made of leaves.")
    (document,) = datasets.load("mine", dataset.model_copy(update={"title": "name"}))
    assert document.prompt == "tea\n\nTea is a drink."
    assert document.text == " It is made of leaves."


def test_files_of_other_systems_are_read_alike(root):
    dataset = folder_of(root, a=b"\xef\xbb\xbfTitle\r\n\r\nOne is here. Two \xe2\x98\x95.\r\n")
    (document,) = datasets.load("mine", dataset)
    assert document.prompt == "Title\n\nOne is here."
    assert document.text == " Two ☕."


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, r"holds no \.txt files"),
        ({"latin": "Titel\nGrün ist's. Schön.".encode("latin-1")}, r"mine/latin\.txt is not UTF-8"),
        ({"empty": ""}, r"mine/empty\.txt has no text after its title and first sentence"),
        ({"short": "Title\n\nOne sentence."}, r"mine/short\.txt has no text after"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(root, files, sentence):
    dataset = folder_of(root, **files)
    with pytest.raises(StudyError, match=sentence):
        datasets.load("mine", dataset)


def test_a_missing_folder_is_named(root):
    with pytest.raises(StudyError, match="There is no folder nowhere"):
        datasets.load("mine", Folder(kind="folder", folder="nowhere"))


@pytest.mark.parametrize(
    ("body", "opening"),
    [
        ("One. Two.", "One."),
        ("See e.g. Smith et al. Two is here. Three.", "See e.g. Smith et al. Two is here."),
        ("No full stop here\n\nTwo. Three.", "No full stop here"),
        ("Wrapped\nline ends. Two.", "Wrapped\nline ends."),
        ("Only one.", "Only one."),
        ("", ""),
    ],
)
def test_an_opening_is_the_first_sentence_and_nothing_is_lost(body, opening):
    found, rest = split_opening(body)
    assert found == opening
    assert found + rest == body


def test_the_demo_study_has_at_least_100_held_out_texts_of_80_to_400_tokens(project):
    documents = list(datasets.load("pydocs", load_dataset("pydocs")))
    tokenizer = Tokenizer.from_file(str(project / "data" / "models" / "tiny-scorer" / "tokenizer.json"))
    texts = [document.text for document in documents]
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    assert sum(80 <= length <= 400 for length in lengths) >= 100
    assert len(lengths) == 150
