"""Where this machine is reached: its addresses and names, without asking anybody."""

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Never written to: TEST-NET-1 (RFC 5737) and the documentation prefix (RFC 3849) only make the
# system choose the address that it would send from.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))

# Of netdevice(7): the address of an interface.
_SIOCGIFADDR = 0x8915


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
    found += _of_interfaces()
    usable = [a for a in dict.fromkeys(found) if not is_loopback(a) and "%" not in a]
    return tuple(usable) or ("127.0.0.1",)


def _of_interfaces() -> Iterator[str]:
    """Addresses of this machine's interfaces.

    On Linux the kernel's: a machine's own name may be unknown to it, and would be looked for at a
    name server.
    """
    if sys.platform != "linux":
        with suppress(OSError):
            for info in socket.getaddrinfo(socket.gethostname(), None):
                yield str(info[4][0])
        return
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # it has no address
                request = struct.pack("256s", name.encode()[:15])
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
                yield socket.inet_ntoa(answer[20:24])


def names_of(host: str, further: tuple[str, ...]) -> tuple[str, ...]:
    """Names and addresses that mean this machine, for certificate and Host header."""
    if is_loopback(host):
        return tuple(dict.fromkeys((*_LOOPBACK, host, *further)))
    own = socket.gethostname().lower()
    names = (*own_addresses(host), own, f"{own}.local", *_LOOPBACK, *further)
    return tuple(dict.fromkeys(name for name in names if name))


def _is_any(host: str) -> bool:
    return host in ("", "0.0.0.0", "::")
