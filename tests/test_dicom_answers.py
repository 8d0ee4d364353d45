"""Answers as DICOM: what a PACS and its tools read in them, and that they never come in again."""

import io
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from edge_app.bundle.load import load_bundle
from edge_app.cli import main
from edge_app.decision import Decision, Reason
from edge_app.dicom_net import tables
from edge_app.dicom_out.answers import answer_paths, try_to_answer, write_answers
from edge_app.dicom_out.identity import identity_of
from edge_app.dicom_out.picture import _TEXT, LONGEST_SIDE, draw_answer, outline
from edge_app.dicom_out.report_template import report_file
from edge_app.dicom_out.source import Source
from edge_app.dicom_out.structured_report import structured_report
from edge_app.dicom_out.wording import CAUTION, series_description
from edge_app.images import dicom_own
from edge_app.images.dicom_own import is_own_answer
from edge_app.report.thumbnail_maker import shrink
from edge_app.results.folder import RunFolder
from edge_app.results.rows import Asked, ResultRow, failed_row, read_results
from edge_app.runs.discovery import Inputs
from edge_app.runs.scoring_run import RunInput, RunOptions, ScoringRun
from edge_app.screening.score_file import score_unknown_file
from edge_app.screening.screener import Screener
from tests.dicom_files import phantom_dataset
from tests.dicom_peers import needs
from tests.test_engine import Backwards
from tests.tiny_bundle import write_tiny_bundle

pytest.importorskip("highdicom", reason="needs the extra dicom-net")
pydicom = pytest.importorskip("pydicom")


@pytest.fixture(scope="module")
def screener(tmp_path_factory: pytest.TempPathFactory) -> Screener:
    folder = write_tiny_bundle(tmp_path_factory.mktemp("b") / "bundle", locator=True)
    return Screener(load_bundle(folder))


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory, screener: Screener) -> dict[str, Any]:
    """Three films, one of them refused, one damaged: by name the row and both answers."""
    folder = tmp_path_factory.mktemp("films")
    films = {
        "scored": phantom_dataset("1.2.1", Manufacturer="ACME", SpecificCharacterSet="ISO_IR 100"),
        "refused": phantom_dataset("1.2.2", seed=2, PatientAge="050Y"),
        "failed": phantom_dataset("1.2.3", seed=3),
    }
    films["scored"].PatientName = "Müller^Jörg"
    answers = {}
    for name, film in films.items():
        path = folder / f"{name}.dcm"
        film.save_as(path, enforce_file_format=True)
        if name == "failed":
            path.write_bytes(path.read_bytes()[:-1000])
        scored = score_unknown_file(screener, path, path.name, known=frozenset())
        assert scored is not None
        assert write_answers(folder / "out", path, scored.row, scored.radiograph, scored.result)
        paths = answer_paths(folder / "out", path.name)
        answers[name] = (film, scored, *paths)
    return answers


def contents(report: Any) -> Iterator[tuple[str, Any]]:
    """Concept name and value of every item of a report."""
    for item in report.ContentSequence:
        name = (
            item.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in item else ""
        )
        for key in ("TextValue", "UID"):
            if key in item:
                yield name, item[key].value
        if "ConceptCodeSequence" in item:
            code = item.ConceptCodeSequence[0]
            yield name, code.get("CodeValue") or code.get("LongCodeValue")
        if "MeasuredValueSequence" in item:
            yield name, float(item.MeasuredValueSequence[0].NumericValue)
        if "ContentSequence" in item:
            yield from contents(item)


