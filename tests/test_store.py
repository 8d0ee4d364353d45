"""Installing a bundle: checked, tested here, switched at once; what was in use is never lost."""

import base64
import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_app.bundle import location
from edge_app.bundle.archive import encode_archive, pack_bundle, read_archive
from edge_app.bundle.load import load_bundle
from edge_app.bundle.private_key import generate_keys
from edge_app.bundle.signature import SIGNATURE_FILE, key_id
from edge_app.cli import main
from edge_app.errors import (
    BundleError,
    BundleFormatError,
    BundleIntegrityError,
    RuntimeUnavailableError,
    SelfTestError,
    StorageError,
    UsageError,
)
from edge_app.files import user_folders
from edge_app.models import store
from export.keys import sign_bundle
from tests.conftest import REPOSITORY
from tests.tiny_bundle import TEST_PUBLIC_KEY, trust_test_key, write_tiny_bundle

Document = dict[str, Any]
Maker = Callable[..., Path]
SPOILED_PROMISE = 3.0


def quietly(text: str) -> None:
    """A listener that keeps nothing."""


@pytest.fixture(autouse=True)
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny bundle in place of the one that ships with the package."""
    folder = write_tiny_bundle(tmp_path / "embedded", change=_named("embedded"), signed=True)
    trust_test_key()
    monkeypatch.setattr(location, "default_bundle_folder", lambda: folder)
    monkeypatch.setattr(store, "default_bundle_folder", lambda: folder)
    return folder


@pytest.fixture
def pneumo(tmp_path: Path) -> Maker:
    """Makes `.pneumo` files of tiny bundles by their model's name."""

    def make(name: str, change: Callable[[Document], None] | None = None) -> Path:
        def both(document: Document) -> None:
            _named(name)(document)
            if change is not None:
                change(document)

        folder = write_tiny_bundle(tmp_path / f"made-{name}", change=both, signed=True)
        pack_bundle(folder, tmp_path / f"{name}.pneumo")
        return tmp_path / f"{name}.pneumo"

    return make


def _named(name: str) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        document["model_id"] = name

    return change


def _promise_other_scores(document: Document) -> None:
    for case in document["golden"]["cases"]:
        case["logits"] = {key: value + SPOILED_PROMISE for key, value in case["logits"].items()}


def install(path: Path, **options: Any) -> str:
    return store.install(path, say=quietly, **options).manifest.model_id


def in_use() -> str:
    return load_bundle().manifest.model_id


def stored() -> list[str]:
    """Everything in the store but the state, the lock included only while it is held open."""
    models = user_folders.data_folder() / "models"
    return sorted(p.name for p in models.iterdir() if p.name not in ("state.json", ".lock"))


def test_the_embedded_bundle_is_in_use_until_one_is_installed(pneumo: Maker) -> None:
    assert location.installed_folder() is None
    assert in_use() == "embedded"
    assert install(pneumo("first")) == "first"
    assert in_use() == "first"
    assert load_bundle().folder.parent == user_folders.data_folder() / "models"


def test_a_named_folder_comes_before_the_installed_one(pneumo: Maker, embedded: Path) -> None:
    install(pneumo("first"))
    assert load_bundle(embedded).manifest.model_id == "embedded"


def test_the_one_before_is_kept_and_older_ones_are_not(pneumo: Maker) -> None:
    for name in ("first", "second", "third"):
        install(pneumo(name))
    found = [(s.model_id, s.role) for s in store.list_bundles()]
    assert found == [("embedded", "other"), ("second", "previous"), ("third", "current")]


def test_rollback_goes_back_and_forward(pneumo: Maker) -> None:
    install(pneumo("first"))
    install(pneumo("second"))
    assert store.rollback(say=quietly).manifest.model_id == "first"
    assert in_use() == "first"
    assert store.rollback(say=quietly).manifest.model_id == "second"
    assert in_use() == "second"


def test_rollback_after_the_first_installation_is_the_embedded_one(pneumo: Maker) -> None:
    install(pneumo("first"))
    store.rollback(say=quietly)
    assert in_use() == "embedded"
    roles = {s.model_id: s.role for s in store.list_bundles()}
    assert roles == {"embedded": "current", "first": "previous"}


