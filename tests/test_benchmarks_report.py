"""Tables, reports, the documents' markers and the regression guard."""

import math
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarks import readme
from benchmarks.check import (
    FORMAT_VERSION,
    Baseline,
    Guarded,
    guarded_ratios,
    judge,
    only_a_hint,
    read_baseline,
)
from benchmarks.cli import main
from benchmarks.contenders import bundle_contenders
from benchmarks.machine import Processor, this_machine
from benchmarks.plots import draw_plots
from benchmarks.record import Results, Scale, ScaleCurve, ScalePoint
from benchmarks.reference import Paired, alternate, measure_inference, multiply_add, versions
from benchmarks.scale import MEGAPIXELS, linearity, scaling
from benchmarks.store import read_results, write_results
from benchmarks.tables import (
    Table,
    as_html,
    as_markdown,
    make_tables,
    side_by_side,
    verdict_table,
)
from benchmarks.timing import Ratio
from edge_app.bundle.load import load_bundle
from edge_app.errors import UsageError
from tests.benchmark_results import (
    MACHINE,
    TAKEN,
    accuracy,
    accuracy_row,
    latency,
    latency_row,
    results,
    row,
    startup,
    throughput,
)


def test_throughput_table_gives_ratios_and_the_share_above_the_floor() -> None:
    text = as_markdown(make_tables(results(throughput=throughput())))
    assert "| keras: what keras does | 60.00 | 17 | 30.00 (" in text
    # 3 ms on one core are 1.5 ms on two; ours takes 2 ms.
    assert "| floor / 2 cores | 1.50 | 667 | ours takes 1.33 times the floor |" in text
    assert "openvino: not run: not installed" in text
    assert "Again: `python -m benchmarks x`" in text
    assert "tiny-1 on Test CPU family 26 model 2 stepping 1, AVX2 VNNI (x86_64)" in text


def test_pipe_in_a_cell_does_not_end_it() -> None:
    (table,) = make_tables(results(latency=latency(latency_row("a|b", 2))))
    assert "| a\\|b litert |" in table.markdown
    assert table.rows()[0]["threads"] == "1"


def test_html_report_is_one_file_without_outside_assets() -> None:
    tables = make_tables(results(latency=latency(latency_row("static_int8", 2))))
    page = as_html(tables, "machine")
    assert "static_int8 litert" in page
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page


def test_html_escapes_what_names_hold() -> None:
    page = as_html([Table("x", "X", "| <b> |\n| --- |\n| `a<b` **c&d** |\n")], "<i>")
    assert "<th>&lt;b&gt;</th>" in page
    assert "<p>&lt;i&gt;</p>" in page
    assert "<td><code>a&lt;b</code> <strong>c&amp;d</strong></td>" in page


def test_machines_side_by_side_have_a_column_each() -> None:
    pi = replace(this_machine(), processor=Processor("Cortex-A76", "0x41", "0xd0b", "r4p1", ()))
    first = results(latency=latency(latency_row("static_int8", 2)), startup=startup())
    second = replace(results(latency=latency(latency_row("float32", 9))), machine=pi)
    tables = {table.name: table for table in side_by_side({"a": first, "pi": second})}
    int8, float32 = tables["latency"].rows()
    assert int8 == {"": "static_int8 litert, 1 threads", "a": "2.03 / 2.06", "pi": "–"}
    assert float32["a"] == "–"
    assert tables["startup"].rows()[0]["pi"] == "–"
    # What a column is of stands under it: model, machine, versions.
    *_, of_a, of_pi = tables["latency"].markdown.splitlines()
    assert of_a.startswith("a: tiny-1, Test CPU")
    assert "numpy 2" in of_a
    assert "Cortex-A76" in of_pi
    assert tables["startup"].markdown.endswith("not measured\n")


