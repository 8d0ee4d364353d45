"""Where this machine is reached: its addresses and names, without asking anybody."""

import ipaddress
import socket
from contextlib import suppress

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Never written to: TEST-NET-1 (RFC 5737) and the documentation prefix (RFC 3849) only make the
# system choose the address that it would send from.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def is_loopback(host: str) -> bool:
    """Whether only this machine itself reaches that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_addresses(host: str) -> tuple[str, ...]:
    """Addresses by which others reach a server that listens on `host`."""
    if not _is_any(host):
        return (host,)
    found = []
    for family, elsewhere in _ELSEWHERE:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            found.append(probe.getsockname()[0])
    with suppress(OSError):
        found += [str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)]
    usable = [a for a in dict.fromkeys(found) if not is_loopback(a) and "%" not in a]
    return tuple(usable) or ("127.0.0.1",)


def names_of(host: str, further: tuple[str, ...]) -> tuple[str, ...]:
    """Names and addresses that mean this machine, for certificate and Host header."""
    if is_loopback(host):
        return tuple(dict.fromkeys((*_LOOPBACK, host, *further)))
    own = socket.gethostname().lower()
    names = (*own_addresses(host), own, f"{own}.local", *_LOOPBACK, *further)
    return tuple(dict.fromkeys(name for name in names if name))


def _is_any(host: str) -> bool:
    return host in ("", "0.0.0.0", "::")
