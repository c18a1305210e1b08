"""A profile says where a study's jobs run: `profiles/<name>/config.yaml`, which is Snakemake's own file.

Its `config` says what a node offers one job at most: `processors`, `mem_mb` and `gpus`.
"""

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lib import paths
from lib.errors import StudyError, nearest

PROFILES = Path(__file__).parents[2] / "profiles"
LEAST = {"processors": 1, "mem_mb": 1, "gpus": 0}  # what `config` names of a node


@dataclass(frozen=True)
class Profile:
    """The folder of a profile, and what its `config` hands to the Snakefile."""

    folder: Path
    config: dict[str, int]


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
    try:
        declared = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise StudyError(
            f"{paths.shown(file)} is not YAML ({' '.join(str(error).split())}); correct it."
        ) from None
    node = _section(file, declared, "config")
    for key, least in LEAST.items():
        if type(node.get(key)) is not int or node[key] < least:
            raise StudyError(
                f"{paths.shown(file)} must say under `config` what a node offers a job: "
                f"`{key}`, a whole number from {least} on."
            )
    if declared.get("executor") == "slurm":
        _check_slurm(paths.shown(file), node, _section(file, declared, "default-resources"))
    return Profile(folders[name], {key: node[key] for key in LEAST})


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
    asked = subprocess.run(
        ["sinfo", "--noheader", "--format=%P %G"], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        raise StudyError(
            f"Slurm does not answer ({' '.join(asked.stderr.split())}); run it where `sinfo` lists nodes."
        )
    lines = [line.split(maxsplit=1) for line in asked.stdout.splitlines()]
    offered = [(name.rstrip("*"), name.endswith("*"), generic) for name, generic in lines]
    partition = defaults.get("slurm_partition")
    if partition is not None and partition not in {name for name, *_ in offered}:
        known = nearest(str(partition), {name for name, *_ in offered})
        raise StudyError(f"{file} names the partition {partition!r}, which this Slurm does not have; {known}")
    there = [generic for name, default, generic in offered if (name == partition if partition else default)]
    if node["gpus"] and there and not any("gpu" in generic for generic in there):
        raise StudyError(
            f"{file} offers GPUs, but no node of the partition {partition or 'that is the default'} has one; "
            f"name another `slurm_partition`, or set `gpus: 0`."
        )
