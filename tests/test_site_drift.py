"""`pneumoscope drift`: the index against its theory, and what a made-up site's weeks show."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_app.cli import main
from edge_app.errors import DataError, NoInputError
from edge_app.images.labelled_pictures import Labelling
from edge_app.results.rows import ResultRow
from edge_app.site.calibrate import calibrate
from edge_app.site.cases import read_cases, read_run
from edge_app.site.distributions import Distribution, baseline_of, values_of
from edge_app.site.drift import Drift, Verdict, read_devices, watch_drift
from edge_app.site.profile import SiteProfile, Wanted
from edge_app.site.profile_folder import write_profile
from edge_app.statistics.population_stability import compare, holm, stability_index
from tests.site_runs import HEADER, LUNGS, refused, scored, write_run, write_truth

COUNTS = st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any)


def _rows(
    n: int, seed: int, shift: float = 0.0, week: int = 0, folder: str = ""
) -> list[ResultRow]:
    rng = np.random.default_rng(seed)
    scores = rng.normal(shift, 1.5, n)
    boxes = 0.1 + 0.05 * rng.random(n)
    day = 23 + 7 * week if week < 1 else 30
    return [
        scored(
            f"{folder}{seed}-{i}.png",
            float(score),
            lungs=replace(LUNGS, left=float(box)),
            scored_at=f"2026-11-{day}T08:00:00.000Z",
        )
        for i, (score, box) in enumerate(zip(scores, boxes, strict=True))
    ]


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> SiteProfile:
    folder = tmp_path_factory.mktemp("site")
    rows = _rows(400, seed=0)
    run = write_run(folder / "out", rows)
    lines = [
        f"{row.file},{int((row.raw_score or 0) + (i % 3) - 1 > 0)}" for i, row in enumerate(rows)
    ]
    cases = read_cases(run, write_truth(folder / "t.csv", lines), Labelling())
    return calibrate(cases, rows, "clinic", Wanted(0.9, None, 0.9)).profile


def _drift(folder: Path, profile: SiteProfile, rows: list[ResultRow]) -> Drift:
    return watch_drift([read_run(write_run(folder / "later", rows))], profile)


def _verdict(drift: Drift, kind: str, feature: str, group: str = "") -> Verdict:
    (found,) = (f for f in drift.of(kind, feature) if f.group == group)
    return found.verdict


@given(counts=COUNTS)
def test_equal_samples_have_no_index(counts: list[int]) -> None:
    assert stability_index(counts, counts) == 0
    assert compare(counts, counts, deals=50).p_value == 1


@given(
    pair=st.integers(1, 10).flatmap(
        lambda k: st.tuples(*[st.lists(st.integers(0, 50), min_size=k, max_size=k).filter(any)] * 2)
    )
)
def test_the_index_is_symmetric_and_never_negative(pair: tuple[list[int], list[int]]) -> None:
    assert stability_index(*pair) >= 0
    assert stability_index(*pair) == pytest.approx(stability_index(*reversed(pair)))


def test_the_index_by_hand() -> None:
    # Shares 0.2, 0.3, 0.5 against 0.3, 0.3, 0.4: 0.1 ln 1.5 + 0.1 ln 1.25 = 0.06286.
    assert stability_index([20000, 30000, 50000], [30000, 30000, 40000]) == pytest.approx(
        0.06286, abs=1e-4
    )


def test_chance_follows_yurdakul_and_naranjo() -> None:
    # Of two samples of one population, index / (1/n + 1/m) is chi-square with bins - 1 degrees.
    chi2 = pytest.importorskip("scipy.stats").chi2(9)
    comparison = compare([500] * 10, [300] * 10, deals=20_000)
    scale = 1 / 5000 + 1 / 3000
    assert comparison.by_chance == pytest.approx(9 * scale, rel=0.03)
    assert comparison.noise == pytest.approx(chi2.ppf(0.95) * scale, rel=0.04)
    assert comparison.p_value == 1


@pytest.mark.parametrize("n", [20, 100])
def test_false_alarms_are_as_rare_as_is_said(n: int) -> None:
    # Bins are tenths of the baseline itself, as `baseline_of` cuts them.
    rng, alarms, tried = np.random.default_rng(5), 0, 400
    for _ in range(tried):
        before = rng.normal(size=150)
        edges = np.quantile(before, np.arange(1, 10) / 10)
        counts = [
            np.bincount(np.searchsorted(edges, x, side="right"), minlength=10)
            for x in (before, rng.normal(size=n))
        ]
        alarms += compare(*counts, deals=199).p_value <= 0.05
    assert alarms / tried <= 0.08  # 5% nominal, standard error 1.1%


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@pytest.mark.parametrize("counts", [[], [0, 0], [1, -1], [0.5, 1]])
def test_what_is_no_count_is_refused(counts: list[float]) -> None:
    with pytest.raises(ValueError, match=r"counts|sample"):
        compare(counts, counts)


def test_a_distribution_counts_new_words_and_keeps_its_bins() -> None:
    words = Distribution((), ("a", "b"), (1, 2))
    assert words.count(["b", "c"]) == Distribution((), ("a", "b", "c"), (0, 1, 1))
    numbers = Distribution((0.0, 1.0), (), (1, 1, 1))
    assert numbers.count([-5, 0.0, 1.0, 9]).counts == (1, 1, 2)
    for wrong in (((0.0,), (), (1,)), ((1.0, 0.0), (), (1, 1, 1)), ((), ("a",), (-1,))):
        with pytest.raises(ValueError, match=r"counts? |edges"):
            Distribution(*wrong)


def test_a_baseline_has_equal_tenths_and_no_names() -> None:
    rows = _rows(200, seed=1)
    baseline = baseline_of([*rows, refused("r.png")])
    assert set(baseline.features["raw_score"].counts) == {20}
    assert baseline.features["answer"].words == ("lungs_not_found", "scored")
    assert "1-0.png" not in repr(baseline)
    assert values_of(rows)["lungs area"] == [0.375] * 200  # 6 of 16 bits


def test_the_same_films_are_as_before(tmp_path: Path, profile: SiteProfile) -> None:
    drift = _drift(tmp_path, profile, _rows(400, seed=0))
    assert {f.verdict for f in drift.features} == {Verdict.AS_BEFORE}
    assert {f.comparison.index for f in drift.features} == {0.0}
    assert not drift.call_for_help
    assert drift.advice == ("Nothing that these films can show has changed.",)


def test_new_films_of_the_same_kind_are_as_before(tmp_path: Path, profile: SiteProfile) -> None:
    drift = _drift(tmp_path, profile, _rows(300, seed=2))
    assert not drift.call_for_help
    assert {f.verdict for f in drift.features} == {Verdict.AS_BEFORE}


def test_scores_that_move_call_for_help_and_name_the_week(
    tmp_path: Path, profile: SiteProfile
) -> None:
    drift = _drift(tmp_path, profile, _rows(200, seed=3) + _rows(200, 4, shift=2.0, week=1))
    assert _verdict(drift, "week", "raw_score", "2026-W48") is Verdict.AS_BEFORE
    assert _verdict(drift, "week", "raw_score", "2026-W49") is Verdict.CHANGED_MUCH
    assert drift.call_for_help
    assert drift.advice[0].startswith("Call for help: the scores")


def test_a_device_that_cuts_films_otherwise_is_named(tmp_path: Path, profile: SiteProfile) -> None:
    other = [
        replace(row, lungs=replace(LUNGS, left=0.4)) for row in _rows(100, 6, folder="room 2/")
    ]
    drift = _drift(tmp_path, profile, _rows(100, 5, folder="room 1/") + other)
    assert _verdict(drift, "device", "lungs width", "room 1") is Verdict.AS_BEFORE
    assert _verdict(drift, "device", "lungs width", "room 2") is Verdict.CHANGED_MUCH
    assert not drift.call_for_help
    assert drift.advice[0].startswith("Ask whoever takes the films: the lungs' ")


def test_refusals_that_the_baseline_never_saw_are_noticed(
    tmp_path: Path, profile: SiteProfile
) -> None:
    rows = _rows(100, seed=7) + [refused(f"r{i}.png") for i in range(60)]
    drift = _drift(tmp_path, profile, rows)
    assert _verdict(drift, "all", "answer") is Verdict.CHANGED_MUCH
    assert drift.call_for_help


def test_a_handful_of_films_is_too_few_whatever_they_show(
    tmp_path: Path, profile: SiteProfile
) -> None:
    drift = _drift(tmp_path, profile, _rows(8, seed=8))
    (scores,) = drift.of("all", "raw_score")
    assert scores.verdict is Verdict.TOO_FEW
    assert scores.needed is not None
    assert 60 < scores.needed < 120  # chi-square: 16.9 (1/n + 1/400) = 0.25 at n = 81
    assert any(text.startswith("Too few films to tell") for text in drift.advice)


def test_another_model_is_refused_by_name(tmp_path: Path, profile: SiteProfile) -> None:
    header = replace(HEADER, model_sha256="9" * 64)
    rows = [replace(row, model_sha256="9" * 64) for row in _rows(20, seed=9)]
    run = read_run(write_run(tmp_path / "x", rows, header))
    with pytest.raises(DataError, match=r"results\.jsonl: line 1: scored by the model made-up"):
        watch_drift([run], profile)
    with pytest.raises(DataError, match="no film was scored"):
        watch_drift([read_run(write_run(tmp_path / "empty", []))], profile)


def test_devices_come_from_a_table(tmp_path: Path, profile: SiteProfile) -> None:
    rows = _rows(40, seed=10)
    table = write_truth(
        tmp_path / "d.csv",
        [f"{row.file},{'AB'[i % 2]}" for i, row in enumerate(rows[:39])],
        "file,device",
    )
    run = read_run(write_run(tmp_path / "out", rows))
    drift = watch_drift([run], profile, read_devices(table))
    assert [f.group for f in drift.of("device", "answer")] == ["A", "B", "not listed"]
    with pytest.raises(DataError, match="columns file and device"):
        read_devices(write_truth(table, ["x,y"]))
    with pytest.raises(DataError, match=r"d\.csv:2"):
        read_devices(write_truth(table, ["x"], "file,device"))
    with pytest.raises(NoInputError):
        read_devices(tmp_path / "none.csv")


def test_the_command_prints_draws_and_gives_json(
    tmp_path: Path, profile: SiteProfile, capsys: pytest.CaptureFixture[str]
) -> None:
    write_profile(tmp_path / "site", profile, [])
    rows = _rows(200, seed=3, folder="<b>/") + _rows(200, 4, shift=2.0, week=1)
    run, page = write_run(tmp_path / "out", rows), tmp_path / "drift.html"
    command = ["drift", str(run), "--baseline", str(tmp_path / "site")]
    assert main([*command, "-o", str(page)]) == 0
    assert "Call for help: the scores" in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 3
    assert "<b>" not in text
    assert "&lt;b&gt;" in text
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["call_for_help"] is True
    results = run / "results.jsonl"
    results.write_bytes(results.read_bytes()[:-9])
    assert main(command) == 2
    assert "line 401: torn" in capsys.readouterr().err
