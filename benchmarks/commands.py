"""What each command of `python -m benchmarks` does: options in, a section and its tables out."""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks import article as article_module
from benchmarks import check as check_module
from benchmarks import readme as readme_module
from benchmarks import scale as scale_module
from benchmarks.accuracy import describe, measure_accuracy
from benchmarks.candidates import (
    Candidate,
    bundle_candidates,
    foreign_candidates,
    parse_pythons,
    with_distinct_names,
)
from benchmarks.compare import compare as compare_sections
from benchmarks.compare import recommend
from benchmarks.latency import FULL, measure_latency
from benchmarks.machine import Machine, package_versions, this_machine, usable_cores
from benchmarks.peers import LOOPS
from benchmarks.plots import draw_plots
from benchmarks.record import (
    Accuracy,
    Latency,
    LatencyRow,
    Results,
    Scale,
    Section,
    Startup,
    Stopwatch,
    Store,
    Taken,
    Throughput,
    read_results,
    write_file,
)
from benchmarks.reference import REFERENCE, measure_inference, versions
from benchmarks.report import html_report, html_tables, side_by_side
from benchmarks.startup import measure_startup
from benchmarks.tables import (
    Table,
    accuracy_tables,
    all_tables,
    article_tables,
    compare_tables,
    latency_tables,
    markdown,
    scale_tables,
    startup_tables,
    throughput_tables,
)
from benchmarks.throughput import FLOOR, Options, measure_throughput
from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import Bundle
from edge_app.cli.labelling_options import labelling_of
from edge_app.errors import EXIT_OK, EXIT_SOME_FAILED, UsageError
from edge_app.images.labelled_pictures import (
    LabelledPicture,
    note_unknown_patients,
    read_labelled_pictures,
    sizes_hash,
    split_hash,
)
from edge_app.models.recommendation import write_recommendation
from edge_app.runtimes import RUNTIMES

PEERS = tuple(name for name in LOOPS if name not in (FLOOR, REFERENCE))
# The short form of the guard: small enough for every `make test`.
_SHORT_PICTURES = 20
_SHORT_FILES = 200
_SHORT_ROUNDS = 5
_SHORT_STARTS = 7
_SHORT_PROCESSES = 5
_FULL_ROUNDS = 7
_FULL_STARTS = 20
_FULL_PROCESSES = 10


def accuracy(options: argparse.Namespace) -> int:
    """Every format on labelled pictures."""
    bundle = load_bundle(options.bundle)
    with _recorded(options.out) as store:
        section = _accuracy(bundle, store, options)
        _show(accuracy_tables(section, store.results.machine))
    return EXIT_OK


def latency(options: argparse.Namespace) -> int:
    """One inference."""
    bundle = load_bundle(options.bundle)
    with _recorded(options.out) as store:
        section = _latency(bundle, store, options)
        _show(latency_tables(section, store.results.machine))
    return EXIT_OK


def throughput(options: argparse.Namespace) -> int:
    """Files to results."""
    bundle = load_bundle(options.bundle)
    _check_peers(options.peers)
    with _recorded(options.out) as store:
        held = _resumed("throughput", store, bundle, options)
        if isinstance(held, Throughput) and held.taken.complete:
            _show(throughput_tables(held, store.results.machine))
            return EXIT_OK
        section = measure_throughput(
            bundle,
            options.folder,
            Options(
                pictures=options.pictures,
                files=options.files,
                rounds=options.rounds,
                workers=options.workers or _worker_counts(),
                peers=options.peers,
                pythons=parse_pythons(options.python),
                checkpoint=options.checkpoint,
            ),
            _watch(options, bundle),
            lambda section: store.put("throughput", section),
        )
        _show(throughput_tables(section, store.results.machine))
    return EXIT_OK


def compare(options: argparse.Namespace) -> int:
    """Accuracy and latency together, and a recommendation."""
    bundle = load_bundle(options.bundle)
    with _recorded(options.out) as store:
        watch = _watch(options, bundle)
        labelled = _held_accuracy(bundle, store, options)
        if labelled is None and options.data is not None:
            labelled = _accuracy(bundle, store, options)
        timed = _held_latency(bundle, store, options) or _latency(bundle, store, options)
        section = compare_sections(labelled, timed, watch, _only_elsewhere(options))
        store.put("compare", section)
        _show(compare_tables(section, store.results.machine))
        found = recommend(section, bundle, store.results.machine)
        if found is not None and not options.no_recommendation:
            print(f"pneumoscope info --recommend reads {write_recommendation(found)}")
    return EXIT_OK


