"""The pages in a real Chromium: three widths, by keyboard, in all scripts, cut off from the world.

The checks by axe-core need the package axe-playwright-python, which holds it (MPL-2.0).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.chromium import axe_script, chromium, require_accessible
from tests.test_light_box import CORNERS, photograph
from tests.tiny_bundle import write_tiny_bundle
from tests.web_station import film, served

WIDTHS = (
    360,
    pytest.param(768, marks=pytest.mark.slow),
    pytest.param(1440, marks=pytest.mark.slow),
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    with served(
        folder / "record", "--bundle", str(write_tiny_bundle(folder / "bundle"))
    ) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A page that fails its test on an error of its script, and on any foreign address."""
    context = browser.new_context(viewport={"width": 360, "height": 740})
    faults: list[str] = []

    def refuse_foreign(route: Any) -> None:
        if urlsplit(route.request.url).netloc == urlsplit(address).netloc:
            route.continue_()
        else:
            faults.append(route.request.url)
            route.abort()

    context.route("**/*", refuse_foreign)
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    # A refusal with its status is an answer; its console line is the browser's own.
    page.on("console", lambda said: faults.append(said.text) if is_fault(said) else None)
    page.goto(address)
    yield page
    assert faults == []
    context.close()


def is_fault(said: Any) -> bool:
    """Whether a console line is an error other than of a photograph that was refused."""
    return said.type == "error" and "422" not in said.text


def add_film(page: Any, seed: int = 1, name: str = "film.png", patient: str = "") -> str:
    """Add a film by the page's own button; gives the study's path."""
    page.fill("#patient", patient)
    page.set_input_files("#files", [{"name": name, "mimeType": "image/png", "buffer": film(seed)}])
    link = page.locator("#progress li a").first
    link.wait_for()
    where: str = link.get_attribute("href")
    return where


def test_from_a_film_to_a_printed_slip_on_one_sheet(page: Any, tmp_path: Path) -> None:
    where = add_film(page, 1, "<b>film</b>.png", "P-1")
    assert page.locator("#progress li").first.inner_text().startswith("<b>film</b>.png")
    page.goto(urlsplit(page.url)._replace(path=where).geturl())
    page.get_by_role("heading", name="Pneumonia suspected").wait_for()
    page.get_by_role("link", name="Result slip").click()
    page.wait_for_load_state("networkidle")
    sheet = page.pdf(prefer_css_page_size=True)
    assert sheet.count(b"/Type /Page\n") == 1
    assert b"/MediaBox [0 0 420" in sheet or b"/MediaBox [0 0 419" in sheet  # A5: 148 mm


def test_several_files_are_added_one_after_another(page: Any) -> None:
    files = [
        {"name": f"{n}.png", "mimeType": "image/png", "buffer": film(1) if n < 3 else b"no"}
        for n in range(5)
    ]
    page.set_input_files("#files", files)
    page.get_by_text("5 of 5 done").wait_for()
    said = page.locator("#progress li").all_inner_texts()
    assert sum("Pneumonia suspected" in line for line in said) == 3
    assert sum("Not assessed" in line for line in said) == 2


def test_a_photograph_that_shows_no_film_says_what_to_do(page: Any) -> None:
    from PIL import Image

    from tests.pictures import encoded

    picture = photograph(CORNERS)
    picture[:] = 200
    content = encoded(Image.fromarray(picture), "JPEG")
    with page.expect_response("**/api/v1/studies?**") as answer:
        page.set_input_files(
            "#camera", [{"name": "p.jpg", "mimeType": "image/jpeg", "buffer": content}]
        )
    assert answer.value.status == 422
    page.get_by_text("the four corners of the film were not found").wait_for()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_reaches_over_the_edge_and_axe_finds_nothing(
    page: Any, browser: Any, address: str, width: int
) -> None:
    where = add_film(page, 1, patient="P-1")
    add_film(page, 3, patient="P-1")
    axe = axe_script()
    # Our policy forbids foreign scripts, and so axe itself.
    context = browser.new_context(viewport={"width": width, "height": 800}, bypass_csp=True)
    looked = context.new_page()
    for path in ("/", where, f"{where}/slip", "/about", "/api", "/studies/NOTHERE"):
        looked.goto(address + path)
        require_accessible(looked, axe)
    context.close()


def test_everything_can_be_done_by_keyboard(page: Any) -> None:
    where = add_film(page, 1)
    page.goto(urlsplit(page.url)._replace(path=where).geturl())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus("#show-heat")
    page.keyboard.press("Space")
    assert page.locator("#heat").is_visible()
    page.focus("#brightness")
    page.keyboard.press("ArrowRight")
    assert "brightness(101%)" in page.evaluate("document.getElementById('picture').style.filter")
    page.focus("#stage")
    page.keyboard.press("+")
    assert page.evaluate("document.getElementById('zoom').value") == "125"
    page.focus("input[name=label][value=pneumonia]")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.get_by_text("Your reading").wait_for()
    page.locator("section.said p b", has_text="Pneumonia").first.wait_for()


def test_window_and_zoom_follow_the_mouse(page: Any) -> None:
    where = add_film(page, 1)
    page.goto(urlsplit(page.url)._replace(path=where).geturl())
    page.locator("#picture.large").wait_for()
    box = page.locator("#stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 50, y - 50)
    page.mouse.up()
    assert page.evaluate("document.getElementById('contrast').value") == "130"
    assert page.evaluate("document.getElementById('brightness').value") == "130"
    page.mouse.wheel(0, -100)
    # Our policy forbids what `wait_for_function` evaluates.
    for _ in range(100):
        if page.evaluate("document.getElementById('zoom').value > 100"):
            break
        page.wait_for_timeout(50)
    assert page.evaluate("document.getElementById('zoom').value > 100")
    page.click("#reset")
    assert page.evaluate("document.getElementById('zoom').value") == "100"


def test_the_first_page_is_small(page: Any, address: str) -> None:
    """All that a phone loads at the first visit, with a full list: under 300 kB."""
    for seed in range(1, 4):
        add_film(page, seed)
    sizes: list[int] = []
    page.on("response", lambda response: sizes.append(len(response.body())))
    page.goto(address, wait_until="networkidle")
    assert len(sizes) >= 3
    assert sum(sizes) < 300_000
