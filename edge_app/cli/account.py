"""`pneumoscope account`: who may use the clinic's workstation."""

import argparse
from typing import Any

from edge_app.cli.record_options import ACTOR, add_record_options, open_record
from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_OK

_ROLES = ("worker", "supervisor", "admin")


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command and its own to the command line."""
    text = "add, reset or list the accounts of the clinic's workstation"
    parser = commands.add_parser("account", help=text, description=text)
    actions = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add = actions.add_parser(
        "add",
        help="add an account",
        description="Add an account, and print the one-time code by which its owner sets a "
        "password within 24 hours. The first one is made by `pneumoscope serve` itself.",
    )
    add.add_argument("name")
    add.add_argument("--role", choices=_ROLES, default="worker", help="default: %(default)s")
    add.set_defaults(run=run_add)
    reset = actions.add_parser(
        "reset",
        help="forget a password",
        description="Forget an account's password and PIN, end its sessions, lift a lock-out, and "
        "print a one-time code for a new password.",
    )
    reset.add_argument("name")
    reset.set_defaults(run=run_reset)
    listing = actions.add_parser("list", help="list accounts", description="List the accounts.")
    listing.set_defaults(run=run_list)
    for command in (add, reset, listing):
        add_record_options(command)


def run_add(args: argparse.Namespace) -> int:
    """Print the new account's code."""
    with open_record(args, make=True) as record:
        from edge_app.record.accounts import Role

        code = record.accounts.add(args.name, Role(args.role), ACTOR)
    print(f"{one_line(args.name)}: {args.role}; one-time code, for 24 hours: {code}")
    return EXIT_OK


def run_reset(args: argparse.Namespace) -> int:
    """Print the code for a new password."""
    with open_record(args) as record:
        code = record.accounts.reset(args.name, ACTOR)
    print(f"{one_line(args.name)}: one-time code for a new password, for 24 hours: {code}")
    return EXIT_OK


def run_list(args: argparse.Namespace) -> int:
    """Print one account a line."""
    with open_record(args) as record:
        accounts = record.accounts.all()
    for account in accounts:
        notes = [
            note
            for note, holds in (
                ("no password yet", not account.has_password),
                ("disabled", account.is_disabled),
            )
            if holds
        ]
        print(one_line("  ".join((account.name, account.role.value, ", ".join(notes))).rstrip()))
    if not accounts:
        print("no accounts yet")
    return EXIT_OK