def scale(options: argparse.Namespace) -> int:
    """How cost grows."""
    bundle = load_bundle(options.bundle)
    with _recorded(options.out) as store:
        held = _resumed("scale", store, bundle, options)
        if isinstance(held, Scale) and held.taken.complete:
            _show(scale_tables(held, store.results.machine))
            return EXIT_OK
        section = scale_module.measure_scale(
            bundle,
            _default_candidate(bundle),
            options.folder,
            [round(n) for n in scale_module.up_to(scale_module.FILES, options.most_files)],
            scale_module.up_to(scale_module.MEGAPIXELS, options.most_megapixels),
            options.workers or _worker_counts(),
            _watch(options, bundle),
            lambda section: store.put("scale", section),
            held if isinstance(held, Scale) else None,
        )
        _show(scale_tables(section, store.results.machine))
    return EXIT_OK


def startup(options: argparse.Namespace) -> int:
    """Commands from cold."""
    bundle = load_bundle(options.bundle)
    with _recorded(options.out) as store:
        held = _resumed("startup", store, bundle, options)
        if isinstance(held, Startup) and held.taken.complete:
            _show(startup_tables(held, store.results.machine))
            return EXIT_OK
        section = measure_startup(
            bundle.folder,
            options.file,
            options.runs,
            _watch(options, bundle),
            lambda section: store.put("startup", section),
        )
        _show(startup_tables(section, store.results.machine))
    return EXIT_OK


def article(options: argparse.Namespace) -> int:
    """The article's network beside ours."""
    bundle = load_bundle(options.bundle)
    with _recorded(options.out) as store:
        records: list[Path] = list(options.records)
        if options.train is not None:
            records += article_module.train_records(options.train, options.runs)
        if not records or options.train is not None:
            records += article_module.known_records([bundle.manifest.provenance.config])
        section = article_module.read_article(records, bundle, _watch(options, bundle))
        store.put("article", section)
        _show(article_tables(section, store.results.machine))
    return EXIT_OK


def report(options: argparse.Namespace) -> int:
    """Tables and report.html of one machine, or of several side by side."""
    named = _named_results(options.results)
    path = options.out / "report.html"
    options.out.mkdir(parents=True, exist_ok=True)
    if len(named) == 1:
        (results,) = named.values()
        _show(all_tables(results))
        write_file(path, html_report(results, draw_plots(results, options.out)).encode())
    else:
        tables = side_by_side(named)
        _show(tables)
        write_file(path, html_tables(tables).encode())
    print(f"Report: {path}")
    return EXIT_OK


def check(options: argparse.Namespace) -> int:
    """What became worse than the landed state."""
    bundle = load_bundle(options.bundle)
    short = options.folder is None
    # Asked for before anything is measured, which takes minutes.
    then = () if options.write else _landed(options, short=short)
    if then is None:
        return EXIT_OK
    now = _short_ratios(bundle) if short else _full_ratios(bundle, options)
    machine = this_machine()
    if options.write:
        return _write_baseline(now, machine, short=short)
    baseline = check_module.read_baseline()
    hint = check_module.only_a_hint(baseline, machine)
    verdicts = check_module.judge(then, now)
    _show([check_module.verdict_table(verdicts, baseline, hint)])
    worse = any(verdict.verdict == "worse" for verdict in verdicts)
    failed = worse and not hint and not options.report_only
    return EXIT_SOME_FAILED if failed else EXIT_OK


def _landed(options: argparse.Namespace, *, short: bool) -> tuple[check_module.Guarded, ...] | None:
    """The ratios to compare with; None where there are none and only a report was asked for."""
    try:
        return check_module.landed(check_module.read_baseline(), short=short)
    except UsageError as error:
        if not options.report_only:
            raise
        print(f"benchmarks: nothing to compare with: {error}", file=sys.stderr)
        return None


def readme(options: argparse.Namespace) -> int:
    """The documents' tables from the committed results."""
    results = read_results(readme_module.RESULTS)
    if not options.check:
        for name in readme_module.write_documents(results):
            print(f"{name}: tables filled in")
        return EXIT_OK
    others = readme_module.other_models(results, load_bundle().manifest)
    for name in readme_module.stale_documents(results):
        print(f"{name}: its tables are not those of results.json: python -m benchmarks readme")
    for name in others:
        print(f"results.json: {name} was measured on another model than the one that ships")
    stale = bool(readme_module.stale_documents(results) or others)
    return EXIT_SOME_FAILED if stale else EXIT_OK


def _accuracy(bundle: Bundle, store: Store, options: argparse.Namespace) -> Accuracy:
    cases = _cases(options)
    return measure_accuracy(
        bundle,
        _candidates(bundle, options),
        cases,
        options.name or options.data.name,
        _watch(options, bundle),
        lambda section: store.put("accuracy", section),
    )


