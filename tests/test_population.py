"""The population gate: age and view of header or command line, and answers outside of it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import Population
from edge_app.cli import main
from edge_app.decision import Decision, Reason
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.images.radiograph import DicomFacts, Radiograph
from edge_app.results.rows import read_results
from edge_app.screening.population import find_population_refusal
from edge_app.screening.screener import Screener
from edge_app.screening.stated import Stated

CHILDREN = Population("children", (1, 5), ("AP",), ("one",))
ADULT = DicomFacts("DX", "CHEST", "PA", 64.0, "MONOCHROME2", "1.2", "FOR PRESENTATION")
CHILD = dataclasses.replace(ADULT, view_position="AP", patient_age_years=3.0)


@pytest.mark.parametrize(
    ("facts", "stated", "refused"),
    [
        (None, Stated(), False),
        (None, Stated(age_years=14 / 12, view="AP"), False),
        (None, Stated(age_years=0.9), True),
        (None, Stated(age_years=6.0), True),
        (None, Stated(view="PA"), True),
        (None, Stated(view="FRONTAL"), False),
        (CHILD, Stated(), False),
        (ADULT, Stated(), True),
        (ADULT, Stated(age_years=3.0, view="AP"), True),  # what is stated excuses no header
        (CHILD, Stated(age_years=40.0), True),
        (dataclasses.replace(CHILD, view_position="PA"), Stated(), True),
        (dataclasses.replace(CHILD, view_position="CHEST, BEDSIDE"), Stated(), False),
    ],
)
def test_header_and_statement_must_both_lie_inside(
    facts: DicomFacts | None, stated: Stated, refused: bool
) -> None:
    refusal = find_population_refusal(facts, stated, CHILDREN)
    assert (refusal is not None) == refused
    if refusal is not None:
        assert refusal.reason is Reason.OUTSIDE_VALIDATED_POPULATION
        assert "person" in refusal.message


@given(st.floats(0, 115))
def test_an_age_is_inside_from_the_first_to_before_the_sixth_birthday(age: float) -> None:
    refusal = find_population_refusal(None, Stated(age_years=age), CHILDREN)
    assert (refusal is None) == (1 <= age < 6)


def test_an_accepted_answer_is_the_same_and_marked(tiny_bundle_folder: Path) -> None:
    bundle = load_bundle(tiny_bundle_folder)
    pixels = draw_phantom(Phantom(1), 200, 200)
    adult = Radiograph(pixels, 255, "DICOM", "0" * 64, (200, 200), None, ADULT)
    child = dataclasses.replace(adult, dicom=CHILD)
    accepted = Screener(bundle, stated=Stated(accept_outside=True)).score(adult)
    usual = Screener(bundle).score(child)
    assert (accepted.decision, accepted.raw_score) == (usual.decision, usual.raw_score)
    assert accepted.quality["outside_population"]
    assert not usual.quality["outside_population"]
    refused = Screener(bundle).score(adult)
    assert refused.reason is Reason.OUTSIDE_VALIDATED_POPULATION
    assert refused.quality["outside_population"]
    # What is no chest at all is not a question of the population.
    hand = dataclasses.replace(adult, dicom=dataclasses.replace(ADULT, body_part="HAND"))
    found = Screener(bundle, stated=Stated(accept_outside=True)).score(hand)
    assert found.reason is Reason.NOT_CHEST_RADIOGRAPH


def test_score_and_batch_refuse_accept_and_mark_alike(
    tiny_bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    pixels = np.asarray(draw_phantom(Phantom(1), 200, 200), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    model = ["--bundle", str(tiny_bundle_folder)]
    assert main(["score", str(folder / "a.png"), "--age", "41y", *model]) == 0
    assert "outside_validated_population" in capsys.readouterr().out
    accept = ["--age", "41y", "--accept-outside-population"]
    assert main(["score", str(folder / "a.png"), *accept, *model]) == 0
    assert "OUTSIDE THE VALIDATED POPULATION" in capsys.readouterr().out
    out = tmp_path / "out"
    batch = ["batch", str(folder), "-o", str(out), "--workers", "1", *model]
    assert main([*batch, *accept]) == 0
    header, rows = read_results(out / "results.jsonl")
    assert header.parameters["accept_outside_population"] is True
    assert header.parameters["stated_age_years"] == 41.0
    (row,) = rows
    assert row.decision is not Decision.NOT_ASSESSABLE
    assert row.quality["outside_population"]
    assert "outside_population" in (out / "results.csv").read_text(encoding="utf-8-sig")
    assert "OUTSIDE THE VALIDATED POPULATION" in (out / "report.html").read_text(encoding="utf-8")
    # Rows of one run were all asked alike.
    assert main(batch) == 2


@pytest.mark.parametrize("arguments", [["--age", "old"], ["--age", "-3"], ["--view", "A1"]])
def test_what_is_no_age_or_view_is_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["score", "x.png", *arguments])
    assert "is no" in capsys.readouterr().err
