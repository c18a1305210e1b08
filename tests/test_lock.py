"""What is pinned installs on the oldest Python that the README promises, whichever runs these tests."""

import re
import tomllib
from importlib import metadata

import pytest
from packaging.specifiers import SpecifierSet

from tests.conftest import REPOSITORY

PROMISED = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["requires-python"]
OLDEST = f"{PROMISED.removeprefix('>=')}.0"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-extras.lock"])
def test_each_pinned_package_takes_the_oldest_python(lock):
    pins = re.findall(r"^([\w.-]+)==(\S+)", (REPOSITORY / lock).read_text(), flags=re.M)
    known = {name: found for name, version in pins if (found := _needed(name, version)) is not None}
    if lock == "requirements.lock":
        assert len(known) > 100
    assert {name: needed for name, needed in known.items() if OLDEST not in SpecifierSet(needed)} == {}


def _needed(name: str, version: str) -> str | None:
    """What Python a package asks for; None if it is not installed, or in another version."""
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    return found.get("Requires-Python", "") if found["Version"] == version.split(";")[0] else None
