"""The way from this machine to the service: proxies and certificates from the environment, and why a request failed.

The variables of a shell are often made for other programs. Those that the address of the service does not need are
not read, and each that cannot be used is one sentence.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from gantry.errors import BadSettingError, UnreachableError

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")


@dataclass(frozen=True)
class Network:
    """How the service at `url` is reached: arguments of an HTTP client, and the words for its failures."""

    url: str
    proxy: httpx2.Proxy | None
    proxy_name: str
    """The proxy and its variable for people, without its password; "" without a proxy."""
    tls: ssl.SSLContext

    @classmethod
    def to(cls, url: str) -> Network:
        """Return the way to `url` that the environment names. Raises `BadSettingError`."""
        address = urlsplit(url)
        scheme, proxy_url = _proxy_for(address)
        proxy, name = _proxy(scheme, proxy_url) if proxy_url else (None, "")
        needs_tls = address.scheme.lower() == "https" or (proxy is not None and proxy.url.scheme == "https")
        # Without https nothing is verified, and nothing has to be read.
        return cls(url, proxy, name, _tls() if needs_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def error(self, error: httpx2.RequestError) -> UnreachableError:
        """Return the failure of a request as a sentence that says what to do."""
        reason = str(error) or type(error).__name__
        if isinstance(cause := _cause(error), ssl.SSLCertVerificationError):
            return UnreachableError(
                f"This machine does not trust the certificate of {self.url} ({cause.verify_message}). SSL_CERT_FILE "
                "may name a file with the certificate of the authority that signed it."
            )
        if isinstance(cause, ssl.SSLError):
            return UnreachableError(f"There is no TLS at {self.url} ({reason}); does its address begin with http://?")
        if self.proxy is not None:
            return UnreachableError(
                f"{self.url} cannot be reached through the proxy {self.proxy_name} ({reason}). Start the proxy, "
                f"or add {urlsplit(self.url).hostname} to NO_PROXY."
            )
        if isinstance(error, httpx2.DecodingError):
            return UnreachableError(f"The answer of {self.url} cannot be read ({reason}); is it Gantry?")
        return UnreachableError(f"No service answers at {self.url} ({reason}); is `gantry up` running?")


def _proxy_for(address: SplitResult) -> tuple[str, str]:
    """Return the proxy for this address and the kind of its variable: ("http", "https" or "all"); "" for none."""
    host = address.hostname or ""
    # A proxy cannot reach the loopback addresses of this machine.
    if host in _LOOPBACK or any(proxy_bypass(form) for form in (host, f"[{host}]")):
        return "", ""
    found = getproxies()
    return next(((kind, found[kind]) for kind in (address.scheme.lower(), "all") if found.get(kind)), ("", ""))


def _proxy(kind: str, url: str) -> tuple[httpx2.Proxy, str]:
    """Return the proxy at `url` and its name for people. Raises `BadSettingError`."""
    url = url if "://" in url else f"http://{url}"
    variable = next((name for name in (f"{kind}_proxy", f"{kind}_PROXY".upper()) if os.environ.get(name)), "")
    source = variable or "the settings of this system"
    cure = "Change it, unset it, or add the service's host to NO_PROXY."
    try:
        proxy = httpx2.Proxy(url)
        if not proxy.url.host:
            raise ValueError("it has no host")
    except (ValueError, httpx2.InvalidURL):
        # The text of the error shows a password.
        raise BadSettingError(
            f"The proxy in {source} cannot be used: it must be http://, https://, socks5:// or socks5h://, "
            f"with a host and a port. {cure}"
        ) from None
    try:
        httpx2.HTTPTransport(proxy=proxy, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)).close()
    except ImportError:
        raise BadSettingError(
            f"The proxy in {source} speaks SOCKS, for which a package is missing: run `pip install socksio`. "
            f"Or: {cure[0].lower()}{cure[1:]}"
        ) from None
    return proxy, f"{proxy.url.host}:{proxy.url.port or 'default port'} ({source})"


def _tls() -> ssl.SSLContext:
    """Return the certificates that this machine trusts. Raises `BadSettingError`."""
    try:
        return httpx2.create_ssl_context()
    except OSError as error:
        given = ", ".join(f"{name}={os.environ[name]}" for name in _CERTIFICATES if os.environ.get(name))
        raise BadSettingError(
            f"The certificates of this machine cannot be read ({error.strerror or error}). These variables name "
            f"files: {given or 'none'}. Correct the one that is wrong, or unset it."
        ) from None


def _cause(error: BaseException) -> BaseException:
    """Return the first error of the chain that ended in `error`."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    return error
