"""`python -m export`: turn a checkpoint into a sealed model bundle.

- `python -m export CHECKPOINT -o BUNDLE --data labels.csv --larger 448=DIR`
- `python -m export keygen NAME`
- `python -m export sign BUNDLE --key NAME.key`
- `python -m export pack BUNDLE -o FILE.pneumo`
- `python -m export readme BUNDLE --report REPORT README.md`
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from edge_app.bundle.manifest import InputGate
from edge_app.bundle.signature import Signature
from edge_app.cli.labelling_options import add_labelling_options, labelling_of
from edge_app.errors import EXIT_INTERRUPTED, EXIT_OK, PneumoscopeError, StorageError, UsageError
from edge_app.files.codec import CodecError, canonical_json, decode, parse_json

DEFAULT_SHIPPED = ("tflite_static_int8", "onnx_float32")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = _COMMANDS.get(arguments[0]) if arguments else None
    try:
        if command is not None:
            return command(arguments[1:])
        return _export(arguments)
    except PneumoscopeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED


def _export(arguments: list[str]) -> int:
    options = _parse(arguments)
    # Cheap checks come before TensorFlow is imported: a wrong name costs no time.
    from export.about import load_about
    from export.bundle_writer import require_new, write_bundle
    from export.fitting import load_points
    from export.recipe import load_recipe, recipe_names

    require_new(options.output)
    signer = _open_signer(options)
    about, points = load_about(options.about), load_points()
    gate = _read_gate(options.gate)
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
    from export.pipeline import Order, build

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
    )
    built = build(checkpoint, entries, sources, order, points, about, gate)
    signature = None if signer is None else signer(built.manifest.to_json())
    write_bundle(options.output, built.manifest, built.files, signature)
    print(table(built.report))
    if options.report:
        _write(options.report, canonical_json(built.report))
    print(f"{options.output}: {built.manifest.model_id}")
    return EXIT_OK


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Turn a checkpoint into a model bundle.",
        epilog="Other commands: keygen, sign, pack, readme.",
    )
    add = parser.add_argument
    add("checkpoint", type=Path, help="a .keras file, or a run's folder")
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
    add("--about", default="chest_xray", help="texts: a TOML file, or a name in export/about")
    add("--gate", type=Path, help="the input gate's parameters as JSON")
    add("--recipe", action="append", help="make only these recipes (default: all)")
    add("--ship", action="append", metavar="RECIPE", help="put these files into the bundle")
    add("--model-id", help="default: from the run's name and the checkpoint's hash")
    add("--created", metavar="DATE", help="YYYY-MM-DD (default: the day the run began)")
    add("--record", type=Path, help="default: run.json beside the checkpoint")
    add("--split", type=Path, help="default: split.csv beside the checkpoint")
    add("--key", type=Path, help="private key to sign with")
    add("--public-key", type=Path, help="its public half, to be sure of the pair")
    add("--report", type=Path, help="write the whole parity table as JSON")
    add("--tflite-runtime", type=Path, metavar="PYTHON", help="a Python that has tflite-runtime")
    return parser.parse_args(arguments)


def _named(pairs: list[str] | None) -> dict[str, Path]:
    named = {}
    for pair in pairs or ():
        name, equals, path = pair.partition("=")
        if not equals or not name or not Path(path).exists():
            raise UsageError(f"{pair!r} is not NAME=PATH with a path that exists")
        named[name] = Path(path)
    return named


def _read_gate(path: Path | None) -> InputGate | None:
    if path is None:
        return None
    try:
        return decode(InputGate, parse_json(path.read_bytes()))
    except (OSError, CodecError) as error:
        raise UsageError(f"{path}: no input gate: {error}") from error


def _open_signer(options: argparse.Namespace) -> Callable[[bytes], Signature] | None:
    """The keys, read before the long work: a wrong one must not cost an hour."""
    from export.keys import open_signer

    if options.key is None:
        if options.public_key is not None:
            raise UsageError("--public-key is the public half of a --key, which is not given")
        return None
    return open_signer(options.key, options.public_key)


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error}") from error


def _keygen(arguments: list[str]) -> int:
    from export.keys import generate_keys

    parser = argparse.ArgumentParser(prog="python -m export keygen")
    parser.add_argument("name", type=Path, help="writes NAME.key and NAME.pub")
    private, public = generate_keys(parser.parse_args(arguments).name)
    print(f"{private}: keep it secret and out of every repository")
    print(f"{public}: install it as edge_app/trusted_keys/{public.name} on the edge")
    return EXIT_OK


def _sign(arguments: list[str]) -> int:
    from export.keys import sign_bundle

    parser = argparse.ArgumentParser(prog="python -m export sign")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--key", type=Path, required=True, help="private key")
    parser.add_argument("--public-key", type=Path, help="its public half, to be sure of the pair")
    options = parser.parse_args(arguments)
    identifier = sign_bundle(options.bundle, options.key, options.public_key)
    print(f"{options.bundle}: signed with the key {identifier}")
    return EXIT_OK


def _pack(arguments: list[str]) -> int:
    from edge_app.bundle.archive import pack_bundle
    from edge_app.bundle.load import load_bundle

    parser = argparse.ArgumentParser(prog="python -m export pack")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.pneumo")
    options = parser.parse_args(arguments)
    bundle = load_bundle(options.bundle)
    pack_bundle(bundle.folder, options.output)
    signed = "" if bundle.signed_by else ", which nobody has signed"
    print(f"{options.output}: {bundle.manifest.model_id}{signed}")
    return EXIT_OK


def _readme(arguments: list[str]) -> int:
    from edge_app.bundle.load import load_bundle
    from export.fitting import load_points
    from export.readme import formats_section, read_report, replace_section

    parser = argparse.ArgumentParser(prog="python -m export readme")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("readme", type=Path, metavar="README.md")
    parser.add_argument("--report", type=Path, required=True, help="from an export's --report")
    options = parser.parse_args(arguments)
    text = _read_text(options.readme)
    report = read_report(options.report)
    section = formats_section(load_bundle(options.bundle), report, load_points())
    text = replace_section(text, section)
    _write(options.readme, text.encode("utf-8"))
    return EXIT_OK


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error


_COMMANDS = {"keygen": _keygen, "sign": _sign, "pack": _pack, "readme": _readme}


if __name__ == "__main__":
    sys.exit(main())
