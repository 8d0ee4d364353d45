"""The workstation's pages: what comes in is scored and shown, what is wrong is said, none acts."""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from edge_app.bundle.load import load_bundle
from edge_app.decision import Decision
from edge_app.errors import StorageError
from edge_app.record.studies import Label
from edge_app.results.rows import CutOffs, decode_row
from edge_app.screening.score_file import score_file
from edge_app.screening.screener import Screener
from edge_app.screening.stated import Stated
from edge_app.web import uploads
from edge_app.web.guard import HEADERS
from edge_app.web.scoring_desk import DeskOptions, ScoringDesk
from edge_app.web.uploads import LONGEST_NAME, plain_name
from edge_app.web.workstation import Workstation, row_of_photograph
from tests.pictures import dicom_bytes, encoded
from tests.test_light_box import CORNERS, photograph
from tests.tiny_bundle import write_tiny_bundle
from tests.web_station import MOST_BYTES, add, client_of, film, opened_desk, opened_station


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoringDesk]:
    with opened_desk(write_tiny_bundle(tmp_path_factory.mktemp("tiny"))) as desk:
        yield desk


@pytest.fixture
def station(desk: ScoringDesk, tmp_path: Path) -> Iterator[Workstation]:
    with opened_station(desk, tmp_path / "record") as station:
        yield station


@pytest.fixture
def client(station: Workstation) -> TestClient:
    return client_of(station)


def token(page: str) -> str:
    found = re.search(r'data-csrf="([^"]+)"', page)
    assert found is not None
    return found[1]


def test_an_upload_gets_the_answer_of_the_command_line(
    client: TestClient, desk: ScoringDesk, tmp_path: Path
) -> None:
    path = tmp_path / "one.png"
    path.write_bytes(film(1))
    expected = score_file(Screener(load_bundle(desk.bundle.folder)), path, "one.png")
    study = add(client, film(1), name="one.png")
    for key in ("decision", "raw_score", "probability", "model_sha256", "quality"):
        assert study[key] == getattr(expected, key), key
    assert study["picture_sha256"] == expected.sha256


def test_the_worklist_has_the_worst_first_and_can_be_searched(client: TestClient) -> None:
    ids = [add(client, film(seed), patient=f"P{seed}")["id"] for seed in (3, 1)]
    page = client.get("/").text
    assert re.findall(r'href="/studies/(\w+)"', page) == ids[::-1]
    assert re.findall(r'href="/studies/(\w+)"', client.get("/?q=p3").text) == ids[:1]
    only = client.get("/?answer=suspected").text
    assert re.findall(r'href="/studies/(\w+)"', only) == ids[1:]


def test_a_study_s_page_shows_the_answer_in_words_and_its_pictures(client: TestClient) -> None:
    first = add(client, film(3), patient="P1", name="first.png")
    study = add(client, film(1), patient="P1", name="second.png")
    page = client.get(f"/studies/{study['id']}").text
    assert "Pneumonia suspected" in page
    assert "does not rule pneumonia out" in page
    assert f'href="/studies/{first["id"]}"' in page  # the earlier picture of the same patient
    for name, longest in (("small.jpg", 320), ("picture.jpg", 1400)):
        answer = client.get(f"/studies/{study['id']}/{name}")
        assert answer.headers["content-type"] == "image/jpeg"
        assert max(_size(answer.content)) <= longest
        assert "private" in answer.headers["cache-control"]


def test_dicom_brings_its_patient_along(client: TestClient) -> None:
    pixels = np.asarray(_pixels(film(1)), np.uint16) * 16
    content = dicom_bytes(pixels, PatientID="D-7", PatientAge="003Y", PatientSex="F")
    study = add(client, content, name="x.dcm")
    assert (study["patient_code"], study["age_years"], study["sex"]) == ("D-7", 3.0, "F")


def test_a_refusal_is_an_answer_with_its_reason(client: TestClient) -> None:
    study = add(client, film(1, side=64))
    assert (study["decision"], study["reason"]) == ("not_assessable", "too_small")
    page = client.get(f"/studies/{study['id']}").text
    assert "Picture too small" in page
    assert "A person must read the film" in page


def test_the_slip_carries_identifier_and_audit_head(
    client: TestClient, station: Workstation
) -> None:
    study = add(client, film(1))
    page = client.get(f"/studies/{study['id']}/slip").text
    head = station.record.audit.head()
    assert f"<bdi>{head}</bdi>" in page
    assert f"<bdi>{study['id']}</bdi>" in page
    assert "does not rule pneumonia out" in page
    assert "<svg" in page


