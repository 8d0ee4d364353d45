"""`pneumoscope info`: what is installed here, and what the model can and cannot do."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.cli.model_options import add_model_options
from edge_app.errors import EXIT_OK

if TYPE_CHECKING:
    from edge_app.bundle.manifest import Bundle, ModelFile, OperatingPoint

_LAST_MEASURED = Path()


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "info",
        help="show the model, its limits and the runtimes",
        description="Show versions, the model bundle with its figures and limits, and which "
        "runtimes are installed. --self-test also runs the bundle's golden inputs here.",
    )
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="all model files, all operating points, and what each was fitted on",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--json", action="store_true", help="print the bundle's bundle.json")
    what.add_argument("--self-test", action="store_true", help="run the golden inputs")
    what.add_argument(
        "--recommend",
        nargs="?",
        type=Path,
        const=_LAST_MEASURED,
        metavar="FILE",
        help="which model file and runtime to use here, as `python -m benchmarks compare` "
        "measured it (default: the last measurement on this machine)",
    )
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the facts; with --self-test run the golden inputs first."""
    from edge_app.bundle.load import load_bundle

    bundle = load_bundle(args.bundle)
    model = _model_file(bundle, args.runtime)
    point = bundle.operating_point(model, args.operating_point)
    if args.recommend is not None:
        return _recommend(bundle, None if args.recommend == _LAST_MEASURED else args.recommend)
    if args.json:
        print(bundle.to_json().decode("utf-8"), end="")
        return EXIT_OK
    tested = list(_self_test(bundle, args)) if args.self_test else []
    answers = _all_points(bundle) if args.verbose else _point(bundle, model, point)
    lines = (*_program(), *_model(bundle, verbose=args.verbose), "", *answers, *_runtimes())
    for line in (*lines, *tested):
        print(line)
    _require_a_runtime(bundle)
    return EXIT_OK


def _recommend(bundle: "Bundle", path: Path | None) -> int:
    from edge_app.models.recommendation import describe_recommendation, read_recommendation

    for line in describe_recommendation(read_recommendation(path), bundle):
        print(line)
    return EXIT_OK


def _program() -> Iterator[str]:
    import platform

    from edge_app.version import __version__

    yield (
        f"pneumoscope {__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}"
    )


def _model_file(bundle: "Bundle", runtime: str | None) -> "ModelFile":
    """The file that would score: of the runtime that is named, else of the first installed.

    Raises:
        RuntimeUnavailableError, BundleError: the runtime that is named cannot score here.
    """
    from edge_app.runtimes import RUNTIMES, open_runtime

    if runtime is not None:
        return open_runtime(bundle, runtime).model
    models = (bundle.model(engine.format) for engine in RUNTIMES if engine.is_installed)
    return next((model for model in models if model is not None), bundle.manifest.models[0])


def _require_a_runtime(bundle: "Bundle") -> None:
    """Behind the facts: whether anything here can score.

    Raises:
        RuntimeUnavailableError, BundleError: nothing can.
    """
    from edge_app.runtimes import RUNTIMES, open_runtime

    if not any(engine.is_installed and bundle.model(engine.format) for engine in RUNTIMES):
        open_runtime(bundle, None)  # which says what to install


def _model(bundle: "Bundle", *, verbose: bool) -> Iterator[str]:
    from edge_app.bundle.manifest import NO_GATE

    manifest = bundle.manifest
    population = manifest.population
    signed = f"signed with the key {bundle.signed_by}" if bundle.signed_by else "not signed"
    yield ""
    yield f"Model {manifest.model_id} of {manifest.created}, {signed}"
    yield f"  folder: {bundle.folder}"
    for text in bundle.lacks:
        yield f"  a research model, for study alone; it lacks: {text}"
    if verbose:
        locators = manifest.locator.models if manifest.locator is not None else ()
        for model in (*manifest.models, *locators):
            size = manifest.files[model.file].bytes / 1e6
            yield f"  {model.file}: {model.recipe}, {size:.1f} MB, SHA-256 {model.sha256}"
    yield f"  validated on: {population.description}"
    if population.age_years is not None:
        low, high = population.age_years
        yield f"  age: {low:g} to {high:g} years; known other ages are refused"
    yield f"  views: {', '.join(population.views)}; sites: {', '.join(population.sites)}"
    if manifest.input_gate is not None:
        yield f"  input gate: {manifest.input_gate.kind}"
    else:
        yield f"  input gate: none; {NO_GATE}"
    yield f"  licence: {manifest.provenance.licence}"


def _point(bundle: "Bundle", model: "ModelFile", point: "OperatingPoint") -> Iterator[str]:
    """The cut-offs in use, as probabilities."""
    from edge_app.decision import show_probability

    probability = bundle.calibration(model).probability
    low, high = show_probability(probability(point.refer_low)), probability(point.refer_high)
    names = bundle.manifest.operating_point_names()
    yield f"Operating point {point.name}: {point.purpose}"
    yield f"  probability below {low}: no_pneumonia_seen"
    yield f"  probability from {show_probability(high)} on: pneumonia_suspected"
    yield "  between them: indeterminate"
    yield f"  sensitivity {point.sensitivity}"
    yield f"  specificity {point.specificity}"
    yield f"  others: {', '.join(name for name in names if name != point.name) or 'none'}"


def _all_points(bundle: "Bundle") -> Iterator[str]:
    manifest = bundle.manifest
    for model in manifest.models:
        for name in manifest.operating_point_names():
            point = bundle.operating_point(model, name)
            split = point.fitted_on
            yield f"{model.file}"
            yield from _point(bundle, model, point)
            yield f"  raw scores: {point.refer_low:+.3f} and {point.refer_high:+.3f}"
            yield (
                f"  threshold {point.threshold:+.3f} fitted on {split.name} "
                f"({split.n_images} images of {split.n_patients} patients)"
            )
            yield ""


def _runtimes() -> Iterator[str]:
    from edge_app.runtimes import RUNTIMES

    yield ""
    yield "Runtimes"
    for engine in RUNTIMES:
        hint = f"not installed: pip install 'pneumoscope[{engine.extra}]'"
        yield f"  {engine.name} ({engine.format}): {'installed' if engine.is_installed else hint}"


def _self_test(bundle: "Bundle", args: argparse.Namespace) -> Iterator[str]:
    from edge_app.runtimes import open_runtime
    from edge_app.screening.selftest import run_self_test

    runtime = open_runtime(bundle, args.runtime, args.threads)
    cases = run_self_test(bundle, runtime)
    yield ""
    yield f"Self-test with {runtime.name} {runtime.version}: {len(cases)} golden inputs passed"
    for case in cases if args.verbose else ():
        yield (
            f"  {case.file}: {case.found:+.4f}, promised {case.expected:+.4f}, "
            f"difference {case.difference:.4f}"
        )
    for note in runtime.notes:
        yield f"  note: {note}"
