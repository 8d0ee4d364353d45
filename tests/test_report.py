"""`report.html`: complete, harmless whatever a file is called, and bounded."""

import html
import io
import json
import re
import shutil
import subprocess
from binascii import a2b_base64
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import NO_GATE
from edge_app.decision import Decision, Reason
from edge_app.files.codec import compact_json
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.images.read import read_image
from edge_app.report.gallery import MOST_PICTURES, Gallery
from edge_app.report.page import write_report
from edge_app.report.thumbnail import Thumbnail
from edge_app.report.thumbnail_maker import LONGEST_SIDE, make_thumbnail
from edge_app.report.words import REASONS
from edge_app.results.folder import RunFolder
from edge_app.results.rows import encode_row, read_results
from edge_app.runs.batch import BatchPlan, run_batch
from edge_app.runs.scoring_run import RunOptions
from edge_app.screening.screener import Screener
from tests.pictures import encoded
from tests.test_batch import phantom_png, write_ward

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = "</script><img src=x onerror=alert(1)>'\"&.png"


@pytest.fixture
def out(tmp_path: Path, tiny_bundle_folder: Path) -> Path:
    """A run over good, refused and bad files, one of them with a hostile name."""
    ward = write_ward(tmp_path / "ward")
    (ward / HOSTILE.replace("/", "")).write_bytes(phantom_png(1))
    options = RunOptions(bundle=tiny_bundle_folder)
    run_batch(BatchPlan((ward,), tmp_path / "out", options=options))
    return tmp_path / "out"