def test_own_reading_first_hides_the_answer_everywhere(desk: ScoringDesk, tmp_path: Path) -> None:
    with opened_station(desk, tmp_path / "record", read_first=True) as station:
        client = client_of(station)
        study = add(client, film(1))
        assert study["answer_withheld"]
        assert study["decision"] is None
        where = f"/studies/{study['id']}"
        for page in (client.get("/").text, client.get(where).text):
            assert 'class="answer-name suspected"' not in page
            assert "verdict" not in page
        assert client.get(f"{where}/slip").status_code == 303
        fhir = client.get(f"/api/v1{where}/fhir").text
        assert "masked" in fhir
        assert "pneumonia_suspected" not in fhir
        form = {"csrf": token(client.get(where).text), "label": "pneumonia"}
        assert client.post(f"{where}/readings", data=form).status_code == 303
        assert "verdict suspected" in client.get(where).text
        assert station.record.study(study["id"]).readings[0].is_blind


def test_a_reading_after_the_answer_is_not_blind(client: TestClient, station: Workstation) -> None:
    study = add(client, film(1))
    form = {"csrf": token(client.get("/").text), "label": "normal"}
    client.post(f"/studies/{study['id']}/readings", data=form)
    reading = station.record.study(study["id"]).readings[0]
    assert (reading.label, reading.is_blind) == (Label.NORMAL, False)


def test_reading_by_the_api_is_having_seen_the_answer(
    client: TestClient, station: Workstation
) -> None:
    asked = [add(client, film(seed))["id"] for seed in (1, 3, 1)]
    for path in (f"/{asked[0]}", f"/{asked[1]}/fhir", "?text=" + asked[2]):
        assert client.get(f"/api/v1/studies{path}").status_code == 200
    for study_id in asked:
        study = station.record.save_reading(study_id, Label.NORMAL, "local")
        assert not study.readings[0].is_blind
    unseen = add(client, film(1))["id"]
    assert station.record.save_reading(unseen, Label.NORMAL, "local").readings[0].is_blind


def test_age_and_view_are_stated_where_no_header_says_them(client: TestClient) -> None:
    study = add(client, film(1), age="2.5", view="AP")
    assert study["age_years"] == 2.5
    assert study["quality"]["age_unknown"] is False
    assert study["quality"]["view_unknown"] is False
    silent = add(client, film(1))
    assert silent["quality"]["age_unknown"] is True
    assert silent["age_years"] is None
    for query in ({"age": "-1"}, {"age": "nan"}, {"view": "LL"}):
        assert client.post("/api/v1/studies", params=query, content=film(1)).status_code == 422


def test_a_patient_of_another_age_is_refused(tmp_path: Path) -> None:
    """A bundle for children of 1 to 5 years: stated for one picture, and for all of them."""

    def children(document: dict[str, Any]) -> None:
        document["population"] |= {"age_years": [1.0, 5.0], "views": ["AP"]}

    bundle = write_tiny_bundle(tmp_path / "bundle", change=children)
    with opened_desk(bundle) as desk, opened_station(desk, tmp_path / "record") as station:
        client = client_of(station)
        study = add(client, film(1), age="40")
        assert study["reason"] == "outside_validated_population"
        assert add(client, film(1), view="PA")["reason"] == "outside_validated_population"
        assert add(client, film(1), age="5.9", view="AP")["status"] == "scored"
    with (
        ScoringDesk(DeskOptions(bundle, stated=Stated(40.0, ""))) as desk,
        opened_station(desk, tmp_path / "other") as station,
    ):
        assert add(client_of(station), film(1))["reason"] == "outside_validated_population"
        assert add(client_of(station), film(1), age="3")["status"] == "scored"


def test_two_workers_on_one_study_lose_nothing(client: TestClient, station: Workstation) -> None:
    study = add(client, film(1))
    where = f"/studies/{study['id']}/outcomes"
    form = {"csrf": token(client.get("/").text), "basis": "laboratory", "version": "1"}
    assert client.post(where, data=form | {"label": "pneumonia"}).status_code == 303
    late = client.post(where, data=form | {"label": "normal"})
    assert late.status_code == 409
    assert "Somebody else has changed this" in late.text
    assert [o.label for o in station.record.study(study["id"]).outcomes] == [Label.PNEUMONIA]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\scans\\a.png", "a.png"),
        ("a\x00\n\x1b[2Jb.png", "a[2Jb.png"),
        ("", "picture"),
        ("/", "picture"),
        ("..", ".."),
        ("ä\udce4.png", "ä\\udce4.png"),
        ("x" * 500 + ".png", "…" + "x" * (LONGEST_NAME - 5) + ".png"),
    ],
)
def test_a_name_is_kept_without_its_path(given: str, kept: str) -> None:
    assert plain_name(given) == kept


