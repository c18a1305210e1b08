"""What a model thinks aloud before its answer, which is no part of the text."""

import re

NAMES = "think|thinking|thought|reasoning"
_WHOLE = re.compile(rf"\s*<({NAMES})>(.*?)</\1>\s*", re.DOTALL)
_BEGUN = re.compile(rf"\s*<({NAMES})>", re.DOTALL)
_SENT_BEGINS = re.compile(rf"<({NAMES})>\s*$")


def split_reasoning(text: str, sent: str) -> tuple[str | None, str]:
    """Reasoning at the beginning of `text`, None if there is none, and the text after it.

    Some templates open the mark themselves, at the end of what is `sent`; then the text begins within. A
    mark that is never closed was cut off: all of the text is reasoning.
    """
    if opened := _SENT_BEGINS.search(sent):
        thought, closed, rest = text.partition(f"</{opened[1]}>")
        return (thought.strip() or None) if closed else text.strip() or None, rest.lstrip()
    if found := _WHOLE.match(text):
        return found[2].strip() or None, text[found.end() :]
    if begun := _BEGUN.match(text):
        return text[begun.end() :].strip() or None, ""
    return None, text
