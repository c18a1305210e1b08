"""Where a prompt ends: the rules that split a document into its opening and the rest."""

import re

from lib.datasets.pydocs import ABBREVIATION
from lib.datasets.sentences import segments

PARAGRAPH_END = re.compile(r"\n\s*\n")
# sentencex takes any single letter for an abbreviation; a small one before a capital ends a sentence.
SMALL_LETTER = re.compile(r"(?<![\w.])[a-z]\.(?=\s+[A-Z(\"'])")


def split_opening(body: str, language: str = "en") -> tuple[str, str]:
    """The first sentence of `body`, and the rest as it stands (with its leading space).

    Sentences are those of sentencex for `language` (ISO 639). What holds no letter ("1."), or ends in
    an English abbreviation that sentencex does not know, is none. A sentence ends with its paragraph
    at the latest.
    """
    paragraph = PARAGRAPH_END.split(body, maxsplit=1)[0]
    opening, end = "", 0
    for length in segments(paragraph, language):
        end += length
        opening = paragraph[:end].rstrip()
        abbreviated = language == "en" and ABBREVIATION.search(opening)
        if any(character.isalpha() for character in opening) and not abbreviated:
            break
    if language == "en" and (earlier := SMALL_LETTER.search(opening)):
        opening = opening[: earlier.end()]
    return opening, body[len(opening) :]
