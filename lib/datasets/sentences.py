"""Sentences of texts, found by rules that need no download (Wikimedia's sentencex)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import sentencex

_BLANK = np.array([chr(code).isspace() for code in range(0x3002)])  # no character above is one
# sentencex 1.0 panics at "A.", if a blank of several bytes parts the two.
_PLAIN = {code: " " for code in np.flatnonzero(_BLANK).tolist() if code > 0x7F}


class Sentences(NamedTuple):
    """What `sentences` finds: `starts[k]` are the sentences of text k, `words` [texts] are counts.

    A sentence holds a word and begins, in characters of its text, where the blanks before it end.
    """

    starts: list[np.ndarray]
    words: np.ndarray


def sentences(texts: Sequence[str], language: str = "en") -> Sentences:
    """The sentences of each of `texts`, and how many words blanks separate."""
    # All characters in one array, a blank before each text: [texts + characters].
    joined = "".join([f" {text}" for text in texts])
    blank = _BLANK.take(np.frombuffer(joined.encode("utf-32-le"), np.uint32), mode="clip")
    first = np.cumsum([1, *(len(text) + 1 for text in texts)])  # where each text stands, and its end
    words = np.flatnonzero(blank[:-1] > blank[1:]) + 1

    pieces = [segments(text, language) for text in texts]
    text = np.repeat(np.arange(len(texts)), [len(lengths) for lengths in pieces])  # of each segment
    lengths = np.array([length for of_text in pieces for length in of_text], dtype=np.int64)
    end = 1 + text + np.cumsum(lengths)  # segments tile their text
    start = end - lengths
    next_word = np.append(words, len(blank))[np.searchsorted(words, start)]
    start = np.where(blank[start], next_word, start)
    text, start = text[start < end], start[start < end]
    start -= first[text]
    bounds = np.searchsorted(text, np.arange(len(texts) + 1)).tolist()
    starts = [start[a:b] for a, b in pairwise(bounds)]
    return Sentences(starts, np.diff(np.searchsorted(words, first)))


def segments(text: str, language: str) -> list[int]:
    """The lengths of the pieces that sentencex cuts `text` into."""
    plain = text if text.isascii() else text.translate(_PLAIN)
    return list(map(len, sentencex.segment(language, plain)))
