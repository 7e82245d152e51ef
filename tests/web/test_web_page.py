"""The page in a real browser, with a microphone that plays real music, as people use it."""

from __future__ import annotations

import csv
import json
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import axe_playwright_python
import pytest
from playwright.sync_api import expect
from web_parts import ARTIST, TITLES, WebDaemon, piece

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Pages
    from playwright.sync_api import Page, Route

VIEWS = ("now", "recognize", "library", "history", "listeners", "health")
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")
LIT = """canvas => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((green, i) => i % 4 == 1 && green - data[i - 1] > 60).length > 300;
}"""
"""Whether many pixels are of the colour of peaks that are met."""
DESK = {"width": 1200, "height": 800}
PHONE = {"width": 320, "height": 640}


@contextmanager
def listening(daemon: WebDaemon, music: Path, name: str, seed: int) -> Iterator[None]:
    """Have a listener hear a piece, at the pace at which it sounds, during the block."""
    daemon.ask("listen.add", name=name, source=f"realtime:{music / f'{seed}.wav'}", once=True)
    try:
        yield
    finally:
        daemon.ask("listen.remove", name=name)


def test_the_microphone_of_the_browser_is_recognized(pages: Pages) -> None:
    """Sound goes from the browser's microphone to the daemon while it is made, and the answer comes before anybody stops it."""
    page = pages.open("recognize", permissions=["microphone"])
    page.get_by_role("button", name="Record with this microphone").click()
    expect(page.get_by_role("button", name="Stop and answer")).to_be_visible()
    expect(page.locator(".answer .title")).to_have_text("What the microphone hears")
    expect(page.get_by_role("status").filter(has_text="What the microphone hears")).to_have_count(1)
    expect(page.get_by_role("button", name="Record with this microphone")).to_be_visible()


def test_the_microphone_is_recognized_where_there_is_no_websocket(pages: Pages) -> None:
    """Behind a proxy that passes HTTP only the same is sent at once when it is stopped."""
    page = pages.open("recognize", permissions=["microphone"])
    page.evaluate(
        "() => { WebSocket = class { constructor() { queueMicrotask(() => this.onclose({ code: 1006 })); } } }"
    )
    page.get_by_role("button", name="Record with this microphone").click()
    expect(page.get_by_text("0:04 heard")).to_be_visible()
    page.get_by_role("button", name="Stop and answer").click()
    expect(page.locator(".answer .title")).to_have_text("What the microphone hears")


def test_a_file_is_recognized_and_another_is_not(pages: Pages, music: Path) -> None:
    """A part of a known track is named with the place it begins at; music that is unknown is no match, and says so."""
    page = pages.open("recognize")
    page.set_input_files("#clip", piece(music / "clip.wav", 1, 6.0, 12.0))
    answer = page.locator(".answer").first
    expect(answer.locator(".title")).to_have_text(TITLES[1])
    expect(answer).to_contain_text("0:12 into the track")
    page.set_input_files("#clip", piece(music / "unknown.wav", 77, 6.0))
    expect(page.locator(".answer.none")).to_contain_text("No match")


def test_the_library_is_changed_where_it_is_shown(pages: Pages, music: Path) -> None:
    """Recordings are uploaded, one that is none is said to be; a title, in which no markup means anything, is edited, found, disabled and, once it was asked, removed."""
    page = pages.open("library")
    broken = music / "broken.wav"
    broken.write_bytes(b"no sound at all")
    page.set_input_files("#files", [piece(music / "new one.wav", 21, 12.0), broken])
    expect(page.locator(".uploads")).to_contain_text("added")
    expect(page.locator(".uploads .wrong")).to_contain_text("broken.wav")
    page.get_by_label("Search").fill("new one")
    row = page.locator("tbody tr")
    expect(row).to_have_count(1)
    row.get_by_role("button", name="Edit").click()
    page.get_by_role("textbox", name="Title").fill("<b onclick=x>Low Sun</b>")
    page.get_by_role("textbox", name="Artist").fill("Ida Morrow")
    page.keyboard.press("Enter")
    expect(row).to_contain_text("<b onclick=x>Low Sun</b>")
    page.get_by_label("Search").fill("morrow")
    expect(row).to_have_count(1)
    row.get_by_role("button", name="Disable").click()
    expect(row).to_contain_text("disabled")
    row.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(row).to_contain_text("Low Sun")
    row.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("No track is like that.")).to_be_visible()


