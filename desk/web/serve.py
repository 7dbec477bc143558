"""The desk on a socket: refuses to answer strangers, serves until Ctrl-C.

Knows: uvicorn, addresses, TLS files. Does not know: pages. Memory: about 90 MB, and a megabyte for each open page.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path

from catalogs.store import Catalogue, open_catalogue
from desk.web.access import LOOPBACK, Proxy
from desk.web.app import Door, desk_app
from flows.settings import Settings
from tasks.errors import MachineNotReadyError, StepError

PORT = 4300
"""Where the desk answers unless another port is named."""


def proxy_from(header: str, networks: str) -> Proxy | None:
    """The proxy of two settings, of which both are given or none. Raises StepError."""
    if bool(header) != bool(networks):
        raise StepError(
            "a proxy needs both --proxy-header and --proxy-from: whoever else sends the header is not believed"
        )
    if not header:
        return None
    found = tuple(filter(None, (one.strip() for one in networks.split(","))))
    for one in found:
        try:
            ip_network(one, strict=False)
        except ValueError as error:
            raise StepError(
                f"--proxy-from: {error}; name addresses or networks, such as 10.0.0.5 or 10.0.0.0/24"
            ) from error
    return Proxy(header, found)


def door_for(catalogue: Catalogue, host: str, *, proxy: Proxy | None, secure: bool) -> Door:
    """How the desk may be reached at that address. Raises StepError where strangers could walk in."""
    if not loopback(host):
        if not catalogue.people.count():
            raise StepError(
                f"at {host} others than you can reach the desk, and nobody may sign in; add people with "
                "`dailies people add NAME --role admin`, or answer at 127.0.0.1"
            )
        return Door(host, proxy=proxy, secure=secure)
    return Door(host, alone=_own_name() if proxy is None else "", proxy=proxy, secure=secure)


def loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return host in LOOPBACK or ip_address(host).is_loopback
    except ValueError:
        return False


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    proxy: Proxy | None,
    certificate: Path | None,
    key: Path | None,
    said: Callable[[str], None],
) -> None:
    """Serve until Ctrl-C or SIGTERM. Port 0 is a free one. Raises StepError for a door that would let strangers in,
    MachineNotReadyError if the address cannot be had or the TLS files cannot be read."""
    import uvicorn

    if (certificate is None) != (key is None):
        raise StepError("TLS needs both --tls-cert and --tls-key")
    with open_catalogue(settings.database_url) as catalogue:
        door = door_for(catalogue, host, proxy=proxy, secure=certificate is not None)
        config = uvicorn.Config(
            desk_app(catalogue, settings, door),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # who is asking is decided by addresses alone
            ssl_certfile=str(certificate) if certificate else None,
            ssl_keyfile=str(key) if key else None,
            timeout_graceful_shutdown=3,
            lifespan="off",
        )
        try:
            config.load()
        except OSError as error:  # ssl's errors are too
            raise MachineNotReadyError(
                f"the TLS files cannot be used: {error}; name a certificate and its key"
            ) from error
        bound = listening(host, port)
        scheme = "https" if certificate else "http"
        shown = f"[{host}]" if ":" in host else host
        said(f"The desk is at {scheme}://{shown}:{bound.getsockname()[1]}")
        if not loopback(host) and not certificate and proxy is None:
            said("Passwords go through the network unencrypted: use --tls-cert and --tls-key, or a proxy with TLS.")
        with bound:
            uvicorn.Server(config).run(sockets=[bound])


def listening(host: str, port: int) -> socket.socket:
    """A socket at that address. Raises MachineNotReadyError if it cannot be had."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except (OSError, OverflowError) as error:
        raise MachineNotReadyError(f"the desk cannot answer at {host}:{port}: {error}; name another --port") from error
    return found


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
