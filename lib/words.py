"""Word surprisal from token surprisal.

A tokenizer with leading white space puts the end of a word into the next token. The probability of
a word is therefore that of its tokens, times the probability that the next token begins a new word
(or the text ends), over the probability that its own first token could begin one (Pimentel & Meister
2024, section 4; Oh & Schuler 2024).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BLANKS = " \t\n\r\v\f"


@dataclass(frozen=True)
class Words:
    """The words of a text; word k is made of the tokens firsts[k] … lasts[k].

    A word takes the white space before it along; white space at the end of the text goes to the
    last word, so every token belongs to exactly one word.
    """

    firsts: list[int]
    lasts: list[int]
    starts: list[int]
    ends: list[int]


def group(tokens: Sequence[str]) -> Words:
    """The words that the tokens of a text make: one begins with each token that begins with a blank."""
    firsts: list[int] = []
    has_letters = True
    for i, token in enumerate(tokens):
        if not firsts or (token.startswith(tuple(BLANKS)) and has_letters):
            firsts.append(i)
            has_letters = False
        has_letters = has_letters or bool(token.strip(BLANKS))
    if len(firsts) > 1 and not "".join(tokens[firsts[-1] :]).strip(BLANKS):
        firsts.pop()
    lasts = [first - 1 for first in firsts[1:]] + ([len(tokens) - 1] if firsts else [])
    offsets = np.cumsum([0, *map(len, tokens)])
    starts, ends = [], []
    for first, last in zip(firsts, lasts, strict=True):
        spelled = "".join(tokens[first : last + 1])
        start = int(offsets[first]) + len(spelled) - len(spelled.lstrip(BLANKS))
        starts.append(start)
        ends.append(max(start, int(offsets[first]) + len(spelled.rstrip(BLANKS))))
    return Words(firsts, lasts, starts, ends)


def boundaries(words: Words, tokens: Sequence[str]) -> list[int]:
    """The tokens before which the boundary term is needed: each word's first, and the text's end."""
    return [*words.firsts, len(tokens)] if words.firsts else []


def word_surprisal(
    words: Words, tokens: Sequence[str], surprisal: np.ndarray, boundary: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Corrected and uncorrected surprisal of each word, in bits, [words] each.

    `surprisal` [tokens] is that of the tokens; `boundary` [words + 1] the surprisal of "a word
    begins here, or the text ends" before each word and at the end. The first word of a text that
    begins without a blank could not have begun otherwise: its own boundary term is 0. The sum over
    words is the sum over tokens, plus the term at the end of the text, less the first word's.
    """
    if not words.firsts:
        return np.empty(0), np.empty(0)
    uncorrected = np.add.reduceat(surprisal.astype(np.float64), words.firsts)
    before = boundary[:-1].astype(np.float64).copy()
    if not tokens[0].startswith(tuple(BLANKS)):
        before[0] = 0.0
    return uncorrected - before + boundary[1:], uncorrected
