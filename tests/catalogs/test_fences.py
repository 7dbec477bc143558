"""Claims about fences: whoever lost a shot can neither write nor publish."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from catalogue_nights import begun, finish, opened, stocked

from catalogs.errors import FencedError, ShotTakenError
from catalogs.footage import Status, Take
from catalogs.night import AttemptStatus, Stage
from catalogs.store import Catalogue

CODES = "ABCDE"
NAMES = [f"AGM/{code}" for code in CODES]


def night_of(catalogue: Catalogue) -> str:
    """The shots and an open batch; its name."""
    stocked(catalogue, CODES)
    return opened(catalogue).name


# -- any sequence ------------------------------------------------------------------------------------


class Night:
    """A night in which anything may happen in any order, and what must hold after each step."""

    def __init__(self, catalogue: Catalogue, seed: int) -> None:
        self.catalogue = catalogue
        self.night = catalogue.nights
        self.random = random.Random(seed)
        self.batch = night_of(catalogue)
        self.takes: list[Take] = []
        self.published: Counter[tuple[str, int]] = Counter()
        self.refused = 0

    def someone(self) -> tuple[str, int]:
        """Some attempt, mostly an open one, sometimes one that never was."""
        known = self.night.attempts(open_only=self.random.random() < 0.6)
        if not known:
            return self.random.choice(NAMES), self.random.randint(0, 3)
        chosen = self.random.choice(known)
        return chosen.shot, chosen.fence + (self.random.random() < 0.05)

    def is_open(self, shot: str, fence: int) -> bool:
        """Whether that attempt may still write."""
        return any(one.fence == fence for one in self.night.attempts(shot=shot, open_only=True))

    def expect(self, work: Callable[[], object], *, allowed: bool) -> object:
        """The work succeeds exactly if it is allowed; otherwise it is fenced and nothing changes."""
        before = self.picture()
        try:
            answer = work()
        except FencedError:
            assert not allowed, "the holder was fenced"
            assert self.picture() == before
            self.refused += 1
            return None
        assert allowed, "somebody without a right was let through"
        return answer

    def picture(self) -> object:
        return self.night.attempts(), self.catalogue.shots()

    def step(self) -> None:
        """One thing that a night may do; what makes takes is commoner than what takes them away."""
        common = ("grant", "begin", "begin_take", "begin_take", "write", "write", "write", "write")
        what = self.random.choice((*common, "hand_over", "end", "take_over", "give_up", "cancel", "release", "by_hand"))
        run = self.random.choice(["gpu-0", "gpu-1", "cpu"])
        shot, fence = self.someone()
        reel = self.random.choice(["reel 01", "reel 02", "reel 03"])
        allowed = self.is_open(shot, fence)
        if what == "grant":
            some = self.random.sample(NAMES, self.random.randint(1, 4))
            self.night.grant(self.batch, reel, some, stage=self.random.choice(list(Stage)))
            self.night.assign(self.batch, reel, flow_run=run)
        elif what == "begin":
            holder = [one for one in self.night.attempts(shot=shot, open_only=True) if one.fence == fence]
            free = bool(holder) and (holder[0].status is AttemptStatus.WAITING or holder[0].flow_run == run)
            self.expect(lambda: self.night.begin(shot, fence, flow_run=run), allowed=free)
        elif what == "begin_take":
            take = self.expect(lambda: begun(self.catalogue, shot, fence), allowed=allowed)
            if isinstance(take, Take):
                self.takes.append(take)
        elif what == "hand_over":
            self.expect(lambda: self.night.hand_over(shot, fence), allowed=allowed)
        elif what == "end":
            status = self.random.choice(list(AttemptStatus)[2:])
            assert self.night.end_attempt(shot, fence, status=status, error="why") is allowed
        elif what == "take_over":
            self.night.take_over(self.batch, reel=reel, model="", flow_run=run)
        elif what == "give_up":
            given = self.night.give_up(f"{run} {self.random.random()}" if self.random.random() < 0.5 else run, why="?")
            assert all(not self.is_open(one.shot, one.fence) for one in given)
        elif what == "cancel":
            self.random.choice([self.night.cancel, lambda names: self.night.quarantine(names[0], error="bad")])([shot])
        elif what == "release":
            held = [record.shot.name for record in self.catalogue.shots(status=Status.QUARANTINED)]
            assert self.night.release(held) == held
        elif what == "by_hand":
            self.by_hand(shot)
        elif self.takes:
            self.write(self.random.choice(self.takes[-4:]))

    def by_hand(self, shot: str) -> None:
        """A render by hand goes unless the batch is at the shot."""
        taken = [one for one in self.night.attempts(shot=shot, open_only=True) if one.batch]
        try:
            self.takes.append(begun(self.catalogue, shot))
        except ShotTakenError:
            assert taken
        else:
            assert not taken

    def write(self, take: Take) -> None:
        """The holder of a take publishes and finishes it, fails it or leaves it."""
        name = f"{take.show}/{take.code}"
        allowed = self.is_open(name, take.fence)
        ended = {one.fence: one.status for one in self.night.attempts(shot=name)}[take.fence]
        before = self.picture()
        what = self.random.choice(["publish", "publish", "leave", "fail"])
        if what == "publish":
            self.expect(lambda: self.publish(take), allowed=allowed)
        elif what == "leave":
            self.catalogue.leave_take(take)
            assert allowed or self.picture() == before
        else:
            # said again by who has said it already: neither an error nor a change
            again = ended in (AttemptStatus.DONE, AttemptStatus.FAILED)
            if allowed or not again:
                work = lambda: self.catalogue.fail_take(take, error="why", seconds={})  # noqa: E731
                self.expect(work, allowed=allowed)
            else:
                self.catalogue.fail_take(take, error="again", seconds={})
                assert self.picture() == before

    def publish(self, take: Take) -> None:
        with self.catalogue.publishing(take):
            self.published[take.code, take.fence] += 1
        finish(self.catalogue, take)
        before = self.picture()
        finish(self.catalogue, take)
        assert self.picture() == before

    def check(self) -> None:
        """What holds at all times."""
        attempts = self.night.attempts()
        still = [one.shot for one in attempts if one.open]
        assert len(still) == len(set(still)), "two open attempts at one shot"
        for name in NAMES:
            fences = [one.fence for one in attempts if one.shot == name]
            assert fences == sorted(set(fences)), "a fence did not rise"
            assert all(one.fence == max(fences) for one in attempts if one.shot == name and one.open)
        for record in self.catalogue.shots():
            assert record.status is not Status.RENDERING or record.shot.name in still, "rendered by nobody"
        assert all(count == 1 for count in self.published.values())


@pytest.mark.parametrize("seed", range(2))
def test_only_the_holder_of_the_newest_attempt_writes(catalogue: Catalogue, seed: int) -> None:
    """After any sequence: one open attempt per shot, rising fences, and whoever is fenced changes nothing."""
    night = Night(catalogue, seed)
    for _ in range(60):
        night.step()
        night.check()
    assert night.refused, "nobody was ever fenced: the sequence claims nothing"
    assert night.published, "nobody ever published: the sequence claims nothing"
    night.night.end(night.batch, report={})
    night.check()
    assert all(not one.open or not one.batch for one in night.night.attempts())


# -- by hand -----------------------------------------------------------------------------------------


def test_a_render_by_hand_keeps_out_of_the_batch(catalogue: Catalogue) -> None:
    """While the batch has an open attempt at a shot nobody renders it by hand; after that, and of others, they may."""
    batch = night_of(catalogue)
    [one] = catalogue.nights.grant(batch, "reel 01", ["A"])
    with pytest.raises(ShotTakenError, match=f"AGM/A is being rendered by the batch {batch}"):
        begun(catalogue, "A")
    take = begun(catalogue, "B")
    [attempt] = catalogue.nights.attempts(shot="B")
    assert (take.fence, attempt.batch, attempt.status) == (1, "", AttemptStatus.RUNNING)
    catalogue.nights.end_attempt("A", one.fence, status=AttemptStatus.RELEASED)
    assert begun(catalogue, "A").fence == 2
    again = begun(catalogue, "B")
    with pytest.raises(FencedError, match="attempt 1 at AGM/B may not go on, it was released"):
        finish(catalogue, take)
    finish(catalogue, again)
    assert catalogue.find("B").status is Status.REVIEW


def test_a_take_that_was_only_looked_up_writes_nothing(catalogue: Catalogue) -> None:
    """Whoever reads a take from the catalogue holds no right to it."""
    night_of(catalogue)
    begun(catalogue, "A")
    found = catalogue.newest_take("A")
    assert found is not None
    assert found.fence == 0
    with pytest.raises(FencedError):
        finish(catalogue, found)
    catalogue.leave_take(found)
    assert catalogue.find("A").status is Status.RENDERING


def test_a_take_that_is_left_is_continued(catalogue: Catalogue) -> None:
    """Stopped on request: the shot is ready, and the next attempt goes on in the same version."""
    batch = night_of(catalogue)
    [one] = catalogue.nights.grant(batch, "reel 01", ["A"])
    take = begun(catalogue, "A", one.fence)
    catalogue.leave_take(take, evidence={"gone": "asked to leave"})
    [left] = catalogue.nights.attempts()
    assert (left.status, left.evidence) == (AttemptStatus.RELEASED, {"gone": "asked to leave"})
    record = catalogue.find("A")
    assert (record.status, record.take and record.take.status) == (Status.READY, Status.RENDERING)
    [two] = catalogue.nights.grant(batch, "reel 02", ["A"])
    assert begun(catalogue, "A", two.fence).version == take.version


def test_finishing_forgets_the_deaths(catalogue: Catalogue) -> None:
    """Two deaths in a row are suspicious, not one in spring and one in autumn."""
    batch = night_of(catalogue)
    for fence in (1, 3):
        catalogue.nights.grant(batch, "reel 01", ["A"])
        catalogue.nights.begin("A", fence, flow_run=f"f{fence}")
        if fence == 1:
            catalogue.nights.give_up("f1", why="killed")
            assert catalogue.nights.deaths(batch)["AGM/A"] == 1
    finish(catalogue, begun(catalogue, "A", 3))
    assert catalogue.nights.deaths(batch)["AGM/A"] == 0


def test_a_transient_failure_says_so(catalogue: Catalogue) -> None:
    """Whether another attempt may do better is kept with the attempt."""
    batch = night_of(catalogue)
    catalogue.nights.grant(batch, "reel 01", ["A", "B"])
    catalogue.fail_take(begun(catalogue, "A", 1), error="no disk", seconds={}, transient=True)
    catalogue.fail_take(begun(catalogue, "B", 1), error="no model", seconds={})
    a, b = catalogue.nights.attempts()
    assert (a.status, a.error, a.transient) == (AttemptStatus.FAILED, "no disk", True)
    assert (b.status, b.error, b.transient) == (AttemptStatus.FAILED, "no model", False)
    assert catalogue.find("A").status is Status.FAILED
