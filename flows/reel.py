"""A reel: one process, one loaded model, one shot after the other; finished windows go to whoever finishes the shot.

Knows: which shot is next, when there is no time for it, and how the next one is made ready while one is rendered.
Does not know: how windows are made, who made the reels.

Three threads: the main one hears signals and waits; one renders; one makes the next shot ready and calls for the
finishing of the last, so that the engine never waits for a disk or a server.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed

from catalogs.errors import CatalogueError, FencedError
from catalogs.night import Attempt, AttemptStatus, Batch, Stage
from catalogs.shot import Shot, slate
from catalogs.store import Catalogue, ShotRecord, open_catalogue
from flows.begin import Ready, Wishes, found_finished, lay_out, make_ready, swept, take_up, work_of
from flows.dispatch import FINISH_SHOT, DispatchError, dispatching
from flows.duty import on_duty
from flows.leash import loose
from flows.patience import patient, patiently
from flows.prompts import expect_prompts
from flows.settings import Settings
from flows.settle import Recorder, failed
from flows.take import generate_take
from flows.watching import progress_artifact
from models.interface import WindowStopped
from tasks.handover import Handover, write_handover
from tasks.progress import SHARES, counted
from tasks.pulse import Pulse
from tasks.recovery import RunState
from tasks.stopping import STOPPING

LOG: Final = logging.getLogger("dailies")

NO_TIME: Final = "carried over: it would not have been finished before the window's end"
ASKING: Final = 8.0
"""Seconds that a server has to say whether a run was cancelled; the run has flows.leash.GRACE to be gone."""
ASKED: Final = "its process was asked to leave; finished windows and the checkpoint are kept"


@flow(name="render-reel", flow_run_name="{batch} {reel}", validate_parameters=False)
def render_reel(batch: str, reel: str) -> Any:
    """Render the shots of a reel; when it has none left, shots of the same model from the longest other reel.

    The state's message counts them. On SIGTERM the window at work saves its checkpoint, and every shot that is not
    finished is given back.
    """
    settings = Settings.read()
    with open_catalogue(settings.database_url) as catalogue:
        night = patiently(lambda: catalogue.nights.batch(batch))
        work = _Reel(catalogue, settings, night, reel)
        with on_duty(
            catalogue, settings, batch, Stage.GENERATE, name=reel, on_stop=work.stop, on_lost=work.drop
        ) as pulse:
            return work.render(pulse)


class _Reel:
    """A reel at work."""

    def __init__(self, catalogue: Catalogue, settings: Settings, night: Batch, reel: str) -> None:
        self._catalogue, self._nights, self._settings = catalogue, catalogue.nights, settings
        self._batch, self._name, self._me = night, reel, str(flow_run.id)
        self._wishes = Wishes(**night.wishes)
        self._model = ""
        self._cancelled: bool | None = None
        self._made: list[str] = []
        self._failed: list[str] = []
        self._seen: set[tuple[str, int]] = set()
        self._side = ThreadPoolExecutor(1, thread_name_prefix="side")
        self._post = ThreadPoolExecutor(1, thread_name_prefix="post")

    # -- orders, from the pulse's thread ---------------------------------------------------------------

    def stop(self) -> None:
        """The batch is to end: the window at work saves what it has, or is finished if that is sooner."""
        LOG.info("%s: asked to end", self._name)
        STOPPING.ask()

    def drop(self, shot: str) -> None:
        """The shot is no longer ours: its window stops, the reel goes on."""
        STOPPING.drop(f"{shot} was cancelled, or given to another run")

    # -- the threads -----------------------------------------------------------------------------------

    def render(self, pulse: Pulse) -> Any:
        """All shots. Runs in the main thread, which waits and hears signals."""
        engine = ThreadPoolExecutor(1, thread_name_prefix="engine")
        # a context of its own for the thread: Prefect keeps the parent flow there
        work = engine.submit(copy_context().run, self._all, pulse)
        try:
            while not work.done():
                wait([work], timeout=1.0)  # in slices, so that a signal is heard everywhere
            work.result()
        except KeyboardInterrupt:
            LOG.warning("%s: asked to leave; the window at work saves its checkpoint", self._name)
            STOPPING.leave()
            wait([work], timeout=60)
            # Cancelled says that somebody cancelled it: its shots are then left alone for tonight
            ended = Cancelled if self._is_cancelled() else Failed
            return ended(message=f"asked to leave: {self._counts()}")
        finally:
            for pool in (self._side, self._post, engine):
                pool.shutdown(wait=not STOPPING.leaving)
        if self._failed:
            return Failed(message=f"{self._counts()}; first {self._failed[0]}")
        return Completed(message=self._counts())

    def _counts(self) -> str:
        return f"{counted(len(self._made), 'shot')} rendered, {len(self._failed)} failed"

    def _all(self, pulse: Pulse) -> None:
        """One shot after the other. Runs in the engine's thread."""
        mine = patiently(lambda: self._nights.attempts(self._batch.name, reel=self._name, open_only=True))
        deaths = patiently(lambda: self._nights.deaths(self._batch.name))
        # a shot that a process died at has its process for itself: nothing else is taken over
        suspect = any(deaths.get(attempt.shot) for attempt in mine)
        self._model = "" if suspect else next((attempt.model for attempt in mine), "")
        records = [self._record(attempt) for attempt in mine]
        expect_prompts([record.shot for record in records], self._settings, profile=self._wishes.profile)
        upcoming = self._side.submit(self._next)
        # nothing found beside the last shot may mean that the one to be taken over was not begun yet: look once more
        while (found := upcoming.result() or self._next()) is not None:
            upcoming = self._side.submit(self._next)
            attempt, record, ready = found
            pulse.say(f"{record.shot.name} is taken up")
            with pulse.holding(attempt.shot):
                self._one(attempt, record, ready)
            STOPPING.go_on()
        if self._leaving():
            self._release_rest()

    # -- one shot --------------------------------------------------------------------------------------

    def _next(self) -> tuple[Attempt, ShotRecord, Ready | Exception] | None:
        """The next shot and all that can be found out about it beforehand. Runs beside the engine."""
        while not self._leaving():
            attempt = self._next_attempt()
            if attempt is None:
                return None
            self._seen.add((attempt.shot, attempt.fence))
            record = self._record(attempt)
            return attempt, record, self._made_ready(record)
        return None

    def _made_ready(self, record: ShotRecord) -> Ready | Exception:
        """What can be found out beforehand; an error is said when the shot's turn comes."""
        try:
            return make_ready(record, self._settings, self._wishes)
        except Exception as error:
            return error

    def _next_attempt(self) -> Attempt | None:
        """Our own next one, else one of another reel of the same model."""
        mine = patiently(lambda: self._nights.attempts(self._batch.name, reel=self._name, open_only=True))
        for attempt in mine:
            waiting = attempt.status is AttemptStatus.WAITING and attempt.stage is Stage.GENERATE
            if waiting and (attempt.shot, attempt.fence) not in self._seen:
                return attempt
        if not self._model:
            return None
        taken = patiently(
            lambda: self._nights.take_over(self._batch.name, reel=self._name, model=self._model, flow_run=self._me)
        )
        return None if taken is None or (taken.shot, taken.fence) in self._seen else taken

    def _record(self, attempt: Attempt) -> ShotRecord:
        return patiently(lambda: self._catalogue.find(attempt.shot))

    def _one(self, attempt: Attempt, record: ShotRecord, ready: Ready | Exception) -> None:
        """One shot's windows, under the attempt's fence."""
        if self._leaving():
            self._give_back(attempt, ASKED, gone=True)
            return
        if self._too_late(attempt):
            self._give_back(attempt, NO_TIME, gone=False)
            self._model = ""  # what others have waiting is theirs to judge: this machine's clock may be wrong
            return
        shot = record.shot
        seconds: dict[str, float] = {}
        plan = None
        try:
            patiently(lambda: self._nights.begin(shot.name, attempt.fence, flow_run=self._me))
            now = self._record(attempt)
            if now.revision != record.revision:  # submitted anew since it was made ready
                record, ready, shot = now, self._made_ready(now), now.shot
            if isinstance(ready, Exception):
                raise ready
            plan = ready.plan(ready.version)
            with swept(work_of(shot, self._settings), what=shot.name):
                self._generate(attempt, record, ready, seconds)
            self._made.append(shot.name)
        except FencedError as error:
            LOG.warning("%s", error)
        except WindowStopped:
            self._give_back(attempt, ASKED, gone=True)
        except Exception as error:
            try:
                report = failed(record, attempt, self._catalogue, error, plan=plan, seconds=seconds)
            except FencedError as fenced:
                LOG.warning("%s", fenced)
                return
            self._failed.append(report["error"])

    def _generate(self, attempt: Attempt, record: ShotRecord, ready: Ready, seconds: dict[str, float]) -> None:
        if finished := found_finished(record, ready, self._catalogue, self._settings):
            LOG.info("%s: nothing to do", finished["slate"])
            self._nights.end_attempt(record.shot.name, attempt.fence, status=AttemptStatus.DONE)
            return
        begun = patiently(lambda: take_up(record, ready, self._catalogue, self._settings, fence=attempt.fence))
        lay_out(begun, self._settings)
        recorder = Recorder(self._catalogue, begun.plan, batch=self._batch.name)
        with progress_artifact(begun.plan.slate, last=SHARES["generate"][1]):
            generated = generate_take(
                begun.plan,
                begun.place,
                interpolator=begun.interpolator,
                seconds=seconds,
                on_window=recorder.window,
            )
        write_handover(
            work_of(record.shot, self._settings),
            Handover(attempt.fence, begun.plan, generated),
            guard=lambda: patient(lambda: self._catalogue.publishing(begun.take)),
        )
        patiently(lambda: self._nights.hand_over(record.shot.name, attempt.fence))
        self._post.submit(call_for_finish, self._catalogue, attempt, self._catalogue.find(record.shot.name))

    # -- giving back -----------------------------------------------------------------------------------

    def _leaving(self) -> bool:
        return STOPPING.leaving

    def _too_late(self, attempt: Attempt) -> bool:
        until = self._batch.until
        return until is not None and datetime.now(UTC) + timedelta(seconds=attempt.expected) > until

    def _give_back(self, attempt: Attempt, why: str, *, gone: bool) -> None:
        """`gone`: because of this process, not of the shot; another one is to take it up."""
        status, evidence = AttemptStatus.RELEASED, {"gone" if gone else "carried": why}
        if gone and self._is_cancelled():
            status, evidence, why = AttemptStatus.CANCELLED, {}, "its reel was cancelled in Prefect"
        patiently(
            lambda: self._nights.end_attempt(attempt.shot, attempt.fence, status=status, error=why, evidence=evidence)
        )

    def _is_cancelled(self) -> bool:
        """Whether somebody cancelled this run in Prefect; asked once, when it is told to leave."""
        if self._cancelled is None:
            self._cancelled = STOPPING.leaving and cancelled(self._me)
        return self._cancelled

    def _release_rest(self) -> None:
        mine = patiently(lambda: self._nights.attempts(self._batch.name, reel=self._name, open_only=True))
        for attempt in mine:
            if attempt.stage is Stage.GENERATE:
                self._give_back(attempt, ASKED, gone=True)


