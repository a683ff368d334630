"""The check of webhook addresses: only public ones are called.

Otherwise callers could reach what only this host can reach.

A name is checked by all addresses that it resolves to at the moment of the call, and the checked address is the one
that is called. So a name that resolves to another address a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

import httpx2

from jobs.errors import UrlNotAllowedError

Resolve = Callable[[str, int], Sequence[str]]

LONGEST_URL: Final = 2000

_HTTPS_PORT: Final = 443
_NOT_PUBLIC: Final = "its host resolves to no address, or to one that is not public"
_LAST_PORT: Final = 65_535
_HOST: Final = re.compile(rb"[A-Za-z0-9._:-]+")
# What some resolvers read as an IPv4 address. The last label decides, as in the URL standard of browsers.
_NUMBERS: Final = re.compile(r"(.*\.)?([0-9]+|0[xX][0-9A-Fa-f]*)\.?")
_UNICAST: Final = IPv6Network("2000::/3")
"""All unicast addresses that IANA assigns. `is_global` accepts more, such as site-local fec0::/10 and multicast."""
_NAT64: Final = IPv6Network("64:ff9b::/96")


def resolve_host(host: str, port: int) -> list[str]:
    """Return all IP addresses that this machine resolves `host` to. Raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(text: str) -> bool:
    """Return whether this IP address is a unicast address of the public internet."""
    try:
        address = _unmapped(ip_address(text))
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    tunnel = address.sixtofour or address.teredo
    return address.is_global and address in _UNICAST and not tunnel


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address stands for, else the address itself."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address
    return address


class AddressChecker:
    """A check of URLs and host names. `allow_private` accepts any address, plain http and any port."""

    def __init__(self, *, allow_private: bool = False, resolve: Resolve = resolve_host) -> None:
        self._allow_private, self._resolve = allow_private, resolve

    def check(self, url: str) -> None:
        """Raise `UrlNotAllowedError` if `url` would be refused now."""
        parsed = self.parse(url)
        self.resolve(parsed.host, parsed.port or _HTTPS_PORT)

    def parse(self, url: str) -> httpx2.URL:
        """Return the parsed URL after all checks that need no name resolution. Raises `UrlNotAllowedError`."""
        if len(url) > LONGEST_URL:
            raise UrlNotAllowedError(f"it is longer than {LONGEST_URL:,} characters")
        try:
            parsed = httpx2.URL(url)
        except httpx2.InvalidURL:
            raise UrlNotAllowedError("it is not a valid URL") from None
        if not _HOST.fullmatch(parsed.raw_host) or not 0 < (parsed.port or _HTTPS_PORT) <= _LAST_PORT:
            raise UrlNotAllowedError("its host or port is not valid")
        schemes = ("https", "http") if self._allow_private else ("https",)
        if parsed.scheme not in schemes:
            raise UrlNotAllowedError(f"it must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        if parsed.userinfo:
            raise UrlNotAllowedError("it contains a user name or password")
        if parsed.port not in (None, _HTTPS_PORT) and not self._allow_private:
            raise UrlNotAllowedError(f"its port is {parsed.port}, and only {_HTTPS_PORT} is allowed")
        if not self._allow_private and (":" in parsed.host or _NUMBERS.fullmatch(parsed.host)):
            raise UrlNotAllowedError("its host is an IP address, and only names are allowed")
        return parsed

    def resolve(self, host: str, port: int) -> Sequence[str]:
        """Return all IP addresses of `host`. Raises `UrlNotAllowedError` if there is none, or one is not public."""
        try:
            found = self._resolve(host, port)
        except (OSError, UnicodeError):
            found = ()
        # The message is the same as for an address that is not public, so that a caller cannot find out which
        # internal names exist.
        if not found:
            raise UrlNotAllowedError(_NOT_PUBLIC)
        # Every address must be public: the owner of a name can point it at an internal address beside a public one.
        # The message does not say which address it is, because the name may be an internal one.
        if not self._allow_private and not all(map(is_public, found)):
            raise UrlNotAllowedError(_NOT_PUBLIC)
        return found
