"""Which devices are known: a CSV that an office keeps, one line a device.

Columns: `public_key` (the raw 32 bytes of Ed25519 in base64, as a `.pub` file holds them), `device`
and `site`. A device that was stolen is taken out, and none of its packs counts any more.
"""

import base64
import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_app.bundle.signature import key_id, read_public_key
from edge_app.errors import DataError, NoInputError, UsageError
from edge_app.files.whole import write_whole

_COLUMNS = ("public_key", "device", "site")


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device of the registry.

    Attributes:
        public_key: raw 32 bytes.
        name: of the device, one of its kind.
        site: where it stands; several devices may stand there.
    """

    public_key: bytes
    name: str
    site: str


Registry = Mapping[str, KnownDevice]


def read_registry(path: Path) -> Registry:
    """The known devices by their keys' identifiers.

    Raises:
        NoInputError: it cannot be read.
        DataError: a column is missing, or a line names no key, no device, no site, or one twice.
    """
    devices: dict[str, KnownDevice] = {}
    names: set[str] = set()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not set(_COLUMNS) <= set(reader.fieldnames or ()):
                raise DataError(f"{path}: it needs the columns {', '.join(_COLUMNS)}")
            for line, cells in enumerate(reader, start=2):
                device = _decode(cells, f"{path}:{line}")
                if key_id(device.public_key) in devices or device.name in names:
                    raise DataError(f"{path}:{line}: its key or its device stands there twice")
                devices[key_id(device.public_key)] = device
                names.add(device.name)
    except OSError as error:
        raise NoInputError(f"{path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV in UTF-8: {error}") from error
    return devices


def enrol(path: Path, public_key: Path, name: str, site: str) -> str:
    """Add a device, and make the registry where there is none; gives its key's identifier.

    Raises:
        BundleIntegrityError: the file holds no public key.
        UsageError: the key or the name is in the registry, or a name is empty.
        DataError, StorageError: the registry cannot be read or written.
    """
    key = read_public_key(public_key)
    known = dict(read_registry(path)) if path.exists() else {}
    identifier = key_id(key)
    if not name.strip() or not site.strip():
        raise UsageError("a device needs a name and a site")
    if identifier in known:
        raise UsageError(f"{path}: the key {identifier} is that of {known[identifier].name!r}")
    if name in {device.name for device in known.values()}:
        raise UsageError(f"{path}: a device is called {name!r} already; name this one differently")
    known[identifier] = KnownDevice(key, name, site)
    write_whole(path, _encode(known).encode("utf-8"))
    return identifier


def _decode(cells: Mapping[str, str | None], where: str) -> KnownDevice:
    key, name, site = ((cells[column] or "").strip() for column in _COLUMNS)
    try:
        raw = base64.b64decode(key, validate=True)
    except ValueError as error:
        raise DataError(f"{where}: public_key is not base64") from error
    if len(raw) != 32:
        raise DataError(f"{where}: public_key is no Ed25519 key: {len(raw)} bytes, not 32")
    if not name or not site:
        raise DataError(f"{where}: it names no device or no site")
    return KnownDevice(raw, name, site)


def _encode(devices: Registry) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for device in devices.values():
        key = base64.b64encode(device.public_key).decode("ascii")
        writer.writerow((key, device.name, device.site))
    return stream.getvalue()
