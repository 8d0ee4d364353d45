"""Keys and signatures: made once, kept closed, refused where they do not belong."""

import base64
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edge_app.bundle.load import load_bundle
from edge_app.bundle.private_key import generate_keys
from edge_app.bundle.signature import SIGNATURE_FILE, installed_keys, key_id, read_public_key
from edge_app.errors import BundleError, BundleIntegrityError, StorageError, UsageError
from export.cli import main
from export.keys import sign, sign_bundle


def trust(public: Path) -> dict[str, bytes]:
    raw = base64.b64decode(public.read_text())
    return {key_id(raw): raw}


def test_a_new_pair_signs_what_its_public_half_verifies(
    tmp_path: Path, tiny_bundle_folder: Path
) -> None:
    private, public = generate_keys(tmp_path / "keys" / "me")
    identifier = sign_bundle(tiny_bundle_folder, private, public)
    bundle = load_bundle(tiny_bundle_folder, trusted_keys=trust(public))
    assert bundle.signed_by == identifier
    assert [identifier] == list(trust(public))


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_private_key_can_be_read_by_its_owner_only(tmp_path: Path) -> None:
    private, _ = generate_keys(tmp_path / "me")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


@pytest.mark.parametrize("suffix", [".key", ".pub"])
def test_keys_are_never_overwritten(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"me{suffix}").write_text("precious")
    with pytest.raises(UsageError, match="must not be overwritten"):
        generate_keys(tmp_path / "me")
    assert [p.name for p in tmp_path.iterdir()] == [f"me{suffix}"]
    assert (tmp_path / f"me{suffix}").read_text() == "precious"


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_a_folder_is_no_name_of_a_pair(name: str) -> None:
    assert main(["keygen", name]) == 2


def test_half_a_pair_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match="No space left"):
            generate_keys(tmp_path / "me")
    assert list(tmp_path.iterdir()) == []
    generate_keys(tmp_path / "me")


def test_a_bundle_is_signed_where_one_stands(
    tmp_path: Path, tiny_bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = generate_keys(tmp_path / "me")
    monkeypatch.chdir(tiny_bundle_folder)
    synced: list[bool] = []
    signature = tiny_bundle_folder / SIGNATURE_FILE
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(signature.exists()))
    assert main(["sign", ".", "--key", str(private)]) == 0
    assert synced == [False, True]  # the file, then the folder that holds its name
    assert load_bundle(tiny_bundle_folder, trusted_keys=trust(public)).signed_by


