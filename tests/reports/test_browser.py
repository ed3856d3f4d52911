"""The page in a real browser: it renders, it reacts, it asks nobody for anything."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

from reports.formats.html import report
from rerankers.interface import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Locator

    from tests.reports.conftest import Folder

pytestmark = pytest.mark.browser

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        yield running
        running.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the accessibility checker axe-core, fetched with npm."""
    folder = tmp_path_factory.mktemp("axe")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, so axe-core cannot be fetched")
    fetched = subprocess.run(
        [npm, "pack", "--silent", "axe-core@4.14.1"], cwd=folder, capture_output=True, check=False
    )
    if fetched.returncode:
        pytest.skip("axe-core cannot be fetched from the npm registry")
    with tarfile.open(next(folder.glob("axe-core-*.tgz"))) as archive:
        archive.extract("package/axe.min.js", folder, filter="data")
    return (folder / "package" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a file as a page; what the page logs, throws or requests fails the test when it ends."""
    contexts: list[Any] = []
    trouble: list[str] = []

    def open_page(path: Path, width: int = 1280, scheme: str = "light") -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: trouble.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
        page.on("dialog", lambda dialog: trouble.append(f"dialog: {dialog.message}"))
        page.on(
            "request", lambda request: None if request.url == path.as_uri() else trouble.append(request.url)
        )
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []


@pytest.fixture
def example(folder: Folder) -> Path:
    """Return a page with every section."""
    texts = {f"q{i}": [f"passage {n} of query {i} " * 12 for n in range(5)] for i in range(6)}
    pool = folder.pool(texts, {query_id: {"d4": 2, "d0": 0} for query_id in texts})
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    folder.cell(
        pool,
        "Slow",
        folder.turned,
        seconds=lambda i: 2 + i / 10,
        stages={"prefill": 0.5, "decode": 1.2},
        usage=lambda: Usage(llm_calls=9, prompt_tokens=900, faults={"missing": 1}),
        reranker="rankgpt",
    )
    folder.cell(
        pool, "Quick", lambda _: [1, 4, 0, 2, 3], seconds=lambda i: 0.2 + i / 100, stages={"forward": 0.15}
    )
    return report([folder.path])


def scroll_through(view: Page | Locator) -> None:
    """Bring every chart and explorer into view, and wait for each: they are drawn when they come near."""
    for drawn, parts in (("data-drawn", "[data-chart]"), ("data-ready", "[data-explorer]")):
        for part in view.locator(parts).all():
            part.scroll_into_view_if_needed()
            expect(part).to_have_attribute(drawn, "true", timeout=20_000)


def test_every_section_renders(opened: Callable[..., Page], example: Path) -> None:
    page = opened(example)
    scroll_through(page)
    headings = page.locator("h2").all_inner_texts()
    assert headings == [
        "Results",
        "Quality against latency",
        "Where the time goes",
        "How latency is distributed",
        "Cost, energy and work",
        "Output faults",
        "How far systems agree",
        "Query by query",
        "Provenance",
    ]
    assert page.locator("[data-chart] svg").count() == 4
    assert "Slow ranks best" in page.locator(".finding").first.inner_text()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_ablations_curves_costs_and_published_figures_show_themselves(
    opened: Callable[..., Page], swept: Folder, axe: str, width: int, scheme: str
) -> None:
    page = opened(report([swept.path]), width, scheme)
    page.get_by_label("Results on").select_option("g2")
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    scroll_through(page.locator("section.group:not([hidden])"))
    scroll_through(page.locator("#ablations"))
    assert page.locator(".lead .where").count() == 3  # a finding for each pool, before any table
    assert page.locator("#ablations h3").all_inner_texts() == ["Window", "Candidate depth", "Encoder"]
    assert page.locator("#ablations [data-chart] svg").count() == 2 * 2  # quality and latency by numbers
    legend = page.locator("#ablations [data-chart]").first.inner_text()
    assert "RankGPT gpt-4o-mini, dl20" in legend.replace("\u2026", "")
    assert "All on BM25" in " ".join(page.locator("#ablations .notes").all_inner_texts())
    assert page.locator(".overview .warning", has_text="dl20: Out of memory failed").count() == 1
    group = page.locator("section.group:visible")
    assert group.locator('th[title="mean cost per query at list price"]').first.inner_text().endswith("$")
    assert "0.0042" in group.locator("table").first.inner_text()
    reproduced = group.get_by_role("row").filter(has_text="0.7311")
    assert reproduced.locator("td").last.inner_text().startswith("no")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate(axe)
    assert [violation["id"] for violation in page.evaluate("axe.run()")["violations"]] == []


def test_a_heading_sorts_its_column_and_says_so(opened: Callable[..., Page], example: Path) -> None:
    page = opened(example)
    table = page.locator("table").first

    def names() -> list[str]:
        return [text.strip() for text in table.locator("tbody th").all_inner_texts()]

    assert names() == ["Slow", "Quick", "First stage"]
    head = table.locator("thead th", has_text="p50")
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert names() == ["Slow", "Quick", "First stage"]
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert names() == ["First stage", "Quick", "Slow"]


def test_the_explorer_shows_rankings_side_by_side_with_grades_and_movement(
    opened: Callable[..., Page], example: Path
) -> None:
    page = opened(example)
    scroll_through(page)
    tally = page.locator('[data-role="tally"]')
    assert "Slow wins 6, ties 0 and loses 0 of 6 queries against First stage" in tally.inner_text()
    page.locator('[data-role="filter"]').fill("q3")
    buttons = page.locator('[data-role="list"] button')
    assert buttons.count() == 1
    buttons.first.press("Enter")
    columns = page.locator(".columns > section")
    assert columns.locator("h4").all_inner_texts() == ["Slow", "First stage"]
    first = columns.nth(0).locator("li").first.inner_text()
    assert "d4" in first
    assert "▲4" in first
    assert "passage 4 of query 3" in first
    page.locator(".choose").get_by_label("Quick").check()
    assert columns.count() == 3
    page.locator('[data-role="system"]').select_option(label="Quick")
    assert "Quick wins 6" in tally.inner_text()


def test_a_long_passage_opens_and_closes(opened: Callable[..., Page], example: Path) -> None:
    page = opened(example)
    scroll_through(page)
    more = page.locator(".more").first
    more.press("Enter")
    assert page.locator(".passage.open").count() == 1
    assert more.get_attribute("aria-expanded") == "true"


def test_one_dataset_is_shown_at_a_time_below_the_overview_of_all(
    opened: Callable[..., Page], folder: Folder
) -> None:
    for dataset in ("easy", "hard"):
        pool = folder.pool({"a": ["x", "y"], "b": ["x", "y"]}, {"a": {"d0": 1}, "b": {"d1": 1}}, dataset)
        folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
        folder.cell(pool, "Turned", folder.turned, stages={"forward": 0.05})
    page = opened(report([folder.path]), 390)
    scroll_through(page.locator("section.group:not([hidden])"))
    assert page.locator(".overview thead tr").last.inner_text().split() == [
        "System",
        "easy",
        "hard",
        "average",
    ]
    eyebrow = page.locator("section.group:visible .eyebrow")
    assert eyebrow.all_inner_texts() == [
        "easy, BM25 (k1 0.9, b 0.4) top 2 · 2 queries · latency mode · Example CPU (cores 2)"
    ]
    page.get_by_label("Results on").select_option("g2")
    assert "hard, BM25" in eyebrow.inner_text()
    scroll_through(page.locator("section.group:not([hidden])"))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_to_object_to(
    opened: Callable[..., Page], example: Path, axe: str, scheme: str
) -> None:
    page = opened(example, scheme=scheme)
    scroll_through(page)
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    page.evaluate(axe)  # evaluated through the debugger, which the page's policy does not govern
    audit = page.evaluate("axe.run()")
    assert len(audit["passes"]) > 20
    assert [violation["id"] for violation in audit["violations"]] == []


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_never_scrolls_sideways(
    opened: Callable[..., Page], example: Path, width: int, scheme: str
) -> None:
    page = opened(example, width, scheme)
    scroll_through(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_dark_follows_the_system_and_the_switch(opened: Callable[..., Page], example: Path) -> None:
    page = opened(example, scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate(colour) != dark


def test_hostile_texts_run_nothing_and_stay_readable(opened: Callable[..., Page], hostile: Folder) -> None:
    page = opened(report([hostile.path]), 390)
    scroll_through(page)
    page.locator('[data-role="order"]').select_option("file")
    page.locator('[data-role="list"] button').first.click()
    assert page.locator(".detail h3").inner_text() == "<script>alert(1)</script> q0"
    assert page.locator(".columns img, .columns script").count() == 0
    assert page.get_by_text("</script><img src=x onerror=alert(1)>").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="poppler's pdftotext is not installed")
def test_charts_are_printed_though_nobody_ever_scrolled_to_them(
    opened: Callable[..., Page], example: Path, tmp_path: Path
) -> None:
    page = opened(example)
    page.evaluate(
        "addEventListener('beforeprint', () => Promise.resolve().then(() => { window.printing = true; }))"
    )
    page.pdf(path=tmp_path / "page.pdf")
    assert page.evaluate("window.printing")
    assert page.locator("[data-chart] svg").count() == page.locator("[data-chart]").count() == 4
    text = subprocess.run(
        ["pdftotext", tmp_path / "page.pdf", "-"], capture_output=True, text=True, check=True
    ).stdout
    for drawn in ("Median latency per query", "Share of the mean total", "Latency per query (ms, log scale)"):
        assert drawn in text
