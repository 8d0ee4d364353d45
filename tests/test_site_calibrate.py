"""`pneumoscope calibrate` and `--site`: what is chosen, what is signed, and what is refused."""

import hashlib
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import MANIFEST_FILE
from edge_app.cli import main
from edge_app.errors import (
    BundleError,
    DataError,
    NoInputError,
    SiteProfileError,
    UsageError,
)
from edge_app.images.labelled_pictures import Labelling
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.screening.screener import Screener
from edge_app.site.calibrate import SiteFit, calibrate
from edge_app.site.cases import read_cases, read_run
from edge_app.site.profile import SiteProfile, Wanted, apply_profile
from edge_app.site.profile_folder import read_profile, write_profile
from edge_app.statistics.cutoffs import threshold_for_sensitivity
from edge_app.statistics.intervals import wilson
from tests.site_runs import HEADER, scored, write_run, write_truth
from tests.tiny_bundle import write_tiny_bundle

WANTED = Wanted(0.9, None, 0.9)


def _fit(folder: Path, n: int = 120, wanted: Wanted = WANTED, **options: Any) -> SiteFit:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, n)
    scores = np.round(rng.normal(2.0 * labels - 1.0, 1.1), 3)
    run = write_run(folder / "out", [scored(f"{i}.png", s) for i, s in enumerate(scores)])
    truth = write_truth(folder / "truth.csv", [f"{i}.png,{y}" for i, y in enumerate(labels)])
    cases = read_cases(run, truth, Labelling())
    return calibrate(cases, read_run(run).rows.values(), "clinic", wanted, **options)


def _for_bundle(profile: SiteProfile, folder: Path) -> SiteProfile:
    """The same for the tiny bundle's TFLite model."""
    manifest = load_bundle(folder).manifest
    digest = hashlib.sha256((folder / MANIFEST_FILE).read_bytes()).hexdigest()
    return replace(
        profile,
        model_id=manifest.model_id,
        model_sha256=manifest.models[0].sha256,
        bundle_sha256=digest,
    )


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def site(tmp_path: Path, bundle_folder: Path) -> Path:
    """A profile of the tiny bundle."""
    profile = _for_bundle(_fit(tmp_path).profile, bundle_folder)
    write_profile(tmp_path / "site", profile, ["<p>a page</p>"])
    return tmp_path / "site"


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    for seed in (1, 3, 8):
        pixels = draw_phantom(Phantom(seed=seed), 160, 192, bits=8)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{seed}.png")
    return folder


def _batch(films: Path, out: Path, bundle: Path, *options: str) -> int:
    return main(["batch", str(films), "-o", str(out), "--bundle", str(bundle), "--quiet", *options])


def test_cut_offs_reach_what_is_wanted_and_no_more(tmp_path: Path) -> None:
    fit = _fit(tmp_path)
    assert fit.profile.sensitivity.value >= 0.9
    assert fit.profile.specificity.value >= 0.9
    above = [row for row in fit.accuracy.cut_offs if row.raw_score > fit.profile.cut_offs.refer_low]
    assert all(row.sensitivity.value < 0.9 for row in above)


def test_a_budget_of_referrals_is_kept_and_used_up(tmp_path: Path) -> None:
    fit = _fit(tmp_path, wanted=Wanted(None, 30.0, 0.9))
    assert 100 * fit.profile.referrals.value <= 30
    below = [row for row in fit.accuracy.cut_offs if row.raw_score < fit.profile.cut_offs.refer_low]
    assert all(100 * row.referrals.value > 30 for row in below)
    # Where fewer are sick, the same budget finds more of them.
    rare = _fit(tmp_path, wanted=Wanted(None, 30.0, 0.9), prevalence=0.05)
    assert rare.profile.sensitivity.value > fit.profile.sensitivity.value


def test_calibration_is_the_logistic_regression_of_the_cases(tmp_path: Path) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    fit = _fit(tmp_path, n=400)
    cases = read_cases(tmp_path / "out", tmp_path / "truth.csv", Labelling())
    model = linear.LogisticRegression(C=np.inf).fit(cases.scores[:, None], cases.labels)
    assert fit.profile.calibration.scale == pytest.approx(float(model.coef_[0, 0]), rel=0.05)
    assert fit.profile.calibration.offset == pytest.approx(float(model.intercept_[0]), abs=0.1)


def test_another_prevalence_moves_the_odds_by_its_own(tmp_path: Path) -> None:
    fit, rare = _fit(tmp_path), _fit(tmp_path, prevalence=0.1)
    own = fit.profile.prevalence
    moved = rare.profile.calibration.offset - fit.profile.calibration.offset
    assert moved == pytest.approx(math.log(0.1 / 0.9) - math.log(own / (1 - own)))
    assert rare.profile.calibration.scale == fit.profile.calibration.scale


