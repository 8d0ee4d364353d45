"""One file to one row: whatever is wrong with it stands in the row."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from edge_app.bundle.load import load_bundle
from edge_app.decision import Reason
from edge_app.errors import BundleError
from edge_app.screening.score_file import score_file, score_unknown_file
from edge_app.screening.screener import Screener
from tests.test_batch import write_ward


@pytest.fixture
def screener(tiny_bundle_folder: Path) -> Screener:
    return Screener(load_bundle(tiny_bundle_folder))


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    return write_ward(tmp_path / "ward")


def test_hashes_and_times(ward: Path, screener: Screener) -> None:
    for name in ("between.png", "cut.jpeg"):
        row = score_file(screener, ward / name, name)
        assert row.sha256 == hashlib.sha256((ward / name).read_bytes()).hexdigest()
    scored = score_file(screener, ward / "between.png", "x")
    assert scored.decode_ms is not None
    assert scored.infer_ms is not None
    assert 0 < scored.decode_ms + scored.infer_ms <= scored.total_ms
    assert score_file(screener, ward / "empty.png", "x").sha256 is None


def test_a_defect_is_a_failure_of_its_file(
    ward: Path, screener: Screener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(self: Screener, radiograph: object) -> object:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(Screener, "score", score)
    row = score_file(screener, ward / "whole.jpeg", "x")
    assert row.reason is Reason.INTERNAL_ERROR
    assert row.message == "whole.jpeg: ZeroDivisionError: a defect"


def test_what_concerns_the_model_stops(
    ward: Path, screener: Screener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(self: Screener, radiograph: object) -> object:
        raise BundleError("gone")

    monkeypatch.setattr(Screener, "score", score)
    with pytest.raises(BundleError):
        score_file(screener, ward / "between.png", "x")


def test_known_content_is_not_scored_again(ward: Path, screener: Screener) -> None:
    path = ward / "between.png"
    known = {hashlib.sha256(path.read_bytes()).digest()}
    assert score_unknown_file(screener, path, "x", known=known) is None
    assert score_unknown_file(screener, ward / "whole.jpeg", "x", known=known) is not None


def test_what_could_not_be_read_is_told_from_what_could_not_be_decoded(
    ward: Path, screener: Screener
) -> None:
    def unread(name: str) -> bool:
        scored = score_unknown_file(screener, ward / name, "x", known=frozenset())
        assert scored is not None
        return scored.unread

    assert unread("nowhere.png")
    assert not unread("cut.jpeg")


def test_runtimes_agree_on_every_decision(ward: Path, tiny_bundle_folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")
    bundle = load_bundle(tiny_bundle_folder)
    files = sorted(ward.rglob("*.png"))
    by_runtime = [
        [score_file(Screener(bundle, name), path, path.name) for path in files]
        for name in ("litert", "onnxruntime")
    ]
    for first, second in zip(*by_runtime, strict=True):
        if first.raw_score is not None and second.raw_score is not None:
            assert abs(first.raw_score - second.raw_score) < 0.05
        assert first.reason == second.reason
    assert np.isfinite([r.raw_score for r in by_runtime[0] if r.raw_score is not None]).all()