def test_a_report_says_what_the_row_says(answered: dict[str, Any]) -> None:
    film, scored, report_path, _ = answered["scored"]
    report, row = pydicom.dcmread(report_path), scored.row
    said = list(contents(report))
    assert ("Decision of the screening model", row.decision.value) in said
    (probability,) = [value for name, value in said if name == "Probability"]
    assert probability == pytest.approx(row.probability, rel=1e-9)
    assert ("Algorithm Name", row.model_id) in said
    assert ("Algorithm Parameters", f"model_sha256={row.model_sha256}") in said
    assert ("Comment", CAUTION) in said
    assert report.PatientName == film.PatientName == "Müller^Jörg"
    assert (report.StudyInstanceUID, report.PatientID) == (film.StudyInstanceUID, "A1")
    assert report.SeriesInstanceUID != film.SeriesInstanceUID
    assert report.ContentQualification == "RESEARCH"
    assert report.ContributingEquipmentSequence[0].Manufacturer == "ACME"
    (study,) = report.CurrentRequestedProcedureEvidenceSequence  # (0040,A375)
    (reference,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert reference.ReferencedSOPInstanceUID == film.SOPInstanceUID


def test_only_a_suspicion_is_a_finding(answered: dict[str, Any]) -> None:
    film, scored, *_ = answered["scored"]
    source = Source.from_bytes(_bytes(film))
    assert source is not None
    for decision in (Decision.PNEUMONIA_SUSPECTED, Decision.NO_PNEUMONIA_SEEN):
        report = structured_report(source, replace(scored.row, decision=decision))
        findings = [value for name, value in contents(report) if name == "Finding"]
        expected = ["233604007"] if decision is Decision.PNEUMONIA_SUSPECTED else []
        assert findings == expected


@pytest.mark.parametrize(
    ("name", "reason"), [("refused", "outside_validated_population"), ("failed", "unreadable")]
)
def test_a_refusal_and_a_failure_are_reports_too(
    answered: dict[str, Any], name: str, reason: str
) -> None:
    film, scored, report_path, picture_path = answered[name]
    said = list(contents(pydicom.dcmread(report_path)))
    assert ("Decision of the screening model", "not_assessable") in said
    assert ("Why there is no decision", reason) in said
    assert ("Comment", scored.row.message) in said
    assert not [value for what, value in said if what == "Probability"]
    assert pydicom.dcmread(picture_path).StudyInstanceUID == film.StudyInstanceUID


def test_the_picture_shows_the_film_and_what_was_decided(answered: dict[str, Any]) -> None:
    film, scored, _, picture_path = answered["scored"]
    capture = pydicom.dcmread(picture_path)
    assert capture.BurnedInAnnotation == "YES"
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == film.SOPInstanceUID
    assert capture.SeriesDescription == series_description(scored.row)
    drawn = np.asarray(draw_answer(scored.row, scored.radiograph, scored.result)).astype(int)
    stored = np.asarray(Image.open(io.BytesIO(next(_frames(capture)))).convert("RGB")).astype(int)
    assert drawn.shape == stored.shape == (capture.Rows, capture.Columns, 3)
    assert np.abs(drawn - stored).mean() < 3  # JPEG
    other = replace(scored.row, decision=Decision.PNEUMONIA_SUSPECTED)
    assert (np.asarray(draw_answer(other, scored.radiograph, scored.result)) != drawn).any()


def test_heat_is_drawn_on_request_inside_the_lungs_and_is_another_object(
    tmp_path: Path, answered: dict[str, Any], screener: Screener
) -> None:
    film, scored, _, picture_path = answered["scored"]
    hot = screener.with_heatmap(scored.radiograph, scored.result)
    assert hot.heatmap is not None
    hottest = float(hot.heatmap.heat().max())
    # So that some of any film's heat is above the level.
    heatmap = replace(hot.heatmap, level=hottest - 0.5)
    plain = draw_answer(scored.row, scored.radiograph, scored.result)
    drawn = draw_answer(scored.row, scored.radiograph, replace(hot, heatmap=heatmap))
    top = drawn.height - plain.height  # of the sentence that it brings
    assert top > 0
    size = shrink(scored.radiograph, 0, LONGEST_SIDE).size
    film_box = (
        (drawn.width - size[0]) // 2,
        _TEXT + 16,
        (drawn.width + size[0]) // 2,
        _TEXT + 16 + size[1],
    )
    before, after = (np.asarray(one.crop(film_box)).astype(int) for one in (plain, drawn))
    differs = (before != after).any(axis=2)
    lungs = Image.fromarray(heatmap.lungs).resize(size, Image.Resampling.NEAREST)
    assert differs.any()
    assert not differs[~np.asarray(lungs)].any()
    film_path, result = tmp_path / "scored.dcm", replace(hot, heatmap=heatmap)
    film.save_as(film_path, enforce_file_format=True)
    assert write_answers(tmp_path, film_path, scored.row, scored.radiograph, result)
    uids = {
        pydicom.dcmread(path).SOPInstanceUID
        for path in (picture_path, tmp_path / "scored.dcm.sc.dcm")
    }
    assert len(uids) == 2


def _frames(capture: Any) -> Iterator[bytes]:
    from pydicom.encaps import generate_frames

    yield from generate_frames(capture.PixelData, number_of_frames=1)


def test_an_outline_goes_around_the_cells() -> None:
    mask = np.zeros((2, 4), bool)
    mask[0, 1] = True
    assert sorted(outline(mask)) == sorted(
        [
            ((0.25, 0.0), (0.5, 0.0)),
            ((0.25, 0.5), (0.5, 0.5)),
            ((0.25, 0.0), (0.25, 0.5)),
            ((0.5, 0.0), (0.5, 0.5)),
        ]
    )
    mask[:] = True
    assert len(outline(mask)) == 12  # around all of it, nothing within


def test_the_same_film_and_model_give_the_same_uids(answered: dict[str, Any]) -> None:
    film, scored, report_path, _ = answered["scored"]
    source, row = Source.from_bytes(_bytes(film)), scored.row
    assert source is not None
    assert (
        identity_of("sr", source, row).sop_instance_uid
        == pydicom.dcmread(report_path).SOPInstanceUID
    )
    others = [
        identity_of("sc", source, row),
        identity_of("sr", source, replace(row, model_sha256="f" * 64)),
        identity_of("sr", source, replace(row, sha256="e" * 64)),
        identity_of("sr", source, replace(row, operating_point="screening")),
        identity_of("sr", source, row),
    ]
    uids = [uid for one in others for uid in (one.series_uid, one.sop_instance_uid)]
    assert len(set(uids)) == 10
    assert all(pydicom.uid.UID(uid).is_valid and len(uid) <= 64 for uid in uids)


@needs("dciodvfy", "dsrdump")
def test_dciodvfy_and_dsrdump_find_no_error(answered: dict[str, Any]) -> None:
    for _, scored, report_path, picture_path in answered.values():
        for path in (report_path, picture_path):
            told = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
            assert "Error" not in told.stderr + told.stdout, told.stderr
        told = subprocess.run(["dsrdump", "-Ec", str(report_path)], capture_output=True, text=True)
        assert told.returncode == 0
        assert "E:" not in told.stderr
        assert scored.row.decision.value in told.stdout


def test_no_answer_where_there_is_no_study(tmp_path: Path, answered: dict[str, Any]) -> None:
    row = answered["scored"][1].row
    film = phantom_dataset("1.2.9")
    del film.StudyInstanceUID
    film.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name in ("a.dcm", "a.png", "missing.dcm"):
        assert write_answers(tmp_path / "out", tmp_path / name, replace(row, file=name)) is False
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_told(tmp_path: Path, answered: dict[str, Any]) -> None:
    film, scored, *_ = answered["scored"]
    film.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (tmp_path / "out").write_bytes(b"no folder")
    trouble = try_to_answer(tmp_path / "out", tmp_path / "a.dcm", scored.row)
    assert trouble is not None
    assert trouble.is_disk


@pytest.mark.parametrize("name", ["../a.dcm", "/etc/a.dcm", "c:/a.dcm", "a/b.dcm", "..", "a/../b"])
def test_an_answer_never_leaves_its_folder(tmp_path: Path, name: str) -> None:
    for path in answer_paths(tmp_path / "out", name):
        assert path.resolve().is_relative_to(tmp_path / "out")


def test_own_answers_are_known_and_nothing_else_is(answered: dict[str, Any]) -> None:
    film, _, report_path, picture_path = answered["scored"]
    assert is_own_answer(report_path.read_bytes())
    assert is_own_answer(picture_path.read_bytes())
    assert not is_own_answer(_bytes(film))
    assert not is_own_answer(b"Pneumoscope")
    film = phantom_dataset("1.2.8", ManufacturerModelName="Pneumoscope")
    assert not is_own_answer(_bytes(film))  # a film of a machine with our name
    assert set(tables.SENT_CLASSES) == {dicom_own.SECONDARY_CAPTURE, dicom_own.COMPREHENSIVE_SR}


_NOW = (
    *("ContentDate", "ContentTime", "InstanceCreationDate", "InstanceCreationTime"),
    "ContributionDateTime",
)


def plain_report(report: Any) -> list[tuple[str, str, str]]:
    """Every element at every depth, in its order; of the time only that it is there."""
    return [
        (element.keyword, element.VR, "" if element.keyword in _NOW else str(element.value))
        for element in report.iterall()
        if element.VR != "SQ"
    ]


@pytest.mark.parametrize("name", ["scored", "refused", "failed"])
def test_a_report_that_was_filled_in_is_the_one_that_highdicom_builds(
    answered: dict[str, Any], name: str
) -> None:
    film, scored, report_path, _ = answered[name]
    source = Source.from_bytes(_bytes(film))
    assert source is not None
    row, expected = scored.row, structured_report(source, scored.row)
    assert plain_report(pydicom.dcmread(report_path)) == plain_report(expected)
    # The same form with other values, and other forms: another film, a decision, flags.
    other = phantom_dataset("1.2.99", study="1.2.98", PatientAge="", StationName="x")
    other.PatientName, other.Manufacturer = "Ana^Æ", "Other"
    for changed in (
        replace(row, sha256="e" * 64, probability=row.probability and 1 / 3),
        replace(row, quality=row.quality | {"blurred": True, "tilted": True}),
        replace(row, operating_point="screening", model_sha256="f" * 64),
    ):
        for one in (source, Source.from_bytes(_bytes(other)), replace(source, modality="DX")):
            assert one is not None
            made = pydicom.dcmread(io.BytesIO(report_file(one, changed)))
            assert plain_report(made) == plain_report(structured_report(one, changed))


_TEXTS = st.text(max_size=80)


@pytest.mark.filterwarnings("ignore:Found unknown escape sequence")
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=_TEXTS,
    patient=_TEXTS,
    date=_TEXTS,
    maker=_TEXTS,
    reason=st.sampled_from(Reason),
    said=_TEXTS,
)
def test_any_header_gets_a_report_that_can_be_read_back(
    name: str, patient: str, date: str, maker: str, reason: Reason, said: str
) -> None:
    """Whatever stands in a film, its answer is of the standard's form."""
    film = phantom_dataset("1.2.3.4")
    del film.PixelData
    for tag, kind, text in (
        (0x00100010, "PN", name),
        (0x00100020, "LO", patient),
        (0x00080020, "DA", date),
        (0x00080070, "LO", maker),
    ):
        film[tag] = pydicom.dataelem.RawDataElement(
            pydicom.tag.Tag(tag), kind, len(text), text.encode("utf-8"), 0, False, True
        )
    film.SpecificCharacterSet = "ISO_IR 192"
    source = Source.from_bytes(_bytes(film))
    if source is None:  # the header itself could not be parsed
        return
    asked = Asked("balanced", "m", "a" * 64, "litert")
    row: ResultRow = failed_row("x.dcm", reason, said or "x", 1.0, asked, sha256="b" * 64)
    report = pydicom.dcmread(io.BytesIO(report_file(source, row)))
    assert plain_report(report) == plain_report(structured_report(source, row))
    # pydicom drops empty component groups of a name and what pads it.
    assert str(report.PatientName).rstrip("= ") in ("", name.strip().rstrip("= \0"))
    assert ("Why there is no decision", reason.value) in list(contents(report))


