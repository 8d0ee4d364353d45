"""A research bundle says what it lacks wherever it answers; no other bundle may look like one."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from edge_app.bundle.load import load_bundle
from edge_app.bundle.research import Research
from edge_app.cli import main
from edge_app.errors import BundleError, BundleFormatError
from edge_app.images.examples import write_examples
from edge_app.results.rows import read_results
from edge_app.runs.batch import BatchPlan, run_batch
from edge_app.runs.scoring_run import RunOptions
from tests.tiny_bundle import write_tiny_bundle

LACKS = ("40 validation pictures", "=cut-offs without a bound")


def research_bundle(folder: Path, content: bytes | None = None) -> Path:
    """A tiny bundle with its `research.json`, named so."""
    content = Research(LACKS).to_json() if content is None else content

    def change(document: dict[str, Any]) -> None:
        import hashlib

        document["model_id"] = "research-tiny"
        entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        document["files"]["research.json"] = entry

    write_tiny_bundle(folder, change=change)
    (folder / "research.json").write_bytes(content)
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return research_bundle(tmp_path / "bundle")


def test_info_and_score_say_so(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_bundle(bundle).lacks == LACKS
    assert main(["info", "--bundle", str(bundle)]) == 0
    assert all(text in capsys.readouterr().out for text in LACKS[:1])
    write_examples(tmp_path / "pictures")
    picture = min((tmp_path / "pictures").glob("*.png"))
    assert main(["score", "--bundle", str(bundle), str(picture)]) == 0
    said = capsys.readouterr()
    assert said.out.endswith("; a research model\n")
    assert all(text in said.err for text in LACKS)
    assert main(["score", "--json", "--bundle", str(bundle), str(picture)]) == 0
    assert json.loads(capsys.readouterr().out)["model_id"] == "research-tiny"


def test_header_table_and_report_say_so(bundle: Path, tmp_path: Path) -> None:
    write_examples(tmp_path / "pictures")
    out = tmp_path / "out"
    notes: list[str] = []
    options = RunOptions(bundle=bundle, workers=1)
    run_batch(BatchPlan((tmp_path / "pictures",), out, options=options), on_note=notes.append)
    assert any(LACKS[0] in note for note in notes)
    header, _ = read_results(out / "results.jsonl")
    assert header.parameters["research_model_lacks"] == "; ".join(LACKS)
    with (out / "results.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows
    for row in rows:
        assert row["model_id"] == "research-tiny"
        # As with every text of a table, no spreadsheet runs it.
        assert row["model_lacks"] == "40 validation pictures;' =cut-offs without a bound"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count(LACKS[0]) >= 2


def test_a_release_says_nothing_of_it(tmp_path: Path) -> None:
    bundle = load_bundle(write_tiny_bundle(tmp_path / "bundle"))
    assert bundle.lacks == ()
    assert all("research" not in remark for remark in bundle.remarks)


@pytest.mark.parametrize("content", [b"{}", b'{"lacks": []}', b'{"lacks": [" "]}', b"no JSON"])
def test_a_list_that_says_nothing_does_not_load(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BundleFormatError, match=r"research\.json"):
        load_bundle(research_bundle(tmp_path / "bundle", content))


def test_name_and_list_belong_together(tmp_path: Path) -> None:
    """Neither a release in a research model's name, nor a list under a release's."""

    def renamed(document: dict[str, Any]) -> None:
        document["model_id"] = "research-tiny"

    with pytest.raises(BundleError, match="research-"):
        load_bundle(write_tiny_bundle(tmp_path / "a", change=renamed))
    bundle = research_bundle(tmp_path / "b")
    document = json.loads((bundle / "bundle.json").read_text())
    document["model_id"] = "tiny"
    (bundle / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(BundleFormatError, match=r"research\.json"):
        load_bundle(bundle)
