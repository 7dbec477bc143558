"""Verdicts from the page of a shot: the form's words to flows.verdicts, and back to the page. Decides nothing.

Knows: the form. Does not know: which verdict is legal. Memory: one request.
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from catalogs.changes import RETAKEABLE
from catalogs.errors import CatalogueError, CatalogueUnavailableError, UnknownShotError
from catalogs.store import Catalogue
from catalogs.verdict import Decision, Target
from desk.web import views
from desk.web.access import Visitor, address_of
from desk.web.review import Show
from desk.web.shot_page import ShotPages
from flows import verdicts
from flows.settings import Settings

LONGEST = 20_000
"""Letters of a field; what a prompt may have is the catalogue's to say."""

Field = Annotated[str, Form(max_length=LONGEST)]
Wish = Annotated[str | None, Form(max_length=LONGEST)]


def judging_routes(
    catalogue: Catalogue, settings: Settings, *, deciding: Callable[..., Visitor], show: Show
) -> APIRouter:
    """Where verdicts are sent, for whoever `deciding` lets in: it has looked at role and token."""
    routes, pages = APIRouter(), ShotPages(catalogue, settings)

    @routes.post("/shots/{show_code}/{code}/verdict", name="verdict")
    def verdict(
        request: Request,
        visitor: Annotated[Visitor, Depends(deciding)],
        show_code: str,
        code: str,
        decision: Annotated[Decision, Form()],
        revision: Annotated[int, Form(ge=0, le=2**31 - 1)],
        version: Annotated[int, Form(ge=0, le=999_999_999)] = 0,
        note: Field = "",
        prompt: Wish = None,
        negative_prompt: Wish = None,
        camera: Wish = None,
        seed: Wish = None,
        steps: Wish = None,
        guidance: Wish = None,
    ) -> Response:
        """One verdict on what the page showed: the version, and the request at `revision`."""
        name = f"{show_code}/{code}"
        given = {
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "camera": camera,
            "seed": seed,
            "steps": steps,
            "guidance": guidance,
        }
        typed = {field: text for field, text in given.items() if text is not None and field in RETAKEABLE}
        try:
            shot = catalogue.find(name).shot
            stood = {field["name"]: field["value"] for field in views.retake_fields(shot)}
            changes = {field: text for field, text in typed.items() if text.strip() != stood[field].strip()}
            [ruling] = verdicts.decide(
                decision,
                [Target(shot.name, version=_judged(decision, version), revision=revision)],
                settings,
                by=visitor.name,
                note=note,
                changes=changes if decision is Decision.RETAKE else None,
            )
        except CatalogueUnavailableError:
            raise
        except UnknownShotError as error:
            raise HTTPException(404, str(error)) from error
        except CatalogueError as error:
            retaking = {**typed, "note": note} if decision is Decision.RETAKE else None
            return show(request, visitor, "shot.html", pages.shot(name, version, said=str(error), typed=retaking), 409)
        if ruling.changed:
            words = {"version": ruling.version, "note": note, "changes": [one.field for one in ruling.changes]}
            catalogue.people.note(
                decision.value, who=visitor.name, address=address_of(request), about=ruling.shot, words=words
            )
        return RedirectResponse(views.shot_address(ruling.shot, version), 303)

    return routes


def _judged(decision: Decision, version: int) -> int | None:
    """Which version a verdict names: omitting and undoing are about the shot."""
    return version or None if decision in (Decision.APPROVE, Decision.RETAKE) else None
