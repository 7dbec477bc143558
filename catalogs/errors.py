"""What the catalogue raises. Every message is a sentence that ends in its remedy.

    CatalogueError                     anything that the catalogue refuses; catch this one
    ├── UnknownShotError               no shot has that name
    ├── AmbiguousShotError             several shows have a shot of that code
    ├── CatalogueUnavailableError      wrong url, unwritable home, broken or newer database
    └── ShotListError                  a submission with errors; holds every Problem at once

Knows: the sentences. Does not know: SQL, files. Memory: O(problems).
"""

from __future__ import annotations

from collections.abc import Sequence

from catalogs.problems import Problem


class CatalogueError(Exception):
    """Anything that the catalogue refuses."""


class UnknownShotError(CatalogueError):
    """No shot has that name."""

    def __init__(self, name: str, close: Sequence[str] = ()) -> None:
        hint = f"did you mean {', '.join(close)}?" if close else "`dailies shots` lists the catalogue's shots"
        super().__init__(f"there is no shot {name!r}; {hint}")
        self.name = name
        self.close = tuple(close)


class AmbiguousShotError(CatalogueError):
    """Several shows have a shot of that code."""

    def __init__(self, name: str, matches: Sequence[str]) -> None:
        super().__init__(f"{name!r} is a shot of several shows; name one of {', '.join(matches)}")
        self.name = name
        self.matches = tuple(matches)


class CatalogueUnavailableError(CatalogueError):
    """The database cannot be used: wrong url, unwritable home, broken file, newer schema."""


class ShotListError(CatalogueError):
    """A submission was refused as a whole; `problems` says why, line by line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"nothing was submitted: {count} error{'' if count == 1 else 's'}"
        super().__init__("\n".join([head, *(str(problem) for problem in self.problems)]))
