"""A repetition of the prompt, with which chat models often begin."""

import re


def cut_repetition(prompt: str, answer: str) -> tuple[str, str]:
    """Split `answer` into a repetition of the prompt that it opens with ("" if none) and the rest.

    Chat models often begin with the title, with the first sentence, or with both, in other marks
    and spaces than the prompt's. A title alone counts where a line ends after it, since a sentence
    may well begin with the title's words.
    """
    title, _, body = prompt.partition("\n\n")
    for opening, line_end in ((prompt, False), (body, False), (title, bool(body))):
        if found := _opening_pattern(opening, line_end=line_end).match(answer):
            return found.group(), answer[found.end() :]
    return "", answer


# What may stand around a repeated opening: quotes, Markdown's marks, a label such as "Title:".
LABEL = r"(?:(?:article|title|first sentence|prompt|continuation)\W+)*"


def _opening_pattern(opening: str, *, line_end: bool) -> re.Pattern[str]:
    words = r"\W+".join(re.escape(word) for word in re.findall(r"\w+", opening))
    if not words:
        return re.compile(r"(?!)")  # nothing to repeat, so nothing matches
    after = r"[^\w\n]*(?=\n)" if line_end else r"(?!\w)[^\w\s]*"
    return re.compile(rf"\W*{LABEL}{words}{after}", re.IGNORECASE)
