"""`pneumoscope explain`: one page that opens offline, for every kind of answer."""

import json
import re
from html import escape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_app.bundle.load import load_bundle
from edge_app.cli import main
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.images.read import read_image
from edge_app.report.explanation import explanation_page
from edge_app.report.words import FLAG_SENTENCES, FLAGS, MEASURES, OF_THE_WHOLE
from edge_app.screening.flaws import show_measure
from edge_app.screening.gate import Direction
from edge_app.screening.screener import Screener
from tests.dicom_files import phantom_dataset
from tests.test_batch import phantom_png
from tests.test_report import CHROMIUM, browse
from tests.tiny_bundle import write_tiny_bundle

HOSTILE = "<img src=x onerror=alert(1)>'\"&.png"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "two-looks", locator=True)


def explain(bundle: Path, file: Path, page: Path) -> int:
    return main(["explain", str(file), "-o", str(page), "--bundle", str(bundle)])


def facts(page: str) -> dict[str, object]:
    found = re.search('<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    read: dict[str, object] = json.loads(found[1])
    return read


def test_a_page_holds_the_answer_and_loads_nothing(tmp_path: Path, bundle: Path) -> None:
    film, out = tmp_path / HOSTILE, tmp_path / "page.html"
    film.write_bytes(phantom_png(8))
    assert explain(bundle, film, out) == 0
    assert out.stat().st_mode & 0o077 == 0  # a patient's picture
    page = out.read_text(encoding="utf-8")
    result = Screener(load_bundle(bundle)).score(film, heatmap=True)
    assert result.heatmap is not None
    assert "Pneumonia suspected" in page
    assert f"<dd>{result.raw_score:.3f}</dd>" in page
    assert "<img" not in page
    assert page.count("<script") == page.count("</script>") == 2
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert "default-src 'none'" in page
    x, y = result.heatmap.hottest()
    assert f"{x:.2f} from the left, {y:.2f} from the top" in page
    for sentence in ("answer holds for validated ages", "checked the projection"):
        assert sentence in page
    heat = facts(page)["heat"]
    assert isinstance(heat, dict)
    assert heat["from"] == result.heatmap.level
    assert np.max(heat["values"]) == pytest.approx(result.heatmap.values.max(), abs=0.2)


def test_a_dicom_s_greys_are_all_within_reach(tmp_path: Path, bundle: Path) -> None:
    film = tmp_path / "film.dcm"
    phantom_dataset("1.2.3", side=300).save_as(film, enforce_file_format=True)
    assert explain(bundle, film, tmp_path / "page.html") == 0
    stored = facts((tmp_path / "page.html").read_text(encoding="utf-8"))
    import base64
    import io

    with Image.open(io.BytesIO(base64.b64decode(str(stored["png"])))) as image:
        grey = np.asarray(image)
    assert grey.shape == (300, 300)
    assert (grey.min(), grey.max()) == (0, 255)
    radiograph = read_image(film)
    order = np.argsort(radiograph.pixels, axis=None)[:: 300 * 30]
    assert (np.diff(grey.ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize("kind", ["blank", "upside down"])
def test_what_is_refused_or_mended_is_explained_too(
    tmp_path: Path, bundle: Path, kind: str
) -> None:
    film = tmp_path / "film.png"
    if kind == "blank":
        Image.new("L", (300, 300), 90).save(film)
    else:
        Image.fromarray(np.rot90(draw_phantom(Phantom(1), 256, 256), 2)).save(film)
    assert explain(bundle, film, tmp_path / "page.html") == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    if kind == "blank":
        assert "Not screened" in page
        assert "grey levels" in page
        assert facts(page)["heat"] is None
        assert 'class="scale"' not in page
    else:
        assert "was put upright" in page


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_page_draws_itself(tmp_path: Path, bundle: Path) -> None:
    film = tmp_path / "film.png"
    film.write_bytes(phantom_png(3))
    screener = Screener(load_bundle(bundle))
    radiograph = read_image(film)
    result = screener.score(radiograph, heatmap=True)
    page = tmp_path / "page.html"
    page.write_text("".join(explanation_page("film.png", radiograph, result, screener)), "utf-8")
    drawn = browse("--dump-dom", page, tmp_path)
    height, width = radiograph.pixels.shape
    assert re.search(rf'<canvas id="film"[^>]* width="{width}" height="{height}"', drawn)
    assert result.heatmap is not None
    is_cold = result.heatmap.heat().max() < result.heatmap.level
    assert ('id="none" hidden' in drawn) != is_cold


def test_errors_leave_no_page(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert explain(bundle, tmp_path / "gone.png", page) == 4
    (tmp_path / "note.png").write_text("no picture")
    assert explain(bundle, tmp_path / "note.png", page) == 1
    assert "no page was written" in capsys.readouterr().err
    assert explain(bundle, tmp_path, page) == 2
    film = tmp_path / "film.png"
    film.write_bytes(phantom_png(1))
    assert explain(bundle, film, film) == 2
    assert explain(bundle, film, tmp_path / "no" / "such.html") == 5
    assert not page.exists()
    assert film.read_bytes() == phantom_png(1)


def test_the_page_of_the_shipped_model_has_its_numbers(tmp_path: Path) -> None:
    """Measures beside what is usual, and distances from the training pictures, of any answer."""
    film, page = tmp_path / "film.png", tmp_path / "page.html"
    film.write_bytes(phantom_png(3))
    screener = Screener(load_bundle())
    assert screener.gate is not None
    radiograph = read_image(film)
    result = screener.score(radiograph, heatmap=True)
    page.write_text("".join(explanation_page("film.png", radiograph, result, screener)), "utf-8")
    text = page.read_text("utf-8")
    for name in set(MEASURES) & set(result.measures):
        assert escape(MEASURES[name]) in text
        assert f"<td>{show_measure(name, result.measures[name])}</td>" in text
    if "unlike" in result.measures:
        assert f"Distance {result.measures['unlike']:.2f}" in text
        assert f"{screener.gate.fit.most_distance:.2f} is refused" in text


def test_patterns_are_standard_scores_by_hand() -> None:
    """Of variances 4 and 9 along two axes and 1 in what is left, a point at 2 and -3."""
    weights = np.array([1 / 4 - 1, 1 / 9 - 1], np.float32)
    part = Direction(np.zeros(3, np.float32), np.eye(2, 3, dtype=np.float32), weights, rest=1.0)
    strengths = part.patterns(np.array([2, -3, 5], np.float32))
    assert strengths == pytest.approx([1, -1])
    residual = Direction(part.mean, part.directions, np.array([-1, -1], np.float32), rest=1.0)
    assert np.isnan(residual.patterns(part.mean)).all()
    barely = np.array([-0.999, 1 / 9 - 1], np.float32)  # what is left is a thousandth: rounding
    found = Direction(part.mean, part.directions, barely, rest=1.0).patterns(part.mean)
    assert np.isnan(found).tolist() == [True, False]


def test_every_flag_of_the_report_has_a_sentence() -> None:
    assert set(FLAG_SENTENCES) >= {*FLAGS, *OF_THE_WHOLE}
    assert all(sentence.endswith(".") for sentence in FLAG_SENTENCES.values())
