"""What a model is asked.

Base models get the raw prompt and go on from it. Instruct and chat models get a conversation in
their own chat template, begun by the system prompt where the source has one. A template that writes
today's date gets `TODAY`, so that the same inputs give the same texts on another day.
"""

import re
from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from jinja2 import TemplateError

from lib.backends.bounded import within
from lib.errors import StudyError

Message = dict[str, str]
TODAY = datetime(2024, 7, 26)  # what Llama 3's own template writes where it is told no date
LONGEST = 20  # seconds for one conversation; templates take well under one
# What a template may raise besides its own errors: it is a program of somebody else's.
FAULTS = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError)


class Sent(str):
    """What a model is given, and which parts of it somebody wrote, in their order; the rest is a template's.

    Special tokens count as such only where a template wrote them: elsewhere they are characters.
    """

    written: tuple[str, ...]

    def __new__(cls, text: str, *written: str) -> "Sent":
        found = super().__new__(cls, text)
        found.written = written
        return found

    @property
    def pieces(self) -> list[tuple[str, bool]]:
        """Its parts one after the other, each with whether somebody wrote it. A template may trim those."""
        found: list[tuple[str, bool]] = []
        end = len(self)
        for part in reversed(self.written):
            for each in (part, part.strip()):
                at = self.rfind(each, 0, end) if each else -1
                if at >= 0:
                    found += [(self[at + len(each) : end], False), (each, True)]
                    end = at
                    break
        return [piece for piece in reversed([*found, (self[:end], False)]) if piece[0]]

    def segments(self, special: Collection[str]) -> list[tuple[str, bool]]:
        """Its parts, cut at the `special` tokens that a template wrote; each with whether it is one."""
        longest_first = sorted(special, key=len, reverse=True)
        pattern = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")" if special else r"(?!)")
        found: list[tuple[str, bool]] = []
        for piece, written in self.pieces:
            for i, part in enumerate([piece] if written else pattern.split(piece)):
                if i % 2 == 0 and found and not found[-1][1]:
                    found[-1] = (found[-1][0] + part, False)
                elif part:
                    found.append((part, i % 2 == 1))
        return found


def today(written: str) -> str:
    """`TODAY` in the form of strftime; what templates know as `strftime_now`."""
    return TODAY.strftime(written)


def rendered(source: str, messages: list[Message], *, add_generation_prompt: bool, **tokens: str) -> str:
    """A chat template's `source` filled in, in the sandbox of transformers, with `TODAY` as its date.

    What transformers offers for this makes text of every function that it is handed, so that a date cannot
    be given; the template is compiled as it does and filled in here.
    """
    # Imported here: what reads texts knows of prompts, and needs no transformers.
    from transformers.utils.chat_template_utils import _compile_jinja_template

    return str(
        _compile_jinja_template(source).render(
            messages=[dict(message) for message in messages],
            tools=None,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            strftime_now=today,
            **tokens,
        )
    )


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


def sent(
    prompt: str, system_prompt: str | None, *, chat: bool, template: Template | None, model: str
) -> Sent:
    """What `model` is given: the raw prompt, or for a chat the conversation in its template.

    Raises StudyError for a chat with a model that has no template.
    """
    if not chat:
        return given_raw(raw(prompt, system_prompt))
    if template is None:
        raise StudyError(f"The model {model!r} has no chat template; set `chat: false` in its params file.")
    way_out = "mend its chat_template.jinja, or set `chat: false` in its params file"
    try:
        written = within(LONGEST, lambda: templated(prompt, system_prompt, template))
    except TimeoutError:
        raise StudyError(
            f"The chat template of {model!r} does not come to an end within {LONGEST} s; {way_out}."
        ) from None
    except (TemplateError, *FAULTS) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise StudyError(f"The chat template of {model!r} fails ({reason}); {way_out}.") from error
    if prompt.strip() not in written:
        raise StudyError(
            f"The chat template of {model!r} does not write the prompt that it is given; {way_out}."
        )
    return given(written, prompt, system_prompt)


def given(text: str, prompt: str, system_prompt: str | None) -> Sent:
    """The conversation `text` that a template made of these."""
    return Sent(text, *filter(None, (system_prompt, prompt)))


def given_raw(text: str) -> Sent:
    """A text without a template."""
    return Sent(text, text)


def templated(prompt: str, system_prompt: str | None, template: Template) -> str:
    """`prompt` as a conversation in the model's chat template, up to where the model's answer begins."""
    role = system_prompt is not None and knows_system_role(template)
    return template(conversation(prompt, system_prompt, system_role=role), add_generation_prompt=True)


def knows_system_role(template: Template) -> bool:
    """Whether the chat template writes a system message, and not just as it writes an assistant's."""

    def written(role: str) -> str:
        messages = [{"role": role, "content": "Rule."}, {"role": "user", "content": "Question?"}]
        return template(messages, add_generation_prompt=False)

    try:
        system = written("system")
    except (TemplateError, *FAULTS):
        return False
    try:
        return "Rule." in system and system != written("assistant")
    except (TemplateError, *FAULTS):
        return True