def cancelled(flow_run_id: str) -> bool:
    """Whether somebody cancelled the flow run, rather than its worker being asked to leave. Takes ASKING at most.

    With its worker gone, or going while it is asked, the server may be too: Prefect's client would wait for minutes,
    and a run has seconds to give back what it had.
    """
    answers: list[bool] = []

    def ask() -> None:
        try:
            with dispatching() as dispatch:
                found = dispatch.look([flow_run_id]).get(flow_run_id)
        except Exception as error:  # whatever it is, nobody knows of a cancellation
            LOG.info("nobody could be asked whether the run was cancelled: %s", error)
            return
        answers.append(found is not None and found.state in (RunState.CANCELLING, RunState.CANCELLED))

    asking = threading.Thread(target=ask, name="asking", daemon=True)
    ends = time.monotonic() + ASKING
    if not loose():
        asking.start()
    while asking.is_alive() and not loose() and time.monotonic() < ends:
        asking.join(0.1)
    return bool(answers) and answers[0]


def labels(shot: Shot, batch: str) -> list[str]:
    """Tags of a shot's flow run: show, sequence and batch.

    Its task runs have none: Prefect asks its server for a slot for every tag of a task run, and a server that is away
    would cost a shot.
    """
    return [label for label in (shot.show, shot.sequence, batch) if label]


def call_for_finish(catalogue: Catalogue, attempt: Attempt, record: ShotRecord) -> str:
    """Make the flow run that finishes a handed-over shot. If it cannot be made now, whoever follows the night will."""
    shot = record.shot
    name = slate(shot.show, shot.sequence, shot.code, record.version)
    try:
        with dispatching() as dispatch:
            made = dispatch.run(
                FINISH_SHOT,
                key=f"finish {attempt.shot} {attempt.fence} {attempt.granted.isoformat()}",
                name=name,
                parameters={"shot": attempt.shot, "fence": attempt.fence, "slate": name},
                tags=labels(shot, attempt.batch),
            )
        catalogue.nights.assign_finish(attempt.shot, attempt.fence, flow_run=made)
    except (DispatchError, CatalogueError) as error:
        LOG.warning("%s: not called for finishing yet: %s", name, error)
        return ""
    return made