def test_rollback_without_an_installation_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="nothing is installed"):
        store.rollback(say=quietly)


def test_installing_the_same_again_keeps_the_one_before(pneumo: Maker) -> None:
    first, second = pneumo("first"), pneumo("second")
    install(first)
    install(second)
    install(second)
    store.rollback(say=quietly)
    assert in_use() == "first"


def test_installing_the_same_again_mends_a_damaged_one(pneumo: Maker) -> None:
    path = pneumo("first")
    install(path)
    (load_bundle().folder / "model.tflite").unlink()
    with pytest.raises(BundleIntegrityError):
        load_bundle()
    install(path)
    assert in_use() == "first"


def test_every_installed_runtime_is_tested(pneumo: Maker) -> None:
    said: list[str] = []
    store.install(pneumo("first"), say=said.append)
    tests = [line for line in said if line.startswith("self-test with ")]
    from edge_app.runtimes import RUNTIMES

    expected = [e.name for e in RUNTIMES if e.is_installed and e.name != "tflite-runtime"]
    assert [line.split()[2].rstrip(":") for line in tests] == expected
    assert expected


def test_a_bundle_whose_self_test_fails_is_not_used(pneumo: Maker) -> None:
    install(pneumo("first"))
    before = stored()
    with pytest.raises(SelfTestError):
        install(pneumo("spoiled", _promise_other_scores))
    assert in_use() == "first"
    assert stored() == before


def _ask_for_a_gate(document: Document) -> None:
    document["input_gate"] = {"kind": "mahalanobis", "parameters": {"cut": 3.0}}


def test_a_bundle_that_asks_for_an_unknown_gate_is_not_used(
    pneumo: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    install(pneumo("first"))
    path = pneumo("gated", _ask_for_a_gate)
    assert main(["model", "verify", str(path)]) == 3
    assert main(["model", "install", str(path)]) == 3
    assert capsys.readouterr().err.count("bundle.json: input_gate") == 2
    assert in_use() == "first"
    assert stored() == [load_bundle().folder.name]


def test_a_bundle_without_golden_inputs_is_not_used(pneumo: Maker) -> None:
    path = pneumo("untold", lambda document: document["golden"].update(cases=[]))
    with pytest.raises(SelfTestError, match=r"untold\.pneumo: holds no golden input"):
        install(path)
    assert in_use() == "embedded"


def test_messages_of_the_self_test_name_the_file(pneumo: Maker) -> None:
    path = pneumo("spoiled", _promise_other_scores)
    for check in (install, lambda p: store.check_bundle(p, say=quietly)):
        with pytest.raises(SelfTestError, match=r"spoiled\.pneumo: 1 of 1 golden") as raised:
            check(path)
        assert "incoming" not in str(raised.value)


def test_what_lies_in_the_way_of_an_installation_is_cleared_away(pneumo: Maker) -> None:
    """Plain files that an interruption, or a bundle with a file named ".", left behind."""
    install(pneumo("first"))
    models = user_folders.data_folder() / "models"
    for name in (".incoming-1", ".state.json.1", ".part-1-state.json"):
        (models / name).write_bytes(b"x" * 1000)
    install(pneumo("second"))
    assert not [name for name in stored() if name.startswith(".")]


def test_rollback_to_one_whose_self_test_fails_changes_nothing(
    pneumo: Maker, embedded: Path
) -> None:
    install(pneumo("first"))
    write_tiny_bundle(embedded, change=_promise_other_scores, signed=True)
    with pytest.raises(SelfTestError):
        store.rollback(say=quietly)
    assert in_use() == "first"


def test_without_a_runtime_nothing_is_installed(
    pneumo: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_app.runtimes.RUNTIMES", ())
    with pytest.raises(RuntimeUnavailableError, match=r"pneumoscope\[litert\]"):
        install(pneumo("first"))
    assert stored() == []


def _from_the_future(document: Document) -> None:
    document["format_version"] = 4
    document["a key of tomorrow"] = True


def test_a_bundle_from_the_future_is_refused(pneumo: Maker) -> None:
    install(pneumo("first"))
    with pytest.raises(BundleFormatError, match=r"future\.pneumo.*format version 4"):
        install(pneumo("future", _from_the_future))
    assert in_use() == "first"
    assert BundleFormatError.exit_code == 3


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(pneumo: Maker, share: float) -> None:
    install(pneumo("first"))
    path = pneumo("second")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BundleFormatError, match=r"second\.pneumo: not a whole bundle file"):
        install(path)
    assert in_use() == "first"


def test_a_changed_model_in_a_well_formed_archive_is_refused(pneumo: Maker) -> None:
    path = pneumo("second")
    files = read_archive(path)
    files["model.tflite"] = files["model.tflite"][:-1] + b"\0\0"
    path.write_bytes(encode_archive(files))
    with pytest.raises(BundleIntegrityError, match=r"second\.pneumo: model\.tflite: changed"):
        install(path)
    assert in_use() == "embedded"


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, dict[str, bytes]]:
    """A private key's file, and the trust in its public half."""
    private, public = generate_keys(tmp_path / "maintainer")
    import base64

    raw = base64.b64decode(public.read_text())
    return private, {key_id(raw): raw}


