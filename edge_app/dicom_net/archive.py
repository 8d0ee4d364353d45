"""A PACS asked for films: C-FIND by date, modality and body part, then C-GET or C-MOVE by series.

A `Query` enters, `SeriesFound` leave; what is fetched goes into a `Spool`, as if it had been sent.
Which series are there in full is noted on the disk, so that an interrupted retrieval goes on.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_app.dicom_net import tables
from edge_app.dicom_net.sender import Destination, why_not_established
from edge_app.dicom_net.spool import Spool, is_uid
from edge_app.errors import NoInputError, StorageError
from edge_app.files.appended_file import AppendedFile

_SECONDS_TO_CONNECT, _SECONDS_TO_ANSWER = 10.0, 300.0
_STUDIES_AN_ASSOCIATION = 100
# PS3.4 C.4.1.1.4 and annex C: more follow.
_PENDING = frozenset({0xFF00, 0xFF01})


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for; an empty text asks for all.

    Attributes:
        dates: of the study, `20261101`, `20261101-20261130`, `20261101-` or `-20261130`.
        modalities: such as CR and DX.
        body_part: such as CHEST; a series that names none is found too.
    """

    dates: str = ""
    modalities: tuple[str, ...] = ()
    body_part: str = ""


@dataclass(frozen=True, slots=True)
class SeriesFound:
    """A series that a PACS has."""

    study_uid: str
    series_uid: str
    date: str
    modality: str
    body_part: str
    instances: int | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of a series: objects that came, and those that the PACS could not send."""

    completed: int
    failed: int


class Archive:
    """A PACS, asked over one association at a time."""

    def __init__(
        self, peer: Destination, ae_title: str, context: ssl.SSLContext | None = None
    ) -> None:
        """Name it; nothing is sent yet.

        Args:
            peer: which.
            ae_title: ours.
            context: for TLS, None without.
        """
        self._peer, self._ae_title, self._context = peer, ae_title, context

    def find(self, query: Query) -> Iterator[SeriesFound]:
        """All series that a query is about, in the order that the PACS gives.

        Raises:
            NoInputError: it cannot be reached, or does not answer queries.
        """
        service = [(tables.STUDY_ROOT_FIND, tables.UNCOMPRESSED)]
        with self._associated(service) as association:
            studies = self._ask(association, _study_keys(query))
        known = [study for study in studies if is_uid(str(study.get("StudyInstanceUID", "")))]
        for begin in range(0, len(known), _STUDIES_AN_ASSOCIATION):
            # Closed before anything is given: who fetches meanwhile would let it run out of time.
            with self._associated(service) as association:
                found = [
                    _series(study, series)
                    for study in known[begin : begin + _STUDIES_AN_ASSOCIATION]
                    for series in self._ask(association, _series_keys(study.StudyInstanceUID))
                ]
            yield from (one for one in found if is_uid(one.series_uid) and _matches(query, one))

    def fetch(self, series: SeriesFound, spool: Spool) -> Fetched:
        """C-GET: objects come over this very association, into the spool.

        Raises:
            NoInputError: it cannot be reached, or sends nothing on request.
            StorageError: an object could not be stored.
        """
        from pynetdicom import build_role, evt

        troubles: list[OSError] = []

        def on_store(event: Any) -> int:
            try:
                _keep(event, spool)
            except OSError as error:
                troubles.append(error)
                return tables.OUT_OF_RESOURCES
            return tables.SUCCESS

        wanted: list[tuple[str, Any]] = [(tables.STUDY_ROOT_GET, tables.UNCOMPRESSED)]
        wanted += [(uid, list(tables.TRANSFER_SYNTAXES)) for uid in tables.IMAGE_CLASSES]
        roles = [build_role(uid, scp_role=True) for uid in tables.IMAGE_CLASSES]
        with self._associated(wanted, roles, [(evt.EVT_C_STORE, on_store)]) as association:
            answers = association.send_c_get(_retrieve_keys(series), tables.STUDY_ROOT_GET)
            fetched = self._outcome(answers)
        if troubles:
            raise StorageError(f"{spool.inbox}: {troubles[0].strerror or troubles[0]}")
        return fetched

    def move(self, series: SeriesFound, to: str) -> Fetched:
        """C-MOVE: the PACS sends to the node that it knows by that AE title, ours or another.

        Raises:
            NoInputError: it cannot be reached, or moves nothing.
        """
        with self._associated([(tables.STUDY_ROOT_MOVE, tables.UNCOMPRESSED)]) as association:
            answers = association.send_c_move(_retrieve_keys(series), to, tables.STUDY_ROOT_MOVE)
            return self._outcome(answers)

    def _ask(self, association: Any, keys: Any) -> list[Any]:
        """The data sets that match; all are read before the next question is asked."""
        found = []
        for status, dataset in association.send_c_find(keys, tables.STUDY_ROOT_FIND):
            code = status.get("Status")
            if code in _PENDING and dataset is not None:
                found.append(dataset)
            elif code != tables.SUCCESS:
                raise NoInputError(f"{self._peer}: the query ended with {_status(code)}")
        return found

    def _outcome(self, answers: Any) -> Fetched:
        """Of the last response (PS3.4 C.4.2.1.4): how many came, and how many did not."""
        last: Any = None
        for status, _ in answers:
            last = status
        code = None if last is None else last.get("Status")
        if code is None or (code != tables.SUCCESS and code >> 12 != 0xB):
            raise NoInputError(f"{self._peer}: the retrieval ended with {_status(code)}")
        completed = last.get("NumberOfCompletedSuboperations", 0)
        failed = last.get("NumberOfFailedSuboperations", 0)
        return Fetched(int(completed or 0), int(failed or 0))

    @contextmanager
    def _associated(
        self, wanted: list[tuple[str, Any]], roles: Any = (), handlers: Any = ()
    ) -> Iterator[Any]:
        from pynetdicom import AE

        entity = AE(ae_title=self._ae_title)
        entity.connection_timeout = _SECONDS_TO_CONNECT
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _SECONDS_TO_ANSWER
        for sop_class, syntaxes in wanted:
            entity.add_requested_context(sop_class, list(syntaxes))
        association = entity.associate(
            self._peer.host,
            self._peer.port,
            ae_title=self._peer.ae_title,
            ext_neg=list(roles),
            evt_handlers=list(handlers),
            tls_args=None if self._context is None else (self._context, self._peer.host),
        )
        if not association.is_established:
            raise NoInputError(f"{self._peer}: {why_not_established(association)}")
        try:
            yield association
        except ValueError as error:  # pynetdicom: no context was accepted for this
            raise NoInputError(f"{self._peer}: offers no such service to us") from error
        except RuntimeError as error:
            raise NoInputError(f"{self._peer}: the association ended") from error
        finally:
            if association.is_established:
                association.release()


class Progress(AppendedFile):
    """Which series are here in full: `OUT/retrieved.txt`, a UID a line."""

    def __init__(self, out: Path) -> None:
        """Open it and read what is there; a torn last line is cut off.

        Raises:
            StorageError: it cannot be written.
        """
        super().__init__(out / "retrieved.txt")
        self.cut_torn_line()
        self._done = set(self.path.read_text(encoding="ascii", errors="replace").split())

    def is_done(self, series: SeriesFound) -> bool:
        """Whether it needs not be fetched again."""
        return series.series_uid in self._done

    def note(self, series: SeriesFound) -> None:
        """Note that it is here; on the disk when this returns."""
        self._done.add(series.series_uid)
        self.append(f"{series.series_uid}\n".encode("ascii"))
        self.sync()


def retrieve(
    found: Iterator[SeriesFound],
    progress: Progress,
    bring: Callable[[SeriesFound], Fetched],
    log: Callable[[str], None],
) -> tuple[int, int]:
    """Bring each series that is not here; gives how many objects came, and how many did not.

    A series of which an object is missing is not noted, and asked for again by the next run.
    """
    came = missing = 0
    for series in found:
        if progress.is_done(series):
            continue
        fetched = bring(series)
        came, missing = came + fetched.completed, missing + fetched.failed
        if fetched.failed:
            log(f"{series.series_uid}: {fetched.failed} objects could not be sent")
        else:
            progress.note(series)
    return came, missing


def check_dates(text: str) -> str:
    """A date or a range as a query takes it (PS3.4 C.2.2.2.5); raises ValueError."""
    from datetime import datetime

    first, dash, last = text.partition("-")
    for part in (first, last):
        if part:
            datetime.strptime(part, "%Y%m%d")
    if not (first or last) or (not first and not dash) or (first and last and first > last):
        raise ValueError(f"{text!r} is no date and no range of dates such as 20261101-20261130")
    return text


def _study_keys(query: Query) -> Any:
    from pydicom.dataset import Dataset

    keys = Dataset()
    keys.QueryRetrieveLevel = "STUDY"
    keys.StudyInstanceUID = ""
    keys.StudyDate = query.dates
    # One is matched by the PACS; of several, each series is looked at.
    keys.ModalitiesInStudy = query.modalities[0] if len(query.modalities) == 1 else ""
    return keys


def _series_keys(study_uid: str) -> Any:
    from pydicom.dataset import Dataset

    keys = Dataset()
    keys.QueryRetrieveLevel = "SERIES"
    keys.StudyInstanceUID = study_uid
    for keyword in ("SeriesInstanceUID", "Modality", "BodyPartExamined"):
        setattr(keys, keyword, "")
    keys.NumberOfSeriesRelatedInstances = None
    return keys


def _retrieve_keys(series: SeriesFound) -> Any:
    from pydicom.dataset import Dataset

    keys = Dataset()
    keys.QueryRetrieveLevel = "SERIES"
    keys.StudyInstanceUID, keys.SeriesInstanceUID = series.study_uid, series.series_uid
    return keys


def _series(study: Any, series: Any) -> SeriesFound:
    instances = str(series.get("NumberOfSeriesRelatedInstances", "") or "")
    return SeriesFound(
        study_uid=str(study.StudyInstanceUID),
        series_uid=str(series.get("SeriesInstanceUID", "")),
        date=str(study.get("StudyDate", "") or ""),
        modality=str(series.get("Modality", "") or "").upper(),
        body_part=str(series.get("BodyPartExamined", "") or "").upper(),
        instances=int(instances) if instances.isdigit() else None,
    )


def _matches(query: Query, found: SeriesFound) -> bool:
    """A PACS may ignore a key that it does not match by (PS3.4 C.2.2.1.3)."""
    first, dash, last = query.dates.partition("-")
    last = last if dash else first
    in_range = not found.date or ((first or "0") <= found.date <= (last or "9"))
    return (
        in_range
        and (not query.modalities or found.modality in query.modalities)
        and (not query.body_part or found.body_part in ("", query.body_part))
    )


def _keep(event: Any, spool: Spool) -> None:
    """Put an object into the spool; raises OSError where that fails or its UID is none."""
    uid = str(event.request.AffectedSOPInstanceUID)
    if not is_uid(uid):
        raise OSError("its SOP Instance UID is not valid")
    partial = spool.arriving / f"tmp-{uid}.dcm"
    try:
        partial.write_bytes(event.encoded_dataset())
        spool.store(partial, uid)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _status(code: int | None) -> str:
    return "no answer" if code is None else f"status 0x{code:04X}"
