"""What a tokenizer's vocabulary says about words, and what it puts before a text."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from lib.errors import StudyError

BLANKS = " \t\n\r\v\f"
NO_MARK = 2**32 - 1  # what some converters write for a mark that there is none of


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


def without_prefix(tokenizer: Tokenizer) -> Tokenizer | None:
    """`tokenizer` for what stands within a text: without the blank that it puts before one.

    None if it puts none. Special tokens that occur in a text are taken literally.
    """
    whole = json.loads(tokenizer.to_str())
    inner = {**whole, **{part: _bare(whole[part] or {}) for part in ("normalizer", "pre_tokenizer")}}
    if inner == whole:
        return None
    found = Tokenizer.from_str(json.dumps(inner))
    found.no_padding()
    found.no_truncation()
    found.encode_special_tokens = True
    return found


def _bare(part: dict[str, Any]) -> dict[str, Any] | None:
    """A normalizer or pre-tokenizer, of a tokenizer.json, that puts no blank before a text."""
    match part:
        case {"type": "Sequence"}:
            name = "normalizers" if "normalizers" in part else "pretokenizers"
            return {**part, name: [bare for each in part[name] if (bare := _bare(each)) is not None]}
        case {"type": "Prepend"}:
            return None
        case {"type": "Metaspace"}:
            return {**part, "prepend_scheme": "never"}
        case {"type": "ByteLevel", "add_prefix_space": True}:
            return {**part, "add_prefix_space": False}
        case _:
            return part or None


def mark(which: str, id_: Any, size: int, file: str) -> int | None:
    """The BOS or EOS (`which`) that a GGUF file of `size` tokens names by `id_`; None if it names none.

    Raises StudyError for one that it does not have, in whose place llama.cpp would take a word.
    """
    if id_ is None or int(id_) == NO_MARK:
        return None
    if not 0 <= int(id_) < size:
        raise StudyError(
            f"{file} names the token {int(id_)} as its {which.upper()}, and has {size} tokens; convert the "
            f"model anew."
        )
    return int(id_)
