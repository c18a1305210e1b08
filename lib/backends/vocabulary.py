"""What a tokenizer's vocabulary says about words."""

import re
from collections.abc import Collection, Mapping

import numpy as np

BLANKS = " \t\n\r\v\f"


def word_begins(spelled: Mapping[int, str], special: Collection[int], size: int) -> np.ndarray:
    """Which tokens have leading white space, [size] bool; special tokens have none.

    `spelled` are the tokens with their blanks as blanks. A tokenizer may have more tokens than its model.
    """
    begins = np.zeros(size, dtype=bool)
    begun = [i for i, token in spelled.items() if i < size and token.startswith(tuple(BLANKS))]
    begins[[i for i in begun if i not in special]] = True
    return begins


def why_no_words(tokens: Collection[str]) -> str | None:
    """Why the correction of `lib.surprisal.words` does not suit a vocabulary of `tokens`; None if it does."""
    if not any(token.startswith(tuple(BLANKS)) for token in tokens):
        return (
            "No token of this scorer's vocabulary begins with white space, so where words end has no "
            "probability of its own; for word surprisal name a scorer with a byte-level or SentencePiece "
            "tokenizer."
        )
    several = re.compile(rf"[^{BLANKS}][{BLANKS}]+[^{BLANKS}]")
    if found := next((token for token in tokens if several.search(token)), None):
        return (
            f"This scorer has tokens of several words ({found!r}), so words have no surprisal of their own."
        )
    return None
