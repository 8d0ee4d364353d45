"""Offline means offline: no command opens a socket or leaves a file that is not asked for.

In CI: `score` in every runtime, and a folder run. All commands, in every runtime:
`python -m pytest -m slow tests/test_offline.py`.
"""

import argparse
import csv
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import pytest
from PIL import Image

from edge_app.cli import make_parser
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.runtimes import RUNTIMES
from tests.dicom_peers import free_port, wait_for
from tests.tiny_bundle import TEST_PUBLIC_KEY, write_tiny_bundle
from tests.tracing import Trace, home_variables, interrupt, started, traced

INSTALLED = [engine.name for engine in RUNTIMES if engine.is_installed]
# The app's own folders below a home: what these hold was asked for by using it.
OWN = (".local/share/pneumoscope", ".local/state/pneumoscope")

# By which address would a packet leave? The system is asked, and none is ever sent:
# `edge_app/web/addresses.py`.
_ROUTE = re.compile(r'connect\(.*htons\(9\).*"(?:192\.0\.2\.1|2001:db8::1)"')


@dataclass(frozen=True)
class Step:
    """A command, what it may leave, and how it ends.

    Attributes:
        line: its words, in a home that holds `films`, `film.png`, `film.dcm`, `truth.csv` and
            `bundle`.
        leaves: files and folders of that home.
        codes: exit codes that it may end with.
        runtime: whether it takes --runtime.
        listens: whether sockets to this machine itself are its work.
        meanwhile: what is done while it runs until it is interrupted.
    """

    line: str
    leaves: tuple[str, ...] = ()
    codes: tuple[int, ...] = (0,)
    runtime: bool = False
    listens: bool = False
    meanwhile: Callable[[Path, int], None] | None = None


def _wait_for_a_row(home: Path, port: int, *, out: str) -> None:
    results = home / out / "results.jsonl"
    wait_for(lambda: results.is_file() and results.read_bytes().count(b"\n") > 1)


def _use_the_workstation(home: Path, port: int) -> None:
    """Load the first page and everything that it names; add a film."""
    import httpx

    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        wait_for(partial(_is_up, port))
        page = client.get("/")
        assert page.status_code == 200
        assert client.get("/openapi.json").status_code in (200, 404)


def _is_up(port: int) -> bool:
    try:
        urlopen(f"http://127.0.0.1:{port}/").close()
    except OSError:
        return False
    return True


def _send_a_film(home: Path, port: int) -> None:
    from pydicom import dcmread
    from pynetdicom import AE

    wait_for(partial(_listens, port))
    film = dcmread(home / "film.dcm")
    ae = AE()
    ae.add_requested_context(film.SOPClassUID, film.file_meta.TransferSyntaxUID)
    association = ae.associate("127.0.0.1", port, ae_title="PNEUMOSCOPE")
    assert association.is_established
    assert association.send_c_store(film).Status == 0
    association.release()
    _wait_for_a_row(home, port, out="received")


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as wire:
        return wire.connect_ex(("127.0.0.1", port)) == 0