def test_a_folder_is_uploaded_and_several_tracks_are_removed_at_once(pages: Pages, music: Path) -> None:
    """Of a folder everything that may be sound is sent, in folders of it too, and again where the daemon was busy; what is selected goes together."""
    folder = music / "folder"
    for number in (31, 32, 33):
        piece(folder / f"{number % 2}" / f"bulk {number}.wav", number, 6.0)
    (folder / "cover.jpg").write_bytes(b"no sound")
    page = pages.open("library")
    refused: list[Route] = []

    def refuse_once(route: Route) -> None:
        if route.request.method == "POST" and not refused:
            refused.append(route)
            route.fulfill(status=503, json={"error": {"code": "busy", "message": "too much to do", "details": {}}})
        else:
            route.continue_()

    page.route("**/v1/tracks?*", refuse_once)
    page.set_input_files("#folder", folder)
    expect(page.get_by_text("3 of 3 recordings: 3 added")).to_be_visible()
    page.get_by_label("Search").fill("bulk")
    expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_role("checkbox", name="Select all on this page").check()
    selected = page.get_by_role("group", name="The selected tracks")
    expect(selected).to_contain_text("3 tracks selected")
    selected.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("3 tracks removed.")).to_be_visible()


def test_what_plays_is_shown_while_it_plays(pages: Pages, daemon: WebDaemon, music: Path) -> None:
    """A listener that begins shows up by itself: its level, the track, how far it is, the constellations over each other, and words for each."""
    page = pages.open("now")
    expect(page.get_by_text("Nothing is listened to yet.")).to_be_visible()
    card = page.get_by_role("article", name="kitchen")
    with listening(daemon, music, "kitchen", 1):
        expect(card.locator(".title")).to_have_text(TITLES[1])
        expect(card.locator(".at")).to_contain_text("of 0:30")
        expect(page).to_have_title(f"♪ {TITLES[1]} by {ARTIST}")
        expect(page.locator("#announcer")).to_have_text(f"Now on kitchen: {TITLES[1]} by {ARTIST}")
        assert float(card.get_by_role("meter").get_attribute("aria-valuenow") or 0) > -60
        sky = card.get_by_role("img")
        words = r"^\d+ peaks heard in the last 10 seconds; [1-9]\d* of the \d+ of Harbour Lights are among them\.$"
        expect(sky).to_have_attribute("aria-label", re.compile(words))
        page.wait_for_function(LIT, arg=sky.element_handle())
    expect(card).to_have_count(0)
    expect(page.get_by_role("region", name="Heard lately")).to_contain_text(TITLES[1])


def test_the_history_is_asked_and_taken_along(pages: Pages, daemon: WebDaemon, music: Path, tmp_path: Path) -> None:
    """What was heard is there, by play and summed up; filters hold; CSV and JSON have the same plays."""
    page = pages.open("history")
    with listening(daemon, music, "studio", 2):
        expect(page.locator("tbody tr").filter(has_text=TITLES[2])).to_have_count(1)
    page.get_by_label("Search").fill("paper")
    expect(page.locator("tbody tr")).to_have_count(1)
    with page.expect_download() as exported:
        page.get_by_role("button", name="Export CSV").click()
    exported.value.save_as(tmp_path / "plays.csv")
    with (tmp_path / "plays.csv").open(encoding="utf-8", newline="") as file:
        assert [row["title"] for row in csv.DictReader(file)] == [TITLES[2]]
    with page.expect_download() as exported:
        page.get_by_role("button", name="Export JSON").click()
    exported.value.save_as(tmp_path / "plays.json")
    assert [play["track"]["title"] for play in json.loads((tmp_path / "plays.json").read_text("utf-8"))] == [TITLES[2]]
    page.get_by_label("Show").select_option("By listener")
    expect(page.locator("tbody tr")).to_contain_text("studio")
    page.get_by_label("Search").fill("never played")
    expect(page.get_by_text("Nothing was heard that is like that.")).to_be_visible()