def test_a_folder_run_writes_answers_beside_the_films_and_scores_them_once(
    tmp_path: Path, signed_bundle_folder: Path
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    phantom_dataset("1.2.1").save_as(films / "a.dcm", enforce_file_format=True)
    phantom_dataset("1.2.2", PatientAge="050Y").save_as(films / "b.dcm", enforce_file_format=True)
    Image.new("L", (300, 300)).save(films / "c.png")
    command = [
        "batch",
        str(films),
        "--dicom-out",
        str(films),
        "--bundle",
        str(signed_bundle_folder),
    ]
    command += ["--workers", "1", "--quiet"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 0
    made = {path.name for path in films.iterdir()} - {"a.dcm", "b.dcm", "c.png"}
    assert made == {f"{film}.dcm.{kind}.dcm" for film in "ab" for kind in ("sr", "sc")}
    assert main([*command, "-o", str(tmp_path / "again")]) == 0
    for out in ("out", "again"):
        rows = [row.file for row in read_results(tmp_path / out / "results.jsonl")[1]]
        assert rows == ["a.dcm", "b.dcm", "c.png"]


def test_a_film_that_kills_its_worker_has_a_report(
    tmp_path: Path, signed_bundle_folder: Path
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    phantom_dataset("1.2.1").save_as(films / "a.dcm", enforce_file_format=True)
    options = RunOptions(bundle=signed_bundle_folder, answers=tmp_path / "d", formats=("jsonl",))
    with ScoringRun.open(
        RunFolder(tmp_path / "out"),
        RunInput(str(films), {}),
        options,
        lambda text: None,
        names=False,
        start_engine=lambda settings, options: Backwards(settings, given_up="a.dcm"),
    ) as run:
        for file in Inputs([films]):
            assert run.offer(file)
        run.advance(0)
        run.finish()
    said = list(contents(pydicom.dcmread(tmp_path / "d" / "a.dcm.sr.dcm")))
    assert ("Why there is no decision", "timed_out") in said


def _bytes(dataset: Any) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def test_rows_that_are_there_get_the_answers_that_they_lack(
    tmp_path: Path, signed_bundle_folder: Path
) -> None:
    films, out, answers = (tmp_path / name for name in ("films", "out", "answers"))
    films.mkdir()
    for n in (1, 2):
        film = phantom_dataset(f"1.2.{n}", seed=n)
        film.save_as(films / f"{n}.dcm", enforce_file_format=True)
    Image.new("L", (300, 300)).save(films / "c.png")
    command = ["batch", str(films), "-o", str(out), "--bundle", str(signed_bundle_folder)]
    command += ["--workers", "1", "--quiet"]
    assert main(command) == 0
    before = (out / "results.jsonl").read_bytes()
    command += ["--dicom-out", str(answers)]
    assert main(command) == 0
    made = sorted(answers.iterdir())
    assert [path.name for path in made] == [
        f"{n}.dcm.{kind}.dcm" for n in (1, 2) for kind in ("sc", "sr")
    ]
    stamps = [path.stat().st_mtime_ns for path in made]
    made[1].unlink()
    assert main(command) == 0
    assert [path.stat().st_mtime_ns for path in made[2:]] == stamps[2:]  # had theirs
    assert made[1].is_file()
    assert (out / "results.jsonl").read_bytes() == before
    for row in read_results(out / "results.jsonl")[1]:
        if row.file.endswith(".dcm"):
            said = list(contents(pydicom.dcmread(answers / f"{row.file}.sr.dcm")))
            assert ("Decision of the screening model", row.decision.value) in said
