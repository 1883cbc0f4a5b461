"""The page in a real browser: it fits, it can be read, and it asks for nothing."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import pytest

from service.experiments.page import render
from service.experiments.report import Report
from tests.service.experiments import browser, reports
from tests.service.experiments.browser import Browser
from tests.service.experiments.reports import STATES

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
LONG: Final = "a-very-long-name-" + "x" * 47
READABLE: Final = 4.5  # contrast of text, WCAG 2.2 AA

OPENED: Final = "for (const each of document.querySelectorAll('details')) each.open = true;"
CONTRASTS: Final = """(() => {
    const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0);
    const behind = node => {
        for (; node; node = node.parentElement) {
            const colour = numbers(getComputedStyle(node).backgroundColor);
            if (colour.length === 3) return colour;
        }
        return [255, 255, 255];
    };
    const found = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const text = walk.currentNode.textContent.trim(), node = walk.currentNode.parentElement;
        if (!text || node.closest('title, desc, style')) continue;
        const style = getComputedStyle(node);
        const [one, other] = [light(numbers(node.closest('svg') ? style.fill : style.color)), light(behind(node))];
        const contrast = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
        found.push([contrast, text]);
    }
    return found;
})()"""
OVERLAPS: Final = """[...document.querySelectorAll('.plot g')].filter(row => {
    const [left, right] = [...row.querySelectorAll('text')].map(text => text.getBoundingClientRect());
    return left.right > right.left;
}).map(row => row.textContent)"""
OUTSIDE: Final = """[...document.querySelectorAll('body *')].filter(node => {
    const box = node.getBoundingClientRect();
    return !node.closest('.scroll') && !node.closest('.skip') && (box.right > innerWidth + 1 || box.left < -1);
}).map(node => node.outerHTML.slice(0, 200))"""


class Site:
    """Serves one document with the policy; counts what it was asked for."""

    def __init__(self) -> None:
        self.document = ""
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Security-Policy", POLICY)
                self.end_headers()
                self.wfile.write(site.document.encode())

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/report"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = browser.found()
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(browser.NAMES)} is on PATH")
    with browser.opened(program) as running:
        yield running


class Shown:
    """Shows reports in the browser as the service serves them."""

    def __init__(self, site: Site, chromium: Browser) -> None:
        self.site, self.chromium = site, chromium

    def __call__(self, report: Report, width: int = 1200, **how: Any) -> Browser:
        self.site.document, self.site.asked = render(report), []
        self.chromium.show(self.site.url, width=width, **how)
        return self.chromium


@pytest.fixture
def shown(site: Site, chromium: Browser) -> Shown:
    return Shown(site, chromium)


def long_names() -> Report:
    """Names as long as the service lets them be, in every place."""
    source = reports.everything().model_dump_json()
    for name in reports.NAMES:
        source = source.replace(f'"{name}"', f'"{LONG[: -len(name)]}{name}"')
    return Report.model_validate_json(source.replace('"home-lambda2"', f'"{LONG}"'))


WORLDS = {**STATES, "long names": long_names}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("name", WORLDS)
def test_the_page_fits_and_asks_for_nothing(name: str, width: int, dark: bool, shown: Shown) -> None:
    """No error in the console under a policy that allows a style and nothing else; no second request; no overflow."""
    page = shown(WORLDS[name](), width, dark=dark)
    page.value(OPENED)

    assert page.errors() == []
    assert page.requests() == [shown.site.url]
    assert shown.site.asked == ["/report"]
    assert page.value("document.documentElement.scrollWidth") == width
    assert page.value(OUTSIDE) == []
    assert page.value(OVERLAPS) == []
    assert page.value("getComputedStyle(document.body).maxWidth") == "1120px"  # the style was let in


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["everything", "broken", "empty"])
def test_text_stands_out_from_what_is_behind_it(name: str, dark: bool, shown: Shown) -> None:
    """Also where it is greyed as not to be believed, and in figures; the two schemes are two."""
    page = shown(STATES[name](), dark=dark)
    page.value(OPENED)

    contrasts = page.value(CONTRASTS)

    assert len(contrasts) > 50
    assert [(contrast, text) for contrast, text in contrasts if contrast < READABLE] == []
    brightness = sum(
        int(part) for part in page.value("getComputedStyle(document.body).backgroundColor")[4:-1].split(",")
    )
    assert (brightness < 300) is dark


def test_figures_are_pictures_with_a_name_and_a_description(shown: Shown) -> None:
    """As assistive technology is told of them: what is inside is not read out piece by piece."""
    page = shown(reports.everything())

    tree = page.ask("Accessibility.getFullAXTree")["nodes"]

    pictures = [node for node in tree if node.get("role", {}).get("value") in {"image", "img"} and not node["ignored"]]
    assert len(pictures) == page.value("document.querySelectorAll('figure').length") == 14
    assert all(node["name"]["value"] for node in pictures)
    tables = [node for node in tree if node.get("role", {}).get("value") == "table"]
    assert all(node["name"]["value"] for node in tables)


def test_everything_can_be_reached_by_keyboard(shown: Shown) -> None:
    """First the way past the rest, then links, the tables that scroll, and what can be opened; Enter opens it."""
    page = shown(reports.everything(), 360)

    def press(key: str, code: int) -> str:
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            page.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)
        tag: str = page.value("document.activeElement.tagName + ' ' + document.activeElement.className")
        return tag.strip()

    reached = [press("Tab", 9) for _ in range(15)]

    assert reached[0] == "A skip"
    assert page.value("document.querySelector('.skip').getBoundingClientRect().left") < 0  # out of sight again
    assert {"A", "DIV scroll", "SUMMARY"} <= set(reached)
    at = page.value("document.activeElement.parentElement.tagName")
    while at != "DETAILS":
        press("Tab", 9)
        at = page.value("document.activeElement.parentElement.tagName")
    press("Enter", 13)
    assert page.value("document.activeElement.parentElement.open")


def test_on_paper_everything_is_open(shown: Shown) -> None:
    """What can be opened on the screen is printed; in dark letters on white, also where the screen is dark."""
    page = shown(reports.everything(), 700, media="print", dark=True)

    hidden = page.value(
        "[...document.querySelectorAll('details table')].filter(t => !t.checkVisibility({contentVisibilityAuto: true}))"
        ".length"
    )

    assert hidden == 0
    assert page.value("document.documentElement.scrollWidth") == 700
    assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.value("getComputedStyle(document.querySelector('nav')).display") == "none"
