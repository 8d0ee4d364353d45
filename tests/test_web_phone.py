"""Screening in a browser: the same numbers as here, the same answers, and refusals where not.

The shipped bundle runs in ONNX Runtime Web in a real Chromium; `Screener` with ONNX Runtime is the
reference. What needs no browser is in `test_web_phone_files.py`.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from edge_app.bundle.load import load_bundle
from edge_app.decision import Reason
from edge_app.errors import InputError
from edge_app.images.lung_box import find_lung_box
from edge_app.images.lung_frame import Frame
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.images.preprocess import grey_range, resize, to_input
from edge_app.images.read import decode_image
from edge_app.screening.screener import Screener
from edge_app.screening.stated import Stated
from tests.chromium import axe_script, chromium, require_accessible
from tests.pictures import dicom_bytes, encoded
from tests.web_station import served

READY, PAGE_MS = "#phone-files:not([disabled])", 60_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("served") / "record") as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def phone(browser: Any, address: str) -> Iterator[Any]:
    """The page, ready; any fault of its script, or foreign address, fails the module."""
    faults: list[str] = []
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda r: r.url.startswith((address, "blob:")) or faults.append(r.url))
    page.goto(f"{address}/phone/")
    page.wait_for_selector(READY, state="attached", timeout=PAGE_MS)
    yield page
    assert faults == []
    context.close()


@pytest.fixture(scope="module")
def screener() -> Screener:
    return Screener(load_bundle(), "onnxruntime")


def screen(page: Any, content: bytes, name: str = "film.png") -> dict[str, Any]:
    """Choose a file as a person does; gives the page's answer."""
    rows = page.locator("#phone-answers li[data-result]")
    before = rows.count()
    page.set_input_files("#phone-files", [{"name": name, "mimeType": "", "buffer": content}])
    rows.nth(before).wait_for(state="attached", timeout=PAGE_MS)
    result: dict[str, Any] = json.loads(rows.first.get_attribute("data-result"))
    return result


def require_same(page: Any, screener: Screener, content: bytes, tolerance: float) -> None:
    """The browser's answer is this machine's, flags and score included."""
    spec = screener.bundle.manifest.preprocess
    expected = screener.score(decode_image(content, "film", spec=spec))
    found = screen(page, content)
    assert found["decision"] == expected.decision.value
    assert found["reason"] == (expected.reason and expected.reason.value)
    if expected.raw_score is not None:
        assert found["logit"] == pytest.approx(expected.raw_score, abs=tolerance)
    if tolerance < 0.01:  # the very same pixels
        assert found["quality"] == dict(expected.quality)
        assert found["measures"] == pytest.approx(dict(expected.measures), abs=0.02)


def module(page: Any, name: str, body: str, argument: object) -> Any:
    """What an expression gives with a module of the page as `m` and an argument as `a`."""
    mark = page.get_attribute("#phone-state", "data-mark")
    script = f"async (a) => {{ const m = await import('/phone/{mark}/{name}.js'); {body} }}"
    return page.evaluate(script, argument)


def test_it_says_how_many_golden_inputs_agreed(phone: Any, screener: Screener) -> None:
    cases = len(screener.bundle.manifest.golden.cases)
    assert f"Ready: {cases} test pictures" in phone.inner_text("#phone-state")


def test_films_get_this_machine_s_answer(phone: Any, screener: Screener) -> None:
    upright = draw_phantom(Phantom(1), 300, 260)
    pictures = [
        upright,
        np.ascontiguousarray(np.rot90(upright)),
        255 - upright,
        draw_phantom(Phantom(4), 700, 900),
        upright[:130, :127],  # too small
        np.full((200, 200), 90, np.uint8),  # blank
        np.hstack([upright, upright]),  # two films
    ]
    for picture in pictures:
        require_same(phone, screener, encoded(Image.fromarray(picture), "PNG"), 0.005)


def test_the_browser_s_pictures_are_this_machine_s(phone: Any, screener: Screener) -> None:
    colour = Image.merge(
        "RGB", [Image.fromarray(draw_phantom(Phantom(n), 300, 260)) for n in (1, 2, 3)]
    )
    require_same(phone, screener, encoded(colour, "PNG"), 0.005)
    require_same(phone, screener, encoded(colour.convert("L"), "JPEG", quality=90), 0.005)
    turned = Image.Exif()
    turned[0x0112] = 6
    content = encoded(colour.convert("L"), "JPEG", quality=90, exif=turned.tobytes())
    require_same(phone, screener, content, 0.005)