def test_more_cases_are_asked_for_until_the_margin_is_met(tmp_path: Path) -> None:
    narrow, wide = _fit(tmp_path, margin=0.02), _fit(tmp_path, margin=0.2)
    assert all(missing.more > 0 for missing in narrow.missing)
    assert all(missing.screened >= missing.more for missing in narrow.missing)
    assert all(missing.more == 0 for missing in wide.missing)


def test_a_profile_survives_its_file(tmp_path: Path) -> None:
    profile = _fit(tmp_path).profile
    assert SiteProfile.from_json(profile.to_json()) == profile


@pytest.mark.parametrize(
    ("n_sick", "n_healthy", "message"),
    [(5, 40, "with .* there are 5"), (40, 0, "without .* there are 0"), (3, 2, "with .* are 3")],
)
def test_too_few_cases_make_no_profile(
    tmp_path: Path, n_sick: int, n_healthy: int, message: str
) -> None:
    n = n_sick + n_healthy
    run = write_run(tmp_path / "out", [scored(f"{i}.png", i / 10) for i in range(n)])
    truth = write_truth(tmp_path / "t.csv", [f"{i}.png,{int(i < n_sick)}" for i in range(n)])
    with pytest.raises(DataError, match=message):
        calibrate(read_cases(run, truth, Labelling()), [], "x", WANTED)


def test_labels_the_wrong_way_round_make_no_profile(tmp_path: Path) -> None:
    run = write_run(tmp_path / "out", [scored(f"{i}.png", i / 10) for i in range(40)])
    truth = write_truth(tmp_path / "t.csv", [f"{i}.png,{int(i < 20)}" for i in range(40)])
    with pytest.raises(DataError, match="the right way round"):
        calibrate(read_cases(run, truth, Labelling()), [], "x", WANTED)


