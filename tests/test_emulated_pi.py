"""What `make test-pi` decides before it touches anything; the run itself needs root and minutes."""

import pytest

from tests.emulated_pi import PiError, choose_mirror, edge_tests, environment

TARGETS = """https://mirror.example/debian-security/ trixie-security main
https://mirror.example/debian/ trixie contrib
https://mirror.example/debian/ trixie main
"""


def test_mirror_is_that_of_the_hosts_own_release() -> None:
    assert choose_mirror(TARGETS, "trixie") == "https://mirror.example/debian/"


def test_host_without_a_debian_source() -> None:
    with pytest.raises(PiError, match="noble main"):
        choose_mirror(TARGETS, "noble")


def test_only_the_way_to_the_registry_is_handed_on() -> None:
    host = {
        "PIP_INDEX_URL": "https://index.example/simple",
        "PIP_FIND_LINKS": "/somewhere",
        "https_proxy": "http://proxy.example",
        "SSL_CERT_FILE": "/ca.pem",
        "SECRET_TOKEN": "x",
        "HOME": "/home/me",
        "PATH": "/my/bin",
    }
    inside = environment(host)
    assert inside["PIP_INDEX_URL"] == "https://index.example/simple"
    assert inside["https_proxy"] == "http://proxy.example"
    assert inside["HOME"] == "/root"
    assert inside["PATH"].startswith("/usr/sbin")
    assert not {"PIP_FIND_LINKS", "SECRET_TOKEN"} & set(inside)


def test_tests_of_what_does_not_ship_stay_on_the_host() -> None:
    names = edge_tests()
    assert "tests/test_screener.py" in names
    assert not any("train" in name or "benchmarks" in name for name in names)
