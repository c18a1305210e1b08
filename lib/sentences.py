"""Sentences of a text, found by rules that need no download (Wikimedia's sentencex)."""

import sentencex


def sentence_spans(text: str, language: str = "en") -> list[tuple[int, int]]:
    """Start and end, in characters, of each sentence that holds a word; the blanks between are left out."""
    spans, end = [], 0
    for sentence in sentencex.segment(language, text):
        start, end = end, end + len(sentence)
        stripped = sentence.strip()
        if stripped:
            first = start + sentence.index(stripped)
            spans.append((first, first + len(stripped)))
    return spans


def words_per_sentence(text: str) -> float:
    """Mean number of white-space-separated words per sentence; not a number for a text without words."""
    words = len(text.split())
    return words / len(sentence_spans(text)) if words else float("nan")
