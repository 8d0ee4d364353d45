"""`python -m tests.make_docs` (`make docs`): the pages of docs/ that come from the code.

The four parsers become `docs/cli.md`; the dataclasses that are stored become
`docs/results-format.md`, `docs/bundle-format.md`, `docs/site-format.md` and
`docs/fleet-format.md`; the public names of
`edge_app` become `docs/python-api.md`; `docs/architecture.md` gets its floors from
`tests/layering.py`. `tests/test_docs.py` fails where a page is not what the code says.
"""

import argparse
import dataclasses
import enum
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

DOCS = Path(__file__).parent.parent / "docs"
_MADE = "<!-- Made by `make docs` from the code; do not edit. -->\n"
COMMAND_LINES = ("edge_app.cli", "train.cli", "export.cli", "benchmarks.cli")


def pages() -> dict[str, str]:
    """Every page by its name in docs/."""
    return {
        "architecture.md": _architecture(),
        "bundle-format.md": _bundle_format(),
        "cli.md": _cli(),
        "dicom-conformance.md": _dicom_conformance(),
        "dictionary.md": _dictionary(),
        "fleet-format.md": _fleet_format(),
        "python-api.md": _python_api(),
        "results-format.md": _results_format(),
        "site-format.md": _site_format(),
    }


def main() -> int:
    """Write the pages that differ, and name them."""
    for name, text in pages().items():
        path = DOCS / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"docs/{name}")
    return 0


def _architecture() -> str:
    """The page as it stands, with the floors between its markers."""
    from tests.layering import FLOORS

    floors = "\n".join(", ".join(rooms) for rooms in FLOORS)
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    block = f"<!-- floors -->\n```\n{floors}\n```\n<!-- /floors -->"
    return re.sub("<!-- floors -->.*<!-- /floors -->", lambda _: block, text, flags=re.DOTALL)


def _cli() -> str:
    parts = [
        "# Command lines\n",
        _MADE,
        "Each of the four takes `--help`, for itself and for each of its commands. What an exit "
        "code means: [README](../README.md#exit-codes).",
    ]
    for package in COMMAND_LINES:
        parser: argparse.ArgumentParser = import_module(package).make_parser()
        parts += [f"\n## {parser.prog}\n", f"{_describe(parser)}\n"]
        for command in _commands(parser):
            parts.append(_command(command))
    return "\n".join(parts) + "\n"


def _describe(parser: argparse.ArgumentParser) -> str:
    text = parser.description or ""
    if parser.formatter_class is argparse.RawDescriptionHelpFormatter and "\n" in text:
        first, _, rest = text.strip().partition("\n")
        return f"{first}\n\n```\n{rest.strip()}\n```" if rest.strip() else first
    return text


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands, those of a command's own commands behind it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield command
                yield from _commands(command)


def _command(parser: argparse.ArgumentParser) -> str:
    lines = [f"### `{parser.prog}`\n", parser.description or ""]
    actions = [
        action
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    ]
    if actions:
        lines += ["", "| argument | what it is |", "|---|---|"]
        lines += [f"| {_argument(action)} | {_cell(_help(action))} |" for action in actions]
    return "\n".join(lines) + "\n"


