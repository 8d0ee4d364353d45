"""One bundle, one archive: what was packed comes out, and nothing else is accepted."""

import io
import os
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from edge_app.bundle.archive import (
    MOST_FILES,
    decode_archive,
    encode_archive,
    pack_bundle,
    read_archive,
)
from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import check_file_names
from edge_app.errors import BundleError, BundleFormatError, BundleIntegrityError, StorageError

FILES = {
    "bundle.json": b"{}",
    "model.tflite": bytes(range(256)) * 3,
    "golden/a.npy": b"",
    "golden/b.npy": b"PK\x05\x06 is no end inside of a file",
    "reliability \u00e4.png": b"\x89PNG",
}

names = st.from_regex(r"[a-z][a-z0-9_.]{0,8}(/[a-z][a-z0-9]{0,5})?", fullmatch=True).filter(
    lambda name: ".." not in name and not name.endswith(".")
)


def zipped(entries: dict[str, bytes], **options: int) -> bytes:
    """An archive as any other tool would make it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


def test_what_was_packed_comes_out() -> None:
    assert decode_archive(encode_archive(FILES)) == FILES


@given(st.dictionaries(names, st.binary(max_size=64), max_size=6))
def test_packing_and_unpacking_are_inverses(files: dict[str, bytes]) -> None:
    # One file's name may not be another's folder, nor a device of Windows.
    try:
        check_file_names(files)
    except BundleFormatError:
        reject()
    files = {"bundle.json": b"{}"} | files
    assert decode_archive(encode_archive(files)) == files


def test_the_order_of_files_does_not_matter() -> None:
    turned = dict(reversed(FILES.items()))
    assert encode_archive(turned) == encode_archive(FILES)


def test_any_zip_tool_can_look_inside(tmp_path: Path) -> None:
    """Python's zipfile is the peer: names, contents, checksums and dates as it understands them."""
    path = tmp_path / "x.pneumo"
    path.write_bytes(encode_archive(FILES))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {i.filename: archive.read(i) for i in archive.infolist()} == FILES
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {i.external_attr >> 16 for i in archive.infolist()} == {0o100644}


@settings(max_examples=400)
@given(st.integers(0, len(encode_archive(FILES)) - 1), st.integers(1, 255))
def test_any_changed_byte_is_caught(position: int, change: int) -> None:
    changed = bytearray(encode_archive(FILES))
    changed[position] ^= change
    with pytest.raises(BundleError):
        decode_archive(bytes(changed))


@settings(max_examples=200)
@given(st.integers(0, len(encode_archive(FILES)) - 1))
def test_any_truncation_is_caught(length: int) -> None:
    with pytest.raises(BundleError):
        decode_archive(encode_archive(FILES)[:length])


@pytest.mark.parametrize("extra", [b"\0", b"PK", b"# a comment\n"])
def test_bytes_before_and_behind_are_caught(extra: bytes) -> None:
    for content in (encode_archive(FILES) + extra, extra + encode_archive(FILES)):
        with pytest.raises(BundleIntegrityError):
            decode_archive(content)


@pytest.mark.parametrize(
    "name",
    [
        "../outside.txt",
        "/etc/passwd",
        "golden/../../outside",
        "C:\\windows\\x",
        "C:x",
        "a\\b",
        "golden//x",
        "./x",
        "new\nline",
        ".",
        "bundle.json/x",
        "n" * 256,
    ],
)
def test_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(BundleError):
        encode_archive({"bundle.json": b"{}", name: b"x"})
    with pytest.raises(BundleError):
        decode_archive(zipped({"bundle.json": b"{}", name: b"x"}))


def test_a_bomb_is_refused_unread() -> None:
    """20 megabytes of zeros in 20 kilobytes: compression is what a bomb needs."""
    bomb = zipped({"bundle.json": b"{}", "x": bytes(20_000_000)}, compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    with pytest.raises(BundleFormatError, match="compressed"):
        decode_archive(bomb)


def overlapping(n: int, kernel: bytes) -> bytes:
    """Stored entries of which each one's content is all the entries behind it, nested like dolls.

    Fifield D. A better zip bomb. USENIX WOOT 2019, with stored entries alone.
    """
    names = [b"bundle.json", *(b"f%03d" % i for i in range(n - 1))]
    tail, found = kernel, []
    for name in reversed(names):
        sizes = (zlib.crc32(tail), len(tail), len(tail), len(name), 0)
        common = (20, 0, 0, 0, 33, *sizes)
        found.append((name, common))
        tail = struct.pack("<4s5H3L2H", b"PK\x03\x04", *common) + name + tail
    directory, place = b"", 0
    for name, common in reversed(found):
        rest = (0, 0, 0, 0o100644 << 16, place)
        directory += struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 3 << 8 | 20, *common, *rest) + name
        place += 30 + len(name)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, n, n, len(directory), len(tail), 0)
    return tail + directory + end


