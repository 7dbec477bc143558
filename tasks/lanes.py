"""Work beside the work: what is done with each frame by another thread while the next one is being made.

Knows: threads and a queue. Does not know: what is done. Memory: `depth` frames a lane.

Encoding waits for pipes, measuring for OpenCV, blending for neither: one thread for each keeps two processors busy
where one after the other would leave one idle. Frames stay in order, and an error reaches whoever hands frames over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from queue import Queue

from models.interface import Frame


@contextmanager
def lane(
    consume: Callable[[Frame], None], *, depth: int = 4, abort: Callable[[], None] = lambda: None
) -> Iterator[Callable[[Frame], None]]:
    """Gives a function that hands a frame to `consume` in a thread of its own, waiting while `depth` are waiting.

    Leaving the block normally waits until all are consumed; leaving it by an exception drops those that wait, and calls
    `abort`, which must end a `consume` that may wait for ever. What `consume` raises is raised at the next frame or at
    the end.
    """
    waiting: Queue[Frame | None] = Queue(depth)
    failed: list[BaseException] = []

    def run() -> None:
        while (frame := waiting.get()) is not None:
            if failed:
                continue  # taken all the same: whoever hands frames over must not wait for a lane that died
            try:
                consume(frame)
            except BaseException as error:
                failed.append(error)

    def put(frame: Frame) -> None:
        if failed:
            raise failed[0]
        waiting.put(frame)

    thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True)
    thread.start()
    try:
        yield put
    except BaseException as error:
        failed.append(error)
        abort()
        raise
    finally:
        waiting.put(None)
        thread.join()
    if failed:
        raise failed[0]
