"""`bundle`: a checkpoint becomes a model bundle."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.bundle.research import RESEARCH_PREFIX
from edge_app.bundle.signature import Signature
from edge_app.cli.labelling_options import add_labelling_options, labelling_of
from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_OK, UsageError
from edge_app.files.codec import canonical_json
from edge_app.files.whole import require_writable, write_whole
from export.cli.sign import add_key_options

if TYPE_CHECKING:
    from export.checkpoint import Checkpoint
    from export.looks import Finder

DEFAULT_SHIPPED = ("tflite_static_int8", "onnx_float32")


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "turn a checkpoint into a model bundle"
    parser = commands.add_parser("bundle", help=text, description=text)
    add = parser.add_argument
    add("checkpoint", type=Path, help="a .keras or .h5 file, or a run's folder")
    add("--locator", type=Path, help="of a reader that was trained on the lungs: finds them")
    add("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="a new folder")
    add("--data", type=Path, required=True, help="the run's labels.csv, or the pictures' folder")
    add(
        "--larger",
        action="append",
        metavar="NAME=DIR",
        help="class folders with larger copies; again for larger ones still",
    )
    add("--external", action="append", metavar="NAME=DATA", help="another site, to measure only")
    add_labelling_options(parser.add_argument_group("what other sites call their classes"))
    text = "texts of the bundle: a TOML file (a template: export about), or a name in export/about"
    add("--about", required=True, metavar="FILE.toml", help=text)
    text = "operating points of one's own: a TOML file as export/operating_points.toml"
    add("--points", type=Path, metavar="FILE.toml", help=text)
    text = "where a release would be refused, write a research bundle, which says why everywhere"
    add("--research", action="store_true", help=text)
    add("--recipe", action="append", help="make only these recipes (default: all)")
    add("--ship", action="append", metavar="RECIPE", help="put these files into the bundle")
    add("--model-id", help="default: from the run's name and the checkpoint's hash")
    add("--created", metavar="DATE", help="YYYY-MM-DD (default: the day the run began)")
    add("--record", type=Path, help="default: run.json beside the checkpoint")
    add("--split", type=Path, help="default: split.csv beside the checkpoint")
    add_key_options(parser, required=False)
    add("--report", type=Path, help="write the whole parity table as JSON")
    add("--tflite-runtime", type=Path, metavar="PYTHON", help="a Python that has tflite-runtime")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Convert, measure, fit, and write the bundle whole or not at all."""
    # Cheap checks come before TensorFlow is imported: a wrong name costs no time.
    from export.about import load_about
    from export.bundle_writer import require_new, write_bundle
    from export.fitting import POINTS_FILE, load_points
    from export.recipe import load_recipe, recipe_names

    require_new(options.output)
    if options.report:
        require_writable(options.report)
    if (options.model_id or "").startswith(RESEARCH_PREFIX):
        raise UsageError(f"--model-id: {RESEARCH_PREFIX!r} is put before the name by --research")
    signer = _open_signer(options)
    about, points = load_about(options.about), load_points(options.points or POINTS_FILE)
    shipped = tuple(options.ship or DEFAULT_SHIPPED)
    names = tuple(dict.fromkeys((*(options.recipe or recipe_names()), *shipped)))
    recipes = tuple(load_recipe(name) for name in names)
    larger, external = _named(options.larger), _named(options.external)
    labelling = labelling_of(options)

    from export.tflite_model import quiet_tensorflow

    quiet_tensorflow()
    from export.checkpoint import read_checkpoint
    from export.parity import table
    from export.pictures import find_sources, read_split
    from export.pipeline import CARD_FILE, Order, build

    checkpoint = read_checkpoint(options.checkpoint, options.record)
    record = checkpoint.record
    split = options.split or checkpoint.path.parent / "split.csv"
    entries = read_split(split, options.data, record)
    sources = find_sources(entries, larger)
    spec = record.preprocess
    order = Order(
        recipes=recipes,
        shipped=shipped,
        model_id=options.model_id
        or f"pneumoscope-{record.name}-{spec.width}-{checkpoint.sha256[:8]}",
        created=options.created or record.started[:10],
        external=external,
        labelling=labelling,
        tflite_runtime=options.tflite_runtime,
        research=options.research,
    )
    finder = _finder(options.locator, checkpoint)
    built = build(checkpoint, entries, sources, order, points, about, finder)
    signature = None if signer is None else signer(built.manifest.to_json())
    write_bundle(options.output, built.manifest, built.files, signature)
    print(table(built.report))
    for text in built.left_out:
        print(f"note: {one_line(text)}", file=sys.stderr)
    if options.report:
        write_whole(options.report, canonical_json(built.report))
    print(f"{options.output}: {built.manifest.model_id}")
    if built.manifest.is_research:
        print(f"{options.output}: a research bundle; {CARD_FILE} says what it lacks")
    return EXIT_OK


def _finder(path: Path | None, reader: "Checkpoint") -> "Finder | None":
    """The locator that a reader needs, and none for one that sees whole pictures.

    Raises:
        UsageError: the reader was trained with a locator's frames and none is given, or the
            other way round.
    """
    from export.checkpoint import read_locator
    from export.looks import Finder, load_rules

    margin = reader.record.margin
    if (path is None) != (margin is None):
        raise UsageError(
            f"{reader.path}: was trained on whole pictures and takes no --locator"
            if margin is None
            else f"{reader.path}: was trained on the lungs' frame; name what finds it: --locator"
        )
    if path is None or margin is None:
        return None
    return Finder(read_locator(path), load_rules(), margin)


def _named(pairs: list[str] | None) -> dict[str, Path]:
    named = {}
    for pair in pairs or ():
        name, equals, path = pair.partition("=")
        if not equals or not name or not Path(path).exists():
            raise UsageError(f"{pair!r} is not NAME=PATH with a path that exists")
        named[name] = Path(path)
    return named


def _open_signer(options: argparse.Namespace) -> Callable[[bytes], Signature] | None:
    """The keys, read before the long work: a wrong one must not cost an hour."""
    from edge_app.bundle.private_key import open_signer

    if options.key is None:
        if options.public_key is not None:
            raise UsageError("--public-key is the public half of a --key, which is not given")
        return None
    return open_signer(options.key, options.public_key)
