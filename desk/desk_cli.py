"""`dailies desk` and `dailies people`: parse, call, print; nothing heavy early.

Exit codes: 0 served until Ctrl-C, or done; 2 bad input, nothing changed; 3 the address, the TLS files or the catalogue
cannot be used.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from catalogs.roles import Role
    from catalogs.store import Catalogue

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Who; in any case.")]
RoleWord = Annotated[str, typer.Option(help="submit: see, send lists. review: and decide. admin: and read the log.")]

people = typer.Typer(help="Who may use the desk.", no_args_is_help=True, rich_markup_mode=None)


def desk(
    host: Annotated[str, typer.Option(help="Where to answer; elsewhere than here people must sign in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for a free one.")] = 4300,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain (PEM): answer through TLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    proxy_header: Annotated[str, typer.Option(help="Header in which a reverse proxy says who has signed in.")] = "",
    proxy_from: Annotated[str, typer.Option(help="The proxy's addresses; nobody else's header is believed.")] = "",
) -> None:
    """The page for reviewing what the night has made. Ctrl-C ends it."""
    from desk.show import line
    from desk.web import serve
    from flows.settings import Settings

    serve.serve(
        Settings.read(),
        host=host,
        port=port,
        proxy=serve.proxy_from(proxy_header, proxy_from),
        certificate=tls_cert,
        key=tls_key,
        said=line,
    )


@people.command("add")
def add(name: Name, role: RoleWord = "review") -> None:
    """Let somebody in. Asks for the password; where no terminal is, reads it from stdin."""
    from desk.show import line

    with _catalogue() as catalogue:
        person = catalogue.people.add(name, role=_role(role), password=_password())
        line(f"{person.name} may sign in, with the role {person.role}")


@people.command("change")
def change(
    name: Name,
    role: Annotated[str, typer.Option(help="The new role.")] = "",
    password: Annotated[bool, typer.Option("--password", help="Ask for a new password; ends every visit.")] = False,
) -> None:
    """Another role or another password."""
    from desk.show import line
    from tasks.errors import PlanError

    if not role and not password:
        raise PlanError("nothing to change; name --role, or --password to be asked for a new one")
    with _catalogue() as catalogue:
        new = _password() if password else None
        person = catalogue.people.change(name, role=_role(role) if role else None, password=new)
        line(f"{person.name} has the role {person.role}" + (" and a new password" if password else ""))


@people.command("remove")
def remove(name: Name) -> None:
    """Let somebody in no longer, at once; what they did stays in the log."""
    from desk.show import line

    with _catalogue() as catalogue:
        catalogue.people.remove(name)
        line(f"{name} may not sign in any more")


@people.command("list")
def everybody(as_json: AsJson = False) -> None:
    """Who may use the desk."""
    from desk import show

    with _catalogue() as catalogue:
        found = catalogue.people.everybody()
    rows = [(one.name, one.role.value, one.since.isoformat(timespec="minutes")) for one in found]
    if as_json:
        show.document({"people": [{"name": name, "role": role, "since": since} for name, role, since in rows]})
    elif rows:
        show.print_rows(["name", "role", "since"], rows)
    else:
        show.say(
            "Nobody has to sign in: the desk answers on this machine only. `dailies people add` changes that.",
            on=show.OUT,
        )


def _catalogue() -> Catalogue:
    from catalogs.store import open_catalogue
    from flows.settings import Settings

    return open_catalogue(Settings.read().database_url)


def _role(word: str) -> Role:
    from catalogs.roles import Role
    from tasks.errors import PlanError

    if word not in set(Role):
        raise PlanError(f"there is no role {word!r}; use {', '.join(Role)}")
    return Role(word)


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
