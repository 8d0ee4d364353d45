"""The first look in export is the edge's: the same turns, frames and refusals."""

from pathlib import Path

import numpy as np
import pytest

from edge_app.bundle.load import load_bundle
from edge_app.decision import Reason
from edge_app.images.lung_frame import WHOLE
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.runtimes import open_runtime
from edge_app.screening.locator import find_anyway, look
from export.checkpoint import Checkpoint, Network, Record
from export.errors import ExportError
from export.looks import Finder, edge_error, load_rules, reader_inputs, upright, views
from tests.tiny_bundle import MARGIN, RULES, SPEC, write_tiny_bundle
from tests.tiny_network import locate

PHANTOMS = [draw_phantom(Phantom(seed=seed), 200, 220) for seed in (1, 2)]
RECORD = Record("tiny", SPEC, 1, "2026-11-28", "0" * 64, "0" * 64, {}, None, None)
FINDER = Finder(Checkpoint(Path("none"), "0" * 64, RECORD, Network((), dict, None)), RULES, MARGIN)


def run(inputs: np.ndarray) -> dict[str, np.ndarray]:
    """The tiny locator in numpy, on many pictures."""
    found = [locate(picture[np.newaxis]) for picture in inputs]
    return {role: np.concatenate([outputs[role] for outputs in found]) for role in found[0]}


def test_a_turned_picture_gives_the_same_input(tmp_path: Path) -> None:
    turned = [np.rot90(PHANTOMS[0], turns) for turns in range(4)]
    seen = views(turned, FINDER, run)
    assert [view.turns for view in seen] == [0, 1, 2, 3]
    inputs = reader_inputs(turned, seen, SPEC)
    assert all(np.array_equal(inputs[0], other) for other in inputs[1:])
    assert edge_error(seen, seen[:1] * 4) == (0, 0)


def test_export_and_edge_see_alike(tmp_path: Path) -> None:
    bundle = load_bundle(write_tiny_bundle(tmp_path / "b", locator=True))
    runtime, locator = open_runtime(bundle), bundle.manifest.locator
    assert locator is not None
    cut = np.ascontiguousarray(PHANTOMS[0][:, 50:])
    pictures = [*PHANTOMS, np.ascontiguousarray(np.rot90(PHANTOMS[1])), cut]
    for pixels, view in zip(pictures, views(pictures, FINDER, run), strict=True):
        found = look(pixels, runtime, locator)
        assert found.lungs is not None
        assert found.lungs.quarter_turns == view.turns
        assert (None if found.refusal is None else found.refusal.reason) == view.reason
        anyway = find_anyway(upright(pixels, view.turns), runtime, locator)
        assert anyway is not None
        frame = anyway.frame
        for side in ("left", "top", "right", "bottom"):
            assert getattr(frame, side) == pytest.approx(getattr(view.frame, side), abs=1e-5)
    assert view.reason is Reason.LUNGS_CUT_OFF


def test_without_a_locator_the_reader_sees_whole_pictures() -> None:
    seen = views(PHANTOMS, None, None)
    assert [(view.turns, view.frame, view.reason) for view in seen] == [(0, WHOLE, None)] * 2


def test_the_rules_file(tmp_path: Path) -> None:
    assert 0 < load_rules().least_certainty < 1
    (tmp_path / "r.toml").write_text("turned = 0.9\n")
    with pytest.raises(ExportError, match=r"r\.toml"):
        load_rules(tmp_path / "r.toml")


def test_pictures_that_the_edge_refuses_as_too_small_are_refused() -> None:
    small = draw_phantom(Phantom(seed=1), 127, 160)
    assert [view.reason for view in views([small], FINDER, run)] == [Reason.TOO_SMALL]
    assert [view.reason for view in views([small], None, None)] == [Reason.TOO_SMALL]
