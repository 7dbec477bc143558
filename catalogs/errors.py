"""What the catalogue raises. Every message is a sentence that ends in its remedy.

    CatalogueError                     anything that the catalogue refuses; catch this one
    ├── UnknownShotError               no shot has that name
    ├── AmbiguousShotError             several shows have a shot of that code
    ├── ShotTakenError                 the batch that runs is at that shot
    ├── ShotChangedError               the request is another one by now; planning it anew will do
    ├── FencedError                    the shot was given to another attempt, or this one was ended
    ├── VerdictError                   a verdict that may not be; holds every sentence at once
    ├── BatchRunningError              one batch at a time
    ├── CatalogueUnavailableError      wrong url, unwritable home, broken or newer database, lost connection
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


class ShotTakenError(CatalogueError):
    """The batch that runs has an open attempt at the shot, so nobody else may begin one."""

    def __init__(self, shot: str, batch: str) -> None:
        super().__init__(
            f"{shot} is being rendered by the batch {batch}; wait for it, cancel the shot, or stop the batch "
            "(`dailies night --stop`)"
        )
        self.shot = shot
        self.batch = batch


class ShotChangedError(CatalogueError):
    """The request is another one than the plan was made from."""

    transient = True
    """Planned anew, it can be rendered."""

    def __init__(self, shot: str) -> None:
        super().__init__(f"{shot} was submitted anew while it was planned; it is planned again")
        self.shot = shot


class FencedError(CatalogueError):
    """The shot was given to another attempt, or this one was ended: nothing more of it is kept."""

    def __init__(self, shot: str, fence: int, *, newest: int, ended: str = "") -> None:
        found = f"it was {ended}" if ended else f"the newest is {newest}"
        super().__init__(f"attempt {fence} at {shot} may not go on, {found}; leave the shot to whoever has it now")
        self.shot = shot
        self.fence = fence
        self.newest = newest


class VerdictError(CatalogueError):
    """A verdict that may not be, where the shots stand; `sentences` says why, one for each. Nothing was decided."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self.sentences = tuple(sentences)
        head = ["nothing was decided:"] if len(self.sentences) > 1 else []
        super().__init__("\n".join([*head, *self.sentences]))


class BatchRunningError(CatalogueError):
    """A batch is open already, and there is one at a time."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the batch {name} is not over; wait for its end, or stop it (`dailies night --stop`)")
        self.name = name


class CatalogueUnavailableError(CatalogueError):
    """The database cannot be used: wrong url, unwritable home, broken file, newer schema, lost connection."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient
        """Whether the same call may work later: the database is away, locked or out of disk, not wrong."""


class ShotListError(CatalogueError):
    """A submission was refused as a whole; `problems` says why, line by line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"nothing was submitted: {count} error{'' if count == 1 else 's'}"
        super().__init__("\n".join([head, *(str(problem) for problem in self.problems)]))
