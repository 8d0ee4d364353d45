r"""Installed bundles: one in use, the one before it kept, switched in one step.

A `.pneumo` file enters; a folder below the user's data folder, checked, tested on this CPU and
named by the hash of its `bundle.json`, stays. Nothing that can fail happens after the switch: a
full disk, a wrong signature, a self-test that fails or a crash inside a runtime leaves the bundle
in use as it was.

    DATA/models/<model id>-<16 hex digits>/    a bundle
    DATA/models/state.json                     which one is in use, and which was before

DATA is `PNEUMOSCOPE_DATA` where that is set, else `$XDG_DATA_HOME/pneumoscope` (by default
`~/.local/share`), `%LOCALAPPDATA%\pneumoscope` or `~/Library/Application Support/pneumoscope`.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_app.bundle.load import load_bundle, require_signature
from edge_app.bundle.location import (
    STATE_FILE,
    STATE_VERSION,
    State,
    default_bundle_folder,
    manifest_digits,
    models_folder,
    read_state,
    require_as_installed,
)
from edge_app.bundle.manifest import Bundle
from edge_app.bundle.signature import SIGNATURE_FILE, added_keys_folder, key_id, read_public_key
from edge_app.errors import (
    BundleError,
    PneumoscopeError,
    RuntimeUnavailableError,
    StorageError,
    UsageError,
)
from edge_app.files.codec import canonical_json
from edge_app.files.locks import FileLock
from edge_app.files.whole import make_folder, put_in_place, write_files, write_whole

_INCOMING = ".incoming-"
_LOCK = ".lock"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """One line of the list.

    Attributes:
        folder: where it lies.
        role: "current", "previous" or "other".
        embedded: it came with the package.
        model_id: None where the bundle cannot be read; `problem` then says why.
        created: its date, "" where it cannot be read.
        signed_by: identifier of the trusted key, None where it is unsigned.
        problem: "" where all is well.
    """

    folder: Path
    role: Literal["current", "previous", "other"]
    embedded: bool
    model_id: str | None
    created: str
    signed_by: str | None
    problem: str


def install(
    archive: Path,
    *,
    say: Say,
    allow_older: bool = False,
    trusted_keys: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Install a `.pneumo` file and make it the bundle in use.

    Args:
        archive: the file.
        say: gets a line for each step.
        allow_older: accept a bundle that was made before the one in use.
        trusted_keys: as in `load_bundle`.

    Raises:
        BundleFormatError, BundleIntegrityError: the file is damaged, changed, from the future, or
            not signed by a trusted key.
        UsageError: it is older than the one in use.
        SelfTestError: it gives other scores on this CPU.
        StorageError: the disk is full or read-only.
        RuntimeUnavailableError: no runtime that can run it is installed.

    Whatever is raised, the bundle that was in use still is.
    """
    from edge_app.bundle.archive import read_archive  # zipfile would slow down every start

    say(f"reading {archive}")
    files = read_archive(archive)
    with _locked() as models:
        incoming = models / f"{_INCOMING}{os.getpid()}"
        try:
            _unpack(files, incoming)
            with _naming(archive, incoming):
                bundle = load_bundle(incoming, trusted_keys=trusted_keys)
                require_signature(bundle)
                if not allow_older:
                    _require_no_older(bundle, models)
                self_test(bundle, say)
            name = _folder_name(bundle)
            _put_in_place(incoming, models / name, trusted_keys)
            _switch(models, name, trusted_keys)
        except OSError as error:
            text = error.strerror or str(error)
            raise StorageError(f"{models}: the bundle cannot be stored: {text}") from error
        finally:
            _prune(models)
        say(f"{bundle.manifest.model_id} is in use now")
    return load_bundle(models / name, trusted_keys=trusted_keys)


