"""Each device of the registry: when it was heard of last, what it runs, and what is odd."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby, pairwise

from edge_app.device.clock import EARLIEST
from edge_app.fleet.campaign import MergedPack
from edge_app.fleet.registry import Registry


@dataclass(frozen=True, slots=True)
class DeviceState:
    """Of a device.

    Attributes:
        key_id, device, site: whose.
        packs: that count.
        missing: numbers of packs before the last one that are not there.
        answers: lines of these packs.
        heard_on: day of its last pack, or of its last answer where that is later; null where none
            of its days can be, or nothing came.
        is_silent: not heard of for too long, or never.
        model_id, version: in use when it packed last; "" where nothing came.
        is_old: another model than the one that is to be in use.
        remarks: what else is odd, in sentences.
    """

    key_id: str
    device: str
    site: str
    packs: int
    missing: tuple[int, ...]
    answers: int
    heard_on: date | None
    is_silent: bool
    model_id: str
    version: str
    is_old: bool
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """What is asked of a device.

    Attributes:
        as_of: the day that is called today.
        silent_days: after so many without a sign it is silent.
        model_id: to be in use.
    """

    as_of: date
    silent_days: int
    model_id: str


def newest_model(packs: Sequence[MergedPack]) -> str:
    """The model that was made last of those that are in use somewhere."""
    return max((pack.model_created, pack.model_id) for pack in packs)[1]


def judge_devices(
    registry: Registry,
    packs: Sequence[MergedPack],
    expected: Expected,
    last_answers: Mapping[str, date],
    impossible_days: Mapping[str, int],
) -> list[DeviceState]:
    """The state of every device, by site and name.

    Args:
        registry: devices that are known.
        packs: that count, of each device in their order.
        expected: of each.
        last_answers: day of the last answer, by device, of days that can be.
        impossible_days: by device, how many answers have a day that cannot be.
    """
    found = {key: list(some) for key, some in groupby(packs, lambda pack: pack.key_id)}
    states = []
    for key, device in sorted(registry.items(), key=lambda item: (item[1].site, item[1].name)):
        own = found.get(key, [])
        heard = _heard_on(own, last_answers.get(device.name), expected.as_of)
        limit = expected.as_of - timedelta(days=expected.silent_days)
        sequences = {pack.sequence for pack in own}
        last = own[-1] if own else None
        states.append(
            DeviceState(
                key_id=key,
                device=device.name,
                site=device.site,
                packs=len(own),
                missing=tuple(_missing(sequences)),
                answers=sum(pack.answers for pack in own),
                heard_on=heard,
                is_silent=heard is None or heard < limit,
                model_id=last.model_id if last else "",
                version=last.pneumoscope_version if last else "",
                is_old=last is not None and last.model_id != expected.model_id,
                remarks=tuple(_remarks(own, expected.as_of, impossible_days.get(device.name, 0))),
            )
        )
    return states


def _heard_on(packs: Sequence[MergedPack], last_answer: date | None, as_of: date) -> date | None:
    days = [_day(pack) for pack in packs if _can_be(_day(pack), as_of)]
    return max([*days, *([last_answer] if last_answer else [])], default=None)


def _missing(sequences: set[int]) -> list[int]:
    return sorted(set(range(1, max(sequences, default=0))) - sequences)


def _remarks(packs: Sequence[MergedPack], as_of: date, impossible: int) -> list[str]:
    """What is wrong; that nothing vouches for a clock is so of every Raspberry Pi without one."""
    remarks = []
    wrong = [pack for pack in packs if not _can_be(_day(pack), as_of)]
    if wrong:
        remarks.append(f"its clock said {wrong[-1].packed_at[:10]} at pack {wrong[-1].sequence}")
    for before, after in pairwise(packs):
        if after.packed_at < before.packed_at:
            remarks.append(
                f"its clock ran back from {before.packed_at[:10]} to {after.packed_at[:10]}"
            )
            break
    if impossible:
        remarks.append(f"{impossible:,} answers of days that cannot be")
    return remarks


def _day(pack: MergedPack) -> date:
    return date.fromisoformat(pack.packed_at[:10])


def _can_be(day: date, as_of: date) -> bool:
    return date.fromisoformat(EARLIEST[:10]) <= day <= as_of + timedelta(days=1)