STEPS = (
    Step("model trust maker.pub"),
    Step("score film.png film.dcm", runtime=True),
    Step("score film.dcm --heatmap heat.png", ("heat.png",), runtime=True),
    Step("explain film.dcm -o page.html", ("page.html",), runtime=True),
    Step(
        "batch films -o out --heatmaps all --dicom-out answers --sort-into sorted --workers 2",
        ("out", "answers", "sorted"),
        runtime=True,
    ),
    Step("batch films -o out --dry-run", ("out",)),
    Step("worklist out"),
    Step("report out", ("out",)),
    Step("validate out"),
    Step("rescore out -o out2 --cut-offs 0.2,0.6", ("out2",)),
    Step("convert out rows.parquet", ("rows.parquet",), (0, 3)),  # 3: without the extra
    Step("deidentify film.dcm -o nameless", ("nameless",), (0, 3)),
    Step("fleet pack out -o stick --bundle bundle", ("stick",), (0, 3)),
    Step("fleet merge stick --registry devices.csv -o campaign", ("campaign",), (3, 4)),
    Step("evaluate out truth.csv -o evaluation.html", ("evaluation.html",)),
    Step("calibrate out --truth truth.csv -o site", ("site",)),
    Step("drift out --baseline site -o drift.html", ("drift.html",), codes=(0, 1)),
    Step("info --self-test", runtime=True),
    Step("info --recommend", codes=(4,)),
    Step("examples ex", ("ex",)),
    Step("model list"),
    Step("model verify bundle"),
    Step("model verify"),
    Step("model rollback", codes=(2,)),
    Step("doctor", codes=(0, 1)),
    Step(
        "watch films -o watched --workers 1 --settle 0.1 --poll 0.1",
        ("watched",),
        (130,),
        runtime=True,
        meanwhile=partial(_wait_for_a_row, out="watched"),
    ),
    Step(
        "serve --port PORT",
        codes=(0, 130),
        runtime=True,
        listens=True,
        meanwhile=_use_the_workstation,
    ),
    Step(
        "serve --port PORT --host 0.0.0.0",
        codes=(0, 130),
        listens=True,
        meanwhile=lambda home, port: wait_for(partial(_listens, port)),
    ),
    Step("account add amina"),
    Step("account list"),
    Step("audit verify"),
    Step("record export exported", ("exported",)),
    Step("record retain --days 9"),
    Step("backup saved", ("saved",)),
    Step("restore saved --record restored", ("restored",)),
    Step(
        "receive -o received --host 127.0.0.1 --port PORT --workers 1 --keep-free 1",
        ("received",),
        (130,),
        runtime=True,
        listens=True,
        meanwhile=_send_a_film,
    ),
    Step("query --pacs A@127.0.0.1:PORT", codes=(4,), listens=True),
    Step("retrieve --pacs A@127.0.0.1:PORT -o fetched", ("fetched",), (4,), listens=True),
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's folder with 40 films and their truth, a film alone, and a small bundle."""
    folder = tmp_path / "home"
    home_variables(folder)
    write_tiny_bundle(folder / "bundle", signed=True)
    trusted = folder / OWN[0] / "trusted_keys" / "maker.pub"
    for key in (trusted, folder / "maker.pub"):
        key.parent.mkdir(parents=True, exist_ok=True)
        key.write_bytes(b64encode(TEST_PUBLIC_KEY))
    (folder / "films").mkdir()
    with (folder / "truth.csv").open("w", newline="") as stream:
        truth = csv.writer(stream)
        truth.writerow(["file", "label"])
        for number in range(40):
            film = Phantom(number, opacity=number % 2)
            name = f"{number:02}.png"
            Image.fromarray(draw_phantom(film, 200, 200)).save(folder / "films" / name)
            truth.writerow([name, ("NORMAL", "PNEUMONIA")[number % 2]])
    Image.fromarray(draw_phantom(Phantom(1), 256, 256)).save(folder / "film.png")
    (folder / "devices.csv").write_text("public_key,device,site\n")
    return folder


def faults(step: Step, home: Path, runtime: str | None) -> Iterator[str]:
    """What a command does that it must not."""
    before = _files(home)
    trace = _run(step, home, runtime)
    if trace.code not in step.codes:
        yield f"ended with {trace.code}: {trace.said[-1000:]}"
    beyond = [call for call in trace.beyond if not _ROUTE.search(call)]
    yield from beyond if step.listens else beyond + trace.sockets
    allowed = [home / name for name in (*step.leaves, *OWN)]
    for path in trace.written:
        if not path.is_relative_to(home) and path != home:
            yield f"wrote {path}"
    for path in sorted(_files(home) - before):
        if not any(path.is_relative_to(place) for place in allowed):
            yield f"left {path}"


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


def _run(step: Step, home: Path, runtime: str | None) -> Trace:
    port = free_port()
    words = step.line.replace("PORT", str(port)).split()
    if step.runtime and runtime is not None:
        words += ["--runtime", runtime]
    if "--bundle" in _options_of(words[0]):
        words += ["--bundle", "bundle"]
    log = home.parent / "strace.log"
    with started(["-m", "edge_app", *words], home, log) as (process, trace):
        if step.meanwhile is not None:
            step.meanwhile(home, port)
            interrupt(process)
        return trace()


def _commands() -> dict[str, argparse.ArgumentParser]:
    (commands,) = (a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(commands.choices)


def _options_of(command: str) -> set[str]:
    return set(_commands()[command]._option_string_actions)


def with_dicom(home: Path) -> Path:
    """A film as DICOM, for the commands that want one; skips without the extras."""
    pytest.importorskip("pynetdicom", reason="needs the extra dicom-net")
    pytest.importorskip("sqlalchemy", reason="needs the extra web")
    from tests.dicom_files import phantom_dataset

    phantom_dataset("1.2.3").save_as(home / "film.dcm", enforce_file_format=True)
    return home


@pytest.fixture
def trusting(home: Path) -> Path:
    """A home whose user trusts the maker of the small bundle."""
    assert list(faults(STEPS[0], home, None)) == []
    return home


@pytest.mark.parametrize("name", INSTALLED)
def test_score_opens_no_socket_and_leaves_no_file(name: str, trusting: Path) -> None:
    assert list(faults(Step("score film.png", runtime=True), trusting, name)) == []


def test_a_folder_run_opens_no_socket_and_leaves_no_other_file(trusting: Path) -> None:
    step = Step("batch film.png -o out --workers 1", ("out",), runtime=True)
    assert list(faults(step, trusting, INSTALLED[-1])) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", INSTALLED)
def test_no_command_reaches_beyond_this_machine_or_leaves_other_files(
    name: str, home: Path
) -> None:
    with_dicom(home)
    found = {step.line: list(faults(step, home, name)) for step in STEPS}
    assert {line: problems for line, problems in found.items() if problems} == {}


def test_every_command_is_among_them() -> None:
    assert {step.line.split()[0] for step in STEPS} == set(_commands())


def test_the_tracer_sees_what_it_looks_for(home: Path) -> None:
    """A socket, a name server, and files here and elsewhere, so that the tests above can fail."""
    elsewhere = home.parent / "elsewhere.txt"
    program = (
        "import os, socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.connect(('192.0.2.53', 53)); s.connect(('127.0.0.1', 9))\n"
        f"open({str(elsewhere)!r}, 'w').close(); open('here.txt', 'w').close(); os.mkdir('made')\n"
        "try: open('no/such/folder', 'w')\nexcept OSError: pass\n"
        "os.rename('here.txt', 'there.txt')"
    )
    trace = traced(["-c", program], home, home.parent / "strace.log")
    assert trace.code == 0, trace.said
    assert len(trace.sockets) == 1
    assert len(trace.beyond) == 1
    assert {elsewhere, home / "here.txt", home / "made", home / "there.txt"} == set(trace.written)