def _argument(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else _value(action)
    if not action.option_strings:
        return f"`{value}`"
    return _cell(f"`{', '.join(action.option_strings)}{' ' + value if value else ''}`")


def _value(action: argparse.Action) -> str:
    name = action.metavar if isinstance(action.metavar, str) else None
    if name is None and action.choices is not None:
        name = "|".join(map(str, action.choices))
    if name is None:
        name = action.dest.upper() if action.option_strings else action.dest
    return {"+": f"{name}...", "*": f"[{name}...]", "?": f"[{name}]"}.get(str(action.nargs), name)


def _help(action: argparse.Action) -> str:
    text = action.help or ""
    try:
        text = text % {**vars(action), "prog": ""}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the help of {action.option_strings or action.dest}: {error}") from error
    return f"{text} (required)".strip() if action.option_strings and action.required else text


def _dicom_conformance() -> str:
    """What PS3.2 asks of such a statement, from the tables that the program itself uses."""
    from edge_app.decision import Decision, Reason
    from edge_app.dicom_net import archive, receiver, sender, tables
    from edge_app.dicom_out import secondary_capture, source, structured_report
    from edge_app.images import dicom_own
    from edge_app.version import __version__

    names = {
        **tables.IMAGE_CLASSES,
        **tables.MULTI_FRAME_CLASSES,
        **tables.REPORT_CLASSES,
    }
    syntaxes = tables.TRANSFER_SYNTAXES
    options = receiver.ReceiverOptions()
    parts = [
        "# DICOM conformance statement\n",
        _MADE,
        f"Pneumoscope {__version__}, in the order of PS3.2. What it is for and how to set it up: "
        "[dicom.md](dicom.md). Research use; no diagnosis.\n",
        "## Application entity\n",
        f"One, {options.ae_title} unless named otherwise, port {options.port}. At most "
        f"{options.most_associations} associations at a time, maximum PDU "
        f"{receiver._MAX_PDU_BYTES} bytes, idle at most {options.idle_seconds:g} s, an object at "
        f"most {options.most_object_bytes / 1e6:.0f} MB. TLS 1.2 or newer by option. Texts are "
        "written as ISO_IR 192; character sets that pydicom knows are read.\n",
        "## As SCP (`pneumoscope receive`)\n",
        f"Verification ({tables.VERIFICATION}), Storage Commitment Push Model "
        f"({tables.STORAGE_COMMITMENT}; the report comes on the same association), and storage of:"
        "\n",
        _table(
            ("SOP class", "UID", "what becomes of it"),
            [
                *((name, uid, "scored") for uid, name in tables.IMAGE_CLASSES.items()),
                *(
                    (name, uid, "refused with status 0xA900")
                    for uid, name in tables.MULTI_FRAME_CLASSES.items()
                ),
                *(
                    (name, uid, "kept; our own are known and not scored")
                    for uid, name in tables.REPORT_CLASSES.items()
                ),
            ],
        ),
        _table(("transfer syntax", "UID"), [(name, uid) for uid, name in syntaxes.items()]),
        _table(
            ("C-STORE status", "when"),
            [(f"0x{status:04X}", when) for status, when in tables.STATUSES.items()],
        ),
        "## As SCU\n",
        _table(
            ("SOP class", "UID", "transfer syntaxes offered", "command"),
            [
                *(
                    (
                        names[uid],
                        uid,
                        ", ".join(syntaxes[one] for one in offered),
                        "`receive --send-to`",
                    )
                    for uid, offered in tables.SENT_CLASSES.items()
                ),
                (
                    "Storage Commitment Push Model",
                    tables.STORAGE_COMMITMENT,
                    "default",
                    "`receive --commit`; the report may come on any association",
                ),
                (
                    "Study Root Query/Retrieve - FIND",
                    tables.STUDY_ROOT_FIND,
                    ", ".join(syntaxes[one] for one in tables.UNCOMPRESSED),
                    "`query`, `retrieve`",
                ),
                (
                    "Study Root Query/Retrieve - GET",
                    tables.STUDY_ROOT_GET,
                    "as for storage above",
                    "`retrieve`",
                ),
                (
                    "Study Root Query/Retrieve - MOVE",
                    tables.STUDY_ROOT_MOVE,
                    ", ".join(syntaxes[one] for one in tables.UNCOMPRESSED),
                    "`retrieve --move-to`",
                ),
            ],
        ),
        f"A destination is tried again after {sender._FIRST_PAUSE:g} s, then at growing intervals "
        f"of at most {sender._LONGEST_PAUSE:g} s. Keys of queries: at the level STUDY "
        f"{_keywords(archive._study_keys(archive.Query()))}; at the level SERIES "
        f"{_keywords(archive._series_keys('1.2'))}.\n",
        "## Objects that are made\n",
        f"Manufacturer {dicom_own.MANUFACTURER}, model {dicom_own.MODEL_NAME}, UIDs below 2.25. "
        f"Series {structured_report.SERIES_NUMBER}: {names[dicom_own.COMPREHENSIVE_SR]}, TID 1500 "
        f"with TID 1501, 1004 and 4019. Series {secondary_capture.SERIES_NUMBER}: "
        f"{names[dicom_own.SECONDARY_CAPTURE]}. Copied from the film: "
        f"{', '.join(source.COPIED)}.\n",
        f"Codes of the scheme {structured_report.SCHEME}:\n",
        _table(
            ("concept", "values"),
            [
                ("decision", ", ".join(Decision)),
                ("reason", ", ".join(Reason)),
                ("quality_flag", "the flags of a row that are set"),
            ],
        ),
    ]
    return "\n".join(parts)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _keywords(keys: Any) -> str:
    return ", ".join(element.keyword for element in keys)


def _dictionary() -> str:
    """Answers, reasons and flags in the words of the English pages, and what to do."""
    from edge_app.decision import Decision, Reason
    from edge_app.report.words import FLAGS, MEASURES, OF_THE_WHOLE
    from edge_app.web.answers import CLASSES
    from edge_app.web.languages import language

    words = language("en")

    def to_do(key: str) -> str:
        return words(key if words.has(key) else "reason_do_other")

    flags = sorted((*FLAGS, *OF_THE_WHOLE))
    parts = [
        "# Dictionary\n",
        _MADE,
        "What stands in `results.csv` and `results.jsonl`, in `score`, in the report and on the "
        "workstation's pages, and what to do. Every key of a line: "
        "[results-format.md](results-format.md).\n",
        "## Answers\n\nThe column `decision`.\n",
        _table(
            ("code", "means", "what to do"),
            [
                (f"`{d}`", words(f"decision_{CLASSES[d]}"), words(f"do_{CLASSES[d]}"))
                for d in Decision
            ],
        ),
        "`probability` is calibrated, and holds for the share of sick among the pictures that it "
        "was calibrated on, not for yours. It is never shown as 0 or 1: `< 0.001`, `> 0.999`.\n",
        "## Reasons\n\nThe column `reason`: why there is no answer. The first five are failures to "
        "read the file (exit code 1), the others refusals. `message` says more.\n",
        _table(
            ("code", "means", "what to do"),
            [(f"`{r}`", words(f"reason_{r}"), to_do(f"reason_do_{r}")) for r in Reason],
        ),
        "## Flags\n\nThe column `quality`: what lowers the trust in an answer. Flags are for "
        "people; no score depends on them.\n",
        _table(
            ("code", "means", "what to do"),
            [(f"`{f}`", words(f"flag_{f}"), words(f"flag_do_{f}")) for f in flags],
        ),
        "## Numbers behind the flags\n\nThe key `measures` of `results.jsonl`.\n",
        _table(("key", "what it is"), [(f"`{key}`", text) for key, text in MEASURES.items()]),
    ]
    return "\n".join(parts)


def _results_format() -> str:
    from edge_app.decision import Decision, Reason, Status
    from edge_app.results.parquet import ShardNote
    from edge_app.results.rows import FORMAT_VERSION, ResultRow, RunHeader
    from edge_app.results.table import COLUMNS

    return _format_page(
        f"Results, format version {FORMAT_VERSION}",
        "`results.jsonl` is the truth: UTF-8, one JSON object a line. The first line describes "
        "the run (`RunHeader`), every other one a file (`ResultRow`). `results.csv` and "
        "`report.html` are made from it. `pneumoscope validate OUT` checks a run. Every key is "
        "there in every line; a key that is not listed here is an error.\n\n"
        "`results.csv` has these columns, numbers with four digits: "
        + ", ".join(f"`{name}`" for name in COLUMNS)
        + ".\n\n"
        "`pneumoscope convert` writes the same rows as Parquet (extra `parquet`), one file or a "
        "folder of shards `part-00000.parquet`: a column a key, `quality` a map, `lungs` a struct. "
        "The key `pneumoscope` of each file's metadata holds a `ShardNote` as JSON. From either "
        "form the other comes out byte for byte; questions for DuckDB: [archive.md](archive.md).",
        (RunHeader, ResultRow, ShardNote),
        (Status, Decision, Reason),
    )


def _bundle_format() -> str:
    from edge_app.bundle.manifest import FORMAT_VERSION, Manifest
    from edge_app.bundle.signature import Signature

    return _format_page(
        f"Model bundle, format version {FORMAT_VERSION}",
        "A bundle is a folder: `bundle.json` (a `Manifest`), the model files, `golden/` (inputs "
        "with the scores that they must give), `model_card.md`, and `SIGNATURE` (a `Signature` "
        "over the exact bytes of `bundle.json`). Every file is listed with its SHA-256; a file "
        "that is not listed, a missing key or an unknown one is an error. `FILE.pneumo` is the "
        "same folder as one archive.",
        (Manifest, Signature),
        (),
    )


def _site_format() -> str:
    from edge_app.bundle.signature import Signature
    from edge_app.site.profile import FORMAT_VERSION, SiteProfile

    return _format_page(
        f"Site profile, format version {FORMAT_VERSION}",
        "A site profile is a folder: `site.json` (a `SiteProfile`), `SIGNATURE` (a `Signature` "
        "over the exact bytes of `site.json`), `site.pub` (the public key) and `calibration.html`, "
        "the page to print, which decides nothing. `pneumoscope calibrate` writes it; how it is "
        "used: [site.md](site.md).",
        (SiteProfile, Signature),
        (),
    )


def _fleet_format() -> str:
    from edge_app.decision import Decision, Reason, Status
    from edge_app.fleet.answers import PackedAnswer
    from edge_app.fleet.campaign import Campaign, MergedPack
    from edge_app.fleet.pack_file import FORMAT_VERSION, SignedPack
    from edge_app.record.studies import Basis, Label

    return _format_page(
        f"Packs and campaigns, format version {FORMAT_VERSION}",
        "A pack is one file: a line of JSON (a `SignedPack`; the signature is over the canonical "
        "JSON of `pack`), then gzip of JSON Lines, each a `PackedAnswer`. A campaign is a folder: "
        "`answers.parquet` (columns `site` and `device`, then those of `PackedAnswer`, "
        "`answered_on` as a date), `packs.parquet` (a row a `MergedPack`), `campaign.json` (a "
        "`Campaign`) and `report.html`. How they are made: [fleet.md](fleet.md).",
        (SignedPack, PackedAnswer, MergedPack, Campaign),
        (Status, Decision, Reason, Label, Basis),
    )


def _format_page(
    title: str, text: str, roots: tuple[type, ...], enums: tuple[type[enum.Enum], ...]
) -> str:
    parts = [f"# {title}\n", _MADE, text, ""]
    for kind in _with_parts(roots):
        parts.append(_dataclass(kind))
    for words in enums:
        parts += [f"## {words.__name__}\n", _paragraphs(words), ""]
        parts += [f"- `{member.value}`" for member in words]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _with_parts(roots: tuple[type, ...]) -> list[type]:
    """The dataclasses, each followed by those that its fields hold; each once."""
    found: list[type] = []

    def visit(kind: Any) -> None:
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            if kind in found:
                return
            found.append(kind)
            for hint in get_type_hints(kind).values():
                visit(hint)
        else:
            for part in get_args(kind):
                visit(part)

    for root in roots:
        visit(root)
    return found


def _dataclass(kind: type) -> str:
    meaning = _attributes(kind)
    hints = get_type_hints(kind)
    lines = [f"## {kind.__name__}\n", _paragraphs(kind), "", "| key | type | meaning |"]
    lines.append("|---|---|---|")
    for field in dataclasses.fields(kind):
        name = field.name
        lines.append(f"| `{name}` | {_cell(_type(hints[name]))} | {_cell(meaning.get(name, ''))} |")
    return "\n".join(lines) + "\n"


def _paragraphs(kind: type) -> str:
    """A docstring without its sections."""
    text = inspect.cleandoc(kind.__doc__ or "")
    return re.split(r"^(?:Attributes|Args|Raises|Returns):$", text, flags=re.M)[0].strip()


def _attributes(kind: type) -> dict[str, str]:
    """What a docstring says of each field; one line may speak of several, `rows, columns: ...`."""
    text = inspect.cleandoc(kind.__doc__ or "")
    section = re.search(r"^Attributes:\n((?:(?: {4}.*)?\n?)*)", text, flags=re.M)
    found = {}
    for entry in re.split(r"\n(?=    \S)", section[1].rstrip() if section else ""):
        names, colon, meaning = entry.strip().partition(": ")
        if colon:
            for name in names.split(", "):
                found[name.strip("`")] = " ".join(meaning.split())
    return found


def _type(hint: Any) -> str:
    """A type in the words of JSON."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(f'"{part}"' if isinstance(part, str) else str(part) for part in parts)
    if isinstance(hint, types.UnionType) or str(origin) == "typing.Union":
        return " or ".join(_type(part) for part in parts)
    if origin is tuple:
        return f"list of {_type(parts[0])}" + ("" if parts[-1] is ... else f", {len(parts)} long")
    if parts:
        return f"object of {_type(parts[-1])} by name"
    plain = {str: "text", int: "integer", float: "number", bool: "true or false"}
    if hint in plain:
        return plain[hint]
    if hint is type(None):
        return "null"
    return f"[{hint.__name__}](#{hint.__name__.lower()})"


def _python_api() -> str:
    import edge_app

    parts = ["# Python API\n", _MADE, inspect.cleandoc(edge_app.__doc__ or ""), ""]
    values = {name: getattr(edge_app, name) for name in edge_app.__all__ if name[0] != "_"}
    errors = {n: v for n, v in values.items() if isinstance(v, type) and issubclass(v, Exception)}
    for name, value in values.items():
        if name not in errors:
            parts.append(_class(value) if isinstance(value, type) else _function(name, value))
    parts += ["## Errors\n", "What each is for; `exit_code` is what a command ends with.\n"]
    parts += ["| error | base | exit code | when |", "|---|---|---|---|"]
    for name, error in errors.items():
        parts.append(
            f"| `{name}` | `{error.__base__.__name__}` | {error.exit_code} "
            f"| {_cell(' '.join(_paragraphs(error).split()))} |"
        )
    return "\n".join(parts) + "\n"


def _class(kind: type) -> str:
    if issubclass(kind, enum.Enum):
        words = "\n".join(f"- `{member.value}`" for member in kind)
        return f"## {kind.__name__}\n\n{_paragraphs(kind)}\n\n{words}\n"
    lines = [f"## {kind.__name__}\n"]
    lines += [_doc(kind), ""]
    if not dataclasses.is_dataclass(kind):
        lines.insert(1, _signature(kind.__name__, kind))
        lines += [_doc(kind.__init__), ""]
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            lines += [f"### {kind.__name__}.{name}\n", _doc(member), ""]
        elif inspect.isfunction(member):
            lines += [f"### {kind.__name__}.{name}\n", _signature(name, member), _doc(member), ""]
    return "\n".join(lines)


def _function(name: str, function: Callable[..., Any]) -> str:
    return f"## {name}\n\n{_signature(name, function)}\n{_doc(function)}\n"


def _signature(name: str, value: Callable[..., Any]) -> str:
    text = str(inspect.signature(value)).replace("(self, ", "(").replace("(self)", "()")
    for long in ("edge_app.", "numpy."):
        text = re.sub(rf"\b{re.escape(long)}(?:\w+\.)*", "", text)
    return f"```python\n{name}{text}\n```\n"


def _doc(value: object) -> str:
    """A docstring as markdown: its sections as lists."""
    text = inspect.cleandoc(getattr(value, "__doc__", None) or "")
    out = []
    for line in text.split("\n"):
        if re.fullmatch(r"(Attributes|Args|Raises|Returns):", line):
            out += [f"**{line[:-1]}**", ""]
        elif entry := re.fullmatch(r" {4}(\S[^:]*): (.*)", line):
            out.append(f"- `{entry[1]}`: {entry[2]}")
        elif line.startswith("    "):
            out.append("  " + line.strip())
        else:
            out.append(line)
    return "\n".join(out)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
