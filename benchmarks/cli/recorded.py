"""A command that measures a section: bundle and folder opened, resumed, recorded, shown."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from benchmarks.plots import draw_plots
from benchmarks.record import Section, Taken
from benchmarks.store import Recording, Store
from benchmarks.tables import BUSY, as_html, as_markdown, can_make_tables, make_tables
from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import Bundle
from edge_app.errors import EXIT_OK
from edge_app.files.whole import write_whole

AnySection = TypeVar("AnySection", bound=Section)


def measure(
    args: argparse.Namespace,
    name: str,
    kind: type[AnySection],
    run: Callable[[Bundle, Recording[AnySection]], AnySection],
) -> int:
    """Measure a section and show it; with --resume, what is left of it is taken over.

    Args:
        args: with `bundle`, `out`, `again`, and `resume` where the command has it.
        name, kind: of the section.
        run: measures it; a recording that holds a part may be gone on from.
    """
    bundle = load_bundle(args.bundle)
    with opened_store(args) as store:
        held = None
        if getattr(args, "resume", False):
            held = store.left(name, args.again, bundle.manifest.model_id)
        if held is not None and held.taken.complete:
            say_reused(name, held.taken)
        else:
            recording = begin(args, name, bundle, store, kind)
            recording.held = held if isinstance(held, kind) else None
            run(bundle, recording)
        show(store, name)
    return EXIT_OK


def begin(
    args: argparse.Namespace, name: str, bundle: Bundle, store: Store, kind: type[AnySection]
) -> Recording[AnySection]:
    """Begin a section of this `kind`; warns where the machine has other work."""
    recording: Recording[AnySection] = Recording(name, args.again, bundle.manifest.model_id, store)
    warn_if_busy(recording)
    return recording


def warn_if_busy(recording: Recording[AnySection]) -> None:
    """Say that the machine has other work, where it has."""
    if recording.busy is not None and recording.busy > BUSY:
        print(
            f"benchmarks: warning: others take {100 * recording.busy:.0f}% of the cores' time: "
            "times will be too high; measure on a quiet machine",
            file=sys.stderr,
        )


@contextmanager
def opened_store(args: argparse.Namespace) -> Iterator[Store]:
    """The results of --out; plots and the report follow them, however the command ends."""
    store = Store(args.out)
    try:
        try:
            yield store
        finally:
            if store.changed:
                write_report(store)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(store.kept()) from None
    print(f"Results: {store.path}")


def write_report(store: Store) -> None:
    """Plots and the report beside results.json."""
    plots = draw_plots(store.results, store.folder)
    if can_make_tables():
        page = as_html(make_tables(store.results), str(store.results.machine), plots)
        write_whole(store.folder / "report.html", [page])


def show(store: Store, *names: str) -> None:
    """Print the tables of sections, as they are kept."""
    if can_make_tables():
        print(as_markdown(make_tables(store.results, names)))


def say_reused(what: str, taken: Taken, more: str = "") -> None:
    """Say that a section is not measured again."""
    print(f"{what}{more}, measured {taken.at}, is taken from results.json", file=sys.stderr)
