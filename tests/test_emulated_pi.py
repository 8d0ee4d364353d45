"""What `make test-pi` decides before it touches anything; the run itself needs root and minutes."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import emulated_pi
from tests.emulated_pi import (
    PiError,
    build_debian,
    choose_mirror,
    edge_tests,
    emulation,
    environment,
    inside,
    run_all,
    self_tests,
)

TARGETS = """https://mirror.example/debian-security/ trixie-security main
https://mirror.example/debian/ trixie contrib
https://mirror.example/debian/ trixie main
"""


def test_mirror_is_that_of_the_hosts_own_release() -> None:
    assert choose_mirror(TARGETS, "trixie") == "https://mirror.example/debian/"


def test_host_without_a_debian_source() -> None:
    with pytest.raises(PiError, match="noble main"):
        choose_mirror(TARGETS, "noble")


def test_only_the_way_to_the_registry_is_handed_on() -> None:
    host = {
        "PIP_INDEX_URL": "https://index.example/simple",
        "PIP_FIND_LINKS": "/somewhere",
        "https_proxy": "http://proxy.example",
        "SSL_CERT_FILE": "/ca.pem",
        "SECRET_TOKEN": "x",
        "HOME": "/home/me",
        "PATH": "/my/bin",
    }
    inside = environment(host)
    assert inside["PIP_INDEX_URL"] == "https://index.example/simple"
    assert inside["https_proxy"] == "http://proxy.example"
    assert inside["HOME"] == "/root"
    assert inside["PATH"].startswith("/usr/sbin")
    assert not {"PIP_FIND_LINKS", "SECRET_TOKEN"} & set(inside)


def test_tests_of_what_does_not_ship_stay_on_the_host() -> None:
    names = edge_tests()
    assert "tests/test_screener.py" in names
    assert not any("train" in name or "benchmarks" in name for name in names)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Commands that would have been run, as text, on a host that is no Pi."""
    commands: list[str] = []
    monkeypatch.setattr(emulated_pi.os, "uname", lambda: SimpleNamespace(machine="x86_64"))
    monkeypatch.setattr(
        emulated_pi.subprocess,
        "run",
        lambda command, **_: commands.append(" ".join(map(str, command))),
    )
    return commands


def test_what_the_kernel_was_told_is_undone_also_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: list[str]
) -> None:
    monkeypatch.setattr(emulated_pi, "BINFMT", tmp_path)
    within: list[int] = []

    def fails() -> None:
        with emulation():
            within.append(len(ran))
            raise PiError("no network")

    with pytest.raises(PiError):
        fails()
    assert within == [2]
    assert ran == [
        f"mount -t binfmt_misc binfmt_misc {tmp_path}",
        "update-binfmts --enable qemu-aarch64",
        "update-binfmts --disable qemu-aarch64",
        f"umount {tmp_path}",
    ]
    # What was there before stays.
    ran.clear()
    (tmp_path / "status").touch()
    (tmp_path / "qemu-aarch64").touch()
    with emulation():
        pass
    assert ran == []


def test_everything_is_mounted_in_a_namespace_that_ends(
    tmp_path: Path, debootstraps: list[list[str]]
) -> None:
    build_debian(tmp_path / "pi", fresh=False)
    inside(tmp_path / "pi", ["true"])
    assert len(debootstraps) == 2
    for command in debootstraps:
        assert command[:4] == ["unshare", "--mount", "--propagation", "private"]


def test_a_module_that_dies_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = tmp_path / "opt/pneumoscope/tests"
    tests.mkdir(parents=True)
    for name in ("test_a", "test_b", "test_train_c"):
        (tests / f"{name}.py").write_text("")
    seen: list[str] = []

    def died(_: Path, command: Sequence[str], *, check: bool, cpu: str = "") -> SimpleNamespace:
        seen.append(command[-1])
        return SimpleNamespace(returncode=134 if command[-1] == "tests/test_a.py" else 0)

    monkeypatch.setattr(emulated_pi, "inside", died)
    assert run_all(tmp_path) == ["tests/test_a.py"]
    assert seen[-2:] == ["tests/test_a.py", "tests/test_b.py"]
    seen.clear()
    assert run_all(tmp_path, ["tests/test_b.py"]) == []
    assert seen[-1] == "tests/test_b.py"
    assert "tests/test_a.py" not in seen


def test_self_test_runs_on_the_processor_of_every_pi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []

    def run(command: Sequence[str], *, check: bool, env: dict[str, str]) -> SimpleNamespace:
        assert not check
        seen.append((env["QEMU_CPU"], command[-1]))
        return SimpleNamespace(returncode=seen[-1] == ("cortex-a72", "litert"))

    monkeypatch.setattr(emulated_pi.subprocess, "run", run)
    assert self_tests(tmp_path) == ["self-test, cortex-a72, litert"]
    assert seen == [
        (f"cortex-a{number}", runtime)
        for number in (53, 72, 76)
        for runtime in ("litert", "onnxruntime")
    ]


@pytest.fixture
def debootstraps(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that would have been run, in place of running them."""
    commands: list[list[str]] = []
    monkeypatch.setattr(emulated_pi, "debian_release", lambda: "trixie")
    monkeypatch.setattr(emulated_pi, "debian_mirror", lambda: "https://mirror.example/debian/")
    monkeypatch.setattr(
        emulated_pi.subprocess, "run", lambda command, **_: commands.append(command)
    )
    return commands


@pytest.mark.parametrize("fresh", [False, True])
def test_folder_of_somebody_else_is_never_deleted(
    tmp_path: Path, debootstraps: list[list[str]], *, fresh: bool
) -> None:
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "thesis.txt").write_text("x")
    with pytest.raises(PiError, match="did not put there"):
        build_debian(precious, fresh=fresh)
    assert (precious / "thesis.txt").exists()
    with pytest.raises(PiError):
        build_debian(precious / "thesis.txt", fresh=fresh)
    assert debootstraps == []


@pytest.mark.parametrize("name", ["absent/deep", "."])
def test_absent_or_empty_folder_is_built_and_may_be_made_again(
    tmp_path: Path, debootstraps: list[list[str]], name: str
) -> None:
    folder = tmp_path / "pi" / name
    (tmp_path / "pi").mkdir()
    build_debian(folder, fresh=False)
    # Where debootstrap failed half-way, the next run begins again.
    (folder / ".debootstrap-done").unlink()
    (folder / "etc").mkdir()
    build_debian(folder, fresh=False)
    assert not (folder / "etc").exists()
    build_debian(folder, fresh=False)
    assert len(debootstraps) == 2
    build_debian(folder, fresh=True)
    assert len(debootstraps) == 3
