"""The five things that a person declares: source, scorer, dataset, comparison, study.

Each is a YAML file under `params/` or an entry in a study's file. Everything is checked when it is
read; what is wrong ends in one sentence that names the file, the field and what is allowed.
"""

from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from lib import paths
from lib.errors import StudyError, nearest

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
TextClass = Literal["human", "base", "instruct", "rlhf"]


class Declared(BaseModel):
    """Strict and frozen: an unknown field is an error, a checked value stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


# Where a model's weights are, one class per backend.


class Transformers(Declared):
    """Weights that the library transformers loads: a folder or a name on the Hugging Face hub."""

    backend: Literal["transformers"]
    model: str
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    trust_remote_code: bool = False


class LlamaCpp(Declared):
    """A GGUF file for llama.cpp: a local path, or `file` within the hub repository `repo`."""

    backend: Literal["llama_cpp"]
    file: str
    repo: str | None = None
    revision: str | None = None
    context_length: int = Field(4096, ge=8)


class OpenAI(Declared):
    """A model behind an OpenAI-compatible server; the key comes from the environment only."""

    backend: Literal["openai"]
    model: str
    base_url: str = "http://localhost:1234/v1"
    api_key_variable: str = "OPENAI_API_KEY"
    concurrency: int = Field(4, ge=1, le=256)
    timeout: float = Field(300, gt=0, description="seconds for one answer")


Weights = Annotated[Transformers | LlamaCpp | OpenAI, Field(discriminator="backend")]


# Sources and scorers.


class Sampling(Declared):
    """How a model continues the prompts; the defaults are the original study's."""

    generate: int = Field(300, ge=1, description="how many texts")
    temperature: float = Field(0.9, ge=0, le=5)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(2048, ge=1, description="new tokens at most")
    max_retries: int = Field(3, ge=0, le=100)
    min_characters: int = Field(200, ge=0, description="a shorter text is tried again")
    seed: int = Field(0, ge=0)


class Scoring(Declared):
    """How a scorer reads a text."""

    context: Literal["prompt", "none"] = "prompt"
    window: int | None = Field(None, ge=2, description="tokens; the model's context by default")
    stride: int | None = Field(None, ge=1, description="tokens; half the window by default")
    entropy: bool = False


class Human(Declared):
    """Texts that people wrote: the `text` column of each dataset."""

    kind: Literal["human"]
    study: Slug = "demo"
    label: str | None = None
    human_dir: str | None = Field(None, description="a folder of .txt files in place of the dataset")
    generate: int | None = Field(None, ge=1, description="how many texts; the dataset's number by default")

    @property
    def text_class(self) -> TextClass:
        return "human"

    @property
    def family(self) -> str:
        return "human"


class Model(Declared):
    """A language model that continues the prompts."""

    kind: Literal["model"]
    text_class: Literal["base", "instruct", "rlhf"] = Field(alias="class")
    family: str
    weights: Weights
    study: Slug = "demo"
    label: str | None = None
    chat: bool = Field(False, description="send the prompt through the model's chat template")
    system_prompt: str | None = None
    sampling: Sampling = Sampling()
    scoring: Scoring = Scoring()


class Scorer(Declared):
    """A language model that gives every token its surprisal."""

    kind: Literal["scorer"]
    weights: Weights
    label: str | None = None
    scoring: Scoring = Scoring()


Source = Human | Model
AnySource = Annotated[Human | Model | Scorer, Field(discriminator="kind")]


# Datasets.


class Pydocs(Declared):
    """Documentation prose of installed packages, the part held out from the demo models."""

    kind: Literal["pydocs"]
    packages: tuple[str, ...] = Field(min_length=1)
    texts: int = Field(300, ge=1)
    min_characters: int = Field(400, ge=1, description="of the text after the prompt")
    max_characters: int = Field(1500, ge=1)
    indented: bool = Field(False, description="whether descriptions of parameters and results count as prose")

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> "Pydocs":
        if self.min_characters > self.max_characters:
            raise ValueError(
                f"`min_characters: {self.min_characters}` is above `max_characters: {self.max_characters}`"
            )
        return self


class Folder(Declared):
    """A directory of .txt files: the first line is the title, or the file's name if `title: name`."""

    kind: Literal["folder"]
    folder: str
    title: Literal["first_line", "name"] = "first_line"
    texts: int | None = Field(None, ge=1, description="how many; all by default")


Dataset = Annotated[Pydocs | Folder, Field(discriminator="kind")]


# Studies.


class Comparison(Declared):
    """A named set of sources, how they form groups, and which pairs of groups are compared.

    Without `sources`, `classes` or `families` it is about all sources of the study.
    """

    sources: tuple[str, ...] = ()
    classes: tuple[TextClass, ...] = ()
    families: tuple[str, ...] = ()
    pooled: bool = Field(False, description="one group per family where `families` are named, else per class")
    against: str | None = Field(None, description="compare this group with each of the others only")
    metrics: tuple[str, ...] = Field((), description="columns of step 03; all by default")
    margin: float = Field(0.3, gt=0, description="standard deviations within which groups are equivalent")

    @model_validator(mode="after")
    def _against_is_a_source(self) -> "Comparison":
        if sum(map(bool, (self.sources, self.classes, self.families))) > 1:
            raise ValueError("a comparison names `sources`, `classes` or `families`, one of the three")
        if self.sources and len(self.sources) < 2:
            raise ValueError("a comparison needs two `sources` or more")
        if self.against and self.sources and not self.pooled and self.against not in self.sources:
            raise ValueError(f"`against: {self.against}` is none of its sources")
        return self

    def pairs(self, groups: Iterable[str]) -> list[tuple[str, str]]:
        """The pairs of `groups` that are compared."""
        if self.against is None:
            return list(combinations(groups, 2))
        return [(self.against, group) for group in groups if group != self.against]