def test_accuracy_and_scale_stand_side_by_side_too() -> None:
    curve = ScaleCurve("files", (ScalePoint(100, 90.0, (1.0,)),), "note")
    first = results(
        accuracy=accuracy(accuracy_row("static_int8", 0.9)), scale=Scale(TAKEN, (curve,))
    )
    tables = {table.name: table for table in side_by_side({"a": first, "b": results()})}
    (cells,) = tables["accuracy"].rows()
    assert list(cells.values()) == ["static_int8 litert", "0.9000 (0.8900–0.9100), 100", "–"]
    assert "on pictures" in tables["accuracy"].markdown
    assert list(tables["scale"].rows()[0].values()) == ["100 files", "1.000 (90)", "–"]


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="needs matplotlib (extra benchmarks)")
def test_plots_are_png_files(tmp_path: Path) -> None:
    drawn = draw_plots(
        results(
            latency=latency(latency_row("static_int8", 2)),
            throughput=throughput(),
            accuracy=accuracy(accuracy_row("static_int8", 0.9)),
        ),
        tmp_path,
    )
    assert sorted(path.stem for path in drawn) == ["confusion", "latency", "roc", "throughput"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_without_matplotlib_plots_are_left_out_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.plots.find_spec", lambda name: None)
    assert draw_plots(results(throughput=throughput()), tmp_path) == []
    assert "matplotlib is not installed" in capsys.readouterr().err


LINEAR = "no step differs from linear beyond the noise"


def test_linearity_in_words() -> None:
    assert LINEAR in linearity(points((100, 1), (1000, 10)))
    assert "fixed costs weigh up to 1000" in linearity(points((100, 1), (1000, 2), (10000, 20)))
    assert "faster than linear from 1 to 10 (exponent 2.00" in linearity(points((1, 1), (10, 100)))
    assert linearity(points((1, 1))) == "one point only"
    once = [ScalePoint(x, None, (x,)) for x in (1.0, 2.0)]
    assert "no judgement" in linearity(once)
    # An exponent of 1.2 that runs from 0.8 to 1.2 times their median do not tell from 1.
    noisy = [ScalePoint(x, None, (0.8 * s, s, 1.2 * s)) for x, s in ((1, 1.0), (10, 15.8))]
    assert LINEAR in linearity(noisy)


def points(*pairs: tuple[float, float]) -> list[ScalePoint]:
    """Three runs each that differ by one percent."""
    return [ScalePoint(x, None, (0.99 * s, s, 1.01 * s)) for x, s in pairs]


def test_noise_alone_is_seldom_called_non_linear() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(200):
        measured = [
            ScalePoint(x, None, tuple(x * math.exp(rng.normal(0, 0.1)) for _ in range(5)))
            for x in MEGAPIXELS
        ]
        alarms += LINEAR not in linearity(measured)
    assert alarms <= 20


def test_scaling_of_workers_in_words() -> None:
    found = scaling(points((1, 8), (2, 4), (4, 3.95), (8, 3.9)))
    assert found == "stops scaling at 2: 4 are no faster beyond the noise"
    assert "scales to the end: 4 are 3.33 times as fast as 1" in scaling(
        points((1, 8), (2, 4.3), (4, 2.4))
    )


DOCUMENT = "before\n<!-- benchmarks:startup -->\nold\n<!-- /benchmarks:startup -->\nafter\n"


def test_marked_table_is_filled_in_once_and_for_all() -> None:
    held = results(startup=startup())
    filled = readme.fill(DOCUMENT, held)
    assert filled.startswith("before\n<!-- benchmarks:startup -->\n| command |")
    assert filled.endswith("<!-- /benchmarks:startup -->\nafter\n")
    assert "old" not in filled
    assert readme.fill(filled, held) == filled


def test_table_that_is_not_measured_says_so() -> None:
    assert "Not measured on a quiet machine yet" in readme.fill(DOCUMENT, results())


def test_marker_of_a_table_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="benchmarks:start_up"):
        readme.fill(DOCUMENT.replace("startup", "start_up"), results())


def test_document_that_differs_is_stale_until_it_is_written(tmp_path: Path) -> None:
    held = results(startup=startup())
    (tmp_path / "README.md").write_text(DOCUMENT)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "other.md").write_text(DOCUMENT)
    (tmp_path / "docs" / "plain.md").write_text("no marker")
    assert list(readme.stale_documents(held, tmp_path)) == ["README.md", "docs/other.md"]
    assert readme.write_documents(held, tmp_path) == ["README.md", "docs/other.md"]
    assert readme.stale_documents(held, tmp_path) == {}


