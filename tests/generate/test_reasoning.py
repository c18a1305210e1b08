"""Reasoning is split off a text, and only at its beginning."""

import pytest

from lib.generate.reasoning import split_reasoning


@pytest.mark.parametrize(
    ("text", "sent", "expected"),
    [
        ("<think>Hm.</think>\n\nThe answer.", "", ("Hm.", "The answer.")),
        ("\n<thinking>\nHm.\n</thinking> Yes.", "", ("Hm.", "Yes.")),
        ("<think>\n\n</think>\n\nThe answer.", "", (None, "The answer.")),
        ("Hm, yes.</think>The answer.", "…<|assistant|><think>\n", ("Hm, yes.", "The answer.")),
        ("<think>cut off in the mid", "", ("cut off in the mid", "")),
        ("cut off in the mid", "<think>", ("cut off in the mid", "")),
        ("The tag <think>is spoken of</think>.", "", (None, "The tag <think>is spoken of</think>.")),
        ("plain", "plain", (None, "plain")),
    ],
)
def test_reasoning_is_split_off(text, sent, expected):
    assert split_reasoning(text, sent) == expected
