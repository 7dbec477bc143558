"""The desk as one ASGI application: who may see what, pages for what goes wrong, and the routes of each room.

Knows: how the parts are put together. Does not know: sockets, TLS (serve.py), what a page says.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Form, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from catalogs.errors import CatalogueUnavailableError
from catalogs.people import LASTS
from catalogs.roles import Role
from catalogs.store import Catalogue
from desk.web.access import COOKIE, LOOPBACK, Access, NotAllowedError, Proxy, SignInNeededError, Visitor, address_of
from desk.web.guard import Guard
from desk.web.judging import judging_routes
from desk.web.pages import asset, environment, packed, page, render
from desk.web.review import review_routes
from desk.web.tonight import tonight_routes
from flows.settings import Settings

LOG: Final = logging.getLogger("dailies")

SIGN_IN: Final = "/sign-in"


@dataclass(frozen=True, slots=True)
class Door:
    """How the desk is reached."""

    host: str
    """The address it answers at."""
    alone: str = ""
    """Name of whoever sits at this machine, if the desk answers on its loopback only."""
    proxy: Proxy | None = None
    """Who else says who somebody is."""
    secure: bool = False
    """Whether browsers reach it through TLS: cookies are then sent through nothing else."""

    @property
    def hosts(self) -> frozenset[str] | None:
        """Names by which it may be called; None for any."""
        return LOOPBACK if self.alone else None


def desk_app(catalogue: Catalogue, settings: Settings, door: Door) -> Guard:
    """The application. The catalogue stays open as long as it answers."""
    access = Access(catalogue.people, alone=door.alone, proxy=door.proxy)
    templates, assets = environment(), packed()
    app = FastAPI(title="Dailies", docs_url=None, redoc_url=None, openapi_url=None)

    def shown(
        request: Request, visitor: Visitor | None, name: str, values: Mapping[str, Any], status: int = 200
    ) -> Response:
        """A template as an answer; the visitor's own token goes into it last."""
        html = render(templates, name, {"visitor": visitor, "path": request.url.path, **values})
        token = access.token(visitor) if visitor else ""
        return page(request, html, token=token, bound=visitor.key if visitor else "", status=status)

    def needing(role: Role) -> Callable[[Request], Visitor]:
        """Lets in who has that role, or a greater one."""

        def visitor(request: Request) -> Visitor:
            found = access.visitor(request)
            if not found.role.includes(role):
                raise NotAllowedError(f"{found.name} may not do that: it takes the role {role}, not {found.role}")
            return found

        return visitor

    def sending(role: Role) -> Callable[..., Visitor]:
        """The same for what changes something: only from a page that was given to that very visitor."""

        def sender(
            visitor: Annotated[Visitor, Depends(needing(role))], token: Annotated[str, Form(max_length=200)] = ""
        ) -> Visitor:
            if not access.own(token, visitor):
                raise NotAllowedError("this page is an old one, and nothing was changed; load it again")
            return visitor

        return sender

    @app.get("/static/{name}", name="static")
    def static(request: Request, name: str) -> Response:
        """A packaged file: the same for everybody, and nothing about the house in it."""
        if name not in assets:
            raise HTTPException(404, f"there is no {name}")
        return asset(request, assets[name])

    @app.get(SIGN_IN, name="sign_in")
    def asked(request: Request, to: str = "/") -> Response:
        """The form."""
        return shown(request, None, "sign_in.html", {"to": _own_path(to), "said": "", "name": ""})

    @app.post(SIGN_IN)
    def sign_in(
        request: Request,
        name: Annotated[str, Form(max_length=64)] = "",
        password: Annotated[str, Form(max_length=2000)] = "",
        to: Annotated[str, Form(max_length=2000)] = "/",
    ) -> Response:
        """A new visit, or the form again. It changes nothing that anybody else could want changed: no token."""
        status, said = 403, "This name and this password do not belong together."
        try:
            token = access.sign_in(name, password, address_of(request))
        except NotAllowedError as error:
            status, said, token = 429, f"{error}.".capitalize(), None
        if token is None:
            return shown(request, None, "sign_in.html", {"to": _own_path(to), "said": said, "name": name}, status)
        answer = RedirectResponse(_own_path(to), 303)
        answer.set_cookie(
            COOKIE, token, max_age=int(LASTS.total_seconds()), httponly=True, samesite="lax", secure=door.secure
        )
        return answer

    @app.post("/sign-out", name="sign_out")
    def sign_out(request: Request, visitor: Annotated[Visitor, Depends(sending(Role.SUBMIT))]) -> Response:
        """The visit is over."""
        access.sign_out(visitor, address_of(request))
        answer = RedirectResponse(SIGN_IN, 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=door.secure)
        return answer

    seeing = needing(Role.SUBMIT)
    app.include_router(review_routes(catalogue, settings, seeing=seeing, show=shown))
    app.include_router(judging_routes(catalogue, settings, deciding=sending(Role.REVIEW), show=shown))
    app.include_router(tonight_routes(settings, templates, seeing=seeing, show=shown))
    _answer_errors(app, shown)
    return Guard(app, hosts=door.hosts, secure=door.secure)


def _answer_errors(app: FastAPI, shown: Callable[..., Response]) -> None:
    """Sentences for what goes wrong, as a page."""

    def told(request: Request, status: int, sentence: str) -> Response:
        if request.url.path.startswith("/media/"):
            return PlainTextResponse(f"{sentence}\n", status)
        return shown(request, None, "problem.html", {"status": status, "sentence": sentence}, status)

    @app.exception_handler(SignInNeededError)
    def stranger(request: Request, error: SignInNeededError) -> Response:
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"{SIGN_IN}?{urlencode({'to': path})}", 303)
        return told(request, 401, "Sign in first.")

    @app.exception_handler(NotAllowedError)
    def refused(request: Request, error: NotAllowedError) -> Response:
        return told(request, 403, _sentence(str(error)))

    @app.exception_handler(HTTPException)
    def failed(request: Request, error: HTTPException) -> Response:
        words = error.detail if error.status_code != 404 or error.detail != "Not Found" else "There is no such page"
        return told(request, error.status_code, _sentence(words))

    @app.exception_handler(RequestValidationError)
    def wrong(request: Request, error: RequestValidationError) -> Response:
        words = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
        return told(request, 422, _sentence(words))

    @app.exception_handler(Exception)
    def defect(request: Request, error: Exception) -> Response:
        LOG.error("%s %s: unexpected %s: %s; report it", request.method, request.url.path, type(error).__name__, error)
        return told(request, 500, "Something unexpected went wrong; whoever runs the desk finds it in its log.")

    @app.exception_handler(CatalogueUnavailableError)
    def away(request: Request, error: CatalogueUnavailableError) -> Response:
        return told(request, 503, _sentence(str(error)))


def _own_path(to: str) -> str:
    """A path of ours; `/` for whatever could lead to another site."""
    fine = to.startswith("/") and not to.startswith(("//", "/\\")) and to.isprintable() and "\\" not in to
    return to if fine else "/"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:].rstrip(".") + "."