def test_html_in_a_name_is_text(client: TestClient) -> None:
    name = '<img src=x onerror="alert(1)">.png'
    study = add(client, film(1), name=name, patient='"><script>alert(1)</script>')
    for where in ("/", f"/studies/{study['id']}", f"/studies/{study['id']}/slip"):
        page = client.get(where).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page


def test_bad_bodies_get_an_answer_or_a_reason(client: TestClient, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(20_000_000))
    study = add(client, bomb.read_bytes(), name="bomb.zip")
    assert (study["status"], study["reason"]) == ("failed", "unreadable")
    assert "ZIP" in study["message"]
    assert add(client, film(1)[:500])["status"] == "failed"
    empty = client.post("/api/v1/studies", content=b"")
    assert empty.status_code == 400


def test_an_upload_that_is_too_long_leaves_nothing(
    client: TestClient, station: Workstation
) -> None:
    announced = client.post("/api/v1/studies", content=bytes(MOST_BYTES + 1))
    assert announced.status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(MOST_BYTES // 65536 + 2):
            yield bytes(65536)

    assert client.post("/api/v1/studies", content=endless()).status_code == 413
    assert list((station.record.folder / "uploads").iterdir()) == []
    assert station.record.studies().total == 0


def test_a_full_disk_is_said_and_nothing_is_added(
    client: TestClient, station: Workstation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("record: cannot be written: No space left on device")

    monkeypatch.setattr(type(station.record), "add_study", full)
    assert client.post("/api/v1/studies", content=film(1)).status_code == 507
    monkeypatch.undo()
    monkeypatch.setattr(uploads, "KEEP_FREE_BYTES", 1 << 60)
    answer = client.post("/api/v1/studies", content=film(1))
    assert answer.status_code == 507
    assert "nearly full" in answer.json()["detail"]
    assert station.record.studies().total == 0


def test_every_answer_keeps_to_itself(client: TestClient) -> None:
    study = add(client, film(1))
    for where in ("/", f"/studies/{study['id']}", "/static/page.js", "/nowhere", "/api/v1/studies"):
        answer = client.get(where)
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, (where, name)
    policy = HEADERS["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy


def test_pages_name_no_other_address_and_hold_no_code(client: TestClient) -> None:
    """Scripts in files of ours only, no style or handler in the markup, nothing from outside."""
    study = add(client, film(1))["id"]
    for where in ("/", f"/studies/{study}", f"/studies/{study}/slip", "/about", "/api"):
        page = client.get(where).text
        assert not re.findall(r'(?:src|href|action)="(?!/|#|")', page), where
        assert not re.search(r"\son\w+=|\sstyle=|javascript:", page), where
        for script in re.findall(r"<script([^>]*)>", page):
            assert "src=" in script or "application/json" in script
    style = client.get("/static/page.css").text
    assert "url(" not in style
    assert "@import" not in style


def test_other_sites_and_other_names_are_turned_away(client: TestClient) -> None:
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert client.post("/api/v1/studies", content=film(1), headers=headers).status_code == 403
    assert client.get("/", headers={"host": "evil.example"}).status_code == 421
    # A browser's own page has to show that it is ours.
    own = {"origin": "http://127.0.0.1"}
    assert client.post("/api/v1/studies", content=film(1), headers=own).status_code == 403
    own["x-csrf-token"] = token(client.get("/").text)
    assert client.post("/api/v1/studies", content=film(1), headers=own).status_code == 201


def test_forms_without_their_token_do_nothing(client: TestClient, station: Workstation) -> None:
    study = add(client, film(1))["id"]
    for csrf in ({}, {"csrf": "guessed"}):
        answer = client.post(f"/studies/{study}/readings", data={"label": "normal", **csrf})
        assert answer.status_code == 403
    assert station.record.study(study).n_readings == 0
    long = client.post(f"/studies/{study}/readings", data={"note": "x" * 100_000})
    assert long.status_code == 413


def test_a_photograph_is_straightened_marked_and_never_called_clear(client: TestClient) -> None:
    photo = encoded(_image(photograph(CORNERS)), "JPEG", quality=92)
    study = add(client, photo, kind="photograph")
    assert study["kind"] == "photograph"
    assert study["quality"]["photograph"]
    assert study["decision"] in ("indeterminate", "pneumonia_suspected")
    assert "A photograph of a film" in client.get(f"/studies/{study['id']}").text
    blank = encoded(_image(np.full((300, 400), 230, np.uint8)), "JPEG")
    refused = client.post("/api/v1/studies", params={"kind": "photograph"}, content=blank)
    assert refused.status_code == 422
    assert refused.json()["code"] == "film_corners"


def test_a_photograph_s_band_is_wider(client: TestClient, station: Workstation) -> None:
    row = decode_row(station.record.study(add(client, film(3))["id"]).row.encode())
    assert row.decision is Decision.NO_PNEUMONIA_SEEN
    assert row.raw_score is not None
    score = row.raw_score
    for low, high, expected in (
        (score + 1, score + 2, Decision.INDETERMINATE),  # clear as a film
        (score - 1, score - 0.1, Decision.INDETERMINATE),  # suspected as a film
        (score - 1, score - 0.5, Decision.PNEUMONIA_SUSPECTED),
    ):
        cut_offs = CutOffs("x", (low + high) / 2, low, high)
        assert row_of_photograph(row, cut_offs).decision is expected


def test_fhir_says_what_was_answered_and_never_a_negative_for_a_refusal(
    client: TestClient,
) -> None:
    for content, value in ((film(1), "pneumonia_suspected"), (film(3), "no_pneumonia_seen")):
        study = add(client, content, patient="P1")
        answer = client.get(f"/api/v1/studies/{study['id']}/fhir")
        assert answer.headers["content-type"].startswith("application/fhir+json")
        imaging, observation, report = (e["resource"] for e in answer.json()["entry"])
        assert observation["valueCodeableConcept"]["coding"][0]["code"] == value
        assert imaging["resourceType"] == "ImagingStudy"
        assert report["status"] == "preliminary"
        assert report["subject"]["identifier"]["value"] == "P1"
    refused = add(client, film(1, side=64))
    bundle = client.get(f"/api/v1/studies/{refused['id']}/fhir").json()
    observation = bundle["entry"][1]["resource"]
    assert observation["dataAbsentReason"]["coding"][1]["code"] == "too_small"
    assert "valueCodeableConcept" not in observation
    assert "no_pneumonia_seen" not in json.dumps(bundle)


def test_the_api_describes_itself(client: TestClient) -> None:
    document = client.get("/api/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert "/api/v1/studies/{study_id}/fhir" in document["paths"]
    assert not any(path.startswith("/studies") for path in document["paths"])


def test_what_is_not_there_is_said_in_the_visitor_s_language(client: TestClient) -> None:
    page = client.get("/studies/NOTHERE", headers={"accept-language": "xx, fr-CA;q=0.8"})
    assert page.status_code == 404
    assert "Cette page n&#39;existe pas" in page.text
    assert client.get("/api/v1/studies/NOTHERE").status_code == 404


def test_a_language_is_chosen_and_leads_nowhere_else(client: TestClient) -> None:
    answer = client.get("/language?code=ar&back=//evil.example/")
    assert answer.headers["location"] == "/"
    page = client.get("/").text
    assert '<html lang="ar" dir="rtl">' in page


def test_the_page_hears_of_changes(client: TestClient) -> None:
    found = re.search(r'data-counter="(\d+)"', client.get("/").text)
    assert found is not None
    assert client.get(f"/changes?since={found[1]}").json() == {"changed": False}
    add(client, film(1))
    assert client.get(f"/changes?since={found[1]}").json() == {"changed": True}


def test_views_of_pictures_that_are_gone_are_deleted(desk: ScoringDesk, tmp_path: Path) -> None:
    with opened_station(desk, tmp_path / "record") as station:
        study = station.record.study(add(client_of(station), film(1))["id"])
        assert len(list((tmp_path / "record" / "views").iterdir())) == 1
        station.record.pictures.path(study.picture_sha256).unlink()
    with opened_station(desk, tmp_path / "record"):
        assert list((tmp_path / "record" / "views").iterdir()) == []


def _image(pixels: object) -> Image.Image:
    return Image.fromarray(np.asarray(pixels))


def _pixels(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def _size(content: bytes) -> tuple[int, int]:
    return _pixels(content).size