def _signed_folder(tmp_path: Path, private: Path) -> Path:
    folder = write_tiny_bundle(tmp_path / "to-sign", change=_named("signed"))
    sign_bundle(folder, private)
    return folder


@pytest.fixture
def both_copies(tmp_path: Path, keys: tuple[Path, dict[str, bytes]]) -> tuple[Path, Path, str]:
    """The same bundle signed with the tests' key and with another, whose identifier it is."""
    private, trusted = keys
    ((name, raw),) = trusted.items()
    public = tmp_path / "other.pub"
    public.write_bytes(base64.b64encode(raw))
    assert store.trust_key(public) == name
    folder = write_tiny_bundle(tmp_path / "both", change=_named("both"), signed=True)
    pack_bundle(folder, tmp_path / "first.pneumo")
    (folder / SIGNATURE_FILE).unlink()
    sign_bundle(folder, private)
    pack_bundle(folder, tmp_path / "second.pneumo")
    return tmp_path / "first.pneumo", tmp_path / "second.pneumo", name


def test_a_copy_that_another_trusted_key_signed_renews_the_signature(
    both_copies: tuple[Path, Path, str],
) -> None:
    first, second, key = both_copies
    install(first)
    assert load_bundle().signed_by == key_id(TEST_PUBLIC_KEY)
    install(second)
    assert load_bundle().signed_by == key
    assert len(stored()) == 1


