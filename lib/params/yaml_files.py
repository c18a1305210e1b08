"""YAML as people write it: whatever is wrong with a file is one sentence, and no file is a bomb."""

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from lib import paths
from lib.errors import StudyError

MOST_BYTES = 256 * 1024
MOST_NODES = 20_000  # with each alias counted as what it stands for


def load(path: Path) -> Any:
    """What the YAML file `path` holds.

    Raises StudyError for what is no file, may not be read, is not UTF-8 or not YAML, is too large, or
    gives a key twice, of which YAML would keep the last without a word.
    """
    shown = paths.shown(path)
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise StudyError(f"{shown} is a folder, and a file of that name is wanted; move it away.")
        if size > MOST_BYTES:
            raise StudyError(f"{shown} has {size:,} bytes, more than any declaration needs; shorten it.")
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise StudyError(f"{shown} is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise StudyError(f"{shown} cannot be read ({error.strerror or error}); see to it.") from error
    try:
        return deepcopy(_parsed(content))
    except RecursionError:
        raise StudyError(f"{shown} is nested too deeply to be a declaration; flatten it.") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise StudyError(f"{shown} is not valid YAML{line}: {problem}.") from error


@lru_cache(maxsize=256)
def _parsed(content: str) -> Any:
    """A study asks for the same files hundreds of times; `content` is read anew each time."""
    return yaml.load(content, _Loader)


class _Loader(yaml.SafeLoader):
    """Plain values only, each key once, and as many values as a declaration may have."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            self._count(node, {})
        return node

    def _count(self, node: yaml.Node, known: dict[int, int | None]) -> int:
        """The nodes below `node`, an alias as often as it is used."""
        if id(node) in known:
            count = known[id(node)]
            if count is None:
                raise _problem(node, "a value that contains itself")
            return count
        known[id(node)] = None
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
        count = 1
        for child in _children(node):
            count += self._count(child, known)
            if count > MOST_NODES:
                raise _problem(node, f"more than {MOST_NODES:,} values")
        known[id(node)] = count
        return count

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:  # 2026-02-31, a number of 5,000 digits
            raise _problem(node, f"no value ({str(error).splitlines()[0]})") from None


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _problem(key, "a key that is no single word")
        if key.value in seen:
            raise _problem(key, f"the key `{key.value}` a second time; keep one")
        seen.add(key.value)


def _children(node: yaml.Node) -> list[yaml.Node]:
    match node:
        case yaml.SequenceNode():
            return node.value
        case yaml.MappingNode():
            return [each for pair in node.value for each in pair]
        case _:
            return []


def _problem(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
