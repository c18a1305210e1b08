"""The short form of `killed_steps.py`."""

import subprocess
import sys

from tests.conftest import REPOSITORY


def test_steps_that_are_killed_end_with_the_same_bytes():
    command = [sys.executable, "-m", "tests.campaign.killed_steps", "--kills", "2"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kills" in done.stdout
