"""`pneumoscope fleet`: what a pack tells of nobody, and what a merge says of good and bad ones."""

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_app.cli import main
from edge_app.errors import DataError, NoInputError, PackError, UsageError
from edge_app.fleet.answers import PackedAnswer
from edge_app.fleet.campaign import Campaign, find_packs
from edge_app.fleet.pack_file import read_pack
from edge_app.fleet.registry import enrol, read_registry
from edge_app.results.rows import ResultRow
from edge_app.statistics.population_stability import false_discovery, holm
from tests.fleet_packs import DAY, Machine, data_folder, lines_of, pack_with, public_key
from tests.site_runs import refused, scored, write_run, write_truth

pytest.importorskip("duckdb", reason="needs DuckDB: pip install 'pneumoscope[fleet]'")
pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'pneumoscope[fleet]'")
import duckdb

from edge_app.fleet.merge import Asked, write_campaign
from edge_app.fleet.page import Findings

AS_OF = date.fromisoformat(DAY)
ASKED = Asked(AS_OF, recent_days=14, silent_days=30, model_id=None)


def _rows(n: int, seed: int = 0, shift: float = 0.0, day: str = "2026-11-25") -> list[ResultRow]:
    scores = np.random.default_rng(seed).normal(shift, 1.5, n)
    return [
        scored(
            f"MUKAMI WANJIRU {day} {seed}-{i}.png",
            float(score),
            sha256=f"{seed:032x}{i:032x}",
            scored_at=f"{day}T08:{i % 60:02d}:00.000Z",
        )
        for i, score in enumerate(scores)
    ]


@pytest.fixture
def machine(tmp_path: Path, tiny_bundle_folder: Path) -> Callable[[str], Machine]:
    return lambda name: Machine(
        name, tmp_path / "devices" / name, tmp_path / "stick", tiny_bundle_folder
    )


@pytest.fixture
def clinic(machine: Callable[[str], Machine], tmp_path: Path) -> Machine:
    """A device that has packed 40 answers and is registered."""
    device = machine("tablet 1")
    device.pack(_rows(40))
    device.enrol(tmp_path / "devices.csv", "Kisumu")
    return device


def _merge(tmp_path: Path, *packs: Path, asked: Asked = ASKED) -> Findings:
    registry = read_registry(tmp_path / "devices.csv")
    files = find_packs(packs or [tmp_path / "stick"])
    return write_campaign(files, registry, tmp_path / "campaign", asked)


def _answers(tmp_path: Path, what: str = "*") -> list[tuple[object, ...]]:
    path = tmp_path / "campaign" / "answers.parquet"
    return duckdb.sql(f"SELECT {what} FROM '{path}'").fetchall()


def _why(findings: Findings) -> list[str]:
    return [problem.why for problem in findings.campaign.problems]


def test_a_pack_holds_no_name_no_hash_of_a_picture_and_no_time_of_day(clinic: Machine) -> None:
    (path,) = clinic.stick.glob("*.pack")
    head, _, body = path.read_bytes().partition(b"\n")
    text = gzip.decompress(body)
    for secret in (b"MUKAMI", b".png", f"{0:032x}{7:032x}".encode(), b"T08:"):
        assert secret not in text
    assert b"MUKAMI" not in head
    assert (clinic.folder / "pseudonyms.key").read_bytes().strip() not in path.read_bytes()
    first = json.loads(text.splitlines()[0])
    assert set(first) == set(PackedAnswer.__dataclass_fields__)
    # By pseudonym, so that the order of a day's patients cannot be read off.
    names = [json.loads(line)["answer"] for line in text.splitlines()]
    assert names == sorted(names)


def test_two_devices_give_one_patient_different_pseudonyms(
    machine: Callable[[str], Machine],
) -> None:
    one, two = (lines_of(machine(name), _rows(1)) for name in ("one", "two"))
    assert json.loads(one[0])["picture"] != json.loads(two[0])["picture"]


