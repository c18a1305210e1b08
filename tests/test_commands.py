"""How commands end where nothing can be written: a sentence for each thing, exit status 1, no traceback."""

import subprocess
import sys

import pytest

from lib.commands import a_command, about
from lib.errors import StudyError

CODE = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
sys.argv = {argv!r}
runpy.run_module(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("lib.datasets", ["notes"]),
        ("lib.running.declare", ["mine", "--folder", "notes"]),
        ("lib.running.register", ["small"]),
        ("lib.running.study", ["small"]),
        ("lib.running.make", ["texts", "-p", "model", "human", "-p", "study", "small"]),
    ],
)
def test_a_command_that_can_write_nothing_says_so(small_study, module, arguments):
    command = [sys.executable, "-B", "-c", CODE.format(argv=[module, *arguments])]
    done = subprocess.run(command, cwd=small_study, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    first, *more = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert "file too large" in first
    assert "make room" in first
    assert all(line.startswith("  to run just this again: ") for line in more)
    assert not [file for file in (small_study / "params").rglob("mine*") if file.stat().st_size == 0]


def test_each_sentence_is_a_line_and_what_belongs_to_it_stays_below(capsys):
    @a_command
    def fails() -> int:
        raise StudyError("One.\n  of it\nTwo.")

    assert fails() == 1
    assert capsys.readouterr().err == "error: One.\n  of it\nerror: Two.\n"


def test_what_the_system_refuses_names_the_file_and_the_way_out():
    said = about(PermissionError(13, "Permission denied", "/x/y"))
    assert said == "permission denied (/x/y); give yourself the permission, or work where you have it"
    assert about(OSError("odd")).startswith("odd; ")
