"""What a review reads of the catalogue: pages of tiles, one shot with all its versions.

Knows: sessions. Does not know: how a tile is put together (tiles.py), files, pages of HTML. Memory: one page, or the
versions of one shot.
"""

from __future__ import annotations

from catalogs.queries import shot_row
from catalogs.sessions import Sessions
from catalogs.tiles import Shelves, TilePage, Wanted, shelves, tiles
from catalogs.versions import Version, version_value


class Reviews:
    """A catalogue as reviewers see it. Every method raises CatalogueUnavailableError if the database fails under it."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def tiles(self, wanted: Wanted) -> TilePage:
        """A page of the shots that are wanted, in cut order."""
        with self._sessions.reading() as session:
            return tiles(session, wanted)

    def shelves(self) -> Shelves:
        """What a review can be narrowed to."""
        with self._sessions.reading() as session:
            return shelves(session)

    def versions(self, name: str) -> list[Version]:
        """Every version of the shot `SHOW/CODE`, oldest first. Raises UnknownShotError."""
        with self._sessions.reading() as session:
            return [version_value(take) for take in shot_row(session, name).takes]