def test_a_second_pack_holds_only_what_is_new(clinic: Machine) -> None:
    again = clinic.pack(_rows(40))
    assert (again.sequence, again.answers, again.known) == (2, 0, 40)
    more = clinic.pack(_rows(50))
    assert (more.sequence, more.answers, more.known) == (3, 10, 40)
    everything = clinic.pack(_rows(50), everything=True)
    assert (everything.sequence, everything.answers) == (4, 50)


def test_a_pack_that_was_not_noted_is_written_again(
    clinic: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_app.errors import StorageError
    from edge_app.fleet.device import Device

    def pulled_out(*_: object) -> None:
        raise StorageError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(Device, "note", pulled_out)
        with pytest.raises(StorageError):
            clinic.pack(_rows(45))
    written = clinic.pack(_rows(45))
    assert (written.sequence, written.answers) == (2, 5)


def test_a_merge_holds_every_answer_once(
    clinic: Machine, machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    clinic.pack(_rows(50), everything=True)
    other = machine("tablet 2")
    other.pack([*_rows(30, seed=5), refused("dog.png")])
    other.enrol(tmp_path / "devices.csv", "Eldoret")
    findings = _merge(tmp_path)
    assert (findings.campaign.answers, findings.campaign.repeated) == (81, 40)
    assert findings.campaign.problems == ()
    counts = duckdb.sql(
        f"SELECT site, device, count(*), count(DISTINCT answer), count(raw_score) "
        f"FROM '{tmp_path}/campaign/answers.parquet' GROUP BY ALL ORDER BY site"
    ).fetchall()
    assert counts == [("Eldoret", "tablet 2", 31, 31, 30), ("Kisumu", "tablet 1", 50, 50, 50)]
    site = findings.sites[0]
    expected = sum(row.decision != "no_pneumonia_seen" for row in _rows(30, seed=5))
    assert (site.site, site.scored, site.refused) == ("Eldoret", 30, 1)
    assert site.referred is not None
    assert site.referred.value == pytest.approx(expected / 30)


def test_scores_come_through_to_the_last_bit(clinic: Machine, tmp_path: Path) -> None:
    _merge(tmp_path)
    stored = sorted(float(str(row[0])) for row in _answers(tmp_path, "raw_score"))
    assert stored == sorted(row.raw_score for row in _rows(40) if row.raw_score is not None)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_pack_that_was_cut_off_is_named_and_the_others_count(
    clinic: Machine, tmp_path: Path, keep: float
) -> None:
    (path,) = clinic.stick.glob("*.pack")
    content = path.read_bytes()
    (clinic.stick / "cut.pack").write_bytes(content[: int(keep * len(content))])
    findings = _merge(tmp_path)
    assert findings.campaign.answers == 40
    assert len(_why(findings)) == 1
    assert "cut off" in _why(findings)[0]
    page = (tmp_path / "campaign" / "report.html").read_text(encoding="utf-8")
    assert "cut.pack" in page


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_no_byte_of_a_pack_can_be_changed(
    place: float, flip: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "flipped"
    device = Machine("d", folder / "data", folder / "stick", Path())
    if not folder.exists():
        folder.mkdir()
        pack_with(folder / "good.pack", device, _lines(device))
        device.enrol(folder / "devices.csv", "s")
    content = bytearray((folder / "good.pack").read_bytes())
    content[int(place * len(content))] ^= flip
    (folder / "bad.pack").write_bytes(content)
    with pytest.raises(PackError):
        read_pack(folder / "bad.pack", read_registry(folder / "devices.csv"))


def _lines(device: Machine) -> list[str]:
    return lines_of(device, _rows(3))


def test_a_stranger_and_the_same_pack_twice_are_named(
    clinic: Machine, machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    machine("stolen").pack(_rows(5, seed=9))
    (clinic.stick / "copy of it.pack").write_bytes(_own_pack(clinic).read_bytes())
    findings = _merge(tmp_path)
    assert findings.campaign.answers == 40
    assert any("not registered" in why for why in _why(findings))
    assert any("the same pack as" in why for why in _why(findings))
    assert len(_why(findings)) == 2


def _own_pack(clinic: Machine) -> Path:
    key = read_registry(clinic.stick.parent / "devices.csv")
    (identifier,) = key
    return clinic.stick / f"{identifier}-000001.pack"


@pytest.mark.parametrize(
    ("version", "cure"), [(2, "update the program that merges"), (0, "pack again")]
)
def test_a_pack_of_another_version_says_what_to_do(
    clinic: Machine, tmp_path: Path, version: int, cure: str
) -> None:
    pack_with(clinic.stick / "other.pack", clinic, [], format_version=version, sequence=2)
    assert any(cure in why for why in _why(_merge(tmp_path)))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"raw_score": None}, "raw_score: exactly the scored"),
        ({"probability": None}, "probability: exactly the scored"),
        ({"status": "guessed"}, "status: a word"),
        ({"label": "perhaps"}, "label: a word"),
        ({"answered_on": "yesterday"}, "of another form"),
        ({"answered_on": None}, "answered_on: missing"),
        ({"raw_score": "high"}, "of another form"),
        ({"name": "MUKAMI"}, "of another form"),
        ({"reason": "too_small"}, "reason: exactly"),
    ],
)
def test_a_signed_line_that_makes_no_sense_refuses_its_pack(
    clinic: Machine, tmp_path: Path, change: dict[str, object], why: str
) -> None:
    good = lines_of(clinic, _rows(3, seed=4))
    bad = json.dumps(json.loads(good[0]) | change)
    pack_with(clinic.stick / "odd.pack", clinic, [bad, *good[1:]], sequence=2)
    findings = _merge(tmp_path)
    assert findings.campaign.answers == 40
    assert [why in text for text in _why(findings)] == [True]
    assert not any("Traceback" in text or "pyarrow" in text for text in _why(findings))


