"""The examination of the machine: what is found, and what to do."""

import json
from pathlib import Path

import pytest

from edge_app.cli import main
from edge_app.device.accelerators import find_accelerators
from edge_app.device.doctor import examine_accelerators
from edge_app.device.finding import Verdict
from edge_app.device.sensors import (
    examine_camera,
    examine_disk,
    examine_power,
    examine_temperature,
    examine_throttling,
)

FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"


def _show(root: Path, **files: str) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n", encoding="ascii")
    return root


@pytest.mark.parametrize(
    ("free", "verdict"),
    [(100e6, Verdict.PROBLEM), (1.5e9, Verdict.ATTENTION), (3e9, Verdict.OK)],
)
def test_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, verdict: Verdict
) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(32e9, 32e9 - free, free))
    found = examine_disk(tmp_path / "not" / "there" / "yet")
    assert found.verdict is verdict
    assert ("retain" in found.advice) == (verdict is not Verdict.OK)


@pytest.mark.parametrize(
    ("milli_degrees", "verdict"),
    [("45000", Verdict.OK), ("72000", Verdict.ATTENTION), ("81000", Verdict.PROBLEM)],
)
def test_temperature(tmp_path: Path, milli_degrees: str, verdict: Verdict) -> None:
    zone = "sys/class/thermal/thermal_zone"
    _show(tmp_path, **{f"{zone}0/temp": "30000", f"{zone}1/temp": milli_degrees})
    assert examine_temperature(tmp_path).verdict is verdict


# Values as in Raspberry Pi's documentation of vcgencmd get_throttled.
@pytest.mark.parametrize(
    ("bits", "throttling", "power"),
    [
        ("0", Verdict.OK, Verdict.OK),
        ("50000", Verdict.ATTENTION, Verdict.ATTENTION),
        ("50005", Verdict.PROBLEM, Verdict.PROBLEM),
        ("80008", Verdict.PROBLEM, Verdict.OK),
        ("10001", Verdict.OK, Verdict.PROBLEM),
    ],
)
def test_a_raspberry_pis_firmware(
    tmp_path: Path, bits: str, throttling: Verdict, power: Verdict
) -> None:
    _show(tmp_path, **{FIRMWARE: bits})
    assert examine_throttling(tmp_path).verdict is throttling
    assert examine_power(tmp_path).verdict is power


@pytest.mark.parametrize(
    ("percent", "status", "verdict"),
    [
        ("80", "Discharging", Verdict.OK),
        ("9", "Discharging", Verdict.ATTENTION),
        ("9", "Charging", Verdict.OK),
    ],
)
def test_a_laptops_battery(tmp_path: Path, percent: str, status: str, verdict: Verdict) -> None:
    supply = "sys/class/power_supply"
    _show(tmp_path, **{f"{supply}/A_mouse/capacity": "1", f"{supply}/A_mouse/scope": "Device"})
    _show(tmp_path, **{f"{supply}/BAT0/capacity": percent, f"{supply}/BAT0/status": status})
    found = examine_power(tmp_path)
    assert found.verdict is verdict
    assert f"{percent}%, {status.lower()}" in found.found


def test_a_laptop_that_was_slowed_down(tmp_path: Path) -> None:
    count = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    assert examine_throttling(_show(tmp_path, **{count: "0"})).verdict is Verdict.OK
    found = examine_throttling(_show(tmp_path, **{count: "12"}))
    assert (found.verdict, "12 times" in found.found) == (Verdict.ATTENTION, True)


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    for examine in (examine_temperature, examine_throttling, examine_power):
        assert examine(tmp_path).verdict is Verdict.UNKNOWN
    assert "a phone's camera" in examine_camera(tmp_path).found
    assert find_accelerators(tmp_path) == ()


def test_cameras_without_the_pis_own_codec(tmp_path: Path) -> None:
    video = "sys/class/video4linux"
    _show(
        tmp_path, **{f"{video}/video0/name": "HD Webcam", f"{video}/video10/name": "bcm2835-codec"}
    )
    assert examine_camera(tmp_path).found == "HD Webcam"


def test_accelerators(tmp_path: Path) -> None:
    pci, usb = "sys/bus/pci/devices/0000:0", "sys/bus/usb/devices/1-"
    _show(tmp_path, **{f"{pci}1/vendor": "0x1e60", f"{pci}1/class": "0x120000"})
    _show(tmp_path, **{f"{pci}2/vendor": "0x10de", f"{pci}2/class": "0x030200"})
    _show(tmp_path, **{f"{pci}3/vendor": "0x10de", f"{pci}3/class": "0x040300"})  # its sound
    _show(tmp_path, **{f"{pci}4/vendor": "0x8086", f"{pci}4/class": "0x120000"})
    _show(tmp_path, **{f"{usb}1/idVendor": "18d1", f"{usb}1/idProduct": "9302"})
    names = find_accelerators(tmp_path)
    assert names == ("Google Coral", "Hailo", "Intel NPU", "NVIDIA GPU")
    found = examine_accelerators(names, 7.4)
    assert "not used" in found.found
    assert "at most the 7 ms" in found.advice


def test_the_command_examines_every_part(
    signed_bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["doctor", "--bundle", str(signed_bundle_folder), "--record", str(tmp_path)]
    main([*arguments, "--json"])
    findings = {f["part"]: f for f in map(json.loads, capsys.readouterr().out.splitlines())}
    assert list(findings) == [
        "disk",
        "clock",
        "temperature",
        "throttling",
        "power",
        "camera",
        "self-test",
        "accelerator",
    ]
    assert findings["self-test"]["verdict"] == "ok"


def test_a_bundle_that_fails_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--bundle", str(tmp_path / "none"), "--record", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "problem    self-test:" in out
    assert "-> do not screen with this machine" in out
