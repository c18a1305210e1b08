"""What a model is asked, and what of its answer is new.

Base models get the raw prompt and go on from it. Instruct and chat models get a conversation in
their own chat template, begun by the system prompt where the source has one.
"""

import re
from typing import Protocol

from jinja2 import TemplateError

from lib.errors import StudyError

Message = dict[str, str]


class Template(Protocol):
    """A chat template: writes a conversation as the text that the model was tuned on.

    Raises jinja2.TemplateError for a conversation that it does not allow.
    """

    def __call__(self, messages: list[Message], *, add_generation_prompt: bool) -> str: ...


def raw(prompt: str, system_prompt: str | None) -> str:
    """`prompt` for a model that just goes on, below the system prompt if there is one."""
    return f"{system_prompt}\n\n{prompt}" if system_prompt else prompt


def conversation(prompt: str, system_prompt: str | None, *, system_role: bool = True) -> list[Message]:
    """`prompt` as a user's message; without a system role the system prompt stands above it."""
    if system_prompt and system_role:
        return [{"role": "system", "content": system_prompt}, {"role": "user", "content": prompt}]
    return [{"role": "user", "content": raw(prompt, system_prompt)}]


def sent(prompt: str, system_prompt: str | None, *, chat: bool, template: Template | None, model: str) -> str:
    """What `model` is given: the raw prompt, or for a chat the conversation in its template.

    Raises StudyError for a chat with a model that has no template.
    """
    if not chat:
        return raw(prompt, system_prompt)
    if template is None:
        raise StudyError(f"The model {model!r} has no chat template; set `chat: false` in its params file.")
    return templated(prompt, system_prompt, template)


def templated(prompt: str, system_prompt: str | None, template: Template) -> str:
    """`prompt` as a conversation in the model's chat template, up to where the model's answer begins."""
    role = system_prompt is not None and knows_system_role(template)
    return template(conversation(prompt, system_prompt, system_role=role), add_generation_prompt=True)


def knows_system_role(template: Template) -> bool:
    """Whether the chat template writes a system message, and not just as it writes an assistant's."""

    def rendered(role: str) -> str:
        messages = [{"role": role, "content": "Rule."}, {"role": "user", "content": "Question?"}]
        return template(messages, add_generation_prompt=False)

    try:
        system = rendered("system")
    except TemplateError:
        return False
    try:
        return "Rule." in system and system != rendered("assistant")
    except TemplateError:
        return True


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
