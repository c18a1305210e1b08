"""What a study fixed before its data: written once, committed, and held against what was done.

`params/registered/<study>.yaml` has the hypotheses with their margins, the sources, datasets, scorers and
samples as they were declared on a day, their hash, and the versions of what decides the numbers.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from lib import paths, store
from lib.compare import named
from lib.errors import StudyError
from lib.params import Study, load_dataset, load_scorer, load_source, load_study

PACKAGES = ("numpy", "scipy", "statsmodels", "torch", "transformers")
KINDS = {"hypotheses": "hypothesis", "sources": "source", "datasets": "dataset", "scorers": "scorer"}


@dataclass(frozen=True)
class Registration:
    """How a study stands to what was registered: `on` is None where nothing was.

    `changed` names what is no longer as it was; `after_data` whether texts had been measured by then.
    """

    on: date | None = None
    changed: tuple[str, ...] = ()
    after_data: bool = False

    def __str__(self) -> str:
        if self.on is None:
            return "not registered"
        seen = ", after texts had been measured" if self.after_data else ""
        if not self.changed:
            return f"as registered on {self.on}{seen}"
        return f"registered on {self.on}{seen}; changed since: {', '.join(self.changed)}"


def registration(study_name: str) -> Registration:
    """How the study stands to its registration. Raises StudyError for a file that is broken."""
    path = paths.registered(study_name)
    if not path.exists():
        return Registration()
    try:
        found = yaml.safe_load(path.read_text())
        fixed, sealed, on = found["fixed"], found["hash"], date.fromisoformat(str(found["on"]))
        after = bool(found["after_data"])
    except (yaml.YAMLError, OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(
            f"{paths.shown(path)} is no registration; get it back from version control."
        ) from error
    if sealed != _hash(fixed):
        raise StudyError(
            f"{paths.shown(path)} was edited after it was written; get it back from version control."
        )
    return Registration(on, tuple(_changes(fixed, declared(study_name))), after)


def register(study_name: str) -> Path:
    """Write what the study declares today to `paths.registered`; return the file.

    Raises StudyError for a study without hypotheses, and for one that is registered already.
    """
    path = paths.registered(study_name)
    before = registration(study_name)
    if before.on is not None:
        raise StudyError(
            f"The study {study_name!r} is registered already ({before}); "
            f"to register it anew, remove {paths.shown(path)}."
        )
    study = load_study(study_name)
    named.check(study)
    if not study.contrasts():
        raise StudyError(f"The study {study_name!r} declares no hypothesis; write them under `hypotheses`.")
    fixed = declared(study_name)
    content = {
        "study": study_name,
        "on": date.today().isoformat(),
        "hash": _hash(fixed),
        "after_data": any(file.exists() for file in _measured(study)),
        "versions": {package: _version(package) for package in PACKAGES},
        "fixed": fixed,
    }
    store.write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110))
    return path


def declared(study_name: str) -> dict[str, Any]:
    """What decides the answers of the study: plain values, as a file keeps them."""
    study = load_study(study_name)
    content = {
        "hypotheses": {
            contrast.name: contrast.declared.model_dump()
            | {"of": dict(contrast.of), "against": dict(contrast.against)}
            for contrast in study.contrasts()
        },
        "samples": study.samples,
        "sources": {name: load_source(name).model_dump(by_alias=True) for name in study.sources},
        "datasets": {name: load_dataset(name).model_dump() for name in study.datasets},
        # In their order: the first decides.
        "scorers": {name: load_scorer(name).model_dump() for name in study.scorers},
        "order of scorers": list(study.scorers),
        "measures": study.uid.model_dump(),
    }
    return dict(json.loads(json.dumps(content)))


def _hash(fixed: Mapping[str, Any]) -> str:
    return store.digest([json.dumps(fixed, sort_keys=True)])


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What differs, named as a reader knows it."""
    for part in dict.fromkeys((*before, *now)):
        old, new = before.get(part), now.get(part)
        if old == new:
            continue
        if part in KINDS and isinstance(old, dict) and isinstance(new, dict):
            for name in dict.fromkeys((*old, *new)):
                if old.get(name) != new.get(name):
                    how = " added" if name not in old else " taken out" if name not in new else ""
                    yield f"{KINDS[part]} {name}{how}"
        else:
            yield f"{part} ({old} → {new})" if part == "samples" else part


def _measured(study: Study) -> Iterator[Path]:
    for scorer in study.scorers:
        for dataset in study.datasets:
            yield from (paths.uid(scorer, dataset, source) for source in study.sources)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