class UidSettings(Declared):
    """The free numbers of the UID metrics (see `lib.uid`)."""

    power: float = Field(1.25, gt=1, le=10, description="k of the super-linear cost")
    first_n: int = Field(64, ge=2, description="leading tokens of `uid_variance_first_n`")
    ttr_window: int = Field(50, ge=2, description="tokens of the moving type–token ratio")


class Study(Declared):
    """What is compared with what."""

    title: str
    sources: tuple[str, ...] = Field(min_length=1)
    datasets: tuple[Slug, ...] = Field(min_length=1)
    scorers: tuple[str, ...] = Field(min_length=1)
    comparisons: dict[Slug, Comparison] = {}
    paper: bool = Field(False, description="whether paper/ is about this study")
    uid: UidSettings = UidSettings()

    def sources_of(self, comparison: str) -> tuple[str, ...]:
        """The sources of a comparison. Raises StudyError if the study has none of that name."""
        return tuple(source for group in self.groups_of(comparison).values() for source in group)

    def groups_of(self, comparison: str) -> dict[str, tuple[str, ...]]:
        """The groups of a comparison, each with its sources; a source is a group unless they are pooled.

        Raises StudyError if the study has no comparison of that name or it has fewer than two groups.
        """
        if comparison not in self.comparisons:
            raise StudyError(
                f"The study has no comparison {comparison!r}; {nearest(comparison, self.comparisons)}"
            )
        declared = self.comparisons[comparison]
        groups: dict[str, tuple[str, ...]] = {}
        for name in declared.sources or self.sources:
            source = load_source(name)
            if declared.classes and source.text_class not in declared.classes:
                continue
            if declared.families and source.family not in declared.families:
                continue
            pool = source.family if declared.families else source.text_class
            group = pool if declared.pooled else name
            groups[group] = (*groups.get(group, ()), name)
        if len(groups) < 2:
            raise StudyError(
                f"Comparison {comparison!r} needs two groups and has {', '.join(groups) or 'none'}; "
                f"the study's sources are {', '.join(self.sources)}."
            )
        if declared.against is not None and declared.against not in groups:
            raise StudyError(
                f"Comparison {comparison!r} has no group {declared.against!r} to be `against`; "
                f"{nearest(declared.against, groups)}"
            )
        return groups

    @model_validator(mode="after")
    def _compared_sources_are_declared(self) -> "Study":
        for name, comparison in self.comparisons.items():
            for source in comparison.sources:
                if source not in self.sources:
                    hint = nearest(source, self.sources)
                    raise ValueError(
                        f"comparison {name!r} names the source {source!r}, not in `sources`; {hint}"
                    )
        return self


# Reading.


def load_source(name: str) -> Source:
    """The human or model source `name`. Raises StudyError if there is none, or its file is wrong."""
    declared = _read(paths.source_file(name), TypeAdapter(AnySource), "model", name)
    if isinstance(declared, Scorer):
        raise StudyError(
            f"{name!r} is a scorer and writes no texts; the sources are {', '.join(source_names())}."
        )
    return declared


def load_scorer(name: str) -> Scorer:
    """The scorer `name`; a model source can be one, too."""
    declared = _read(paths.source_file(name), TypeAdapter(AnySource), "scorer", name)
    match declared:
        case Scorer():
            return declared
        case Model():
            return Scorer(kind="scorer", weights=declared.weights, scoring=declared.scoring)
        case _:
            raise StudyError(f"{name!r} stands for people and cannot score; name a model.")


def load_dataset(name: str) -> Dataset:
    return _read(paths.dataset_file(name), TypeAdapter(Dataset), "dataset", name)


def load_study(name: str) -> Study:
    return _read(paths.study_file(name), TypeAdapter(Study), "study", name)


def source_names() -> list[str]:
    """The human and model sources that params/ declares."""
    return [
        path.stem
        for path in sorted(paths.source_file("x").parent.glob("*.yaml"))
        if (yaml.safe_load(path.read_text()) or {}).get("kind") != "scorer"
    ]


def _read(path: Path, adapter: TypeAdapter, what: str, name: str) -> Any:
    if not path.exists():
        hint = nearest(name, (file.stem for file in path.parent.glob("*.yaml")))
        raise StudyError(f"There is no {what} {name!r} ({path.relative_to(paths.root())}); {hint}")
    shown = str(path.relative_to(paths.root()))
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise StudyError(f"{shown} is not valid YAML{line}: {getattr(error, 'problem', error)}.") from error
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
            return f"{first['ctx']['error']}."
        case _:
            message = first["msg"][0].lower() + first["msg"][1:]
            return f"`{field}` is {first['input']!r}, but {message.replace('input should', 'it should')}."


_UNION_TAGS = {"human", "model", "scorer", "transformers", "llama_cpp", "openai", "pydocs", "folder"}


def _field_names(adapter: TypeAdapter) -> set[str]:
    schema = adapter.json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name for part in parts for name in part.get("properties", {})}
