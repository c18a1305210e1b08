"""Quarto's options at the head of a notebook's cell: `#| label: fig-forest`, one a line."""

from typing import Any

import yaml
from nbformat import NotebookNode

MARK = "#| "


def options(cell: NotebookNode) -> dict[str, Any]:
    """The options of `cell`; none where it has none."""
    lines = [line.removeprefix(MARK) for line in cell.source.splitlines() if line.startswith(MARK)]
    return yaml.safe_load("\n".join(lines)) or {} if lines else {}


def code(cell: NotebookNode) -> str:
    """The source of `cell` without its options."""
    return "\n".join(line for line in cell.source.splitlines() if not line.startswith(MARK)).strip()
