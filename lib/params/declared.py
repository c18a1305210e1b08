"""What every declaration is: strict, frozen, and named in the field's terms."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
LARGEST = 2**63 - 1
TextClass = Literal["human", "base", "instruct", "rlhf"]


class Declared(BaseModel):
    """Strict and frozen: an unknown field is an error, a checked value stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # a field may hold a dict, which has no hash of its own

    @model_validator(mode="before")
    @classmethod
    def _values_are_of_their_kinds(cls, content: Any) -> Any:
        """A switch is no number and a number no switch, though Python takes each for the other."""
        if not isinstance(content, dict):
            return content
        for name, field in cls.model_fields.items():
            for given in {name, field.alias or name} & content.keys():
                _check_kind(given, content[given], is_switch=bool in _types(field.annotation))
        return content

    @field_validator("*")
    @classmethod
    def _names_each_once(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, tuple):
            for place, name in enumerate(value):
                if isinstance(name, str) and name in value[:place]:
                    raise ValueError(f"`{info.field_name}` names {name!r} twice; keep one")
        return value


def _check_kind(name: str, value: Any, *, is_switch: bool) -> None:
    match value:
        case bool() if not is_switch:
            raise ValueError(f"`{name}` is {value}, but it should not be true or false")
        case int() | float() | str() if is_switch and not isinstance(value, bool):
            raise ValueError(f"`{name}` is {value!r:.80}, but it should be true or false")
        case int() if abs(value) > LARGEST:
            raise ValueError(f"`{name}` is a number of {value.bit_length()} bits, but it should be smaller")
        case str() if "\0" in value:
            raise ValueError(f"`{name}` has the character 0 in it, but it should be text")


def _types(annotation: Any) -> set[Any]:
    """The members of a union, or the type itself."""
    return {annotation, *get_args(annotation)}
