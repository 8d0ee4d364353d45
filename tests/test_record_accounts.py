"""Accounts: no default password, no guessing, sessions that end."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge_app.errors import NotAllowedError, NotInRecordError, UsageError
from edge_app.record import accounts as module
from edge_app.record.accounts import Accounts, Role, Session
from edge_app.record.record import Record

PASSWORD = "correct horse"


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    with Record.open(tmp_path / "record") as opened:
        yield opened


@pytest.fixture
def accounts(record: Record) -> Accounts:
    return record.accounts


@pytest.fixture
def admin(accounts: Accounts) -> Session:
    return accounts.redeem(str(accounts.first_code()), "Ann", PASSWORD, "here")


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_the_first_start_makes_an_admin_by_a_code_that_holds_once(accounts: Accounts) -> None:
    stale, code = accounts.first_code(), accounts.first_code()
    assert code is not None
    for wrong in (str(stale), "00000-00000", ""):
        with pytest.raises(NotAllowedError, match="code is wrong"):
            accounts.redeem(wrong, "ann", PASSWORD, "here")
    session = accounts.redeem(code.lower().replace("-", " "), "Ann", PASSWORD, "here")
    assert (session.account.name, session.account.role) == ("ann", Role.ADMIN)
    assert accounts.first_code() is None
    with pytest.raises(NotAllowedError):
        accounts.redeem(code, "eve", PASSWORD, "here")


def test_a_new_account_has_no_password_until_its_code_is_used(
    accounts: Accounts, admin: Session
) -> None:
    code = accounts.add("Bob", Role.WORKER, "ann")
    for password in ("", PASSWORD):
        with pytest.raises(NotAllowedError):
            accounts.log_in("bob", password, "here")
    with pytest.raises(NotAllowedError):
        accounts.redeem(code, "ann", PASSWORD, "here")  # is not this account's
    accounts.redeem(code, "bob", "staple battery", "here")
    assert accounts.log_in("BOB", "staple battery", "here").account.role is Role.WORKER
    assert [account.name for account in accounts.all()] == ["ann", "bob"]
    with pytest.raises(UsageError, match="already"):
        accounts.add("bob", Role.WORKER, "ann")


@pytest.mark.parametrize("name", ["", " ", "a b", "../x", "<b>", "x" * 41, "-x"])
def test_what_is_no_name(accounts: Accounts, name: str) -> None:
    with pytest.raises(UsageError, match="letters, digits"):
        accounts.add(name, Role.WORKER, "ann")


@pytest.mark.parametrize("password", ["", "short", "aaaaaaaa", "x" * 201, "ANNANNAN"])
def test_a_password_that_is_none(accounts: Accounts, password: str) -> None:
    code = str(accounts.first_code())
    with pytest.raises(UsageError, match="password"):
        accounts.redeem(code, "annannan", password, "here")
    accounts.redeem(code, "annannan", PASSWORD, "here")  # the code was not used up


def test_a_wrong_name_and_a_wrong_password_sound_the_same(
    accounts: Accounts, admin: Session, record: Record
) -> None:
    said = set()
    for name, password in (("ann", "wrong"), ("my secret password", PASSWORD)):
        with pytest.raises(NotAllowedError) as caught:
            accounts.log_in(name, password, "here")
        said.add(str(caught.value))
    assert len(said) == 1
    refused = [e.subject for e in record.audit.entries() if e.action == "log_in_refused"]
    assert refused == ["ann", ""]  # a password typed as a name is not written down


def test_wrong_passwords_lock_the_account(accounts: Accounts, admin: Session, clock: Clock) -> None:
    for i in range(5):
        with pytest.raises(NotAllowedError, match="is wrong"):
            accounts.log_in("ann", "wrong", f"address {i}")
    with pytest.raises(NotAllowedError, match="try again in 1 min"):
        accounts.log_in("ann", PASSWORD, "here")
    clock.now += 61
    with pytest.raises(NotAllowedError, match="is wrong"):
        accounts.log_in("ann", "wrong", "here")
    with pytest.raises(NotAllowedError, match="try again in 2 min"):
        accounts.log_in("ann", PASSWORD, "here")
    clock.now += 121
    accounts.log_in("ann", PASSWORD, "here")
    with pytest.raises(NotAllowedError, match="is wrong"):  # counted from the beginning again
        accounts.log_in("ann", "wrong", "here")
    accounts.log_in("ann", PASSWORD, "here")


def test_a_clock_set_back_locks_nobody_out_for_a_year(
    accounts: Accounts, admin: Session, clock: Clock
) -> None:
    for _ in range(5):
        with pytest.raises(NotAllowedError):
            accounts.log_in("ann", "wrong", "here")
    clock.now -= 365 * 86400
    accounts.log_in("ann", PASSWORD, "here")


def test_many_guesses_at_once_are_all_counted(accounts: Accounts, admin: Session) -> None:
    said: list[str] = []

    def guess(i: int) -> None:
        try:
            accounts.log_in("ann", "wrong", f"address {i}")
        except NotAllowedError as error:
            said.append(str(error))

    guesses = [threading.Thread(target=guess, args=(i,)) for i in range(12)]
    for thread in guesses:
        thread.start()
    for thread in guesses:
        thread.join()
    assert len(said) == 12
    assert sum("is wrong" in text for text in said) == 5


def test_one_address_has_twenty_attempts_a_minute(accounts: Accounts, clock: Clock) -> None:
    for _ in range(20):
        with pytest.raises(NotAllowedError, match="is wrong"):
            accounts.log_in("nobody", "wrong", "10.0.0.7")
    with pytest.raises(NotAllowedError, match="too many attempts"):
        accounts.log_in("nobody", "wrong", "10.0.0.7")
    with pytest.raises(NotAllowedError, match="is wrong"):
        accounts.log_in("nobody", "wrong", "10.0.0.8")
    clock.now += 61
    with pytest.raises(NotAllowedError, match="is wrong"):
        accounts.log_in("nobody", "wrong", "10.0.0.7")


def test_a_session_ends(accounts: Accounts, admin: Session, clock: Clock) -> None:
    idle = accounts.log_in("ann", PASSWORD, "here")
    clock.now += 31 * 60
    with pytest.raises(NotAllowedError, match="has ended"):
        accounts.session(idle.token)
    used = accounts.log_in("ann", PASSWORD, "here")
    for _ in range(12 * 3 - 1):
        clock.now += 20 * 60
        assert accounts.session(used.token).account.name == "ann"
    clock.now += 21 * 60
    with pytest.raises(NotAllowedError, match="has ended"):
        accounts.session(used.token)
    out = accounts.log_in("ann", PASSWORD, "here")
    accounts.log_out(out.token)
    for token in (out.token, "", "x" * 10_000, "\ud800"):
        with pytest.raises(NotAllowedError, match="has ended"):
            accounts.session(token)


def test_a_pin_locks_the_screen_and_the_fifth_wrong_one_ends_the_session(
    accounts: Accounts, admin: Session
) -> None:
    token = admin.token
    with pytest.raises(NotAllowedError, match="set a PIN"):
        accounts.lock(token)
    for wrong in ("123", "12345a", "1111", "1" * 13):
        with pytest.raises(UsageError, match="a PIN is"):
            accounts.set_pin(token, wrong)
    accounts.set_pin(token, "2468")
    accounts.lock(token)
    assert accounts.session(token).is_locked
    with pytest.raises(NotAllowedError, match="locked"):
        accounts.set_pin(token, "1357")
    with pytest.raises(NotAllowedError, match="locked"):
        accounts.change_password(token, PASSWORD, "staple battery")
    assert not accounts.unlock(token, "2468").is_locked
    accounts.lock(token)
    for _ in range(4):
        with pytest.raises(NotAllowedError, match=r"the PIN is wrong$"):
            accounts.unlock(token, "0000")
    with pytest.raises(NotAllowedError, match="log in again"):
        accounts.unlock(token, "0000")
    with pytest.raises(NotAllowedError, match="has ended"):
        accounts.unlock(token, "2468")


def test_a_changed_password_ends_the_other_sessions(accounts: Accounts, admin: Session) -> None:
    other = accounts.log_in("ann", PASSWORD, "here")
    with pytest.raises(NotAllowedError, match="old password"):
        accounts.change_password(admin.token, "wrong", "staple battery")
    accounts.change_password(admin.token, PASSWORD, "staple battery")
    accounts.session(admin.token)
    with pytest.raises(NotAllowedError):
        accounts.session(other.token)
    accounts.log_in("ann", "staple battery", "here")


def test_a_reset_ends_everything_and_gives_a_code(accounts: Accounts, admin: Session) -> None:
    code = accounts.reset("Ann", "device")
    with pytest.raises(NotAllowedError):
        accounts.session(admin.token)
    with pytest.raises(NotAllowedError):
        accounts.log_in("ann", PASSWORD, "here")
    accounts.redeem(code, "ann", "staple battery", "here")
    with pytest.raises(NotInRecordError):
        accounts.reset("nobody", "device")


def test_a_code_holds_for_a_day(accounts: Accounts, clock: Clock) -> None:
    code = str(accounts.first_code())
    clock.now += 24 * 3600 + 1
    with pytest.raises(NotAllowedError, match="older than 24 hours"):
        accounts.redeem(code, "ann", PASSWORD, "here")


def test_the_last_admin_stays(accounts: Accounts, admin: Session) -> None:
    for change in ({"role": Role.WORKER}, {"is_disabled": True}):
        with pytest.raises(UsageError, match="only admin"):
            accounts.change("ann", "ann", **change)  # type: ignore
    accounts.redeem(accounts.add("bob", Role.ADMIN, "ann"), "bob", PASSWORD, "here")
    assert accounts.change("ann", "bob", is_disabled=True).is_disabled
    for refused in (
        lambda: accounts.session(admin.token),
        lambda: accounts.log_in("ann", PASSWORD, "here"),
    ):
        with pytest.raises(NotAllowedError):
            refused()


def test_roles_hold_each_other() -> None:
    assert Role.ADMIN.may(Role.WORKER)
    assert Role.SUPERVISOR.may(Role.SUPERVISOR)
    assert not Role.WORKER.may(Role.SUPERVISOR)


def test_no_secret_lies_in_the_file(record: Record, admin: Session, tmp_path: Path) -> None:
    record.accounts.set_pin(admin.token, "975310")
    code = record.accounts.add("bob", Role.WORKER, "ann").replace("-", "")
    record.close()
    with closing(sqlite3.connect(tmp_path / "record" / "record.sqlite")) as database:
        dump = "\n".join(database.iterdump())
    for secret in (PASSWORD, "975310", code, admin.token, admin.csrf):
        assert secret not in dump
    assert "$argon2id$" in dump