@pytest.mark.parametrize(
    ("options", "code"),
    [(["--key", "me.key", "--public-key", "other.pub"], 3), (["--public-key", "me.pub"], 2)],
)
def test_keys_are_checked_before_the_long_work(
    tmp_path: Path, options: list[str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no checkpoint: with the keys looked at last, that would be the error."""
    monkeypatch.chdir(tmp_path)
    generate_keys(Path("me"))
    generate_keys(Path("other"))
    arguments = [
        "bundle",
        "none.keras",
        "-o",
        "bundle",
        "--data",
        "none.csv",
        "--about",
        "none",
        *options,
    ]
    monkeypatch.setattr("export.about.load_about", _too_late)
    assert main(arguments) == code


def _too_late(*arguments: object) -> None:
    raise AssertionError("the keys come first")


def test_a_key_that_is_not_the_pair_s_is_refused(tmp_path: Path, tiny_bundle_folder: Path) -> None:
    private, _ = generate_keys(tmp_path / "me")
    _, other = generate_keys(tmp_path / "other")
    with pytest.raises(BundleIntegrityError, match="are not a pair"):
        sign_bundle(tiny_bundle_folder, private, other)
    assert not (tiny_bundle_folder / SIGNATURE_FILE).exists()
    assert BundleIntegrityError.exit_code == 3


def test_a_key_of_another_kind_or_none_at_all_is_refused(tmp_path: Path) -> None:
    elliptic = tmp_path / "ec.key"
    elliptic.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(BundleIntegrityError, match="not an Ed25519 key"):
        sign(b"{}", elliptic)
    private, public = generate_keys(tmp_path / "me")
    with pytest.raises(BundleIntegrityError, match="not a readable private key"):
        sign(b"{}", public)
    with pytest.raises(BundleIntegrityError, match="not a readable private key"):
        sign(b"{}", tmp_path / "missing.key")
    with pytest.raises(BundleIntegrityError, match="no public key"):
        sign(b"{}", private, private)
    (tmp_path / "short.pub").write_text(base64.b64encode(b"short").decode())
    with pytest.raises(BundleIntegrityError, match="5 bytes, not 32"):
        sign(b"{}", private, tmp_path / "short.pub")


def test_a_damaged_or_signed_bundle_is_not_signed(tmp_path: Path, tiny_bundle_folder: Path) -> None:
    private, _ = generate_keys(tmp_path / "me")
    model = tiny_bundle_folder / "model.tflite"
    content = model.read_bytes()
    model.write_bytes(content + b"\0")
    with pytest.raises(BundleError):
        sign_bundle(tiny_bundle_folder, private)
    model.write_bytes(content)
    sign_bundle(tiny_bundle_folder, private)
    with pytest.raises(UsageError, match="signed already"):
        sign_bundle(tiny_bundle_folder, private)


def test_the_same_bytes_get_the_same_signature(tmp_path: Path) -> None:
    """RFC 8032 signatures have no random number in them, so a rebuild can be compared."""
    private, _ = generate_keys(tmp_path / "me")
    assert sign(b"{}", private) == sign(b"{}", private)
    assert sign(b"{}", private) != sign(b"{ }", private)


def test_the_edge_was_installed_with_the_maintainers_key() -> None:
    assert installed_keys()
    assert all(len(raw) == 32 for raw in installed_keys().values())


@pytest.mark.parametrize(
    "content",
    [
        b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
        b"\xff\xfe\x00",
        base64.b64encode(bytes(31)),
        b"",
    ],
)
def test_a_trusted_key_of_another_format_is_named(
    tmp_path: Path, tiny_bundle_folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, _ = generate_keys(tmp_path / "me")
    sign_bundle(tiny_bundle_folder, private)
    (tmp_path / "trusted_keys").mkdir()
    (tmp_path / "trusted_keys" / "clinic.pub").write_bytes(content)
    monkeypatch.setattr(
        "edge_app.bundle.signature.__file__", str(tmp_path / "bundle" / "signature.py")
    )
    with pytest.raises(BundleIntegrityError, match=r"clinic\.pub: no .*public key"):
        load_bundle(tiny_bundle_folder)


def test_a_damaged_key_of_the_user_trusts_nobody_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_app.bundle.signature.added_keys_folder", lambda: tmp_path)
    before = installed_keys()
    generate_keys(tmp_path / "own")
    (tmp_path / ".part-7-own.pub").write_bytes((tmp_path / "own.pub").read_bytes())
    (tmp_path / "damaged.pub").write_bytes(b"x")
    added = set(installed_keys()) - set(before)
    assert added == {key_id(read_public_key(tmp_path / "own.pub"))}


def test_the_command_line(
    tmp_path: Path, tiny_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = tmp_path / "me"
    assert main(["keygen", str(name)]) == 0
    assert "keep it secret" in capsys.readouterr().out
    assert main(["keygen", str(name)]) == 2
    bundle, key = str(tiny_bundle_folder), f"{name}.key"
    assert main(["sign", bundle, "--key", f"{name}.pub"]) == 3
    assert main(["sign", bundle, "--key", key, "--public-key", f"{name}.pub"]) == 0
    assert main(["sign", bundle, "--key", key]) == 2
    # This installation does not trust that key, so it does not pack the bundle either.
    assert main(["pack", bundle, "-o", str(tmp_path / "x.pneumo")]) == 3
    (tiny_bundle_folder / SIGNATURE_FILE).unlink()
    assert main(["pack", bundle, "-o", str(tmp_path / "x.pneumo")]) == 0
    assert "nobody has signed" in capsys.readouterr().out