def test_listeners_are_added_paused_and_removed(pages: Pages, daemon: WebDaemon) -> None:
    """A listener that is added in the form is there, in the daemon too, until it is removed."""
    page = pages.open("listeners")
    page.get_by_label("Name").fill("bar & grill/ü")
    page.get_by_label("What it hears").select_option("pcm")
    page.get_by_role("button", name="Listen", exact=True).click()
    card = page.get_by_role("article", name="bar & grill/ü")
    expect(card).to_contain_text("waiting")
    card.get_by_role("button", name="Pause").click()
    expect(card).to_contain_text("paused")
    card.get_by_role("button", name="Resume").click()
    expect(card).to_contain_text("waiting")
    card.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(card).to_have_count(0)
    assert daemon.ask("listen.list")["listeners"] == []


def test_health_is_said_in_words(pages: Pages, daemon: WebDaemon) -> None:
    """A source that fails is a sentence with its reason; the figures are those of the daemon."""
    daemon.ask("listen.add", name="radio", source="http://127.0.0.1:9/live.mp3", once=True)
    page = pages.open("health")
    expect(page.locator(".worries")).to_contain_text(re.compile("radio: .*(refused|not allowed|private)"))
    expect(page.get_by_role("region", name="Library").or_(page.locator(".cards .card").first)).to_contain_text("Tracks")
    daemon.ask("listen.remove", name="radio")


def test_a_daemon_that_comes_back_is_found_again(
    pages: Pages, tmp_path_factory: pytest.TempPathFactory, music: Path
) -> None:
    """While the daemon is away the page says so; when it is there again the page shows what it does now, and nobody has reloaded it."""
    other = WebDaemon(tmp_path_factory.mktemp("r"))
    with other.running():
        page = pages.open("now", other)
        expect(page.get_by_text("Nothing is listened to yet.")).to_be_visible()
    expect(page.get_by_text("The daemon is away.")).to_be_visible()
    with other.running():
        expect(page.get_by_text("The daemon is away.")).to_be_hidden()
        other.ask("fingerprint", path=str(music / "3.wav"), title=TITLES[3])
        with listening(other, music, "hall", 3):
            expect(page.get_by_role("article", name="hall").locator(".title")).to_have_text(TITLES[3])


def test_a_daemon_with_a_token_is_told_it(
    pages: Pages, tmp_path_factory: pytest.TempPathFactory, real_recording: Path
) -> None:
    """The page asks for the token, again where it is wrong, keeps it for the tab alone, and sends it over HTTP and WebSocket."""
    token = "a-token:of(ours)%"  # noqa: S105 - of this test
    guarded = WebDaemon(tmp_path_factory.mktemp("t"), {"DEJAVUD_SECURITY_TOKEN": token})
    with guarded.running():
        guarded.ask("fingerprint", token, path=str(real_recording), title="What the microphone hears")
        page = pages.open("library", guarded, permissions=["microphone"])
        for given in ("wrong", token):
            page.get_by_label("Token").fill(given)
            page.keyboard.press("Enter")
        expect(page.locator("tbody tr")).to_contain_text("What the microphone hears")
        assert page.evaluate("[sessionStorage.getItem('dejavud.token'), localStorage.length, document.cookie]") == [
            token,
            0,
            "",
        ]
        page.goto(f"{guarded.url}/#/recognize")
        page.get_by_role("button", name="Record with this microphone").click()
        expect(page.locator(".answer .title")).to_have_text("What the microphone hears")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_shut_out(pages: Pages, daemon: WebDaemon, music: Path, scheme: str) -> None:
    """Axe finds nothing wrong with any view, wide or as narrow as a small phone, where nothing has to be scrolled sideways."""
    page = pages.open("now", color_scheme=scheme, reduced_motion="reduce", bypass_csp=True)
    found: list[str] = []
    with listening(daemon, music, "kitchen", 1):
        expect(page.locator(".play .title")).to_have_text(TITLES[1])
        for size in (DESK, PHONE) if scheme == "light" else (DESK,):
            page.set_viewport_size(size)  # type: ignore[arg-type] - playwright's own
            for view in VIEWS:
                page.goto(f"{daemon.url}/#/{view}")
                found += [f"{view}, {scheme}, {size['width']}: {one}" for one in _complaints(page, view, scheme)]
    assert found == []