def test_a_line_that_lacks_a_key_refuses_its_pack(clinic: Machine, tmp_path: Path) -> None:
    document = json.loads(lines_of(clinic, _rows(1, seed=4))[0])
    del document["model_id"]
    pack_with(clinic.stick / "odd.pack", clinic, [json.dumps(document)], sequence=2)
    assert ["model_id: missing" in text for text in _why(_merge(tmp_path))] == [True]


def test_nothing_is_left_where_no_pack_counts(clinic: Machine, tmp_path: Path) -> None:
    _own_pack(clinic).write_bytes(b"not a pack")
    with pytest.raises(NoInputError, match="none of 1 packs"):
        _merge(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bundle",
        "devices",
        "devices.csv",
        "stick",
    ]


def test_a_campaign_is_never_written_over(clinic: Machine, tmp_path: Path) -> None:
    _merge(tmp_path)
    with pytest.raises(UsageError, match="is there"):
        _merge(tmp_path)


def test_a_truth_that_comes_later_takes_the_place_of_none(
    clinic: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = _rows(40)
    run = write_run(tmp_path / "out", rows)
    lines = [
        f"{row.file},{int((row.raw_score or 0) > 0)},patient {i // 2}" for i, row in enumerate(rows)
    ]
    truth = write_truth(tmp_path / "truth.csv", lines, "file,label,patient_id")
    with data_folder(clinic.folder):
        options = ["-o", str(clinic.stick), "--truth", str(truth), "--bundle", str(clinic.bundle)]
        code = main(["fleet", "pack", str(run), *options])
    assert code == 0
    assert "pack 2 of the device" in capsys.readouterr().out
    findings = _merge(tmp_path)
    assert (findings.campaign.answers, findings.campaign.repeated) == (40, 40)
    assert findings.calibration is not None
    (site,) = findings.calibration.sites
    assert (site.films, site.patients) == (40, 20)
    assert site.auroc is not None
    assert site.auroc.value == 1
    sick = [row for row in rows if (row.raw_score or 0) > 0]
    assert site.observed.value == pytest.approx(len(sick) / 40)
    assert site.claimed == pytest.approx(float(np.mean([row.probability for row in rows])))
    assert b"patient 3" not in gzip.decompress(
        (clinic.stick / _own_pack(clinic).name.replace("000001", "000002"))
        .read_bytes()
        .partition(b"\n")[2]
    )


def test_a_clock_of_another_year_is_told_and_believed_in_nothing(
    clinic: Machine, tmp_path: Path
) -> None:
    future = lines_of(clinic, _rows(8, seed=6, day="2031-02-03"))
    pack_with(
        clinic.stick / "b.pack", clinic, future, sequence=2, packed_at="2031-02-03T08:00:00.000Z"
    )
    past = lines_of(clinic, _rows(4, seed=7, day="1970-01-01"))
    pack_with(
        clinic.stick / "c.pack", clinic, past, sequence=3, packed_at="1970-01-01T00:00:09.000Z"
    )
    findings = _merge(tmp_path)
    assert findings.campaign.answers == 52
    (device,) = findings.devices
    assert device.heard_on is not None
    assert device.heard_on < AS_OF
    assert any("12 answers of days that cannot be" in text for text in device.remarks)
    assert any("ran back from 2031-02-03 to 1970-01-01" in text for text in device.remarks)
    (site,) = findings.sites
    assert (site.impossible_days, site.last) == (12, date(2026, 11, 25))


def test_silent_old_and_missing_are_told(
    clinic: Machine, machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    new, silent, never = (machine(name) for name in ("new", "silent", "never"))
    early = "2026-11-02T08:00:00.000Z"
    rows = _rows(5, seed=2, day="2026-11-02")
    pack_with(silent.stick / "s.pack", silent, lines_of(silent, rows), packed_at=early)
    options = {"model_id": "newer", "model_created": "2027-05-01", "sequence": 4}
    pack_with(new.stick / "n.pack", new, lines_of(new, _rows(5, seed=3, day=DAY)), **options)
    lines_of(never, [])
    for device in (new, silent, never):
        device.enrol(tmp_path / "devices.csv", "Nakuru")
    findings = _merge(tmp_path)
    states = {state.device: state for state in findings.devices}
    assert {name for name, state in states.items() if state.is_silent} == {"silent", "never"}
    assert {name for name, state in states.items() if state.is_old} == {"tablet 1", "silent"}
    assert states["new"].missing == (1, 2, 3)
    page = (tmp_path / "campaign" / "report.html").read_text(encoding="utf-8")
    assert "never sent a pack" in page
    assert "1, 2, 3" in page


def test_a_site_that_has_changed_is_found_among_many(
    machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    for number in range(12):
        device = machine(f"d{number:02d}")
        shift = 1.5 if number == 7 else 0.0
        lines = lines_of(device, _rows(300, seed=number, day="2026-11-20"))
        lines += lines_of(device, _rows(300, seed=100 + number, shift=shift, day="2026-12-15"))
        pack_with(tmp_path / "stick" / f"{number}.pack", device, lines)
        device.enrol(tmp_path / "devices.csv", f"site {number:02d}")
    findings = _merge(tmp_path)
    changed = {one.site for one in findings.drift.features if "changed" in one.verdict}
    assert changed == {"site 07"}
    assert {one.comparison.n for one in findings.drift.features} == {300}


def test_the_page_loads_nothing_and_escapes_names(
    clinic: Machine, machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    odd = machine("odd")
    odd.pack(_rows(3, seed=8))
    odd.enrol(tmp_path / "devices.csv", "<script>alert(1)</script>")
    _merge(tmp_path)
    page = (tmp_path / "campaign" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert not re.search(r"(src|href)=", page)


def test_the_command_says_what_to_look_at(
    clinic: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (clinic.stick / "torn.pack").write_bytes(b'{"pack":')
    registry, campaign = str(tmp_path / "devices.csv"), str(tmp_path / "c")
    command = ["fleet", "merge", str(clinic.stick), "--registry", registry, "-o", campaign]
    assert main([*command, "--as-of", DAY]) == 1
    out = capsys.readouterr().out
    assert "40 answers of 1 sites" in out
    assert "1 files do not count" in out
    campaign_json = json.loads((tmp_path / "c" / "campaign.json").read_text())
    assert set(campaign_json) == set(Campaign.__dataclass_fields__)


def test_the_registry_keeps_keys_and_names_apart(
    clinic: Machine, machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    registry = tmp_path / "devices.csv"
    with pytest.raises(UsageError, match="is that of 'tablet 1'"):
        clinic.enrol(registry, "elsewhere")
    other = machine("other")
    lines_of(other, [])
    with pytest.raises(UsageError, match="is called 'tablet 1' already"):
        enrol(registry, other.folder / "fleet" / "device.pub", "tablet 1", "x")
    text = registry.read_text(encoding="utf-8")
    assert public_key(clinic) in text
    for bad, why in (
        ("public_key,site\n", "needs the columns"),
        (text + "AAAA,x,y\n", "3 bytes, not 32"),
        (text + "!!,x,y\n", "not base64"),
        (text + text.splitlines()[1] + "\n", "twice"),
        (text.replace("Kisumu", ""), "no device or no site"),
    ):
        registry.write_text(bad, encoding="utf-8")
        with pytest.raises(DataError, match=why):
            read_registry(registry)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_false_discovery_rate_is_bounded_as_its_authors_say(p_values: list[float]) -> None:
    adjusted = false_discovery(p_values)
    # The definition: called at a level are the k smallest, k the last with p(k) <= k / n * level.
    level, n = 0.05, len(p_values)
    ranks = [k for k, p in enumerate(sorted(p_values), 1) if p <= k / n * level]
    called = sum(p <= level * (1 + 1e-12) for p in adjusted)
    assert called == pytest.approx(max(ranks, default=0), abs=0) or any(
        abs(p - k / n * level) < 1e-12 for k, p in enumerate(sorted(p_values), 1)
    )
    assert all(a <= h + 1e-12 for a, h in zip(adjusted, holm(p_values), strict=True))


def test_a_truth_of_the_record_is_packed_and_a_photograph_has_none(
    tmp_path: Path, tiny_bundle_folder: Path
) -> None:
    from edge_app.files.pseudonyms import passing_pseudonyms
    from edge_app.fleet.answers import answers_of_record
    from edge_app.images.radiograph import hash_bytes
    from edge_app.record.record import Record
    from edge_app.record.studies import Basis, Kind, Label, NewStudy, Patient

    picture = b"made-up"
    row = replace(scored("a.png", 1.0), sha256=hash_bytes(picture))
    pseudonyms = passing_pseudonyms()
    with Record.open(tmp_path / "record") as record:
        for kind in (Kind.FILM, Kind.PHOTOGRAPH):
            study = record.add_study(NewStudy(row, picture, Patient("K-17"), kind), "me")
            record.save_outcome(
                study.id, Label.PNEUMONIA, Basis.LABORATORY, "me", version=study.version
            )
        photograph, film = answers_of_record(record, pseudonyms)
    assert (film.label, film.basis) == (Label.PNEUMONIA, Basis.LABORATORY)
    assert (photograph.label, photograph.basis) == (None, None)
    assert film.patient == pseudonyms.of("patient", "K-17")


def test_the_benchmark_merges_what_it_has_made() -> None:
    from benchmarks.fleet import measure_merge

    cost = measure_merge(3, 40)
    assert (cost.packs, cost.answers) == (3, 120)
    assert 0 < cost.pack_bytes < 120 * 400
    assert cost.parquet_bytes > 0