def rollback(*, say: Say, trusted_keys: Mapping[str, bytes] | None = None) -> Bundle:
    """Make the bundle before the current one the one in use, after a self-test on this CPU.

    The two change places, so a second call goes forward again.

    Raises:
        UsageError: nothing was ever installed.
        BundleError: the one before cannot be used; the current one stays.
        StorageError: the switch cannot be written.
    """
    with _locked() as models:
        state = read_state(models)
        if state.current is None and state.previous is None:
            raise UsageError("nothing is installed, so there is nothing to go back to")
        target = default_bundle_folder()
        if state.previous is not None:
            target = models / state.previous
            require_as_installed(target)
        bundle = load_bundle(target, trusted_keys=trusted_keys)
        require_signature(bundle)
        self_test(bundle, say)
        _write_state(models, State(STATE_VERSION, state.previous, state.current))
        say(f"{bundle.manifest.model_id} is in use now")
    return bundle


def list_bundles() -> list[StoredBundle]:
    """The embedded bundle and every installed one; a damaged one is listed with its problem."""
    try:
        models = models_folder()
    except StorageError:  # no home folder to be found, so nothing was ever installed
        return [_describe(Path(), None, State(STATE_VERSION, None, None))]
    state = read_state(models)
    names: list[str | None] = [None]
    if models.is_dir():
        names += sorted(p.name for p in models.iterdir() if p.is_dir() and p.name[0] != ".")
    return [_describe(models, name, state) for name in names]


def self_test(bundle: Bundle, say: Say) -> None:
    """Run the golden inputs in every runtime that is installed and has a model in the bundle.

    Raises:
        SelfTestError: one of them gives other scores.
        RuntimeUnavailableError: there is no such runtime.
    """
    from edge_app.runtimes import RUNTIMES, open_runtime
    from edge_app.screening.selftest import run_self_test

    tested = 0
    for engine in RUNTIMES:
        if not engine.is_installed or bundle.model(engine.format) is None:
            continue
        try:
            runtime = open_runtime(bundle, engine.name)
        except RuntimeUnavailableError:  # installed, and broken: `info` says so
            continue
        cases = run_self_test(bundle, runtime)
        worst = max((case.difference for case in cases), default=0.0)
        say(f"self-test with {engine.name}: {len(cases)} golden inputs within {worst:.3f}")
        tested += 1
    if not tested:
        raise RuntimeUnavailableError(
            f"{bundle.folder}: no installed runtime can run this bundle: "
            "pip install 'pneumoscope[litert]'"
        )


def check_bundle(path: Path, *, say: Say) -> Bundle:
    """Check a folder or a `.pneumo` file, signature and self-test included; installs nothing.

    Raises:
        BundleError: it is not whole, not signed, or gives other scores on this CPU.
        StorageError: a `.pneumo` file cannot be unpacked for the test.
    """
    from edge_app.bundle.archive import read_archive
    from edge_app.files.scratch import scratch_folder

    if path.is_dir():
        bundle = load_bundle(path)
        require_signature(bundle)
        self_test(bundle, say)
        return bundle
    files = read_archive(path)
    try:
        with scratch_folder() as folder:
            unpacked = folder / "bundle"
            _unpack(files, unpacked)
            with _naming(path, unpacked):
                bundle = load_bundle(unpacked)
                require_signature(bundle)
                self_test(bundle, say)
            return bundle
    except OSError as error:
        raise StorageError(f"{path}: cannot be unpacked: {error.strerror or error}") from error


def _unpack(files: Mapping[str, bytes], folder: Path) -> None:
    """Write the files of an archive, whose names are checked, and bring them onto the disk."""
    shutil.rmtree(folder, ignore_errors=True)
    write_files(folder, files.items())


def _require_no_older(bundle: Bundle, models: Path) -> None:
    """Refuse a bundle made before the one in use: a mended fault would come back unnoticed."""
    in_use = _describe(models, read_state(models).current, read_state(models))
    if bundle.manifest.created < in_use.created:  # ISO 8601 dates sort as texts
        raise UsageError(
            f"{bundle.folder}: {bundle.manifest.model_id} of {bundle.manifest.created} is older "
            f"than the one in use, {in_use.model_id} of {in_use.created}; install it with "
            "--allow-older if that is meant"
        )


