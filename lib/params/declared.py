"""What every declaration is: strict, frozen, and named in the field's terms."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
TextClass = Literal["human", "base", "instruct", "rlhf"]


class Declared(BaseModel):
    """Strict and frozen: an unknown field is an error, a checked value stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
