"""A profile says where a study's jobs run: `profiles/<name>/config.yaml`, which is Snakemake's own file.

Its `config` says what a node offers one job at most: `processors`, `mem_mb` and `gpus`; and what comes
`before` each job's command, if something has to be loaded or entered.
"""

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib import paths
from lib.errors import StudyError, nearest
from lib.params import yaml_files

PROFILES = Path(__file__).parents[2] / "profiles"
LEAST = {"processors": 1, "mem_mb": 1, "gpus": 0}  # what `config` names of a node


@dataclass(frozen=True)
class Profile:
    """The folder of a profile, and what its `config` hands to the Snakefile."""

    folder: Path
    config: dict[str, int]
    slurm: bool
    before: str = ""


def load_profile(name: str) -> Profile:
    """The profile `name` of the project or, if that has none of this name, of this repository.

    Raises StudyError if there is none, if its file is not one, or if its cluster cannot be reached from here.
    """
    folders = {
        file.parent.name: file.parent
        for root in (PROFILES, paths.root() / "profiles")
        for file in root.glob("*/config.yaml")
    }
    if name not in folders:
        raise StudyError(
            f"There is no profile {name!r} (profiles/{name}/config.yaml); {nearest(name, folders)}"
        )
    file = folders[name] / "config.yaml"
    declared = yaml_files.load(file)
    node = _section(file, declared, "config")
    for key, least in LEAST.items():
        if type(node.get(key)) is not int or node[key] < least:
            raise StudyError(
                f"{paths.shown(file)} must say under `config` what a node offers a job: "
                f"`{key}`, a whole number from {least} on."
            )
    if declared.get("executor") == "slurm":
        _check_slurm(paths.shown(file), node, _section(file, declared, "default-resources"))
    if not isinstance(node.get("before", ""), str):
        raise StudyError(
            f"{paths.shown(file)} must say under `config`, as text, what comes `before` a command."
        )
    kept = {key: node[key] for key in LEAST}
    return Profile(folders[name], kept, declared.get("executor") == "slurm", node.get("before", ""))


def _section(file: Path, declared: object, name: str) -> dict[str, Any]:
    """The mapping `name` of what a file declared; empty if it has none."""
    found = (declared.get(name) or {}) if isinstance(declared, dict) else None
    if not isinstance(found, dict):
        raise StudyError(f"{paths.shown(file)} must be settings by name, and so must `{name}` in it.")
    return found


def _check_slurm(file: str, node: dict[str, int], defaults: dict[str, Any]) -> None:
    """Raises StudyError if Slurm cannot take jobs as the profile `file` describes them."""
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        raise StudyError(
            "Slurm needs the package snakemake-executor-plugin-slurm; `make cluster` installs it."
        )
    if shutil.which("sbatch") is None:
        raise StudyError(
            f"{file} hands jobs to Slurm, but there is no `sbatch` here; run it on a login node."
        )
    said = _said("sinfo", "--noheader", "--format=%R")
    partitions = said.stdout.split()
    if said.returncode or not partitions:
        raise StudyError(
            f"Slurm does not answer here ({_last(said.stderr)}); run it where `sinfo` lists partitions."
        )
    partition = defaults.get("slurm_partition")
    if partition is not None and partition not in partitions:
        known = nearest(str(partition), partitions)
        raise StudyError(f"{file} names the partition {partition!r}, which this Slurm does not have; {known}")
    asked = [f"--cpus-per-task={node['processors']}", f"--mem={node['mem_mb']}"]
    model = f"{defaults['gpu_model']}:" if defaults.get("gpu_model") else ""
    asked += [f"--gpus={model}{node['gpus']}"] if node["gpus"] else []
    asked += [f"--{name}={value}" for name, value in _options(defaults)]
    said = _said("sbatch", "--test-only", *asked, "--wrap=true")
    if said.returncode:
        raise StudyError(
            f"Slurm has no node for a job of {' '.join(asked)} ({_last(said.stderr)}); correct {file}."
        )


def _options(defaults: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The options of sbatch that the resources of a profile stand for."""
    for name, resource in (
        ("partition", "slurm_partition"),
        ("account", "slurm_account"),
        ("constraint", "constraint"),
        ("qos", "qos"),
        ("time", "runtime"),
    ):
        if defaults.get(resource) is not None:
            yield name, defaults[resource]


def _said(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _last(said: str) -> str:
    """The last line of what a program complained of."""
    return said.strip().splitlines()[-1] if said.strip() else "without a word"
