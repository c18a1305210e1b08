"""What one execution of a notebook is about: parameters given, files read, everything resolved."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from lib import paths
from lib.errors import StudyError, nearest, shortened
from lib.params import (
    Dataset,
    Human,
    Model,
    Scorer,
    Source,
    Study,
    load_dataset,
    load_scorer,
    load_source,
    load_study,
    validated,
)

# Every parameter of the notebooks, besides `model`, and the field that it overrides.
SAMPLING = ("generate", "temperature", "top_p", "max_tokens", "max_retries")
COMMON = ("model", "study", "dataset", "verbose")
PARAMETERS: dict[str, tuple[str, ...]] = {
    "01_generate": (*COMMON, *SAMPLING, "system_prompt", "regenerate", "human_dir"),
    "02_surprisal": (*COMMON, "scorer", "regenerate"),
    "03_uid": (*COMMON, "scorer", "regenerate"),
    "04_compare": ("comparison", *COMMON, "scorer"),
}
FOR_MODELS = ("temperature", "top_p", "max_tokens", "max_retries", "system_prompt")
SWITCHES = ("verbose", "regenerate")
READS_ONLY = "STUDY_READS_ONLY"  # in the environment of a notebook whose data are complete


@dataclass(frozen=True)
class Run:
    """One source × dataset × scorer of a study (steps 01 to 03)."""

    source_name: str
    source: Source
    study_name: str
    study: Study
    dataset_name: str
    dataset: Dataset
    scorer_name: str
    scorer: Scorer
    regenerate: bool = False
    verbose: bool = False
    overridden: dict[str, Any] = field(default_factory=dict)
    # What failed gets another chance when a step is run, not when the study's report of it is.
    reads_only: bool = field(default_factory=lambda: READS_ONLY in os.environ)

    @property
    def samples(self) -> int:
        """How many texts the source writes per prompt; without chance in it, all would be the same."""
        by_chance = isinstance(self.source, Model) and self.source.sampling.temperature > 0
        return self.study.samples if by_chance and not self.study.imported else 1


def check_parameters(step: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of `given` that are not None. Raises StudyError for an unknown one."""
    allowed = PARAMETERS[step]
    for name in given:
        if name not in allowed:
            raise StudyError(f"{step} has no parameter {name!r}; {nearest(name, allowed)}")
    kept = {name: _switch(name, value) for name, value in given.items() if value is not None}
    for name, value in kept.items():
        if name in SWITCHES and not isinstance(value, bool):
            raise StudyError(f"The parameter {name!r} is {shortened(value)}, but must be true or false.")
        if name in ("model", "study", "dataset", "scorer", "comparison") and not isinstance(value, str):
            raise StudyError(
                f"The parameter {name!r} is {shortened(value)}, but must be a name in text; "
                f"papermill keeps text as it is with `-r {name} {shortened(value)}`."
            )
    return kept


def _switch(name: str, value: Any) -> Any:
    """`value` as it is, but for a switch that came as a word: papermill leaves the `true` of a shell one."""
    if name in SWITCHES and isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), value)
    return value


def resolve(step: str, given: Mapping[str, Any]) -> Run:
    """The run that the parameters `given` to the notebook `step` describe.

    Raises StudyError, in one sentence, for whatever does not exist or is not allowed.
    """
    values = check_parameters(step, given)
    source_name = values.get("model", "human")
    source = load_source(source_name)
    study_name = values.get("study", source.study)
    study = load_study(study_name)
    dataset_name = values.get("dataset", study.datasets[0])
    scorer_name = values.get("scorer", study.scorers[0])
    return Run(
        source_name=source_name,
        source=overridden(source, values),
        study_name=study_name,
        study=study,
        dataset_name=dataset_name,
        dataset=load_dataset(dataset_name),
        scorer_name=scorer_name,
        scorer=load_scorer(scorer_name),
        regenerate=values.get("regenerate", False),
        verbose=values.get("verbose", False),
        overridden={k: v for k, v in values.items() if k not in ("model", "study", "dataset", "scorer")},
    )


def resolve_comparison(given: Mapping[str, Any]) -> tuple[str, Study, str]:
    """The name of the study, the study, and the comparison that the parameters of 04_compare are about.

    A `model` is compared with people; else it is the `comparison` of that name, or the study's first.
    Raises StudyError, in one sentence, for whatever does not exist.
    """
    values = check_parameters("04_compare", given)
    model = values.get("model")
    if model and "comparison" in values:
        raise StudyError(
            "04_compare takes a `model`, which it compares with people, or a `comparison`, not both."
        )
    study_name = values.get("study", load_source(model).study if model else "demo")
    study = load_study(study_name)
    if model:
        return study_name, *study.against_people(model)
    name = values.get("comparison", study.main_comparison)
    if name is None:
        raise StudyError(f"The study {study_name!r} declares no comparison; name one under `comparisons`.")
    return study_name, study, name


def overridden(source: Source, values: Mapping[str, Any]) -> Source:
    """`source` with the sampling settings, system prompt or folder that were given as parameters."""
    content = source.model_dump(by_alias=True)
    for name in values:
        if name in FOR_MODELS and not isinstance(source, Model):
            raise StudyError(f"The parameter {name!r} is for models; people's texts have no such setting.")
        if name == "human_dir" and not isinstance(source, Human):
            raise StudyError(f"The parameter {name!r} is for human sources; this one writes its own texts.")
    if isinstance(source, Model):
        content["sampling"] |= {name: values[name] for name in SAMPLING if name in values}
        if "system_prompt" in values:
            content["system_prompt"] = values["system_prompt"]
    else:
        content |= {name: values[name] for name in ("human_dir", "generate") if name in values}
    return validated(TypeAdapter(type(source)), content, "parameters")


def command(step: str, run: Run) -> str:
    """The shell command that makes what `step` makes for `run`."""
    names = {"model": run.source_name, "study": run.study_name, "dataset": run.dataset_name}
    if step != "01_generate":
        names["scorer"] = run.scorer_name
    given = " ".join(f"-p {name} {shlex.quote(value)}" for name, value in names.items())
    return f"papermill {shlex.quote(os.path.relpath(paths.notebook(step)))} OUT.ipynb {given}"
