"""Who is killed when: a random plan from a seed, carried out on the programs of one house. No benchmark itself."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from chaos_house import Place

SHARES = {
    "reel": 34,
    "gpu worker": 14,
    "finishing": 22,
    "finish worker": 8,
    "ffmpeg": 14,
    "night run": 5,
    "night worker": 3,
}
"""Of a hundred SIGKILLs."""

SERVERS = 50
"""For so many of them the server is killed once besides; there are one restart of the database and one full disk."""

FULL = 10.0
"""Seconds that the disk is full."""

STALE = 90.0
"""Seconds without progress after which the next fault comes all the same."""

ANOTHER, GIVEN_UP = 5.0, 300.0
"""Seconds that a kind of program may be missing before other faults come first, and before it is left out."""

POOLS = {"gpu": ("gpu worker", "reel"), "cpu": ("finish worker", "finishing"), "night": ("night worker", "night run")}


@dataclass(frozen=True)
class Program:
    """A living program of the house."""

    pid: int
    parent: int
    words: tuple[str, ...]


def programs(home: Path) -> dict[int, Program]:
    """Every living program whose environment names that home."""
    mark, found = f"DAILIES_HOME={home}".encode(), {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            if mark not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if fields[0] in ("Z", "X"):
                continue
            words = (folder / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
            found[int(folder.name)] = Program(int(folder.name), int(fields[1]), tuple(words))
    return found


def kind_of(program: Program, among: dict[int, Program]) -> str:
    """What a program is in the house; empty for what nobody kills."""
    words = program.words
    if "flows.worker" in words:
        return POOLS[words[words.index("flows.worker") + 1]][0]
    if words[1:4] == ("-m", "flows.server", "server"):
        return "server"
    if Path(words[0]).name.startswith("ffmpeg"):
        return "ffmpeg"
    if "flows.leash" in words and (parent := among.get(program.parent)) and "flows.worker" in parent.words:
        return POOLS[parent.words[parent.words.index("flows.worker") + 1]][1]
    return ""


def plan(kills: int, seed: int, *, besides: list[str]) -> list[str]:
    """`kills` kinds in their shares, and the others, in a random order."""
    shares = {kind: kills * share / sum(SHARES.values()) for kind, share in SHARES.items()}
    counts = Counter({kind: int(share) for kind, share in shares.items()})
    rest = sorted(shares, key=lambda kind: counts[kind] - shares[kind])
    counts.update(rest[: kills - counts.total()])
    kinds = [*counts.elements(), *besides]
    random.Random(seed).shuffle(kinds)
    return kinds


@dataclass
class Faults:
    """Carries a plan out, one after the other, with work in between."""

    place: Place
    plan: list[str]
    random: random.Random
    gaps: tuple[float, float]
    """Least and most seconds between two faults."""
    said: Callable[[str], None] = print
    done: list[tuple[float, str, str]] = field(default_factory=list)
    """(monotonic time, kind, what was hit)."""
    left_out: list[str] = field(default_factory=list)
    _last: float = field(default_factory=time.monotonic)
    _due: float = 0.0
    _progress: int = 0
    _refill: float | None = None
    _missed: dict[str, float] = field(default_factory=dict)
    """Kind of which nobody was there -> since when."""

    def step(self, progress: int) -> None:
        """Do the next fault if it is time; `progress` counts what the house has finished so far. Waits a moment."""
        now = time.monotonic()
        if self._refill is not None and now > self._refill:
            self._ballast.unlink()
            self._refill = None
        moved = progress > self._progress or now > self._last + STALE
        if self.plan and now > self._due and moved and self._refill is None and self._do(self.plan[0]):
            self._last, self._progress = time.monotonic(), progress
            self._due = self._last + self.random.uniform(*self.gaps)
        time.sleep(0.02 if self.plan[:1] == ["ffmpeg"] else 0.1)  # that one lives for a moment

    def settle(self) -> None:
        """What stands in the way when no fault comes any more is taken away."""
        if self._refill is not None:
            self._ballast.unlink()
            self._refill = None

    @property
    def _ballast(self) -> Path:
        return self.place.home / "work" / ".ballast"

    def _do(self, kind: str) -> bool:
        """Whether it could be done."""
        if kind == "full disk":
            self._fill()
        elif kind == "database restart":
            assert self.place.postgres is not None
            self.place.postgres.restart(kill=True)
        elif not self._kill(kind):
            self._look_elsewhere(kind)
            return False
        else:
            self.plan.pop(0)
            self._missed.pop(kind, None)
            return True
        self.plan.pop(0)
        self._note(kind, "")
        return True

    def _look_elsewhere(self, kind: str) -> None:
        """Nobody of that kind is there: after a while another one comes first, and in the end it is left out."""
        waited = time.monotonic() - self._missed.setdefault(kind, time.monotonic())
        if waited > GIVEN_UP:
            self.left_out.append(f"{kind}: nobody of that kind was there")
            self.plan.remove(kind)
            del self._missed[kind]
        elif waited > ANOTHER:
            self.plan.insert(min(len(self.plan), self.random.randint(1, 4)), self.plan.pop(0))

    def _kill(self, kind: str) -> bool:
        among = programs(self.place.home)
        victims = sorted(pid for pid, program in among.items() if kind_of(program, among) == kind)
        if not victims:
            return False
        victim = self.random.choice(victims)
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self._note(kind, f"{victim}")
        return True

    def _fill(self) -> None:
        with suppress(OSError), self._ballast.open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(1 << 16))
        self._refill = time.monotonic() + FULL

    def _note(self, kind: str, what: str) -> None:
        self.done.append((time.monotonic(), kind, what))
        self.said(f"fault {len(self.done)}: {kind} {what}")
