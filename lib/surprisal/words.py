"""Word surprisal from token surprisal.

Words are what white space separates; punctuation belongs to the word that it touches. A tokenizer
with leading white space puts the end of a word into the token after it. The probability of a word
is therefore that of its tokens, times the probability that a word begins next or the text ends,
over the probability that a word began where its own first token stands (Pimentel & Meister 2024,
"How to Compute the Probability of a Word"; Oh & Schuler 2024, "Leading Whitespaces of Language
Models' Subword Vocabulary Pose a Confound for Calculating Word Probabilities").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.backends.vocabulary import BLANKS

_BLANKS = tuple(BLANKS)

# The columns of a table of boundary terms.
BEGINS, GOES_ON = 0, 1


@dataclass(frozen=True)
class Words:
    """The w words of a text; word k is made of the tokens from `firsts[k]` to the next word's first.

    A word takes the white space before it along, and white space at the end of the text goes to the
    last word: every token belongs to exactly one word. `starts` and `ends` are the word without
    white space. `settled` [w + 1] says of each word's first token, and of the end of the text, that
    the token before ends in white space, so that a boundary is certain there.
    """

    firsts: list[int]
    starts: list[int]
    ends: list[int]
    settled: list[bool]


def group(tokens: Sequence[str]) -> Words:
    """The words of a text that its tokens, put together, spell."""
    firsts: list[int] = []
    settled: list[bool] = []
    starts: list[int] = []
    ends: list[int] = []
    offset, after_blank, has_letters = 0, False, True
    for i, token in enumerate(tokens):
        if not firsts or (has_letters and (after_blank or token.startswith(_BLANKS))):
            firsts.append(i)
            settled.append(after_blank)
            starts.append(offset)
            ends.append(offset)
            has_letters = False
        if token:
            after_blank = token.endswith(_BLANKS)
            if letters := token.strip(BLANKS):
                begin = offset + token.index(letters)
                if not has_letters:
                    starts[-1] = begin
                ends[-1] = begin + len(letters)
                has_letters = True
            offset += len(token)
    if len(firsts) > 1 and not has_letters:
        for column in (firsts, settled, starts, ends):
            column.pop()
    return Words(firsts, starts, ends, [*settled, after_blank] if firsts else [])


def word_surprisal(
    words: Words, surprisal: np.ndarray, boundary: np.ndarray, *, marked: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Corrected and uncorrected surprisal of each word, [w] and [w] bits.

    `surprisal` [n] is that of the tokens. `boundary` [n + 1, 2] is, before each token and at the
    end, the surprisal of `BEGINS` (a token with leading white space or the end of the text comes
    next) and of `GOES_ON` (any other token does). `marked` says whether the first token of the text
    has leading white space (for SentencePiece, also where the text itself has none): if not, the
    first word is taken given that the text begins without.

    The corrected values sum to the tokens' sum, less the term before the first word, plus the one
    at the end; a settled boundary has the term 0. Text that ends in white space has its end there.
    """
    if not words.firsts:
        return np.empty(0), np.empty(0)
    firsts = np.array(words.firsts)
    summed = surprisal.astype(np.float64)
    if firsts[-1] == len(surprisal):  # the last word has no token of its own
        summed = np.append(summed, 0.0)
    uncorrected = np.add.reduceat(summed, firsts)
    uncorrected[firsts == np.append(firsts[1:], len(surprisal))] = 0.0  # a word without a token of its own
    term = boundary[[*words.firsts, len(surprisal)], BEGINS].astype(np.float64)
    term[0] = boundary[0, BEGINS if marked else GOES_ON]
    term[words.settled] = 0.0
    return uncorrected - term[:-1] + term[1:], uncorrected
