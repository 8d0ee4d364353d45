"""`pneumoscope model`: check, install, list and take back model bundles."""

import argparse
import sys
from pathlib import Path
from typing import Any

from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_OK


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command and its own commands to the command line."""
    parser = commands.add_parser(
        "model",
        help="check, install and take back models",
        description="Install a model bundle from one file, as it comes on a USB stick. A new "
        "model is used only after its signature, every byte of it and its scores on this very "
        "CPU have been checked; the one before it is kept.",
    )
    actions = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_verify(actions)
    _add_install(actions)
    listing = actions.add_parser("list", help="list the models that are here")
    listing.set_defaults(run=run_list)
    trust = actions.add_parser(
        "trust", help="trust the models that the owner of a key has signed, such as your own"
    )
    trust.add_argument("key", type=Path, metavar="KEY.pub")
    trust.add_argument(
        "--sites-only",
        action="store_true",
        help="trust the site profiles signed with it, and no model",
    )
    trust.set_defaults(run=run_trust)
    back = actions.add_parser("rollback", help="use the model before the current one again")
    back.set_defaults(run=run_rollback)


def _add_verify(actions: "argparse._SubParsersAction[Any]") -> None:
    parser = actions.add_parser(
        "verify",
        help="check a model without installing it",
        description="Check every byte, the signature and the scores on this CPU.",
    )
    parser.add_argument(
        "bundle",
        type=Path,
        nargs="?",
        metavar="FILE.pneumo|FOLDER",
        help="default: the model in use",
    )
    parser.set_defaults(run=run_verify)


def _add_install(actions: "argparse._SubParsersAction[Any]") -> None:
    parser = actions.add_parser("install", help="install a model from a file and use it")
    parser.add_argument("file", type=Path, metavar="FILE.pneumo")
    parser.add_argument(
        "--allow-older",
        action="store_true",
        help="accept a model that was made before the one in use",
    )
    parser.set_defaults(run=run_install)


def run_verify(args: argparse.Namespace) -> int:
    """Check a bundle and say who signed it."""
    from edge_app.bundle.location import current_bundle_folder
    from edge_app.models.store import check_bundle

    path = current_bundle_folder() if args.bundle is None else args.bundle
    bundle = check_bundle(path, say=_say)
    print(f"{path}: {bundle.manifest.model_id}, {_signed(bundle.signed_by)}: whole")
    return EXIT_OK


def run_install(args: argparse.Namespace) -> int:
    """Install a bundle; the one in use stays in use whatever fails."""
    from edge_app.models.store import install

    bundle = install(args.file, say=_say, allow_older=args.allow_older)
    print(f"{bundle.manifest.model_id}, {_signed(bundle.signed_by)}: {bundle.folder}")
    return EXIT_OK


def run_list(args: argparse.Namespace) -> int:
    """One line a bundle, the one in use marked with a star."""
    from edge_app.models.store import list_bundles

    for stored in list_bundles():
        mark = {"current": "*", "previous": "<", "other": " "}[stored.role]
        origin = "came with the program" if stored.embedded else str(stored.folder)
        if stored.problem:
            print(f"{mark} UNUSABLE: {stored.problem}")
            continue
        signed = _signed(stored.signed_by)
        print(f"{mark} {stored.model_id} of {stored.created}, {signed}, {origin}")
    print("* in use   < before it (pneumoscope model rollback)")
    return EXIT_OK


def run_trust(args: argparse.Namespace) -> int:
    """Add a public key to those whose signatures are accepted."""
    if args.sites_only:
        from edge_app.bundle.signature import key_id, read_public_key
        from edge_app.site.profile_folder import trust_site_key

        trust_site_key(args.key)
        identifier = key_id(read_public_key(args.key))
        print(
            f"{args.key}: site profiles signed with the key {identifier} are accepted from now on"
        )
        return EXIT_OK
    from edge_app.models.store import trust_key

    print(f"{args.key}: models signed with the key {trust_key(args.key)} are accepted from now on")
    return EXIT_OK


def run_rollback(args: argparse.Namespace) -> int:
    """Go back to the bundle before the current one."""
    from edge_app.models.store import rollback

    bundle = rollback(say=_say)
    print(f"{bundle.manifest.model_id}, {_signed(bundle.signed_by)}: {bundle.folder}")
    return EXIT_OK


def _signed(key: str | None) -> str:
    return f"signed with the key {key}" if key else "not signed"


def _say(text: str) -> None:
    print(one_line(text), file=sys.stderr, flush=True)
