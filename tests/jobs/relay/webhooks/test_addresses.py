"""Tests of the address check: every kind of address that is not public is refused, by number and by name."""

from __future__ import annotations

import pytest

from jobs.errors import UrlNotAllowedError
from jobs.relay.webhooks.addresses import AddressChecker, is_public

PUBLIC = ("93.184.216.34", "8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001:81b::200e", "::ffff:8.8.8.8")
NOT_PUBLIC = (
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.254", "127.0.0.1", "127.9.9.9"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.0.1", "198.18.0.1"),
    *(
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
    ),
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1"),
    *("64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1"),
    *("fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1", "ff0e::1", "5f00::1", "fe80::1%lo", "nonsense"),
)


def resolving_to(*addresses: str) -> AddressChecker:
    """Return a checker that resolves every name to `addresses`."""
    return AddressChecker(resolve=lambda host, port: list(addresses))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(address)
    assert resolving_to(address).resolve("hooks.example", 443) == [address]
    resolving_to(address).check("https://hooks.example/hooks?key=1")


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_no_other_address_is_allowed_by_name_or_number(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(UrlNotAllowedError, match="not public"):
        resolving_to(address).resolve("hooks.example", 443)
    with pytest.raises(UrlNotAllowedError):
        AddressChecker().check(f"https://{f'[{address}]' if ':' in address else address}/hooks")


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "LOCALHOST."])
def test_no_other_spelling_of_a_private_address_is_allowed(host: str) -> None:
    with pytest.raises(UrlNotAllowedError, match=r"not public|IP address|not valid|not a valid"):
        AddressChecker().check(f"https://{host}/")


def test_one_private_address_among_several_is_refused() -> None:
    with pytest.raises(UrlNotAllowedError, match="not public") as refused:
        resolving_to("93.184.216.34", "10.0.0.7").check("https://hooks.example/")
    assert "10.0.0.7" not in str(refused.value), "the message does not reveal internal addresses"


def test_a_name_without_an_address_is_refused() -> None:
    def away(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    for addresses in (resolving_to(), AddressChecker(resolve=away)):
        with pytest.raises(UrlNotAllowedError, match="no address"):
            addresses.check("https://hooks.example/")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example/", "https://"),
        ("ftp://hooks.example/", "https://"),
        ("file:///etc/passwd", "valid"),
        ("gopher://hooks.example/", "https://"),
        ("hooks.example", "valid"),
        ("", "valid"),
        ("https://", "valid"),
        ("https:///hooks", "valid"),
        ("https://someone@hooks.example/", "user"),
        ("https://someone:secret@hooks.example/", "user"),
        ("https://93.184.216.34@10.0.0.1/", "user"),
        ("https://hooks.example:8443/", "port"),
        ("https://hooks.example:80/", "port"),
        ("https://hooks.example:x/", "valid"),
        ("https://hooks.example:99999/", "valid"),
        ("https://hooks.example/\r\nHost: other", "valid"),
        ("https://hooks.example/\x00", "valid"),
        ("https://[::1/", "valid"),
        ("https://hooks example/", "valid"),
        ("https://[fe80::1%25lo]/", "valid"),
        # An IP address is refused, public or not.
        ("https://8.8.8.8/", "IP address"),
        ("https://8.8.8.8./", "IP address"),
        ("https://134744072/", "IP address"),
        ("https://0x8.010.8.0x8/", "IP address"),
        ("https://hooks.example.7/", "IP address"),
        ("https://[2606:4700::1111]/", "IP address"),
        ("https://hooks.example%2f@10.0.0.1/", "user"),
        ("https://hooks.example\\@10.0.0.1/", "user"),
        ("https://hooks.example/" + "x" * 2000, "longer"),
    ],
)
def test_these_urls_are_refused_whatever_they_resolve_to(url: str, why: str) -> None:
    with pytest.raises(UrlNotAllowedError, match=why) as refused:
        resolving_to("93.184.216.34").check(url)
    (problem,) = refused.value.problems
    assert (problem.pointer, problem.code) == ("/url", "url-not-allowed") and "secret" not in problem.detail


@pytest.mark.parametrize(
    "url",
    ["https://hooks.example", "https://hooks.example:443/a?b=c", "https://bücher.example/", "https://8.example/"],
)
def test_these_urls_are_allowed(url: str) -> None:
    resolving_to("93.184.216.34").check(url)


def test_private_addresses_can_be_allowed_but_passwords_cannot() -> None:
    private = AddressChecker(allow_private=True)
    private.check("http://127.0.0.1:9/")
    private.check("https://[::1]:8443/")
    for url in ("ftp://127.0.0.1/", "http://someone@127.0.0.1/", "http://127.0.0.1:99999/"):
        with pytest.raises(UrlNotAllowedError):
            private.check(url)