def test_what_is_no_film_is_told_by_its_colour_or_text(phone: Any, screener: Screener) -> None:
    page, film = Image.new("L", (700, 500), 30), Image.fromarray(draw_phantom(Phantom(1), 250, 250))
    for top in range(5, 480, 13):
        ImageDraw.Draw(page).text((8, top), f"patient number exposure {top} " * 3, 220)
    page.paste(film, (440, 240))
    assert screener.score(decode_image(encoded(page, "PNG"), "page")).reason is Reason.SCREEN_COPY
    require_same(phone, screener, encoded(page, "PNG"), 0.005)
    sky = Image.linear_gradient("L").resize((300, 260))
    colour = Image.merge("RGB", (sky, sky.rotate(90), sky.rotate(180)))
    for kind in ("PNG", "JPEG"):
        found = screener.score(decode_image(encoded(colour, kind), "sky"))
        assert found.reason is Reason.COLOUR_PICTURE
        require_same(phone, screener, encoded(colour, kind), 0.005)
    marked = Image.fromarray(draw_phantom(Phantom(1), 300, 260)).convert("RGB")
    ImageDraw.Draw(marked).rectangle((200, 20, 230, 35), fill=(230, 30, 30))
    require_same(phone, screener, encoded(marked, "PNG"), 0.005)


def test_resampling_is_pillow_s(phone: Any, screener: Screener) -> None:
    spec = screener.bundle.manifest.preprocess
    draw = np.random.default_rng(5)
    for turn in range(12):
        height, width = sorted(int(n) for n in draw.integers(40, 400, 2))
        if turn % 3 == 0:  # along columns first, in Pillow 13: docs/decisions/0100
            height, width = width, height
        pixels = draw.integers(0, 256, (height, width), dtype=np.uint8)
        left, top = (float(n) for n in draw.uniform(0, 0.4, 2))
        frame = Frame(left, top, *(float(n) for n in draw.uniform(0.6, 1, 2)))
        expected = resize(pixels, spec, frame)
        found = module(
            phone,
            "preprocess",
            "const data = Uint8Array.from(atob(a.data), (c) => c.charCodeAt(0));"
            "const small = m.resize({ ...a, data }, a.spec, a.frame);"
            "const range = m.greyRange(small, a.spec);"
            "return [Array.from(small.data), range, Array.from(m.toInput(small, a.spec, range))];",
            {
                "data": base64.b64encode(pixels.tobytes()).decode(),
                "width": width,
                "height": height,
                "spec": _plain(spec),
                "frame": _plain(frame),
            },
        )
        small = np.array(found[0], np.uint8).reshape(expected.shape)
        most = 1 if turn % 3 == 0 else 0
        assert np.abs(small.astype(int) - expected).max() <= most
        # The range and the stretched input of the very same greys.
        assert found[1] == list(grey_range(small, spec))
        assert found[2] == to_input(small, spec, grey_range(small, spec)).ravel().tolist()


def test_boxes_of_any_map_are_this_machine_s(phone: Any, screener: Screener) -> None:
    assert screener.bundle.manifest.locator is not None
    spec = screener.bundle.manifest.locator.rules.box
    draw = np.random.default_rng(6)
    for level in (-6.0, -1.0, 0.0, 1.0):
        logits = (draw.normal(level, 2, (14, 14))).astype(np.float32)
        expected = find_lung_box(logits, spec)
        body = "return m.findLungBox({ values: a.values, rows: 14, columns: 14 }, a.spec);"
        argument = {"values": logits.ravel().tolist(), "spec": _plain(spec)}
        found = module(phone, "lungs", body, argument)
        assert found == (None if expected is None else pytest.approx(_plain(expected)))


def test_the_100_originals_get_the_device_s_answer(
    phone: Any, screener: Screener, shared_data: Path
) -> None:
    """A dozen of them; all in the slow test."""
    for path in _originals(shared_data)[::9]:
        # A large JPEG is decoded at a reduced scale here, and in full there.
        require_same(phone, screener, path.read_bytes(), 0.25)


@pytest.mark.slow
def test_all_100_originals_do(phone: Any, screener: Screener, shared_data: Path) -> None:
    for path in _originals(shared_data):
        require_same(phone, screener, path.read_bytes(), 0.25)


def test_damaged_files_are_not_read_as_far_as_they_go(phone: Any) -> None:
    """Browsers fill up with grey where codes are lost."""
    film = Image.fromarray(draw_phantom(Phantom(1), 300, 260))
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 3}):
        whole = encoded(film.convert("RGB"), "JPEG", quality=90, **options)
        middle = len(whole) // 2
        for damaged in (
            whole[:middle],
            whole[:middle] + b"\xff\xd9",
            whole[:middle] + whole[middle + 60 :],
        ):
            with pytest.raises(InputError):
                decode_image(damaged, "film")
            assert screen(phone, damaged)["reason"] == "unreadable", options
    picture = bytearray(encoded(film, "PNG"))
    picture[len(picture) // 2] ^= 1
    assert screen(phone, bytes(picture))["reason"] == "unreadable"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}])
