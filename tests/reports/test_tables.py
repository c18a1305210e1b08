"""Tables of notebooks: a bar in a name or a cell stays a bar, and its row stays whole."""

import re

import pandas as pd
from nbconvert.filters import markdown2html

from lib.reports import notebook


def test_a_bar_in_a_name_or_a_cell_does_not_part_the_table():
    rows = pd.DataFrame({"|d|, published": [1.5, 2.5], "token": ["|", "a|b"]})
    page = markdown2html(notebook.table(rows, "Effects").data)
    assert re.findall(r"<th[^>]*>(.*?)</th>", page) == ["|d|, published", "token"]
    assert re.findall(r"<td[^>]*>(.*?)</td>", page) == ["1.500", "|", "2.500", "a|b"]
