"""Which addresses a webhook may lead to: public ones alone, or callers would reach what only this host can.

A name is judged by all that it resolves to, at the moment of the call, and the address that was judged is the one
that is called: a name that leads elsewhere a moment later (DNS rebinding) leads nowhere.
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
_NOT_PUBLIC: Final = "its host leads to no address, or to one that is not public"
_LAST_PORT: Final = 65_535
_HOST: Final = re.compile(rb"[A-Za-z0-9._:-]+")
# What some reader of names takes for an IPv4 address: by the last label, as the URL standard of browsers has it.
_NUMBERS: Final = re.compile(r"(.*\.)?([0-9]+|0[xX][0-9A-Fa-f]*)\.?")
_UNICAST: Final = IPv6Network("2000::/3")
"""All that IANA gives out of IPv6. `is_global` is true of more, such as site-local fec0::/10 and multicast."""
_NAT64: Final = IPv6Network("64:ff9b::/96")


def resolve_host(host: str, port: int) -> list[str]:
    """All that this host takes `host` for. Raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


def is_public(text: str) -> bool:
    """Whether this IP address belongs to the internet, and to one host of it."""
    try:
        address = _plain(ip_address(text))
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    tunnel = address.sixtofour or address.teredo
    return address.is_global and address in _UNICAST and not tunnel


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address in an IPv6 one that stands for it."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address
    return address


class AddressChecker:
    """Judges urls and names; `allow_private`: any address will do, by http and on any port too."""

    def __init__(self, *, allow_private: bool = False, resolve: Resolve = resolve_host) -> None:
        self._allow_private, self._resolve = allow_private, resolve

    def check(self, url: str) -> None:
        """Raise `UrlNotAllowedError` where `url` would not be called if it were called now."""
        parsed = self.parse(url)
        self.resolve(parsed.host, parsed.port or _HTTPS_PORT)

    def parse(self, url: str) -> httpx2.URL:
        """The url in its parts, as far as it can be judged without its addresses. Raises `UrlNotAllowedError`."""
        if len(url) > LONGEST_URL:
            raise UrlNotAllowedError(f"it is longer than {LONGEST_URL:,} characters")
        try:
            parsed = httpx2.URL(url)
        except httpx2.InvalidURL:
            raise UrlNotAllowedError("it cannot be read") from None
        if not _HOST.fullmatch(parsed.raw_host) or not 0 < (parsed.port or _HTTPS_PORT) <= _LAST_PORT:
            raise UrlNotAllowedError("its host or port cannot be read")
        schemes = ("https", "http") if self._allow_private else ("https",)
        if parsed.scheme not in schemes:
            raise UrlNotAllowedError(f"it must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        if parsed.userinfo:
            raise UrlNotAllowedError("it holds a user's name or password")
        if parsed.port not in (None, _HTTPS_PORT) and not self._allow_private:
            raise UrlNotAllowedError(f"its port is {parsed.port}, and only {_HTTPS_PORT} is called")
        if not self._allow_private and (":" in parsed.host or _NUMBERS.fullmatch(parsed.host)):
            raise UrlNotAllowedError("its host is an IP address, and only names are called")
        return parsed

    def resolve(self, host: str, port: int) -> Sequence[str]:
        """All IP addresses of `host`. Raises `UrlNotAllowedError` where there is none, or one that is not public."""
        try:
            found = self._resolve(host, port)
        except (OSError, UnicodeError):
            found = ()
        # In the words of what is found and not public: whoever asks learns of no name of ours that it exists.
        if not found:
            raise UrlNotAllowedError(_NOT_PUBLIC)
        # All, not some: whoever has a name may have it lead to an address of ours beside their own. Which it is stays
        # unsaid, as our own names may be asked for as well.
        if not self._allow_private and not all(map(is_public, found)):
            raise UrlNotAllowedError(_NOT_PUBLIC)
        return found
