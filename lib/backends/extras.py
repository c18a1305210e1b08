"""Packages that only some backends need, and how to install them."""

import importlib
from types import ModuleType

from lib.errors import StudyError


def need(module: str, extra: str, what: str) -> ModuleType:
    """Import `module`, of the optional dependencies `extra`. Raises StudyError if it is not there."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        command = f'pip install -c requirements.lock -c requirements-extras.lock -e ".[{extra}]"'
        raise StudyError(
            f"{what} need the package {error.name or module!r}, which is not installed; "
            f"install it with `make extras` or `{command}`."
        ) from error