def data(page: str, name: str) -> object:
    found = re.search(f'<script type="application/json" id="{name}">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found[1])


def test_the_page_holds_every_row_and_loads_nothing(out: Path) -> None:
    page = (out / "report.html").read_text(encoding="utf-8")
    rows = data(page, "data-rows")
    assert isinstance(rows, list)
    assert len(rows) == 9
    assert {row[1] for row in rows} == {"suspected", "indeterminate", "clear", "unscreened"}
    assert data(page, "data-run")["root"] == "../ward/"  # type: ignore[index]
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    policy = re.search('http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert "tiny-random-1" in page
    for n in ("2", "1", "4"):
        assert f"<b>{n}</b>" in page


def test_a_hostile_name_stays_a_name(out: Path) -> None:
    page = (out / "report.html").read_text(encoding="utf-8")
    name = HOSTILE.replace("/", "")
    assert "<img" not in page
    assert page.count("<script") == page.count("</script>") == 4
    assert name in {row[0] for row in data(page, "data-rows")}  # type: ignore[attr-defined]
    assert html.escape(name) not in page  # it stands in JSON only


def test_pictures_are_those_of_what_needs_a_look(out: Path) -> None:
    pictures = data((out / "report.html").read_text(encoding="utf-8"), "data-pictures")
    assert isinstance(pictures, dict)
    (blank,) = pictures["unscreened"]
    assert blank["file"] == "blank.png"
    assert blank["refusal"].startswith("blank or without contrast: 0 grey levels")
    assert [picture["file"] for picture in pictures["indeterminate"]] == ["between.png"]
    scores = [picture["probability"] for picture in pictures["suspected"]]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    rows = data((out / "report.html").read_text(encoding="utf-8"), "data-rows")
    assert isinstance(rows, list)
    probabilities = {row[0]: row[2] for row in rows}
    for picture in pictures["suspected"]:
        assert picture["probability"] == probabilities[picture["file"]]
        assert (picture["activation_map"], picture["heatmap"]) == ([], None)


def test_remarks_and_reasons_are_words(out: Path) -> None:
    page = (out / "report.html").read_text(encoding="utf-8")
    remarks = {row[0]: row[3] for row in data(page, "data-rows")}  # type: ignore[attr-defined]
    assert remarks["between.png"] == ""  # what holds for all of them is said once, at the top
    assert "Of 5 screened pictures the age is unknown for 5 and the view for 5" in page
    assert "<li>damaged, or no picture: 3</li><li>blank or without contrast: 1</li>" in page
    assert set(REASONS) == set(Reason)


def test_what_holds_for_the_folder_stands_at_the_top(
    tmp_path: Path, signed_bundle_folder: Path
) -> None:
    ward = tmp_path / "ward"
    ward.mkdir()
    for number in range(12):
        (ward / f"{number}.png").write_bytes(phantom_png(1))
    run_batch(BatchPlan((ward,), tmp_path / "o", options=RunOptions(bundle=signed_bundle_folder)))
    page = (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
    top = page[: page.index("Look at these first")]
    assert "More than half of the screened pictures are suspected" in top
    assert NO_GATE in top
    assert "nobody has signed" not in page


def test_pictures_that_were_not_made_are_said(tmp_path: Path, tiny_bundle_folder: Path) -> None:
    ward, out = write_ward(tmp_path / "ward"), tmp_path / "out"
    for formats in (("jsonl",), ("jsonl", "html")):
        options = RunOptions(bundle=tiny_bundle_folder, formats=formats)
        run_batch(BatchPlan((ward,), out, options=options))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("1 of these 1 pictures are missing") == 2


def browse(option: str, page: Path, profile: Path) -> str:
    """What Chromium prints about a page."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={profile / 'chromium'}", option, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_picture_of_any_proportions_prints_within_a_page(
    tmp_path: Path, tiny_bundle_folder: Path
) -> None:
    pages = []
    for name, height, width in (("square", 600, 600), ("tall", 9000, 130), ("wide", 130, 9000)):
        (tmp_path / name).mkdir()
        picture = encoded(Image.fromarray(draw_phantom(Phantom(1), height, width)), "PNG")
        for number in range(10):
            (tmp_path / name / f"{number}.png").write_bytes(picture)
        out = tmp_path / f"{name}-out"
        run_batch(BatchPlan((tmp_path / name,), out, options=RunOptions(bundle=tiny_bundle_folder)))
        browse(f"--print-to-pdf={out / 'report.pdf'}", out / "report.html", tmp_path)
        printed = (out / "report.pdf").read_bytes()
        pages.append(len(re.findall(rb"/Type\s*/Page\b", printed)))
    # 2, and 22 of the tall ones where each was as wide as its column.
    assert 1 < pages[0] <= 4
    assert max(pages) - min(pages) <= 1


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_what_a_browser_makes_of_it(tmp_path: Path, tiny_bundle_folder: Path) -> None:
    """Links of absolute names, probabilities near certainty, reasons, and sorting on a phone."""
    ward, out = write_ward(tmp_path / "ward"), tmp_path / "out"
    (tmp_path / "lists").mkdir()
    listed = tmp_path / "lists" / "day.txt"
    listed.write_text("".join(f"{ward / name}\n" for name in ("a/suspected.png", "blank.png")))
    run_batch(BatchPlan((listed,), out, options=RunOptions(bundle=tiny_bundle_folder)))
    report = out / "report.html"
    page = report.read_text(encoding="utf-8")
    sure = re.sub(r'("suspected",)[.0-9]+', r"\g<1>0.9999", page)
    report.write_text(sure, encoding="utf-8")
    dom = browse("--dump-dom", report, tmp_path)
    assert f'href="{(ward / "a" / "suspected.png").as_uri()}"' in dom
    assert "&gt; 0.999" in dom
    assert re.search(r"blank or without contrast: 0 grey levels between.*?blank\.png</b>", dom)
    assert '<option value="2 true">Probability, highest first</option>' in dom
    assert re.search('<time datetime="[^"]*Z">[^<]*(?<!UTC)</time>', dom)


def test_large_results_give_a_bounded_table(
    out: Path, tiny_bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(out)
    suspected = next(r for r in read_results(folder.results)[1] if r.file == "a/suspected.png")
    with folder.results.open("ab") as stream:
        for number in range(100):
            stream.write(encode_row(replace(suspected, file=f"more{number}.png")))
    monkeypatch.setattr("edge_app.report.page.MOST_ROWS", 50)
    with Gallery(folder.thumbnails) as gallery:
        write_report(folder, load_bundle(tiny_bundle_folder), out, gallery, {})
    page = folder.report.read_text(encoding="utf-8")
    rows = data(page, "data-rows")
    assert isinstance(rows, list)
    assert len(rows) == 50
    assert all(row[1] != "clear" for row in rows)
    assert "Of 109 files this table holds at most 50" in page


def thumbnail(number: int, score: float | None, decision: str = "pneumonia_suspected") -> bytes:
    line = compact_json(
        Thumbnail(f"{number}.png", decision, score, 1, 1, "x" * 6000, (0.0, 0.0, 1.0, 1.0), ())
    )
    return (line + "\n").encode()


def test_a_gallery_keeps_the_highest_scores_in_bounded_space(tmp_path: Path) -> None:
    path = tmp_path / "thumbnails.jsonl"
    most = MOST_PICTURES[Decision.PNEUMONIA_SUSPECTED]
    rng = np.random.default_rng(0)
    scores = [float(score) for score in rng.permutation(5 * most)]
    with Gallery(path) as gallery:
        for number, score in enumerate(scores):
            gallery.add(Decision.PNEUMONIA_SUSPECTED, score, thumbnail(number, score))
            gallery.settle()
        assert gallery.floors["pneumonia_suspected"] == 4 * most
    assert path.stat().st_size < 2 * most * 6200 + (1 << 20) + 7000
    with path.open("ab") as stream:
        stream.write(thumbnail(1, 9999.0)[:-50])
    with Gallery(path) as gallery:
        kept = [picture.raw_score for picture in gallery.pictures(Decision.PNEUMONIA_SUSPECTED)]
    assert kept == [float(score) for score in range(5 * most - 1, 4 * most - 1, -1)]


def test_the_first_refusals_stay_and_a_file_is_shown_once(tmp_path: Path) -> None:
    most = MOST_PICTURES[Decision.NOT_ASSESSABLE]
    with Gallery(tmp_path / "thumbnails.jsonl") as gallery:
        gallery.add(Decision.NOT_ASSESSABLE, None, thumbnail(0, None, "not_assessable"))
        for number in range(most + 5):
            gallery.add(Decision.NOT_ASSESSABLE, None, thumbnail(number, None, "not_assessable"))
        assert "not_assessable" not in gallery.floors
        shown = [picture.file for picture in gallery.pictures(Decision.NOT_ASSESSABLE)]
    assert shown == [f"{number}.png" for number in range(most - 1)]


def test_a_thumbnail_has_the_picture_s_proportions(
    tmp_path: Path, tiny_bundle_folder: Path
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(phantom_png(1, 400))
    screener = Screener(load_bundle(tiny_bundle_folder))
    radiograph = read_image(path)
    wide = replace(radiograph, pixels=np.ascontiguousarray(radiograph.pixels[:200]))
    drawn = make_thumbnail("x.png", wide, screener.score(wide))
    assert (drawn.width, drawn.height) == (LONGEST_SIDE, LONGEST_SIDE // 2)
    deep = replace(wide, pixels=wide.pixels.astype(np.uint16) * np.uint16(257), max_value=65535)
    assert make_thumbnail("x.png", deep, screener.score(deep)).width == LONGEST_SIDE


@pytest.mark.parametrize("grey", [0, 90, 255])
def test_a_blank_film_keeps_its_grey(tmp_path: Path, tiny_bundle_folder: Path, grey: int) -> None:
    path = tmp_path / "blank.png"
    path.write_bytes(encoded(Image.new("L", (300, 300), grey), "PNG"))
    radiograph = read_image(path)
    result = Screener(load_bundle(tiny_bundle_folder)).score(radiograph)
    drawn = Image.open(io.BytesIO(a2b_base64(make_thumbnail("x", radiograph, result).jpeg)))
    assert drawn.getextrema() == (grey, grey)


def test_all_inputs_are_named(tmp_path: Path, tiny_bundle_folder: Path) -> None:
    wards = [tmp_path / f"<ward {number}>" for number in range(23)]
    for number, ward in enumerate(wards):
        ward.mkdir()
        if number < 2:
            (ward / f"{number}.png").write_bytes(phantom_png(1))
    options = RunOptions(bundle=tiny_bundle_folder)
    for some, more in ((wards[:2], ""), (wards, " and 2 more")):
        out = tmp_path / f"out{len(some)}"
        run_batch(BatchPlan(tuple(some), out, options=options))
        page = (out / "report.html").read_text(encoding="utf-8")
        named = html.escape(", ".join(str(ward.resolve()) for ward in some[:21]))
        assert f'<p class="facts">{named}{more} · 2 files ·' in page
