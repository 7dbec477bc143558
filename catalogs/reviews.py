"""What a review reads of the catalogue: pages of tiles, one shot with all its versions.

Knows: sessions. Does not know: how a tile is put together (tiles.py), files, pages of HTML. Memory: one page, or the
versions of one shot.
"""

from __future__ import annotations

from catalogs.footage import Status
from catalogs.queries import shot_row
from catalogs.rows import shot_value
from catalogs.sessions import Sessions
from catalogs.tiles import Shelves, TilePage, Wanted, shelves, tiles
from catalogs.versions import ShotVersions, version_value


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

    def shot(self, name: str) -> ShotVersions:
        """The shot `SHOW/CODE` with every version. Raises UnknownShotError."""
        with self._sessions.reading() as session:
            row = shot_row(session, name)
            versions = tuple(version_value(take) for take in row.takes)
            return ShotVersions(shot_value(row), Status(row.status), row.id, versions)
