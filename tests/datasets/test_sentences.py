"""Sentences of many texts at once, against each text taken apart by hand."""

import sentencex
from hypothesis import example, given
from hypothesis import strategies as st

from lib.datasets.sentences import sentences

BLANKS = "\n\r\t\x1c\x85\xa0\u2003\u2028\u3000"
PIECES = ["Ab", "c", " ", ".", ". ", "! A", "?", "Mr. ", "\n\n", "A", "é", "🙂", "。", *BLANKS]
spelled = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


def spans(text: str) -> list[tuple[int, int]]:
    """Start and end, in characters, of each sentence that holds a word; the blanks between are left out."""
    found, end = [], 0
    plain = "".join(" " if char.isspace() and not char.isascii() else char for char in text)
    for sentence in sentencex.segment("en", plain):
        start, end = end, end + len(sentence)
        if begun := sentence.lstrip():
            found.append((end - len(begun), start + len(sentence.rstrip())))
    return found


@given(st.lists(spelled, max_size=6))
@example(["", " ", "A. B", "\n"])
@example(["Plan A\u00a0."])  # at which sentencex itself breaks off
def test_sentences_and_words_of_many_texts_are_those_of_each(texts):
    found = sentences(texts)
    assert [starts.tolist() for starts in found.starts] == [[a for a, _ in spans(text)] for text in texts]
    assert found.words.tolist() == [len(text.split()) for text in texts]
