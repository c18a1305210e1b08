"""What is taken together."""

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from lib.batches import batches


@given(st.lists(st.integers(0, 9)), st.integers(1, 20))
def test_nothing_is_lost_and_only_the_last_batch_is_small(sizes, enough):
    found = list(batches(sizes, int, enough))
    assert list(chain(*found)) == sizes
    assert all(sum(batch) >= enough for batch in found[:-1])
    assert all(sum(batch[:-1]) < enough and batch for batch in found)