def test_whole_jpegs_of_every_kind_are_read(phone: Any, options: dict[str, Any]) -> None:
    for side, subsampling in ((129, 0), (200, 1), (255, 2)):
        colour = Image.fromarray(draw_phantom(Phantom(side), side, side + 7)).convert("RGB")
        content = encoded(colour, "JPEG", quality=85, subsampling=subsampling, **options)
        found = module(phone, "jpeg", "return m.checkJpeg(Uint8Array.from(a));", list(content))
        assert (found["width"], found["height"], found["isRead"]) == (side + 7, side, True)


def test_other_kinds_are_left_to_the_machine(phone: Any) -> None:
    sixteen = encoded(Image.fromarray(np.zeros((200, 200), np.uint16)), "PNG")
    for content in (dicom_bytes(np.zeros((200, 200), np.uint16)), sixteen, b"not a picture", b""):
        assert screen(phone, content) == {"decision": None, "reason": "phone_kind"}


def test_an_age_that_was_not_validated_is_refused(phone: Any, screener: Screener) -> None:
    content = encoded(Image.fromarray(draw_phantom(Phantom(1), 300, 260)), "PNG")
    stated = Screener(screener.bundle, screener.runtime, stated=Stated(40.0, "AP"))
    expected = stated.score(decode_image(content, "film"))
    phone.fill("#phone-age", "40")
    phone.select_option("#phone-view", "AP")
    found = screen(phone, content)
    phone.fill("#phone-age", "")
    phone.select_option("#phone-view", "")
    assert expected.reason is not None
    assert found["reason"] == expected.reason.value
    assert found["quality"]["view_unknown"] is False


def test_a_browser_that_computes_otherwise_screens_nothing(browser: Any, address: str) -> None:
    """As if a golden input gave another score there: its promise is changed on the way."""
    context = browser.new_context()

    def change(route: Any) -> None:
        manifest = route.fetch().json()
        for case in manifest["golden"]["cases"]:
            case["logits"] = {model: score + 1 for model, score in case["logits"].items()}
        route.fulfill(json=manifest)

    context.route("**/bundle/bundle.json", change)
    page = context.new_page()
    page.goto(f"{address}/phone/")
    page.get_by_role("alert").wait_for(timeout=PAGE_MS)
    assert "Do not use this browser" in page.inner_text("#phone-state")
    assert page.is_disabled("#phone-files")
    context.close()


def test_a_model_that_was_changed_on_the_way_is_not_opened(browser: Any, address: str) -> None:
    context = browser.new_context()

    def change(route: Any) -> None:
        content = bytearray(route.fetch().body())
        content[len(content) // 2] ^= 1
        route.fulfill(body=bytes(content))

    context.route("**/bundle/*.onnx", change)
    page = context.new_page()
    page.goto(f"{address}/phone/")
    page.get_by_role("alert").wait_for(timeout=PAGE_MS)
    assert "damaged" in page.get_attribute("#phone-state", "title")
    assert page.is_disabled("#phone-files")
    context.close()


def test_it_works_without_the_machine_once_it_was_there(browser: Any, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{address}/phone/")
    page.locator("#phone-kept").wait_for(timeout=PAGE_MS)
    context.set_offline(True)
    page.reload()
    page.wait_for_selector(READY, state="attached", timeout=PAGE_MS)
    content = encoded(Image.fromarray(draw_phantom(Phantom(1), 300, 260)), "PNG")
    assert screen(page, content)["decision"] is not None
    context.close()


@pytest.mark.parametrize("width", [360, pytest.param(1440, marks=pytest.mark.slow)])
def test_nothing_reaches_over_the_edge_and_axe_finds_nothing(
    browser: Any, address: str, width: int
) -> None:
    axe = axe_script()
    # Our policy forbids foreign scripts, and so axe itself.
    context = browser.new_context(viewport={"width": width, "height": 800}, bypass_csp=True)
    page = context.new_page()
    page.goto(f"{address}/phone/")
    page.wait_for_selector(READY, state="attached", timeout=PAGE_MS)
    screen(page, encoded(Image.fromarray(draw_phantom(Phantom(1), 300, 260)), "PNG"))
    screen(page, b"not a picture", "a" * 200)
    require_accessible(page, axe)
    context.close()


def _originals(shared_data: Path) -> list[Path]:
    return sorted(path for path in (shared_data / "originals").rglob("*") if path.is_file())


def _plain(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