def test_entries_over_each_other_are_refused_unread() -> None:
    """Two megabytes that would be half a gigabyte, before any signature is looked at."""
    bomb = overlapping(200, bytes(2_000_000))
    assert len(bomb) < 2_100_000
    tracemalloc.start()
    try:
        with pytest.raises(BundleFormatError, match="more bytes than the whole file"):
            decode_archive(bomb)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_no_more_than_the_most_is_read_whatever_the_size_says() -> None:
    """A file without an end, whose size the system gives as 0."""
    endless = Path("/dev/zero")
    if not endless.exists():
        pytest.skip("no /dev/zero here")
    with pytest.raises(BundleFormatError, match="more than 67108864 bytes are not read"):
        read_archive(endless)


def test_a_lie_about_the_size_is_refused() -> None:
    """A stored entry that claims four gigabytes in its directory."""
    content = bytearray(encode_archive(FILES))
    directory = content.rindex(b"PK\x01\x02")
    struct.pack_into("<2L", content, directory + 20, 0xFFFFFFF0, 0xFFFFFFF0)
    with pytest.raises(BundleError):
        decode_archive(bytes(content))


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    many = {f"f{i}": b"" for i in range(MOST_FILES)} | {"bundle.json": b""}
    with pytest.raises(BundleFormatError, match="at most"):
        encode_archive(many)
    content = encode_archive(FILES)
    (tmp_path / "x.pneumo").write_bytes(content)
    monkeypatch.setattr("edge_app.bundle.archive.MOST_BYTES", 100)
    with pytest.raises(BundleFormatError, match="more than"):
        encode_archive(FILES)
    with pytest.raises(BundleFormatError, match="more than"):
        decode_archive(content)
    with pytest.raises(BundleFormatError, match="more than"):
        read_archive(tmp_path / "x.pneumo")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a whole bundle file"),
        (b"a text that is no archive", "not a whole bundle file"),
        (zipped({"readme.txt": b"x"}), "not a model bundle"),
        (zipped({"bundle.json": b"", "Bundle.json": b""}), "stands twice"),
    ],
)
def test_other_files_are_format_errors(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.pneumo"
    path.write_bytes(content)
    with pytest.raises(BundleFormatError, match=f"x.pneumo: .*{message}"):
        read_archive(path)
    assert BundleFormatError.exit_code == 3


def test_a_missing_file_is_a_format_error(tmp_path: Path) -> None:
    with pytest.raises(BundleFormatError, match=r"none\.pneumo: cannot be read"):
        read_archive(tmp_path / "none.pneumo")
    with pytest.raises(BundleFormatError, match="cannot be read"):
        read_archive(tmp_path)


def test_a_packed_bundle_loads_when_unpacked(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "tiny.pneumo"
    pack_bundle(tiny_bundle_folder, target)
    again = tmp_path / "again"
    for name, content in read_archive(target).items():
        (again / name).parent.mkdir(parents=True, exist_ok=True)
        (again / name).write_bytes(content)
    assert load_bundle(again).manifest == load_bundle(tiny_bundle_folder).manifest


def test_packing_never_overwrites(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "tiny.pneumo"
    target.write_bytes(b"older")
    with pytest.raises(StorageError, match="exists already"):
        pack_bundle(tiny_bundle_folder, target)
    assert target.read_bytes() == b"older"


def test_a_packed_bundle_is_on_the_disk_before_it_has_its_name(
    tiny_bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "tiny.pneumo"
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(target.exists()))
    pack_bundle(tiny_bundle_folder, target)
    assert synced == [False, True]  # the file, then the folder that holds its name
    assert target.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no folder that its owner cannot write")
def test_packing_leaves_nothing_half_written(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        pack_bundle(tiny_bundle_folder, tmp_path / "no folder" / "tiny.pneumo")
    assert not (tmp_path / "no folder").exists()
