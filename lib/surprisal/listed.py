"""Words that somebody else has cut: a list of them for a text, as reading-time corpora bring.

Every character of the text is accounted for: it stands in one word, or is white space between two.
Words need no white space between them ("don" and "'t", or Chinese), and may have it inside. A token
counts for the word in which its first letter lies; white space goes with the word after it. A word
that begins inside a token of the word before it has the tokens that begin in itself, and 0 bits where
there are none: given the token, nothing of it is left to tell.

Where white space stands between two words, the correction is that of `lib.surprisal.words`; where none
does, there is no boundary to be told, and none is counted.
"""

from collections.abc import Sequence

import numpy as np

from lib.errors import StudyError
from lib.surprisal.words import Words

SHOWN = 20  # characters of a text that a sentence quotes


def spans(text: str, words: Sequence[str], name: str) -> tuple[list[int], list[int]]:
    """Where each word begins and ends in `text`, which `name` names.

    Raises StudyError that names the first place where the list and the text part.
    """
    starts: list[int] = []
    ends: list[int] = []
    place = 0
    for number, given in enumerate(words, 1):
        word = given.strip()
        place = _next_letter(text, place)
        if not word or not text.startswith(word, place):
            there = repr(text[place : place + SHOWN]) if place < len(text) else "its end"
            raise StudyError(
                f"Word {number} of text {name!r} is {given!r}, but at character {place} the text has "
                f"{there}; correct the list or the text."
            )
        starts.append(place)
        place += len(word)
        ends.append(place)
    place = _next_letter(text, place)
    if place < len(text):
        raise StudyError(
            f"The {len(words)} words of text {name!r} end before character {place}, where the text goes on "
            f"with {text[place : place + SHOWN]!r}; correct the list or the text."
        )
    return starts, ends


def after(prompt: str, text: str, words: Sequence[str], name: str) -> tuple[str, ...]:
    """Those of `words` that stand in `text`; the list may begin with the prompt, or after its title.

    Raises StudyError as `spans`, and for a word that begins in the prompt and ends in the text.
    """
    begins = [len(prompt), 0, prompt.find("\n\n") + 2]
    whole = prompt + text
    matching = [begin for begin in begins if _matches(whole[begin:], words)]
    if not matching:
        # The beginning that the first word speaks for is the one to name the place in.
        likely = [begin for begin in begins if _matches(whole[begin:], words[:1], whole=False)]
        spans(whole[(likely or begins)[0] :], words, name)
    begin = matching[0]
    starts, ends = spans(whole[begin:], words, name)
    border = len(prompt) - begin
    for word, start, end in zip(words, starts, ends, strict=True):
        if start < border < end:
            raise StudyError(
                f"The word {word!r} of text {name!r} begins in its prompt and ends after it; cut the list "
                f"where the prompt ends."
            )
    return tuple(word for word, start in zip(words, starts, strict=True) if start >= border)


def _matches(text: str, words: Sequence[str], *, whole: bool = True) -> bool:
    try:
        _, ends = spans(text, words, "")
    except StudyError:
        return not whole and bool(words) and text.lstrip().startswith(words[0].strip())
    return bool(ends) or not whole


def group(text: str, tokens: Sequence[str], words: Sequence[str], name: str) -> Words:
    """The words of `text` as a list has them; `tokens`, put together, spell the text."""
    starts, ends = spans(text, words, name)
    if not starts:
        return Words([], [], [], [])
    owners = np.zeros(len(tokens), dtype=np.int64)  # the number of each token's word
    after_blank = np.zeros(len(tokens) + 1, dtype=bool)  # that the text before a token ends in white space
    offset, owner, word = 0, 0, 0
    for i, token in enumerate(tokens):
        if token:  # an empty one is the rest of the character before it
            letter = _next_letter(text, offset)
            while word + 1 < len(starts) and starts[word + 1] <= letter:
                word += 1
            owner = word
            after_blank[i + 1] = token[-1].isspace()
        else:
            after_blank[i + 1] = after_blank[i]
        owners[i] = owner
        offset += len(token)
    firsts = np.searchsorted(owners, np.arange(len(starts)))
    touching = [False, *(a == b for a, b in zip(ends, starts[1:], strict=False))]
    settled = [bool(after_blank[first]) or touches for first, touches in zip(firsts, touching, strict=True)]
    return Words(firsts.tolist(), starts, ends, [*settled, bool(after_blank[-1])])


def _next_letter(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place