def test_figures_of_another_model_are_stale(tiny_bundle_folder: Path) -> None:
    manifest = load_bundle(tiny_bundle_folder).manifest
    own = latency_row("static_int8", 2)
    (model, *_) = manifest.models
    shipped = replace(
        manifest,
        model_id=TAKEN.model_id,
        models=(replace(model, sha256=own.contender.model_sha256),),
    )
    foreign = latency_row("float32", 2, foreign=True)
    held = results(latency=latency(own, foreign), throughput=throughput(), startup=startup())
    assert readme.other_models(held, shipped) == []
    of_other_file = replace(shipped, models=manifest.models)
    assert readme.other_models(held, of_other_file) == ["latency"]
    of_other_bundle = replace(shipped, model_id="another")
    assert readme.other_models(held, of_other_bundle) == ["latency", "throughput", "startup"]


def test_one_machine_s_report_prints_its_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path / "a.json", results(startup=startup()))
    assert main(["report", str(tmp_path / "a.json"), "-o", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "## From cold" in shown
    assert "| `pneumoscope --version` |" in shown


@pytest.fixture
def committed() -> Results:
    """The figures that the documents show."""
    if not readme.RESULTS.exists():
        pytest.skip("no figures are committed yet")
    return read_results(readme.RESULTS)


def test_the_documents_tables_are_those_of_the_committed_results(committed: Results) -> None:
    assert list(readme.stale_documents(committed)) == [], "run: python -m benchmarks readme"


def test_the_committed_results_are_about_the_shipped_model(committed: Results) -> None:
    """A table that is not measured again yet must say so: drop its section."""
    stale = readme.other_models(committed, load_bundle().manifest)
    assert stale == [], "measured on another model than the one that ships: make benchmarks"


def guarded(value: float, spread: float = 0.02) -> Guarded:
    found = Ratio(value, value * (1 - spread), value * (1 + spread), value, value, 5)
    return Guarded("x", found)


@pytest.mark.parametrize(
    ("then", "now", "verdict"),
    [
        (guarded(10), guarded(12), "worse"),
        (guarded(10), guarded(8), "better"),
        (guarded(10), guarded(10.5), "same"),
        # The intervals, 9 to 11 and 10.35 to 12.65, overlap; the difference is beyond the noise of
        # both: ln(11.5 / 10) = 0.140 > 2.31 * sqrt(0.036^2 + 0.036^2) + ln 1.05 = 0.167 does not
        # hold for these, ln(11.9 / 10) = 0.174 does.
        (guarded(10, 0.1), guarded(11.5, 0.1), "same"),
        (guarded(10, 0.1), guarded(11.9, 0.1), "worse"),
        # Outside of the drift, but not beyond the noise.
        (guarded(10), guarded(12, 0.3), "same"),
    ],
)
def test_verdict(then: Guarded, now: Guarded, verdict: str) -> None:
    assert [v.verdict for v in judge([then], [now])] == [verdict]


def baseline_of(*, full: tuple[Guarded, ...] = (), short: tuple[Guarded, ...] = ()) -> Baseline:
    return Baseline(
        FORMAT_VERSION, MACHINE.processor, MACHINE.cores, versions(MACHINE), full, short
    )


def test_ratio_that_was_not_measured_here_and_one_that_has_not_landed() -> None:
    new = replace(guarded(3), name="y")
    verdicts = judge([guarded(10)], [new])
    assert [(v.name, v.verdict) for v in verdicts] == [("x", "not measured here"), ("y", "new")]
    table = verdict_table(verdicts, baseline_of(full=(guarded(10),)), "Another processor")
    _, hint, new_ratio = table.markdown.splitlines()[5:]
    assert "Another processor: these ratios are only a hint" in hint
    assert "no landed ratio" in new_ratio


def test_short_form_says_that_the_full_one_has_not_landed_and_what_makes_it() -> None:
    table = verdict_table([], baseline_of(short=(guarded(10),)), "")
    assert "`python -m benchmarks check --write FOLDER` makes them" in table.markdown


def test_baseline_of_another_machine_or_of_other_fixed_work_is_only_a_hint() -> None:
    baseline = baseline_of()
    assert only_a_hint(baseline, MACHINE) == ""
    assert "cores" in only_a_hint(baseline, replace(MACHINE, cores=MACHINE.cores * 2))
    # The same name: a virtual machine tells "AMD EPYC" with VNNI and without.
    without = replace(MACHINE.processor, instruction_sets=("avx2",))
    assert "another processor" in only_a_hint(baseline, replace(MACHINE, processor=without))
    unknown = Processor(MACHINE.processor.name, None, None, None, ())
    assert only_a_hint(replace(baseline, processor=unknown), replace(MACHINE, processor=unknown))
    moved = replace(baseline, versions={**baseline.versions, "numpy": "1.0"})
    assert "numpy 1.0, now" in only_a_hint(moved, MACHINE)


def test_baseline_of_the_old_format_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text('{"format_version": 1, "cpu": "x", "cores": 2, "full": [], "short": []}')
    with pytest.raises(UsageError, match=r"not comparable: format version 1.*check --write FOLDER"):
        read_baseline(path)


def test_check_against_nothing_fails_before_it_measures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.check.read_baseline", baseline_of)

    def measured(*_: object, **__: object) -> None:
        raise AssertionError("measured in vain")

    monkeypatch.setattr("benchmarks.cli.check.measure_throughput", measured)
    assert main(["check", str(tmp_path)]) == 2
    assert "check --write FOLDER" in capsys.readouterr().err
    assert main(["check", "--report-only"]) == 0
    assert "nothing to compare with" in capsys.readouterr().err


def watched(ours: float, float32: float, decoding: float = 0.5) -> tuple[Guarded, ...]:
    """What the guard sees where ours needs so many ms an image and float32 so many us a run."""
    section = throughput()
    rows = [
        replace(of, seconds=(ours, ours, ours)) if of.name == "ours" else of for of in section.rows
    ]
    fixed = row("reference", 100, decoding, decoding, decoding)
    pairs = [
        Paired("static_int8 litert", (600.0, 606.0), (300.0, 300.0)),
        Paired("float32 onnxruntime", (float32, float32 * 1.01), (300.0, 300.0)),
    ]
    raced = replace(section, rows=(*rows, fixed))
    return guarded_ratios(raced, pairs, startup())


def test_guard_watches_ratios_of_every_section() -> None:
    found = {g.name: g.ratio.value for g in watched(2.0, 1200.0)}
    assert found == {
        # 2 ms an image against 5 ms of decoding.
        "throughput: pneumoscope batch / reference": pytest.approx(0.4),
        "inference: static_int8 litert / reference": pytest.approx(2, rel=0.01),
        "inference: float32 onnxruntime / reference": pytest.approx(4, rel=0.01),
        "startup: pneumoscope --version / python -c pass": pytest.approx(2),
    }


def test_what_became_faster_makes_nothing_else_worse() -> None:
    verdicts = {v.name: v.verdict for v in judge(watched(2.0, 1200.0), watched(1.5, 600.0))}
    assert set(verdicts.values()) == {"same", "better"}
    assert verdicts["inference: static_int8 litert / reference"] == "same"
    slower = {v.name: v.verdict for v in judge(watched(2.0, 1200.0), watched(2.5, 1200.0))}
    assert [name for name, verdict in slower.items() if verdict == "worse"] == [
        "throughput: pneumoscope batch / reference"
    ]


def test_inference_is_measured_beside_the_fixed_work(tiny_bundle_folder: Path) -> None:
    contenders = bundle_contenders(load_bundle(tiny_bundle_folder), ("litert",))
    broken = replace(contenders[0], python=sys.executable, folder="/absent", alias="")
    pairs = measure_inference([*contenders, replace(broken, runtime="tflite-runtime")], 2)
    assert [pair.name for pair in pairs] == ["static_int8 litert"]
    (pair,) = pairs
    assert len(pair.contender_us) == len(pair.reference_us) == 2
    assert min(*pair.contender_us, *pair.reference_us) > 1


def test_the_same_work_on_both_sides_costs_the_same() -> None:
    run = multiply_add()
    once, beside = alternate(lambda _: run())
    # In turns, so that a busy machine meets both.
    assert 1 / 3 < once / beside < 3
    twice, beside = alternate(lambda _: (run(), run()))
    assert twice / beside > 1.3
