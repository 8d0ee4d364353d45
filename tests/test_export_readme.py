"""The README's part about formats: written between its markers, or refused with a reason."""

from pathlib import Path

import pytest

from edge_app.bundle.load import load_bundle
from export.about import load_about
from export.card import model_card
from export.cli import main
from export.errors import ExportError
from export.fitting import PointSpec, PointSpecs, load_points
from export.parity import Report, Row
from export.readme import formats_section


@pytest.mark.parametrize("content", [None, b"\xff\xfe no UTF-8"])
def test_a_readme_that_cannot_be_read_is_a_usage_error(
    tmp_path: Path,
    tiny_bundle_folder: Path,
    content: bytes | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    readme = tmp_path / "README.md"
    if content is not None:
        readme.write_bytes(content)
    report = str(tmp_path / "none.json")
    assert main(["readme", str(tiny_bundle_folder), str(readme), "--report", report]) == 2
    assert "README.md: cannot be read" in capsys.readouterr().err


def a_report(folder: Path) -> Report:
    """A report without figures of the tiny bundle's files."""
    manifest = load_bundle(folder).manifest
    rows = tuple(Row(f"{m.format}_{m.recipe}", "any", 1, m.sha256, ()) for m in manifest.models)
    return Report(manifest.provenance.checkpoint_sha256, {}, {}, rows, ())


def test_card_and_readme_say_what_the_band_promises(tiny_bundle_folder: Path) -> None:
    bundle, report = load_bundle(tiny_bundle_folder), a_report(tiny_bundle_folder)
    points = PointSpecs(
        "balanced",
        tuple(
            PointSpec(name, "p", "balanced", 0.0, 0.0, missed, alarms, delta)
            for name, missed, alarms, delta in (
                ("balanced", 0.04, 0.05, 0.05),
                ("screening", 0.03, 0.1, 0.1),
            )
        ),
    )
    card = model_card(bundle.manifest, load_about("chest_xray"), report, points)
    for text in (card, formats_section(bundle, report, points)):
        assert "| balanced | 4% | 5% | 95% |" in text
        assert "| screening | 3% | 10% | 90% |" in text
        assert "Nothing is promised for another site" in text


def test_promises_of_other_operating_points_are_refused(tiny_bundle_folder: Path) -> None:
    bundle, report = load_bundle(tiny_bundle_folder), a_report(tiny_bundle_folder)
    with pytest.raises(ExportError, match="other operating points"):
        formats_section(bundle, report, load_points())
