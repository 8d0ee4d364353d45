"""`pneumoscope fleet merge`: the packs of many devices become one campaign.

```
CAMPAIGN/
  answers.parquet   every answer once, with its device and site
  packs.parquet     every pack that counts
  campaign.json     when, how many, and each pack that does not count, with its reason
  report.html       for people
```

The packs are the truth, a campaign is made from all of them and never edited; its folder is there
in full or not at all. One device is in memory at a time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from edge_app.errors import NoInputError, PackError
from edge_app.files.codec import canonical_json, encode
from edge_app.files.whole import write_files
from edge_app.fleet.answer_table import latest, read_answers
from edge_app.fleet.answers import PackedAnswer
from edge_app.fleet.pack_file import SUFFIX, Pack, read_head, read_pack
from edge_app.fleet.registry import KnownDevice, Registry
from edge_app.results.arrow_schema import arrow_schema
from edge_app.results.rows import utc_now
from edge_app.site.profile import SiteProfile
from edge_app.version import __version__

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ANSWERS_FILE = "answers.parquet"
PACKS_FILE = "packs.parquet"
CAMPAIGN_FILE = "campaign.json"
_ROWS_OF_A_GROUP = 100_000


@dataclass(frozen=True, slots=True)
class Problem:
    """A pack that does not count, or counts in part: its file and why."""

    file: str
    why: str


@dataclass(frozen=True, slots=True)
class MergedPack:
    """A pack that counts: a row of `packs.parquet`.

    Attributes:
        key_id, device, site: whose.
        sequence, packed_at, clock_is_trusted, pneumoscope_version, model_id, model_created,
        answers: as the pack says.
    """

    key_id: str
    device: str
    site: str
    sequence: int
    packed_at: str
    clock_is_trusted: bool
    pneumoscope_version: str
    model_id: str
    model_created: str
    answers: int


@dataclass(frozen=True, slots=True)
class Campaign:
    """`campaign.json`, format version 1.

    Attributes:
        format_version: of this file.
        pneumoscope_version: the program that merged.
        merged_at: ISO 8601, UTC.
        as_of: day by which silence and impossible dates are judged.
        devices: in the registry.
        packs: that count.
        answers: each once.
        repeated: lines that a later pack of the same device holds again.
        problems: packs that do not count, each with its reason.
    """

    format_version: int
    pneumoscope_version: str
    merged_at: str
    as_of: str
    devices: int
    packs: int
    answers: int
    repeated: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge knows besides what lies in the Parquet files.

    Attributes:
        campaign: its description.
        packs: that count, by device and in their order.
        profiles: the newest of each site that has one.
    """

    campaign: Campaign
    packs: tuple[MergedPack, ...]
    profiles: dict[str, SiteProfile]


def find_packs(named: Iterable[Path]) -> list[Path]:
    """The packs that were named, and those below named folders, each once.

    Raises:
        NoInputError: one is not there, or there is none at all.
    """
    found: dict[Path, None] = {}
    for path in named:
        if not path.exists():
            raise NoInputError(f"{path}: no such file or folder")
        paths = sorted(path.rglob(f"[!.]*{SUFFIX}")) if path.is_dir() else [path]
        found |= dict.fromkeys(paths)
    if not found:
        raise NoInputError(f"no pack was found: they are called NAME{SUFFIX}")
    return list(found)


def merge_packs(files: Sequence[Path], registry: Registry, folder: Path, as_of: date) -> Merged:
    """Write the Parquet files and the description of a campaign into a folder that is there.

    Args:
        files: of packs, in any order.
        registry: devices that are known.
        folder: of the caller, who puts it in place.
        as_of: the day that is called today.

    Raises:
        NoInputError: no pack counts.
        OSError: the disk is full or gone.
        RuntimeUnavailableError: the extra is missing.
    """
    merging = _Merging(registry, folder)
    merging.run(files)
    if not merging.packs:
        first = merging.problems[0]
        raise NoInputError(
            f"none of {len(files):,} packs can be used; the first, {first.file}: {first.why}"
        )
    campaign = Campaign(
        format_version=1,
        pneumoscope_version=__version__,
        merged_at=utc_now(),
        as_of=as_of.isoformat(),
        devices=len(registry),
        packs=len(merging.packs),
        answers=merging.answers,
        repeated=merging.repeated,
        problems=tuple(sorted(merging.problems, key=lambda problem: problem.file)),
    )
    write_files(folder, [(CAMPAIGN_FILE, canonical_json(campaign))])
    return Merged(campaign, tuple(merging.packs), merging.profiles)


