"""The shaded texts: every token with its bits, and nothing in a text that becomes markup."""

import re
from html import unescape

import pandas as pd

from lib.reports.shaded import DARKEST, shaded


def view(text, tokens, prompt="Title\n\nOpening."):
    texts = pd.DataFrame([{"doc_id": "a<b", "sample": 0, "prompt": prompt, "text": text}])
    rows, end = [], text.index(tokens[0][0])
    for token, bits, rank in tokens:
        rows.append(
            {
                "doc_id": "a<b",
                "sample": 0,
                "token": token,
                "start": end,
                "end": end + len(token),
                "surprisal": bits,
                "rank": rank,
            }
        )
        end += len(token)
    return shaded(texts, pd.DataFrame(rows), texts).data


def plain(html):
    body = re.search(r'<div class="shaded">(.*)</div></section>', html, re.S)[1]
    return unescape(re.sub(r"<[^>]*>", "", body))


def test_the_text_is_whole_and_each_token_has_its_bits_and_rank():
    html = view("First one two.", [(" one", 3.0, 4), (" two", 40.0, 801), (".", 0.5, None)])
    assert plain(html) == "Title\n\nOpening.First one two."
    titles = [unescape(title) for title in re.findall(r'<span title="([^"]*)"', html)]
    assert titles == [
        "' one': 3.00 bits, rank 4",
        "' two': 40.00 bits, rank 801",
        "'.': 0.50 bits",
    ]
    depths = [float(found) for found in re.findall(r'title="[^"]*" style="[^"]*, ([\d.]+)\)"', html)]
    assert depths == [round(0.75 * 3 / DARKEST, 2), 0.75, 0.02]


def test_markup_in_a_text_or_prompt_does_nothing():
    nasty = '<script>alert(1)</script><img src=x onerror="alert(2)">]]>{{x}} & "q"'
    html = view(nasty, [(nasty[:20], 1.0, 1), (nasty[20:], 2.0, 3)], prompt="<b>Title</b>")
    assert "<script" not in html
    assert "<img" not in html
    assert plain(html) == "<b>Title</b>" + nasty