def test_the_command_writes_a_signed_folder_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _fit(tmp_path)
    command = ["calibrate", str(tmp_path / "out"), "--truth", str(tmp_path / "truth.csv"), "-o"]
    assert main([*command, str(tmp_path / "ward 3")]) == 0
    said = capsys.readouterr().out
    assert "referred from probability" in said
    assert "flatter" in said
    signed = read_profile(tmp_path / "ward 3")
    assert (signed.profile.name, signed.profile.model_sha256) == ("ward 3", HEADER.model_sha256)
    page = (tmp_path / "ward 3" / "calibration.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    assert main([*command, str(tmp_path / "ward 3")]) == 2
    assert main([*command, str(tmp_path / "x"), "--name", "<b>"]) == 2
    if os.name != "nt":
        assert (tmp_path / "ward 3" / "site.json").stat().st_mode & 0o077 == 0


def test_every_edit_is_noticed(site: Path) -> None:
    original = (site / "site.json").read_bytes()
    document = json.loads(original)
    document["cut_offs"]["refer_low"] = -99.0
    for content in (json.dumps(document).encode(), original + b"\n", original[:-3]):
        (site / "site.json").write_bytes(content)
        with pytest.raises(SiteProfileError, match=r"does not match site\.json"):
            read_profile(site)
    (site / "site.json").write_bytes(original)
    read_profile(site)
    (site / "SIGNATURE").write_text("{}")
    with pytest.raises(SiteProfileError, match="SIGNATURE: algorithm: missing key"):
        read_profile(site)
    (site / "SIGNATURE").unlink()
    with pytest.raises(SiteProfileError, match="nobody vouches"):
        read_profile(site)
    (site / "site.json").unlink()
    with pytest.raises(NoInputError, match="no site profile here"):
        read_profile(site)


def test_a_strangers_profile_needs_trust(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNEUMOSCOPE_DATA", str(tmp_path / "another machine"))
    with pytest.raises(SiteProfileError, match=r"does not trust.*--sites-only"):
        read_profile(site)
    assert main(["model", "trust", "--sites-only", str(site / "site.pub")]) == 0
    read_profile(site)
    # That key vouches for no model.
    assert not (tmp_path / "another machine" / "trusted_keys").exists()


def test_a_key_that_signs_models_signs_no_profile(site: Path) -> None:
    shutil.rmtree(Path(os.environ["PNEUMOSCOPE_DATA"]) / "sites")
    assert main(["model", "trust", str(site / "site.pub")]) == 0
    with pytest.raises(SiteProfileError, match="does not trust"):
        read_profile(site)


def test_a_profile_of_another_model_is_refused(
    tmp_path: Path, bundle_folder: Path, films: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_profile(tmp_path / "other", _fit(tmp_path).profile, [])
    with pytest.raises(SiteProfileError, match=r"is for the model made-up .* calibrate again"):
        apply_profile(load_bundle(bundle_folder), read_profile(tmp_path / "other").profile)
    options = ["--bundle", str(bundle_folder), "--site", str(tmp_path / "other")]
    assert main(["score", str(films / "1.png"), *options]) == 3
    assert main(["batch", str(films), "-o", str(tmp_path / "o"), *options]) == 3
    assert "calibrate again" in capsys.readouterr().err
    assert not (tmp_path / "o" / "results.jsonl").exists()


def test_another_runtime_needs_a_model_of_the_profile(bundle_folder: Path, site: Path) -> None:
    bundle = apply_profile(load_bundle(bundle_folder), read_profile(site).profile)
    assert bundle.model("onnx") is None
    with pytest.raises(BundleError, match="holds no onnx model"):
        Screener(bundle, "onnxruntime")


def test_the_same_decides_in_score_and_batch(
    bundle_folder: Path, site: Path, films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _batch(films, tmp_path / "run", bundle_folder, "--site", str(site)) == 0
    run = read_run(tmp_path / "run")
    profile = read_profile(site)
    assert run.header.operating_point == profile.profile.cut_offs
    assert run.header.parameters["site_sha256"] == profile.sha256
    capsys.readouterr()
    paths = [str(films / name) for name in run.rows]
    options = ["--bundle", str(bundle_folder), "--site", str(site), "--json"]
    assert main(["score", *paths, *options]) == 0
    for line, row in zip(capsys.readouterr().out.splitlines(), run.rows.values(), strict=True):
        said = json.loads(line)
        assert said["decision"] == row.decision
        assert said["probability"] == row.probability
        assert said["operating_point"] == row.operating_point == "site clinic"
        assert row.raw_score is not None
        assert row.decision == profile.profile.cut_offs.decide(row.raw_score)
    assert "site clinic" in (tmp_path / "run" / "results.csv").read_text(encoding="utf-8")
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "site clinic" in report
    assert profile.sha256 in report
    assert "calibrated on films of the site clinic" in report
    assert main(["validate", str(tmp_path / "run")]) == 0


def test_a_run_goes_on_with_its_own_profile_only(
    bundle_folder: Path, site: Path, films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert _batch(films, out, bundle_folder, "--site", str(site)) == 0
    assert _batch(films, out, bundle_folder, "--site", str(site)) == 0
    profile = replace(read_profile(site).profile, created_at="2026-01-01T00:00:00Z")
    write_profile(tmp_path / "later", profile, [])
    capsys.readouterr()
    assert _batch(films, out, bundle_folder, "--site", str(tmp_path / "later")) == 2
    assert "parameters.site_sha256 was" in capsys.readouterr().err
    assert _batch(films, out, bundle_folder) == 2


def test_a_profile_stands_in_place_of_an_operating_point(
    films: Path, site: Path, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as exit:
        _batch(films, tmp_path, tmp_path, "--site", str(site), "--operating-point", "balanced")
    assert exit.value.code == 2


def test_nothing_is_written_over(site: Path) -> None:
    with pytest.raises(UsageError, match="written once"):
        write_profile(site, read_profile(site).profile, [])


def test_cross_validation_asks_no_film_that_chose_the_cut_off(tmp_path: Path) -> None:
    # By hand: every fold's cut-offs anew, with the threshold rules of the statistics themselves.
    fit = _fit(tmp_path, n=200)
    cases = read_cases(tmp_path / "out", tmp_path / "truth.csv", Labelling())
    patients = {
        label: sorted(
            (name for name, of in zip(cases.patients, cases.labels, strict=True) if of == label),
            key=lambda name: hashlib.sha256(name.encode()).digest(),
        )
        for label in (True, False)
    }
    found = 0
    for fold in range(10):
        left_out = {name for names in patients.values() for name in names[fold::10]}
        inside = np.array([name in left_out for name in cases.patients])
        low = threshold_for_sensitivity(cases.labels[~inside], cases.scores[~inside], 0.9)
        found += int(np.sum(cases.labels & inside & (cases.scores >= low)))
    assert fit.crossed.sensitivity == wilson(found, int(cases.labels.sum()))


def test_ten_noisy_cases_flatter_themselves_and_cross_validation_does_not(tmp_path: Path) -> None:
    # Scores that know nothing, so that whatever is referred, as many of the healthy are.
    rng = np.random.default_rng(0)
    chosen, crossed = [], []
    for seed in range(12):
        scores = rng.normal(size=24)
        labels = np.arange(24) % 2
        if np.corrcoef(scores, labels)[0, 1] < 0.05:
            continue  # of a score that falls with the disease there is no profile
        folder = tmp_path / str(seed)
        run = write_run(folder, [scored(f"{i}.png", x) for i, x in enumerate(scores)])
        truth = write_truth(folder / "t.csv", [f"{i}.png,{y}" for i, y in enumerate(labels)])
        fit = calibrate(
            read_cases(run, truth, Labelling()), read_run(run).rows.values(), "x", WANTED
        )
        chosen.append(fit.profile.sensitivity.value)
        crossed.append(fit.crossed.sensitivity.value)
    assert len(chosen) >= 4
    assert np.mean(crossed) < np.mean(chosen)
