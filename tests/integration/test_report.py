"""`hydindex report` writes one page that loads nothing else and shows all pairs."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Home, Library, Serve

from hydindex.standin.server import StandIn

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=http://x/ onerror=alert(1)> $data"
)
CHROMIUM = shutil.which("chromium")


def report(home: Home, *words: str) -> Path:
    path = home.folder / "report.html"
    assert home.run("report", "--output", str(path), *words).exit_code == 0
    return path


def embedded(page: str, element_id: str) -> Any:
    found = re.search(
        rf'<script type="application/json" id="{element_id}">(.*?)</script>', page, re.S
    )
    assert found is not None
    return json.loads(found[1])


def replace_pairs(home: Home, number: int) -> None:
    """Replace the pairs of the index by groups of three files, all alike."""
    files = number + number % 3
    home.sql("DELETE FROM pair")
    home.sql(
        f"WITH RECURSIVE n(i) AS (SELECT 100001 UNION ALL SELECT i + 1 FROM n "
        f"WHERE i < 100000 + {files}) INSERT INTO file (id, sha256, mime, width_px, height_px, "
        "duration_ms, size_bytes, state, average_hash, checked_at) "
        "SELECT i, randomblob(32), 'video/mp4', 640, 480, i, i, 'prepared', 0, '' FROM n"
    )
    home.sql(
        "INSERT INTO thumbnail (file_id, picture) SELECT id, "
        "(SELECT picture FROM thumbnail LIMIT 1) FROM file WHERE id > 100000"
    )
    home.sql(
        "INSERT INTO pair (low_id, high_id, score, matches, state, state_at, features) "
        "SELECT low.id, high.id, 0.6 + (low.id % 1000) / 2500.0, 1, 'queued', "
        "'2026-01-01T00:00:00+00:00', json_object('contours', 0.5) FROM file low JOIN file high "
        "ON high.id IN (low.id + 1, low.id + 2) AND (high.id - 100001) / 3 = (low.id - 100001) / 3 "
        f"WHERE low.id > 100000 LIMIT {number}"
    )


def test_the_page_contains_all_pairs_and_no_key(home: Home, posted: StandIn) -> None:
    page = report(home).read_text("utf-8")
    shown = embedded(page, "data")
    files = [each["sha256"] for each in shown["files"]]
    pairs = {frozenset((files[each["a"]], files[each["b"]])) for each in shown["pairs"]}
    assert pairs == posted.potentials
    assert len(files) == len(set(files))
    thumbnails = embedded(page, "thumbnails")
    assert len(thumbnails) == len(files)
    assert all(each.startswith("data:image/") for each in thumbnails)
    assert not re.search(r"""(src|href|url|import)\s*[=(]\s*["']?\s*(https?:)?//""", page)
    assert re.search(r"""content="default-src 'none'; img-src data:; style-src 'sha256-""", page)
    assert "unsafe" not in page
    assert StandIn.SEARCH_AND_RELATIONSHIPS_KEY not in page


@pytest.mark.usefixtures("posted")
def test_report_selects_pairs_as_the_pairs_command_does(home: Home) -> None:
    every = home.run("pairs", "--json").json["pairs"]
    path = home.folder / "report.html"
    printed = home.run("report", "--output", str(path), "--limit", "3").out
    assert f"{len(every) - 3} pairs with lower scores were left out" in printed
    shown = embedded(path.read_text("utf-8"), "data")
    assert [each["score"] for each in shown["pairs"]] == [each["score"] for each in every[:3]]
    none = embedded(report(home, "--state", "refused").read_text("utf-8"), "data")
    assert none["pairs"] == none["files"] == []


def make_hostile(home: Home) -> None:
    quoted = HOSTILE.replace("'", "''")
    home.sql(f"UPDATE file SET mime = '{quoted}'")
    home.sql(f"UPDATE pair SET state = 'refused', reason = '{quoted}'")


def test_a_shared_picture_is_one_group_instead_of_its_pairs(
    home: Home, serve: Serve, library: Library, covers: Library
) -> None:
    client = serve([*library[1:], *covers])
    home.update()
    held_back = len(covers) * (len(covers) - 1) // 2
    path = home.folder / "report.html"
    printed = home.run("report", "--output", str(path), "--limit", "3").out
    assert f"{len(client.potentials) - 3} pairs with lower scores were left out" in printed
    assert f"{held_back:,} more pairs are shown as 1 shared" in printed
    shown = embedded(path.read_text("utf-8"), "data")
    assert {each["state"] for each in shown["pairs"]} == {"posted"}
    (group,) = shown["shared_pictures"]
    durations = sorted(each.duration_ms for each in covers)
    assert group["pair_count"] == held_back
    assert sorted(group["sha256s"]) == sorted(each.hash for each in covers)
    assert group["durations_ms"] == [durations[0], durations[-1]]
    examples = [shown["files"][each]["duration_ms"] for each in group["examples"]]
    assert examples == sorted(set(examples))
    assert (len(examples), examples[0], examples[-1]) == (5, durations[0], durations[-1])
    assert len(shown["files"]) <= 6 + len(examples)

    posted = embedded(report(home, "--state", "posted").read_text("utf-8"), "data")
    assert posted["shared_pictures"] == []


@pytest.mark.usefixtures("posted")
def test_text_from_hydrus_is_never_markup(home: Home) -> None:
    make_hostile(home)
    page = report(home).read_text("utf-8")
    assert page.count("<script") == page.count("</script") == 3
    assert "<img" not in page
    shown = embedded(page, "data")
    assert {each["mime"] for each in shown["files"]} == {HOSTILE}
    assert {each["reason"] for each in shown["pairs"]} == {HOSTILE}


@pytest.mark.usefixtures("posted")
def test_the_page_is_written_completely_or_not_at_all(home: Home) -> None:
    path = report(home)
    before = path.read_bytes()
    for unwritable in (home.folder, home.folder / "none" / "page.html"):
        assert home.run("report", "--output", str(unwritable)).exit_code == 2
    home.sql("DROP TABLE thumbnail")
    assert home.run("report", "--output", str(path)).exit_code != 0
    assert path.read_bytes() == before
    assert not list(home.folder.glob("**/*.part"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as started:
        # Chromium does not start with its sandbox as root, as in containers.
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def show(browser: Any) -> Iterator[Callable[[Path], Any]]:
    """Open pages; none may log errors, or load anything else."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(15_000)
    messages: list[str] = []
    requests: list[str] = []

    def open_page(path: Path) -> Any:
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    context.close()
    assert messages == []
    assert all(url.startswith(("file:", "data:")) for url in requests)


def scores(page: Any) -> list[float]:
    return [float(text) for text in page.locator(".score").all_inner_texts()]


@pytest.mark.usefixtures("posted")
def test_the_page_filters_and_sorts(home: Home, show: Callable[[Path], Any]) -> None:
    home.sql(
        "UPDATE pair SET state = 'refused', reason = 'no', score = 0.5 "
        "WHERE (low_id, high_id) = (SELECT low_id, high_id FROM pair LIMIT 1)"
    )
    every = home.run("pairs", "--json").json["pairs"]
    page = show(report(home))
    count = page.locator("#count")
    assert count.inner_text() == f"{len(every)} of {len(every)} pairs"

    page.select_option("#state", "refused")
    assert count.inner_text().startswith("1 of ")
    assert page.locator("#pairs li").count() == 1
    assert page.locator(".remark").inner_text() == "no"
    page.select_option("#state", "")

    page.fill("#text", every[0]["sha256_a"][10:30].upper())
    same = [each for each in every if every[0]["sha256_a"] in (each["sha256_a"], each["sha256_b"])]
    assert count.inner_text().startswith(f"{len(same)} of ")
    page.fill("#text", "not in any hash")
    assert page.locator("#nothing").is_visible()
    page.fill("#text", "")

    page.fill("#highest", "0.55")
    assert scores(page) == [0.5]
    page.fill("#highest", "")
    page.fill("#lowest", "0.55")
    assert count.inner_text().startswith(f"{len(every) - 1} of ")
    page.fill("#lowest", "")

    page.uncheck("#grouped")
    page.select_option("#order", "lowest score")
    assert scores(page)[0] == 0.5
    assert scores(page) == sorted(scores(page))


@pytest.mark.usefixtures("posted")
def test_keys_move_between_pairs_and_copy(home: Home, show: Callable[[Path], Any]) -> None:
    page = show(report(home))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    def place() -> str | None:
        found: str | None = page.evaluate("document.activeElement.getAttribute('aria-posinset')")
        return found

    for key, expected in [("j", "1"), ("ArrowDown", "2"), ("j", "3"), ("k", "2"), ("ArrowUp", "1")]:
        page.keyboard.press(key)
        assert place() == expected
    best = home.run("pairs", "--json").json["pairs"][0]
    page.keyboard.press("c")
    page.locator("#copied", has_text="the search for 2 files").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"system:hash is {best['sha256_a']} {best['sha256_b']}"
    page.locator(".hash").first.click()
    page.locator("#copied", has_text="the hash").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == best["sha256_a"]
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "text"
    page.keyboard.type("jk")
    assert page.locator("#text").input_value() == "jk"
    page.fill("#text", "")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert place() == "2"


def test_a_shared_picture_is_one_card(
    home: Home, serve: Serve, covers: Library, show: Callable[[Path], Any]
) -> None:
    serve(covers)
    home.update()
    page = show(report(home))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    card = page.locator(".shared")
    assert card.count() == 1
    assert card.locator("img").count() == 5
    assert "60 files in 1,770 pairs" in card.inner_text()
    assert page.locator("#pairs li").count() == 0
    card.get_by_text("Copy search for all").click()
    page.locator("#copied", has_text="the search for 60 files").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert set(copied.split()[2:]) == {each.hash for each in covers}


@pytest.mark.usefixtures("posted")
def test_text_from_hydrus_is_shown_as_it_is(home: Home, show: Callable[[Path], Any]) -> None:
    make_hostile(home)
    page = show(report(home))
    assert page.title() == "hydindex: pairs that look alike"
    assert page.locator(".remark").first.inner_text() == HOSTILE
    assert HOSTILE in page.locator(".file p").first.inner_text()
    assert HOSTILE in page.locator("#attention").inner_text()
    assert page.locator("img:not([src^='data:image/'])").count() == 0


@pytest.mark.usefixtures("posted")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(
    home: Home, client: StandIn, covers: Library, show: Callable[[Path], Any], scheme: str
) -> None:
    client.add(covers)
    home.update()
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    page = show(report(home))
    page.emulate_media(color_scheme=scheme)
    for width_px in (400, 800, 1400):
        page.set_viewport_size({"width": width_px, "height": 900})
        found = axe.Axe().run(page)
        assert found.response["passes"]
        assert found.violations_count == 0, found.generate_report()


@pytest.mark.usefixtures("posted")
def test_5000_pairs_are_grouped_and_only_the_visible_ones_rendered(
    home: Home, show: Callable[[Path], Any]
) -> None:
    replace_pairs(home, 5000)
    page = show(report(home))
    assert page.locator("#count").inner_text() == "5,000 of 5,000 pairs"
    assert "3 files in 3 pairs" in page.locator(".heading").first.inner_text()
    assert 0 < page.locator("#pairs li").count() < 30
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_selector("li[aria-posinset='5000']")
    assert page.locator("#pairs li").count() < 30
    page.locator("img").last.evaluate("image => image.decode()")
    page.uncheck("#grouped")
    assert page.locator(".heading").count() == 0
    page.select_option("#order", "lowest score")
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_selector("li[aria-posinset='1']")
    assert scores(page)[0] == 0.6
