"""Word lists: sums against a literal count, a list of blanks against the plain words, and mistakes."""

import random
import re

import numpy as np
import pytest

from lib import paths, store
from lib.errors import StudyError
from lib.generate import texts as generate
from lib.params.run import resolve
from lib.surprisal import listed, score
from lib.surprisal.scoring import score_texts
from lib.surprisal.words import BEGINS, GOES_ON, group, word_surprisal

WRITTEN = "do|n't;it|'s;well|-|known;🙂;👩‍👧|!;我|喜欢|语言;naïve;end|.;New York;(|so|)"
PIECES = [piece.split("|") for piece in WRITTEN.split(";")]


def made_up(count, seed):
    """A text, `count` of its words at least, and tokens that tile it, some of them empty."""
    rng = random.Random(seed)
    text, words = "", []
    while len(words) < count:
        piece = rng.choice(PIECES)
        text += (rng.choice([" ", " ", " ", "\n", "  "]) if text else "") + "".join(piece)
        words += piece
    tokens, place = [], 0
    while place < len(text):
        size = rng.choice([1, 1, 2, 3, 4])
        token = text[place : place + size]
        if re.search(r"\S\s+\S", token):  # no token of several words
            token = token[0]
        tokens.append(token)
        place += len(token)
        if not token[-1].isspace() and ord(token[-1]) > 0x2000:
            tokens += [""] * rng.choice([0, 1, 2])
    return text, words, tokens


def literally(text, words, tokens, surprisal, boundary, marked):
    """Corrected and uncorrected sums, character by character."""
    owner, place = {}, 0
    for number, word in enumerate(words):
        place = text.index(word, place)
        for character in range(place, place + len(word)):
            owner[character] = number
        place += len(word)
    uncorrected = [0.0] * len(words)
    first_token = {}
    starts, offset, current, ends_blank = [], 0, 0, []
    for i, token in enumerate(tokens):
        if token:
            letter = offset
            while letter < len(text) and letter not in owner:
                letter += 1
            current = owner.get(letter, len(words) - 1)
        uncorrected[current] += surprisal[i]
        starts.append(current)
        offset += len(token)
        ends_blank.append(offset > 0 and text[offset - 1] in " \n")
    for number in range(len(words)):
        first_token[number] = next((i for i, own in enumerate(starts) if own >= number), len(tokens))

    def term(number):
        if number == 0:
            return boundary[0, BEGINS if marked else GOES_ON]
        if number == len(words):
            return 0.0 if ends_blank[-1] else boundary[-1, BEGINS]
        first = min(character for character, own in owner.items() if own == number)
        if first - 1 in owner or ends_blank[first_token[number] - 1]:
            return 0.0
        return boundary[first_token[number], BEGINS]

    terms = [term(number) for number in range(len(words) + 1)]
    return [bits - terms[k] + terms[k + 1] for k, bits in enumerate(uncorrected)], uncorrected


@pytest.mark.parametrize("marked", [True, False])
def test_ten_thousand_words_are_summed_as_a_literal_count_does(marked):
    rng, done = np.random.default_rng(3), 0
    for seed in range(200):
        text, words, tokens = made_up(50, seed)
        surprisal, boundary = rng.gamma(2, 2, len(tokens)), rng.random((len(tokens) + 1, 2))
        found = word_surprisal(
            listed.group(text, tokens, words, "made up"), surprisal, boundary, marked=marked
        )
        for mine, slow in zip(
            found, literally(text, words, tokens, surprisal, boundary, marked), strict=True
        ):
            assert mine == pytest.approx(slow, abs=1e-9)
        assert found[1].sum() == pytest.approx(surprisal.sum())
        done += len(words)
    assert done >= 10_000


def test_a_list_of_what_blanks_separate_gives_the_plain_words():
    for seed in range(50):
        text, _, tokens = made_up(30, seed)
        plain, own = group(tokens), listed.group(text, tokens, text.split(), "x")
        assert (plain.firsts, plain.starts, plain.ends) == (own.firsts, own.starts, own.ends)
        assert plain.settled == own.settled


def test_score_takes_lists_and_the_path_of_a_model():
    texts = ["They don't, do they? 我喜欢🙂", "A well-known thing."]
    lists = [each.split("|") for each in ("They|do|n't|,|do|they|?|我|喜欢|🙂", "A|well-known|thing|.")]
    model = str(paths.root() / "data" / "models" / "tiny-scorer")
    words = score(texts, model, words=lists)
    tokens = score(texts, "tiny-scorer")
    assert words["word"].tolist() == [word for own in lists for word in own]
    sums = words.groupby("doc_id")["surprisal_uncorrected"].sum()
    assert sums.to_numpy() == pytest.approx(tokens.groupby("doc_id")["surprisal"].sum().to_numpy())
    with pytest.raises(StudyError, match="no scorer"):
        score(texts, "tiny-scorr")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["The", "colour", "red"],
            "Word 2 of text 'a' is 'colour', but at character 4",
        ),
        (
            ["The", "color"],
            "The 2 words of text 'a' end before character 10",
        ),
        (["The", "color", "red", "!"], "Word 4 of text 'a' is '!', but at character 13"),
        (["The", "", "red"], "Word 2 of text 'a' is ''"),
    ],
)
def test_a_list_that_does_not_match_names_the_first_place(words, said):
    with pytest.raises(StudyError) as error:
        listed.spans("The color red", words, "a")
    assert said in str(error.value)


def test_a_dataset_brings_its_words(small_study):
    rows = ["item,zone,word"]
    for file in sorted((small_study / "notes").glob("*.txt")):
        body = file.read_text().split("\n\n", 1)[1]
        cut = body.replace(".", " .").split()
        rows += [f'{file.stem},{number},"{word}"' for number, word in enumerate(cut, 1) if '"' not in word]
    (small_study / "words.csv").write_text("\n".join(rows) + "\n")
    dataset = paths.dataset_file("notes")
    dataset.write_text(dataset.read_text() + "words: {file: words.csv, doc_id: item, number: zone}\n")
    (small_study / "notes" / "trees.txt").unlink()
    run = resolve("02_surprisal", {"model": "human", "study": "small"})
    generate.generate_texts(resolve("01_generate", {"model": "human", "study": "small"}))
    score_texts(run)
    words = store.read(paths.words(run.scorer_name, run.dataset_name, run.source_name), "")["word"]
    assert (words == ".").sum() > 10
    table = (small_study / "words.csv").read_text()
    (small_study / "words.csv").write_text(table.replace('arrays,3,"explains"', "arrays,3,states"))
    with pytest.raises(StudyError, match="Word 3 of text 'arrays' is 'states'"):
        score_texts(run)
