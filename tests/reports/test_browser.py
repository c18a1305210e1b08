"""Every page of a study in a real browser: nothing fails or is fetched, charts live, texts are found."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from lib import paths

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not on PATH")
WIDTHS = {"desk": 1280, "phone": 390}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page with what went wrong in it and what it asked for outside itself."""

    def __init__(self, page: Page, file: Path, fragment: str = "") -> None:
        self.page = page
        self.trouble: list[str] = []
        self.outside: list[str] = []
        page.on(
            "console", lambda message: self.trouble.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("request", lambda request: self._asked(request.url))
        page.goto(file.as_uri() + fragment)
        page.wait_for_function(
            "[...document.querySelectorAll('figure.chart .view')].every((view) => view.dataset.live)"
        )

    def _asked(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")):
            self.outside.append(url)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": WIDTHS["desk"], "height": 900})
    yield page
    page.close()


def pages(root: Path) -> list[Path]:
    return sorted((root / "rendered").rglob("*.html"))


def test_every_page_loads_whole_with_live_charts_and_asks_for_nothing(finished_study, page, tmp_path):
    found = pages(finished_study)
    assert len(found) >= 12
    charts = 0
    for file in found:
        assert file.stat().st_size < 3_000_000, file
        visit = Visit(page, file)
        assert not visit.trouble, (file, visit.trouble)
        assert not visit.outside, (file, visit.outside)
        assert page.evaluate("window.obeyed") is None
        assert page.locator("b", has_text="bold").count() == 0
        for chart in page.locator("figure.chart").all():
            marks = chart.locator(".mark-group path, .mark-group rect, .mark-group line, .mark-group text")
            assert marks.count() > 5
            assert len(chart.get_attribute("aria-label") or "") > 20
            charts += 1
        for width in WIDTHS.values():
            page.set_viewport_size({"width": width, "height": 900})
            # Wide tables and charts scroll in a box of their own, never the page.
            assert page.evaluate("document.documentElement.scrollWidth") <= width + 1, (file, width)
        page.set_viewport_size({"width": max(WIDTHS.values()), "height": 900})
        hidden = "tables => tables.filter(t => t.scrollWidth > t.clientWidth + 1).map(t => t.innerText)"
        assert page.eval_on_selector_all(".output_markdown table", hidden) == [], file
        shot = tmp_path / "shot.png"
        page.screenshot(path=shot, full_page=True)
        assert shot.stat().st_size > 10_000
    assert charts >= 40


def test_every_link_of_the_front_page_leads_somewhere(finished_study, page):
    Visit(page, paths.study_page("demo"))
    links = [link.get_attribute("href") for link in page.locator("a").all()]
    assert len(links) > 10
    for link in links:
        assert (paths.study_page("demo").parent / link.split("#")[0]).exists(), link


def test_pointing_at_a_chart_tells_its_numbers(finished_study, page):
    Visit(page, paths.study_page("demo"))
    page.locator("figure.chart .mark-symbol path").first.hover()
    tip = page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    assert "effect" in tip.inner_text()


def test_figures_have_names_for_those_who_cannot_see_them(finished_study, page):
    Visit(page, paths.rendered_comparison("demo", "all").with_suffix(".html"))
    names = [figure.get_attribute("aria-label") or "" for figure in page.get_by_role("group").all()]
    assert any(name.startswith("Densities over texts") for name in names)
    assert any("Kolmogorov–Smirnov" in name for name in names)


def test_texts_are_searched_ordered_and_linked_to(finished_study, page):
    visit = Visit(page, paths.texts_page("demo", "notes"), "#files")
    page.wait_for_selector("body[data-ready]")
    articles = page.locator("article")
    assert articles.count() == 10
    assert page.locator("article", has_text="About trees").locator("section").count() == 3
    written = page.locator("article", has_text="About trees").locator(".tokens").first.inner_text()
    assert "<script>window.obeyed = 1</script>" in written
    assert "🙂" in written
    page.locator("#search").fill("window.obeyed")
    assert articles.count() == 1
    page.locator("#search").fill("no such words")
    assert "nothing found" in page.locator("#count").inner_text()
    page.locator("#search").fill("")
    page.locator("#order").select_option("-uid_variance")
    page.locator("#source").select_option("tiny-base")
    variances = page.evaluate(
        "[...document.querySelectorAll('article')].map((a) => a.querySelectorAll('.figures')[1]?.textContent)"
        ".map((told) => parseFloat(told?.match(/UID variance ([0-9.]+)/)?.[1]))"
    )
    there = [value for value in variances if value == value and value is not None]
    assert len(there) >= 3
    assert there == sorted(there, reverse=True)
    token = page.locator(".tokens span").nth(3)
    assert " bits, rank " in token.get_attribute("title")
    assert page.evaluate("window.obeyed") is None
    assert not visit.trouble
    assert not visit.outside


def test_a_thousand_texts_stay_quick(finished_study, page, tmp_path):
    from lib.reports import texts_page as text_page

    tokens = 100
    text = " word" * tokens
    one = {"text": text, "lengths": [5] * tokens, "bits": [i % 160 for i in range(tokens)]}
    one |= {"ranks": [i * 37 % 4096 for i in range(tokens)], "status": "ok"}
    metrics = dict.fromkeys(text_page.METRICS, 1.0)
    counts = {"a": 5, "b": 1}
    documents = [
        {
            "doc_id": f"d{i}",
            "title": "",
            "prompt": f"Opening {i}",
            "texts": {
                name: [{**one, "sample": k, "metrics": metrics} for k in range(count)]
                for name, count in counts.items()
            },
        }
        for i in range(500)
    ]
    file = tmp_path / "texts.html"
    file.write_text(text_page.page_of("many", "a scorer", ["a", "b"], documents, left_out=0))
    assert file.stat().st_size < 3_000_000
    Visit(page, file)
    page.wait_for_selector("body[data-ready]")
    page.locator("#search").fill("Opening 499")
    assert page.locator("article").count() == 1
    assert page.evaluate("document.querySelectorAll('*').length") < 20_000
    headings = page.locator("article h3")
    assert headings.all_inner_texts() == ["a (1 of 5)", "b"]
    page.locator("#sample").select_option("3")
    assert headings.all_inner_texts() == ["a (4 of 5)", "b"]  # people have one text to an opening
    page.goto(f"{file.as_uri()}#d77~2")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.locator("#d77 h3").all_inner_texts() == ["a (3 of 5)", "b"]
