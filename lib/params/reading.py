"""Reading what is declared; what is wrong ends in one sentence that names the file and the field."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lib import paths
from lib.errors import StudyError, nearest, shortened
from lib.params import varying, yaml_files
from lib.params.corpora import Dataset
from lib.params.sources import AnySource, Model, Scorer, Source

LONGEST_NAME = 200  # characters, of which a file system takes some more


def load_source(name: str) -> Source:
    """The human or model source `name`. Raises StudyError if there is none, or its file is wrong."""
    declared = _declared("model", name)
    if isinstance(declared, Scorer):
        raise StudyError(
            f"{name!r} is a scorer and writes no texts; the sources are {', '.join(source_names())}."
        )
    return declared


def load_scorer(name: str) -> Scorer:
    """The scorer `name`; a model source can be one, too."""
    declared = _declared("scorer", name)
    match declared:
        case Scorer():
            return declared
        case Model():
            return Scorer(kind="scorer", weights=declared.weights, scoring=declared.scoring)
        case _:
            raise StudyError(f"{name!r} stands for people and cannot score; name a model.")


def _declared(what: str, name: str) -> Any:
    """The source or scorer of that name; a varied one as its file declares it, but for one value."""
    found = read(paths.source_file(name), TypeAdapter(AnySource), what, name)
    variant = varying.variant_of(name)
    if variant is None:
        return found
    if not isinstance(found, Model):
        raise StudyError(
            f"{name!r} varies a model's setting, but {variant.source!r} is no model that writes."
        )
    if variant.parameter == "revision" and not hasattr(found.weights, "revision"):
        raise StudyError(
            f"{name!r} varies a revision, but weights of `backend: {found.weights.backend}` have none; "
            f"declare a source for each model."
        )
    return validated(TypeAdapter(Model), varying.changed(found.model_dump(by_alias=True), variant), name)


def load_dataset(name: str) -> Dataset:
    return read(paths.dataset_file(name), TypeAdapter(Dataset), "dataset", name)


def source_names() -> list[str]:
    """The human and model sources that params/ declares."""
    return [
        path.stem
        for path in sorted(paths.source_file("x").parent.glob("*.yaml"))
        if (yaml_files.load(path) or {}).get("kind") != "scorer"
    ]


def read(path: Path, adapter: TypeAdapter, what: str, name: str) -> Any:
    if len(name) > LONGEST_NAME or "/" in name or "\0" in name:
        raise StudyError(f"{shortened(name)} is no name of a {what}; names have no / and are short.")
    shown = paths.shown(path)
    if not path.exists():
        hint = nearest(name, (file.stem for file in path.parent.glob("*.yaml")))
        raise StudyError(f"There is no {what} {name!r} ({shown}); {hint}")
    content = yaml_files.load(path)
    return validated(adapter, content, shown)


def validated(adapter: TypeAdapter, content: object, where: str) -> Any:
    """`content` as the type of `adapter`, or a StudyError about the first thing wrong with it."""
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        raise StudyError(f"{where}: {_sentence(error, adapter)}") from None


def _sentence(error: ValidationError, adapter: TypeAdapter) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if part not in _UNION_TAGS) or "the file"
    match first["type"]:
        case "extra_forbidden":
            return f"unknown field `{field}`; {nearest(field.rpartition('.')[2], _field_names(adapter))}"
        case "missing":
            return f"`{field}` is missing."
        case "value_error":
            said = str(first["ctx"]["error"])
            return said if said.endswith((".", "?")) else f"{said}."
        case _:
            message = (first["msg"][0].lower() + first["msg"][1:]).replace("input should", "it should")
            return f"`{field}` is {shortened(first['input'])}, but {message}."


# Pydantic puts the member of a union that was chosen into the path of a field.
_UNION_TAGS = {
    *("human", "model", "scorer", "transformers", "llama_cpp", "openai"),
    *("pydocs", "folder", "articles", "dialogues", "chats"),
}


def _field_names(adapter: TypeAdapter) -> set[str]:
    schema = adapter.json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name for part in parts for name in part.get("properties", {})}