def _complaints(page: Page, view: str, scheme: str) -> list[str]:
    """Return what is wrong with the view that is shown."""
    expect(page.get_by_role("heading", level=1)).to_have_text(view.capitalize())
    if view in {"library", "history"}:
        expect(page.locator("section:not([hidden]) > table, section:not([hidden]) .result > table")).to_be_visible()
    page.evaluate(AXE)
    rules = "{}" if scheme == "light" else "{ runOnly: 'color-contrast' }"  # what differs in the dark
    violations = page.evaluate(f"axe.run({rules}).then(result => result.violations)")
    found = [f"{one['id']} in {one['nodes'][0]['html']}" for one in violations]
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("scrolls sideways")
    return found


def test_what_opens_shuts_nobody_out_either(pages: Pages, music: Path) -> None:
    """Axe finds nothing wrong with what is there only for a while: an answer, a form in the list, a question, what went wrong."""
    page = pages.open("recognize", reduced_motion="reduce", bypass_csp=True)
    found: list[str] = []
    page.set_input_files("#clip", piece(music / "short.wav", 2, 4.0))
    expect(page.locator(".answer .title")).to_have_text(TITLES[2])
    found += _complaints(page, "recognize", "light")
    page.set_input_files("#clip", {"name": "none.wav", "mimeType": "audio/wav", "buffer": b"no sound"})
    expect(page.locator(".toast.wrong")).to_be_visible()
    found += _complaints(page, "recognize", "light")
    page.goto(f"{page.url.split('#')[0]}#/library")
    page.get_by_role("button", name=f"Edit {TITLES[1]}").click()
    found += _complaints(page, "library", "light")
    page.get_by_role("button", name=f"Remove {TITLES[2]}").click()
    expect(page.get_by_role("dialog")).to_contain_text(TITLES[2])
    page.evaluate(AXE)
    found += [one["id"] for one in page.evaluate("axe.run('dialog').then(result => result.violations)")]
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert found == []


def test_everything_can_be_done_by_keyboard(pages: Pages) -> None:
    """From the top of the page the keyboard alone reaches each view, and where it is can always be seen."""
    page = pages.open("now")
    expect(page.get_by_role("heading", level=1)).to_have_text("Now")
    page.keyboard.press("Tab")
    assert _focused(page) == "Skip to the content"
    seen: list[str] = []
    for view in VIEWS[1:]:
        page.locator("#skip").focus()
        while _focused(page).lower() != view:
            page.keyboard.press("Tab")
            seen.append(_focused(page))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", seen
            assert len(seen) < 100, seen
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(view.capitalize())
        assert _focused(page) == view.capitalize(), "a view that opens has the focus"
    page.goto(f"{page.url.split('#')[0]}#/library")
    expect(page.locator("tbody tr").first).to_be_visible()
    page.get_by_role("button", name=f"Edit {TITLES[1]}").focus()
    page.keyboard.press("Enter")
    page.keyboard.type("Another title")
    page.keyboard.press("Escape")
    button = page.get_by_role("button", name=f"Edit {TITLES[1]}")
    expect(button).to_be_focused()
    page.evaluate("document.activeElement.dataset.before = 'the list is made anew'")
    page.get_by_role("searchbox", name="Search").dispatch_event("input")
    expect(page.locator("[data-before]")).to_have_count(0)
    expect(button).to_be_focused()


def _focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent.trim()"))


def test_colours_follow_the_system_until_somebody_chooses(pages: Pages) -> None:
    """Dark where the system is; the switch goes before it, and is remembered."""
    page = pages.open("now", color_scheme="dark")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_role("button", name="Colours: as the system").click()
    light = page.evaluate(background)
    assert light != dark
    page.reload()
    assert page.evaluate(background) == light