def _cases(options: argparse.Namespace) -> list[LabelledPicture]:
    roots = None if options.root is None else (options.root,)
    cases = read_labelled_pictures(
        options.data, labelling_of(options), roots=roots, split=options.split
    )
    if note := note_unknown_patients(cases):
        print(f"benchmarks: {note}", file=sys.stderr)
    return cases


def _latency(bundle: Bundle, store: Store, options: argparse.Namespace) -> Latency:
    effort = replace(FULL, runs=options.runs, max_s=options.seconds)
    return measure_latency(
        _candidates(bundle, options),
        _thread_counts(options),
        effort,
        _watch(options, bundle),
        lambda section: store.put("latency", section),
    )


def _candidates(bundle: Bundle, options: argparse.Namespace) -> list[Candidate]:
    pythons = parse_pythons(options.python)
    known = {engine.name for engine in RUNTIMES}
    unknown = set(options.runtime or ()) - known
    if unknown:
        raise UsageError(f"no runtime {unknown.pop()!r}; there are: {', '.join(sorted(known))}")
    found = bundle_candidates(bundle, options.runtime, pythons)
    for model, description in options.model:
        found += foreign_candidates(model, description, options.runtime, pythons)
    return with_distinct_names(found)


def _thread_counts(options: argparse.Namespace) -> tuple[int, ...]:
    return options.threads or tuple(sorted({1, usable_cores()}))


def _only_elsewhere(options: argparse.Namespace) -> set[str]:
    """Runtimes of --python that this environment, and so the app in it, lacks."""
    installed = {engine.name for engine in RUNTIMES if engine.is_installed}
    return parse_pythons(options.python).keys() - installed


def _default_candidate(bundle: Bundle) -> Candidate:
    """The first candidate whose runtime is installed here."""
    installed = {engine.name for engine in RUNTIMES if engine.is_installed}
    for candidate in bundle_candidates(bundle):
        if candidate.runtime in installed:
            return candidate
    raise UsageError("no runtime is installed: pip install 'pneumoscope[litert]'")


def _held_accuracy(bundle: Bundle, store: Store, options: argparse.Namespace) -> Accuracy | None:
    """The accuracy in results.json, if it is of these very pictures and candidates."""
    held = store.results.accuracy
    if held is None or not _may_reuse(held, bundle, options):
        return None
    if options.data is not None:
        cases = _cases(options)
        identities = (case.identity for case in cases)
        sizes = sizes_hash({case.name: case.path for case in cases})
        if (held.data.sha256, held.data.sizes_sha256) != (split_hash(identities), sizes):
            return None
    wanted = {describe(candidate).key for candidate in _candidates(bundle, options)}
    if {row.entrant.key for row in held.rows} != wanted:
        return None
    _say_reused("accuracy", held.taken, f" on {held.data.name}")
    return held


def _held_latency(bundle: Bundle, store: Store, options: argparse.Namespace) -> Latency | None:
    """The latency in results.json, if it is of these very candidates, threads and effort."""
    held = store.results.latency
    if held is None or not _may_reuse(held, bundle, options):
        return None
    candidates = [describe(candidate).key for candidate in _candidates(bundle, options)]
    wanted = {(key, threads) for key in candidates for threads in _thread_counts(options)}
    if {(row.entrant.key, row.threads) for row in held.rows} != wanted:
        return None
    if any(_fewer_runs(row, options) for row in held.rows):
        return None
    _say_reused("latency", held.taken)
    return held


def _may_reuse(held: Accuracy | Latency, bundle: Bundle, options: argparse.Namespace) -> bool:
    """Whole, of this bundle and these packages; not with --model: its description may differ."""
    found = (held.taken.complete, held.taken.model_id, held.taken.versions)
    same = found == (True, bundle.manifest.model_id, package_versions())
    return same and not options.fresh and not options.model


def _fewer_runs(row: LatencyRow, options: argparse.Namespace) -> bool:
    """Whether it was measured with less than is asked for: fewer runs, and in a shorter time."""
    if row.figures is None:
        return False
    # A stream that ends by its bound in time stops a little before it.
    full_time = sum(row.figures.samples_us) >= 0.9e6 * options.seconds
    return row.figures.single_stream.n < options.runs and not full_time


def _resumed(
    name: str, store: Store, bundle: Bundle, options: argparse.Namespace
) -> Section | None:
    """With --resume, what an earlier run of the same command, model and packages has left."""
    if not options.resume:
        return None
    wanted = (options.again, bundle.manifest.model_id, package_versions())
    for section in store.left(name):
        taken = section.taken
        if (taken.command, taken.model_id, taken.versions) == wanted:
            if taken.complete:
                _say_reused(name, taken)
            return section
    return None


def _say_reused(what: str, taken: Taken, more: str = "") -> None:
    print(
        f"{what}{more}, measured {taken.at}, is taken from results.json",
        file=sys.stderr,
    )