def trust_key(path: Path) -> str:
    """Trust whoever signs with this public key from now on; returns the key's identifier.

    Raises:
        BundleIntegrityError: the file holds no public key.
        StorageError: it cannot be stored.
    """
    identifier = key_id(read_public_key(path))
    folder = added_keys_folder()
    make_folder(folder)
    write_whole(folder / f"{identifier}.pub", [path.read_text("ascii")])
    return identifier


@contextlib.contextmanager
def _naming(archive: Path, folder: Path) -> Iterator[None]:
    """Messages name the file that the user knows, not the folder that it was unpacked into."""
    try:
        yield
    except PneumoscopeError as error:
        raise type(error)(str(error).replace(str(folder), str(archive))) from error


def _folder_name(bundle: Bundle) -> str:
    """Another one for any two bundles, and readable; its digits show whether one was changed."""
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", bundle.manifest.model_id)[:60].strip("-.")
    return f"{readable or 'model'}-{manifest_digits(bundle.folder)}"


def _put_in_place(incoming: Path, target: Path, trusted_keys: Mapping[str, bytes] | None) -> None:
    """Rename a checked bundle to its name, unless it stands there already and is whole.

    The name follows from `bundle.json`, which holds the hash of every file but the signature:
    of a whole one only that may be another, and one rename brings it up to date.
    """
    if target.exists():
        with contextlib.suppress(BundleError):
            require_as_installed(target)
            load_bundle(target, trusted_keys=trusted_keys)
            _renew_signature(incoming / SIGNATURE_FILE, target / SIGNATURE_FILE)
            return
        shutil.rmtree(target)
    put_in_place(incoming, target)


def _renew_signature(new: Path, old: Path) -> None:
    """Put a checked signature in place of another or of none."""
    if not (old.is_file() and old.read_bytes() == new.read_bytes()):
        put_in_place(new, old)


def _switch(models: Path, name: str, trusted_keys: Mapping[str, bytes] | None) -> None:
    """Make a bundle the current one, and the current the one before; undone if it does not load."""
    state = read_state(models)
    previous = state.previous if state.current == name else state.current
    _write_state(models, State(STATE_VERSION, name, previous))
    try:
        require_as_installed(models / name)
        load_bundle(models / name, trusted_keys=trusted_keys)
    except PneumoscopeError:
        _write_state(models, state)
        raise


def _prune(models: Path) -> None:
    """Remove what is neither in use nor the one before, and what failed or was interrupted.

    Raises nothing: it must not hide why an installation failed.
    """
    with contextlib.suppress(OSError, BundleError):
        state = read_state(models)
        for path in models.iterdir():
            if path.is_dir() and path.name not in (state.current, state.previous):
                shutil.rmtree(path, ignore_errors=True)
            elif path.name.startswith(".") and path.name != _LOCK:
                path.unlink(missing_ok=True)


def _write_state(models: Path, state: State) -> None:
    """The switch itself: one rename."""
    write_whole(models / STATE_FILE, canonical_json(state))


def _describe(models: Path, name: str | None, state: State) -> StoredBundle:
    role: Literal["current", "previous", "other"] = "other"
    if name == state.current:
        role = "current"
    elif name == state.previous and (name is not None or state.current is not None):
        role = "previous"
    folder = default_bundle_folder() if name is None else models / name
    try:
        if name is not None:
            require_as_installed(folder)
        bundle = load_bundle(folder)
    except BundleError as error:
        return StoredBundle(folder, role, name is None, None, "", None, str(error))
    manifest = bundle.manifest
    return StoredBundle(
        folder, role, name is None, manifest.model_id, manifest.created, bundle.signed_by, ""
    )


@contextlib.contextmanager
def _locked() -> Iterator[Path]:
    """The models' folder, made where it is missing, for one process at a time.

    Raises:
        StorageError: it cannot be made, there is no home folder that it could lie in, or another
            installation is running.
    """
    models = models_folder()
    make_folder(models)
    with FileLock(models / _LOCK, f"{models}: another installation is running"):
        yield models
