"""What a model is asked.

Base models get the raw prompt and go on from it. Instruct and chat models get a conversation in
their own chat template, begun by the system prompt where the source has one.
"""

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
