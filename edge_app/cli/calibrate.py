"""`pneumoscope calibrate RESULTS --truth TRUTH.csv -o SITE`: a site's own cut-offs."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.cli.site_options import add_truth_options, read_cases, share
from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from edge_app.site.profile import Wanted

# What WHO asks of a triage test for tuberculosis as a minimum (high-priority target product
# profiles for new tuberculosis diagnostics, 2014); pneumonia has no such figure.
_SENSITIVITY = 0.9


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "calibrate",
        help="find a site's own cut-offs on films whose truth is known",
        description="Choose the two cut-offs and the calibration on a site's own films, and write "
        "them as a site profile: a new folder SITE, for this very model, signed with the site's "
        "own key, with a page to print. `--site SITE` uses it in score, batch, watch and receive.",
    )
    parser.add_argument(
        "results", type=Path, metavar="RESULTS", help="a run's folder, or its results.jsonl"
    )
    parser.add_argument("--truth", type=Path, required=True, metavar="TRUTH.csv")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="SITE")
    lower = parser.add_mutually_exclusive_group()
    lower.add_argument(
        "--sensitivity",
        type=share,
        metavar="S",
        help=f"that referral, by the lower cut-off, is to reach (default: {_SENSITIVITY:g})",
    )
    lower.add_argument(
        "--referrals",
        type=_referrals,
        metavar="N",
        help="instead: the most referrals of 100 films that the site can follow up",
    )
    parser.add_argument(
        "--specificity",
        type=share,
        default=0.9,
        metavar="S",
        help="that a suspicion, by the upper cut-off, is to reach (default: %(default)g)",
    )
    parser.add_argument(
        "--margin",
        type=_margin,
        default=0.05,
        metavar="M",
        help="to within which both should be known, for how many more films that takes (default: "
        "%(default)g)",
    )
    parser.add_argument("--name", metavar="NAME", help="of the site (default: SITE's own name)")
    parser.add_argument(
        "--key", type=Path, metavar="FILE.key", help="private key (default: this machine's own)"
    )
    add_truth_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fit, write and say what came of it."""
    from edge_app.files.whole import owner_only
    from edge_app.site.calibrate import calibrate
    from edge_app.site.calibration_page import calibration_page, describe
    from edge_app.site.cases import read_run
    from edge_app.site.profile_folder import require_new, write_profile

    require_new(args.out)
    fit = calibrate(
        read_cases(args, args.truth),
        read_run(args.results).rows.values(),
        _name(args),
        _wanted(args),
        prevalence=args.prevalence,
        margin=args.margin,
    )
    with owner_only(True):
        key = write_profile(args.out, fit.profile, calibration_page(fit), args.key)
    print(describe(fit))
    print(f"Profile: {one_line(str(args.out))}, signed with the key {key}")
    return EXIT_OK


def _name(args: argparse.Namespace) -> str:
    name = args.out.resolve().name if args.name is None else args.name
    if not re.fullmatch(r"[\w .()-]{1,60}", name):
        raise UsageError(f"{name!r} is no name for a site: letters, digits, blanks, . ( ) - only")
    return str(name)


def _wanted(args: argparse.Namespace) -> "Wanted":
    from edge_app.site.profile import Wanted

    sensitivity = args.sensitivity
    if sensitivity is None and args.referrals is None:
        sensitivity = _SENSITIVITY
    return Wanted(sensitivity, args.referrals, args.specificity)


def _referrals(text: str) -> float:
    number = float(text)
    if not 0 < number <= 100:
        raise argparse.ArgumentTypeError(f"{text} must lie between 0 and 100")
    return number


def _margin(text: str) -> float:
    number = float(text)
    if not 0 < number < 0.5:
        raise argparse.ArgumentTypeError(f"{text} must lie between 0 and 0.5")
    return number
