"""Pseudonyms: the same under one key, unlike under another, and the key is made once."""

import base64
import hashlib
import hmac
import re
import stat
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_app.errors import StorageError
from edge_app.files.pseudonyms import Pseudonyms, device_pseudonyms, open_pseudonyms

KEY = bytes(range(32))


def test_it_is_the_hmac_of_the_standard() -> None:
    expected = hmac.new(KEY, b"patient\0Ana", hashlib.sha256).hexdigest()[:32]
    assert Pseudonyms(KEY).of("patient", "Ana") == expected
    assert Pseudonyms(KEY).of("file", "Ana") != expected
    assert Pseudonyms(KEY[::-1]).of("patient", "Ana") != expected


@given(st.text(), st.text())
def test_equal_only_for_equals(one: str, other: str) -> None:
    names = Pseudonyms(KEY)
    assert (names.of("file", one) == names.of("file", other)) == (one == other)
    assert re.fullmatch("[0-9a-f]{32}", names.of("file", one))


def test_of_a_uid_it_is_a_uid() -> None:
    uid = Pseudonyms(KEY).uid_of("1.2.840.1")
    assert re.fullmatch(r"2\.25\.(0|[1-9]\d*)", uid)
    assert len(uid) <= 64


def test_a_path_that_is_no_utf8_has_one() -> None:
    assert len(Pseudonyms(KEY).of("file", "a\udcff.dcm")) == 32


def test_the_devices_key_is_made_once_and_is_its_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNEUMOSCOPE_DATA", str(tmp_path / "data"))
    first = device_pseudonyms().of("file", "a")
    assert device_pseudonyms().of("file", "a") == first
    (path,) = (tmp_path / "data").iterdir()
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first not in path.read_text()


def test_all_who_begin_at_once_have_one_key(tmp_path: Path) -> None:
    found: list[bytes] = []
    barrier = threading.Barrier(8)

    def begin() -> None:
        barrier.wait()
        found.append(open_pseudonyms(tmp_path / "k").key)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


@pytest.mark.parametrize("content", [b"", b"short", base64.b64encode(b"1" * 31), b"\xff" * 44])
def test_a_damaged_key_is_no_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(StorageError, match="no key"):
        open_pseudonyms(tmp_path / "k")


def test_a_key_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be written"):
        open_pseudonyms(tmp_path / "file" / "k")