@dataclass(slots=True)
class _Merging:
    """A merge under way."""

    registry: Registry
    folder: Path
    packs: list[MergedPack] = field(default_factory=list)
    profiles: dict[str, SiteProfile] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    answers: int = 0
    repeated: int = 0

    def run(self, files: Sequence[Path]) -> None:
        """Merge device by device, those of one site together."""
        import pyarrow.parquet as pq

        with pq.ParquetWriter(
            self.folder / ANSWERS_FILE, _answers_schema(), compression="zstd"
        ) as writer:
            waiting: list[pa.Table] = []
            for identifier, paths in self._by_device(files):
                waiting += self._merge_device(identifier, paths)
                if sum(table.num_rows for table in waiting) >= _ROWS_OF_A_GROUP:
                    _write(writer, waiting)
            _write(writer, waiting)
        pq.write_table(_packs_table(self.packs), self.folder / PACKS_FILE)

    def _by_device(self, files: Sequence[Path]) -> list[tuple[str, list[Path]]]:
        """The packs of each known device in their order; whether they are whole is seen later."""
        found: dict[str, list[tuple[int, str, Path]]] = {}
        for path in files:
            try:
                head = read_head(path, self.registry)
            except PackError as error:
                self._refuse(path, str(error))
                continue
            order = (head.pack.sequence, head.pack.packed_at, path)
            found.setdefault(head.signature.key_id, []).append(order)
        devices = sorted(found, key=lambda key: (self.registry[key].site, self.registry[key].name))
        return [(key, [path for *_, path in sorted(found[key])]) for key in devices]

    def _merge_device(self, identifier: str, paths: Sequence[Path]) -> "list[pa.Table]":
        """The answers of a device, each once; none where no pack of it counts."""
        import pyarrow as pa

        tables: list[pa.Table] = []
        seen: dict[str, Path] = {}
        for path in paths:
            try:
                signed, lines = read_pack(path, self.registry)
                if first := seen.get(signed.signature.signature):
                    raise PackError(f"the same pack as {first}, which counts")
                tables.append(read_answers(lines))
            except PackError as error:
                self._refuse(path, str(error))
                continue
            seen[signed.signature.signature] = path
            self._count(signed.pack, identifier)
        if not tables:
            return []
        table = pa.concat_tables(tables)
        once = latest(table)
        self.answers += once.num_rows
        self.repeated += table.num_rows - once.num_rows
        return [_with_origin(once, self.registry[identifier])]

    def _count(self, pack: Pack, identifier: str) -> None:
        device = self.registry[identifier]
        self.packs.append(
            MergedPack(
                key_id=identifier,
                device=device.name,
                site=device.site,
                sequence=pack.sequence,
                packed_at=pack.packed_at,
                clock_is_trusted=pack.clock_is_trusted,
                pneumoscope_version=pack.pneumoscope_version,
                model_id=pack.model_id,
                model_created=pack.model_created,
                answers=pack.answers,
            )
        )
        profile, known = pack.profile, self.profiles.get(device.site)
        if profile and (known is None or known.created_at < profile.created_at):
            self.profiles[device.site] = profile

    def _refuse(self, path: Path, why: str) -> None:
        self.problems.append(Problem(path.as_posix(), why))


def _answers_schema() -> "pa.Schema":
    import pyarrow as pa

    origin = [pa.field(name, pa.string(), nullable=False) for name in ("site", "device")]
    place = arrow_schema(PackedAnswer).get_field_index("answered_on")
    day = pa.field("answered_on", pa.date32(), nullable=False)
    return pa.schema([*origin, *arrow_schema(PackedAnswer).set(place, day)])


def _with_origin(table: "pa.Table", device: KnownDevice) -> "pa.Table":
    import pyarrow as pa

    columns = [pa.repeat(text, table.num_rows) for text in (device.site, device.name)]
    return pa.Table.from_arrays([*columns, *table.columns], schema=_answers_schema())


def _packs_table(packs: Sequence[MergedPack]) -> "pa.Table":
    import pyarrow as pa

    return pa.Table.from_pylist([encode(pack) for pack in packs], schema=arrow_schema(MergedPack))


def _write(writer: "pq.ParquetWriter", waiting: "list[pa.Table]") -> None:
    import pyarrow as pa

    if waiting:
        writer.write_table(pa.concat_tables(waiting))
        waiting.clear()