def test_a_disk_that_fails_while_signing_leaves_the_bundle_in_use(
    both_copies: tuple[Path, Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = both_copies
    install(first)

    def fail(self: Path, target: Path) -> Path:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(StorageError, match="Input/output error"):
            install(second)
    assert in_use() == "both"
    assert len(stored()) == 1


@pytest.fixture
def unsigned(tmp_path: Path) -> Path:
    pack_bundle(write_tiny_bundle(tmp_path / "unsigned"), tmp_path / "unsigned.pneumo")
    return tmp_path / "unsigned.pneumo"


def test_an_unsigned_bundle_is_neither_installed_nor_called_whole(
    unsigned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("install", "verify"):
        assert main(["model", command, str(unsigned)]) == 3
        assert "nobody has signed this bundle" in capsys.readouterr().err
    assert main(["model", "verify", str(unsigned.with_suffix(""))]) == 3
    assert in_use() == "embedded"


def test_a_bundle_in_use_that_lost_its_signature_scores_nothing(
    pneumo: Maker, embedded: Path
) -> None:
    (embedded / SIGNATURE_FILE).unlink()
    with pytest.raises(BundleIntegrityError, match="nobody has signed"):
        load_bundle()
    assert load_bundle(embedded).signed_by is None  # named by its user, who is told
    installed = store.install(pneumo("first"), say=quietly, trusted_keys=None)
    (installed.folder / SIGNATURE_FILE).unlink()
    with pytest.raises(BundleIntegrityError, match="nobody has signed"):
        load_bundle()


def test_an_older_bundle_replaces_a_newer_one_only_when_asked(pneumo: Maker) -> None:
    def of(date: str) -> Callable[[Document], None]:
        return lambda document: document.update(created=date)

    install(pneumo("new", of("2026-12-01")))
    older = pneumo("old", of("2026-11-30"))
    with pytest.raises(UsageError, match=r"older than the one in use.*--allow-older"):
        install(older)
    assert in_use() == "new"
    assert install(older, allow_older=True) == "old"
    install(pneumo("same", of("2026-11-30")))
    assert in_use() == "same"


def test_a_key_that_its_user_trusts(
    tmp_path: Path, keys: tuple[Path, dict[str, bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    private, trusted = keys
    pack_bundle(_signed_folder(tmp_path, private), tmp_path / "s.pneumo")
    assert main(["model", "install", str(tmp_path / "s.pneumo")]) == 3
    ((name, raw),) = trusted.items()
    (tmp_path / "own.pub").write_bytes(base64.b64encode(raw))
    assert main(["model", "trust", str(tmp_path / "own.pub")]) == 0
    assert name in capsys.readouterr().out
    assert main(["model", "install", str(tmp_path / "s.pneumo")]) == 0
    (tmp_path / "none.pub").write_bytes(b"not a key")
    assert main(["model", "trust", str(tmp_path / "none.pub")]) == 3


def test_a_signature_of_an_unknown_key_is_refused_even_with_consent(
    tmp_path: Path, keys: tuple[Path, dict[str, bytes]]
) -> None:
    private, _ = keys
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    folder = write_tiny_bundle(tmp_path / "to-sign")
    from export.keys import sign

    signature = sign((folder / "bundle.json").read_bytes(), private)
    (folder / SIGNATURE_FILE).write_bytes(signature.to_json())
    pack_bundle(folder, tmp_path / "s.pneumo")
    with pytest.raises(BundleIntegrityError, match="does not trust"):
        install(tmp_path / "s.pneumo", trusted_keys={key_id(other): other})
    assert in_use() == "embedded"


@pytest.mark.parametrize("nth", range(1, 8))
def test_a_full_disk_at_any_write_leaves_the_bundle_in_use(
    pneumo: Maker, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """The disk refuses the n-th file that is brought onto it; the last one is the state."""
    install(pneumo("first"))
    before = stored()
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += stat.S_ISREG(os.fstat(descriptor).st_mode)
        if calls == nth:
            raise OSError(errno.ENOSPC, "No space left on device")

    path = pneumo("second")
    assert len(read_archive(path)) + 1 == 7
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        install(path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    assert StorageError.exit_code == 5
    assert stored() == before
    assert in_use() == "first"


def test_the_disk_fills_up_for_real(pneumo: Maker) -> None:
    """The operating system refuses to write beyond a limit (setrlimit), in another process."""
    pytest.importorskip("resource", reason="no limits on the size of files here")
    install(pneumo("first"))
    before = stored()
    path = pneumo("second")
    largest = max(map(len, read_archive(path).values()))
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({largest // 2}, {largest // 2}))\n"
        "from edge_app.cli import main\n"
        "sys.exit(main(['model', 'install', sys.argv[1]]))\n"
    )
    done = _python(script, str(path))
    assert done.returncode == 5, done.stderr
    assert "cannot be stored" in done.stderr
    assert "Traceback" not in done.stderr
    assert stored() == before
    assert in_use() == "first"


def test_a_crash_inside_a_runtime_leaves_the_bundle_in_use(pneumo: Maker) -> None:
    """A kernel that this CPU cannot run ends the process: no Python code comes after it."""
    install(pneumo("first"))
    path = pneumo("second")
    script = (
        "import os, sys\n"
        "import edge_app.screening.selftest as selftest\n"
        "selftest.run_self_test = lambda *arguments: os._exit(132)\n"
        "from edge_app.cli import main\n"
        "main(['model', 'install', sys.argv[1]])\n"
    )
    assert _python(script, str(path)).returncode == 132
    assert in_use() == "first"
    # What the crash left is cleared away by the next installation.
    assert any(name.startswith(".incoming-") for name in stored())
    install(path)
    assert in_use() == "second"
    assert not any(name.startswith(".") for name in stored())


def _python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_two_installations_at_once_are_refused(pneumo: Maker) -> None:
    path = pneumo("first")
    with store._locked(), pytest.raises(StorageError, match="another installation"):
        install(path)
    install(path)


def test_an_installed_bundle_that_was_changed_is_not_used(pneumo: Maker) -> None:
    """Unsigned, so only the hash in its folder's name tells that `bundle.json` was edited."""
    install(pneumo("first"))
    manifest = load_bundle().folder / "bundle.json"
    document = json.loads(manifest.read_text())
    for point in document["operating_points"]:
        point["refer_low"] -= 5
    manifest.write_text(json.dumps(document))
    with pytest.raises(BundleIntegrityError, match="pneumoscope model rollback"):
        load_bundle()
    (broken,) = [s for s in store.list_bundles() if s.problem]
    assert broken.role == "current"
    store.rollback(say=quietly)
    assert in_use() == "embedded"


def test_an_installed_bundle_that_is_gone_is_an_error_that_says_what_to_do(pneumo: Maker) -> None:
    import shutil

    install(pneumo("first"))
    shutil.rmtree(load_bundle().folder)
    with pytest.raises(BundleError, match=r"is gone.*pneumoscope model rollback"):
        load_bundle()


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"{",
        b'{"format_version": 2, "current": null, "previous": null}',
        b'{"format_version": 1, "current": "../elsewhere", "previous": null}',
        b'{"format_version": 1, "current": null}',
    ],
)
def test_a_damaged_state_is_a_format_error(state: bytes) -> None:
    models = user_folders.data_folder() / "models"
    models.mkdir(parents=True)
    (models / "state.json").write_bytes(state)
    with pytest.raises(BundleFormatError, match=r"state\.json"):
        load_bundle()


def test_a_store_that_cannot_be_made_is_a_storage_error(
    pneumo: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("PNEUMOSCOPE_DATA", str(tmp_path / "file" / "below"))
    with pytest.raises(StorageError):
        install(pneumo("first"))


@pytest.mark.skipif(os.name == "nt", reason="the rules of Linux")
def test_where_the_data_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PNEUMOSCOPE_DATA")
    monkeypatch.setattr(user_folders.sys, "platform", "linux")
    monkeypatch.setenv("HOME", "/home/x")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert user_folders.data_folder() == Path("/data/pneumoscope")
    monkeypatch.setenv("XDG_DATA_HOME", "relative/is/ignored")
    assert user_folders.data_folder() == Path("/home/x/.local/share/pneumoscope")
    monkeypatch.setattr(user_folders.sys, "platform", "darwin")
    assert user_folders.data_folder() == Path("/home/x/Library/Application Support/pneumoscope")


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home folder, as of a service."""

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("PNEUMOSCOPE_DATA", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(store.Path, "home", nowhere)
    trusted = {key_id(TEST_PUBLIC_KEY): TEST_PUBLIC_KEY}
    monkeypatch.setattr("edge_app.bundle.signature.installed_keys", lambda: trusted)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_folder_the_embedded_bundle_is_all_there_is(
    pneumo: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("* embedded")
    assert in_use() == "embedded"
    assert main(["model", "install", str(pneumo("first"))]) == 5
    assert main(["model", "rollback"]) == 5
    assert capsys.readouterr().err.count("PNEUMOSCOPE_DATA=FOLDER") == 2


def test_the_command_line(pneumo: Maker, capsys: pytest.CaptureFixture[str]) -> None:
    path = pneumo("first")
    assert main(["model", "verify", str(path)]) == 0
    assert in_use() == "embedded"
    assert main(["model", "install", str(path)]) == 0
    assert main(["model", "verify"]) == 0
    assert f"first, signed with the key {key_id(TEST_PUBLIC_KEY)}: whole" in capsys.readouterr().out
    assert main(["model", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("< embedded")
    assert lines[1].startswith("* first")
    assert main(["model", "rollback"]) == 0
    assert in_use() == "embedded"
    assert main(["model", "install", str(path.with_name("missing.pneumo"))]) == 3


def test_verifying_a_folder_and_a_damaged_file(
    pneumo: Maker, embedded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "verify", str(embedded)]) == 0
    path = pneumo("first")
    path.write_bytes(path.read_bytes()[:-30])
    assert main(["model", "verify", str(path)]) == 3
    assert "not a whole bundle file" in capsys.readouterr().err
    assert main(["model", "verify", str(pneumo("spoiled", _promise_other_scores))]) == 3
    assert "golden inputs gave other scores" in capsys.readouterr().err
