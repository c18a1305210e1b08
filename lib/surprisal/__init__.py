"""Step 02: texts to tokens and words in bits; `from lib.surprisal import score`."""

from lib.surprisal.scoring import score

__all__ = ["score"]
