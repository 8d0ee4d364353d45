"""A site profile on the disk: a folder of `site.json`, its `SIGNATURE` and a page to print.

It is written once, whole, and never edited: what a hand has changed no longer fits the signature.
The key is the site's own, made when it is first needed and kept in the user's data folder; it
vouches for profiles and for nothing else. Another machine accepts them once it trusts that key.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from edge_app.bundle.private_key import generate_keys, open_signer
from edge_app.bundle.signature import (
    SIGNATURE_FILE,
    added_keys,
    key_id,
    read_public_key,
    verify_signature,
)
from edge_app.errors import (
    BundleError,
    NoInputError,
    SiteProfileError,
    StorageError,
    UsageError,
)
from edge_app.files.user_folders import data_folder
from edge_app.files.whole import (
    PART,
    make_folder,
    put_in_place,
    unwritable,
    write_files,
    write_whole,
)
from edge_app.site.profile import PROFILE_FILE, SignedProfile, SiteProfile

PAGE_FILE = "calibration.html"
PUBLIC_KEY_FILE = "site.pub"


def write_profile(
    folder: Path, profile: SiteProfile, page: Iterable[str], private_key: Path | None = None
) -> str:
    """Sign a profile and write its folder; returns the key's identifier.

    Args:
        folder: that is not there yet.
        profile: to write.
        page: of the calibration, in pieces of HTML.
        private_key: that signs; None takes the site's own, and makes it where there is none.

    Raises:
        UsageError: the folder is there already.
        BundleIntegrityError: the private key cannot be read.
        StorageError: something cannot be written; then there is no folder.
    """
    require_new(folder)
    private = site_key() if private_key is None else private_key
    content = profile.to_json()
    signature = open_signer(private)(content)
    public = trust_site_key(private.with_suffix(".pub"))
    files = [
        (PROFILE_FILE, content),
        (SIGNATURE_FILE, signature.to_json()),
        (PUBLIC_KEY_FILE, public),
        (PAGE_FILE, "".join(page).encode("utf-8")),
    ]
    partial = folder.with_name(f"{PART}{os.getpid()}-{folder.name}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_files(partial, files)
        put_in_place(partial, folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return signature.key_id


def require_new(folder: Path) -> None:
    """Raise UsageError where something lies there already: a profile is written once."""
    if os.path.lexists(folder):
        raise UsageError(f"{folder}: exists; a profile is written once, so name a new folder")


def read_profile(folder: Path) -> SignedProfile:
    """Read a profile and check its signature.

    Raises:
        NoInputError: there is none.
        SiteProfileError: it is unsigned, signed with a key that is not trusted here, or not what
            was signed.
        RuntimeUnavailableError: the package `cryptography` is missing.
    """
    try:
        content = (folder / PROFILE_FILE).read_bytes()
    except OSError as error:
        text = error.strerror or str(error)
        raise NoInputError(f"{folder}: no site profile here: {PROFILE_FILE}: {text}") from error
    try:
        signed_by = verify_signature(folder, content, trusted_site_keys(), PROFILE_FILE)
        profile = SiteProfile.from_json(content)
    except BundleError as error:
        raise SiteProfileError(f"{folder}: {error}{_advice(error)}") from error
    if signed_by is None:
        raise SiteProfileError(
            f"{folder}: {SIGNATURE_FILE} is missing, so nobody vouches for these cut-offs; "
            "calibrate again"
        )
    return SignedProfile(profile, hashlib.sha256(content).hexdigest(), signed_by)


def trusted_site_keys() -> dict[str, bytes]:
    """Public keys whose profiles are accepted here, by identifier.

    Keys that may sign models are not among them: a maintainer knows nobody's site.
    """
    with suppress(StorageError):  # no home folder, so no key was ever accepted
        return {key_id(key): key for key in added_keys(_folder() / "trusted")}
    return {}


def trust_site_key(public_key: Path) -> bytes:
    """Accept the profiles that the owner of a key has signed; gives the key's file content.

    Raises:
        BundleIntegrityError: the file holds no public key.
        StorageError: it cannot be stored.
    """
    identifier, content = key_id(read_public_key(public_key)), public_key.read_bytes()
    trusted = _folder() / "trusted"
    path = trusted / f"{identifier}.pub"
    if not path.is_file():
        make_folder(trusted)
        write_whole(path, content)
    return content


def site_key() -> Path:
    """The private key of this site, made where there is none.

    Raises:
        StorageError: it cannot be written.
    """
    folder = _folder()
    private = folder / "site.key"
    if not private.is_file():
        generate_keys(folder / "site")
    return private


def _folder() -> Path:
    return data_folder() / "sites"


def _advice(error: BundleError) -> str:
    if "does not trust" not in str(error):
        return ""
    return (
        f". If it comes from another machine of yours, trust its key: pneumoscope model trust "
        f"--sites-only {PUBLIC_KEY_FILE}"
    )