def _short_ratios(bundle: Bundle) -> tuple[check_module.Guarded, ...]:
    """The guard's short form: phantoms, few rounds."""
    with tempfile.TemporaryDirectory(prefix="pneumoscope-") as scratch:
        folder = Path(scratch) / "phantoms"
        folder.mkdir()
        for index in range(_SHORT_PICTURES):
            scale_module.write_phantom(folder / f"{index:02d}.jpg", 1.2, seed=index)
        wanted = _guard_options(_SHORT_PICTURES, _SHORT_FILES, _SHORT_ROUNDS)
        results = _guard_results(bundle, folder, wanted, _SHORT_STARTS)
    pairs = measure_inference(bundle_candidates(bundle), _SHORT_PROCESSES)
    return tuple(check_module.guarded_ratios(results, pairs))


def _full_ratios(bundle: Bundle, options: argparse.Namespace) -> tuple[check_module.Guarded, ...]:
    pythons = parse_pythons(options.python)
    wanted = _guard_options(100, 2000, _FULL_ROUNDS)
    results = _guard_results(bundle, options.folder, wanted, _FULL_STARTS)
    pairs = measure_inference(bundle_candidates(bundle, None, pythons), _FULL_PROCESSES)
    return tuple(check_module.guarded_ratios(results, pairs))


def _guard_options(pictures: int, files: int, rounds: int) -> Options:
    """Ours with all cores beside the fixed work: peers are no part of what could become worse."""
    return Options(
        pictures=pictures,
        files=files,
        rounds=rounds,
        workers=(usable_cores(),),
        peers=(REFERENCE,),
        pythons={},
        checkpoint=None,
    )


def _guard_results(bundle: Bundle, folder: Path, wanted: Options, starts: int) -> Results:
    with tempfile.TemporaryDirectory(prefix="pneumoscope-") as scratch:
        store = Store(Path(scratch))
        watch = Stopwatch("python -m benchmarks check", bundle.manifest.model_id)
        measure_throughput(bundle, folder, wanted, watch, lambda s: store.put("throughput", s))
        _startup_where_possible(bundle, starts, watch, store)
        return store.results


def _startup_where_possible(bundle: Bundle, runs: int, watch: Stopwatch, store: Store) -> None:
    if sys.platform != "win32":
        measure_startup(bundle.folder, None, runs, watch, lambda s: store.put("startup", s))


def _write_baseline(now: tuple[check_module.Guarded, ...], machine: Machine, *, short: bool) -> int:
    """Make these ratios the landed state; the other form's stay if they are of such a machine."""
    try:
        held = check_module.read_baseline()
        here = not check_module.only_a_hint(held, machine)
        kept = (held.full, held.short) if here else ((), ())
    except UsageError:
        kept = ((), ())
    full, brief = (kept[0], now) if short else (now, kept[1])
    baseline = check_module.Baseline(
        check_module.FORMAT_VERSION, machine.cpu, machine.cores, versions(machine), full, brief
    )
    write_file(check_module.BASELINE, check_module.baseline_json(baseline))
    print(f"{check_module.BASELINE}: {len(now)} ratios written")
    return EXIT_OK


def _named_results(paths: Sequence[Path]) -> dict[str, Results]:
    """Results by a short name: the file's, its folder's, or the whole path where those repeat."""
    for name_of in (lambda p: p.stem, lambda p: p.resolve().parent.name, str):
        names = [name_of(path) for path in paths]
        if len(set(names)) == len(names):
            break
    return dict(zip(names, map(read_results, paths), strict=True))


def _check_peers(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise UsageError(f"no peer {unknown[0]!r}; there are: {', '.join(PEERS)}")


def _worker_counts() -> tuple[int, ...]:
    """1, 2, 4, ... and all cores."""
    cores = usable_cores()
    return tuple(sorted({2**k for k in range(cores.bit_length()) if 2**k <= cores} | {cores}))


def _watch(options: argparse.Namespace, bundle: Bundle) -> Stopwatch:
    return Stopwatch(options.again, bundle.manifest.model_id)


def _show(tables: Sequence[Table]) -> None:
    for table in tables:
        print(f"\n## {table.title}\n\n{markdown(table)}")


@contextmanager
def _recorded(folder: Path) -> Iterator[Store]:
    """The folder's results; plots and the report follow them, however the command ends."""
    store = Store(folder)
    try:
        try:
            yield store
        finally:
            if store.changed:
                _refresh(store)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(store.kept()) from None
    print(f"Results: {store.path}")


def _refresh(store: Store) -> None:
    """Plots and the report beside results.json."""
    plots = draw_plots(store.results, store.folder)
    write_file(store.folder / "report.html", html_report(store.results, plots).encode())
