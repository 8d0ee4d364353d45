"""`compare`: accuracy and latency together, and what to run here."""

import argparse
from typing import Any

from benchmarks.cli import accuracy, latency
from benchmarks.cli.options import (
    add_contender_options,
    add_data_options,
    add_effort_options,
    add_measuring_options,
    cases,
    contenders,
    thread_counts,
)
from benchmarks.cli.recorded import begin, opened_store, say_reused, show
from benchmarks.compare import compare, recommend
from benchmarks.contenders import parse_pythons
from benchmarks.machine import package_versions
from benchmarks.record import Accuracy, Compare, Latency, LatencyRow
from benchmarks.store import Store
from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import Bundle
from edge_app.errors import EXIT_OK
from edge_app.images.labelled_pictures import sizes_hash, split_hash
from edge_app.models.recommendation import write_recommendation
from edge_app.runtimes import RUNTIMES


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "what to run here: measures what results.json lacks"
    parser = commands.add_parser("compare", help=text, description=text)
    add_measuring_options(parser)
    add_contender_options(parser)
    add_effort_options(parser)
    add_data_options(parser, required=False)
    parser.add_argument("--fresh", action="store_true", help="measure all of it again")
    parser.add_argument(
        "--no-recommendation",
        action="store_true",
        help="do not write what `pneumoscope info --recommend` reads",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure what is lacking, choose, and write the recommendation."""
    bundle = load_bundle(args.bundle)
    with opened_store(args) as store:
        recording = begin(args, "compare", bundle, store, Compare)
        labelled = _held_accuracy(bundle, store, args)
        if labelled is None and args.data is not None:
            labelled = accuracy.score(
                args, bundle, begin(args, "accuracy", bundle, store, Accuracy)
            )
        timed = _held_latency(bundle, store, args)
        if timed is None:
            timed = latency.time(args, bundle, begin(args, "latency", bundle, store, Latency))
        section = compare(labelled, timed, recording, only_elsewhere(args))
        show(store, "compare")
        found = recommend(section, bundle, store.results.machine)
        if found is not None and not args.no_recommendation:
            print(f"pneumoscope info --recommend reads {write_recommendation(found)}")
    return EXIT_OK


def only_elsewhere(args: argparse.Namespace) -> set[str]:
    """Runtimes of --python that this environment, and so the app in it, lacks."""
    installed = {engine.name for engine in RUNTIMES if engine.is_installed}
    return parse_pythons(args.python).keys() - installed


def _held_accuracy(bundle: Bundle, store: Store, args: argparse.Namespace) -> Accuracy | None:
    """The accuracy in results.json, if it is of these very pictures and contenders."""
    held = store.results.accuracy
    if held is None or not _may_reuse(held, bundle, args):
        return None
    if args.data is not None:
        pictures = cases(args)
        sizes = sizes_hash({picture.name: picture.path for picture in pictures})
        found = (split_hash(picture.identity for picture in pictures), sizes)
        if (held.data.sha256, held.data.sizes_sha256) != found:
            return None
    wanted = {contender.facts().key for contender in contenders(bundle, args)}
    if {row.contender.key for row in held.rows} != wanted:
        return None
    say_reused("accuracy", held.taken, f" on {held.data.name}")
    return held


def _held_latency(bundle: Bundle, store: Store, args: argparse.Namespace) -> Latency | None:
    """The latency in results.json, if it is of these very contenders, threads and effort."""
    held = store.results.latency
    if held is None or not _may_reuse(held, bundle, args):
        return None
    keys = [contender.facts().key for contender in contenders(bundle, args)]
    wanted = {(key, threads) for key in keys for threads in thread_counts(args)}
    if {(row.contender.key, row.threads) for row in held.rows} != wanted:
        return None
    if any(_fewer_runs(row, args) for row in held.rows):
        return None
    say_reused("latency", held.taken)
    return held


def _may_reuse(held: Accuracy | Latency, bundle: Bundle, args: argparse.Namespace) -> bool:
    """Whole, of this bundle and these packages; not with --model: its description may differ."""
    found = (held.taken.complete, held.taken.model_id, held.taken.versions)
    same = found == (True, bundle.manifest.model_id, package_versions())
    return same and not (args.fresh or args.model)


def _fewer_runs(row: LatencyRow, args: argparse.Namespace) -> bool:
    """Whether it was measured with less than is asked for: fewer runs, and in a shorter time."""
    if row.figures is None:
        return False
    samples = row.figures.samples_us
    # A stream that ends by its bound in time stops a little before it.
    return bool(len(samples) < args.runs and sum(samples) < 0.9e6 * args.seconds)
