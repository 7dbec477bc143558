"""One row of a shot list to one Shot: what the columns need of each other and of the model.

Knows: required cells, lengths, sizes, defaults. Does not know: files, headers' spellings, other rows.
Memory: one row, and one plate while it is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import TypeVar

from catalogs import columns
from catalogs.anchors import anchor_complaints, read_anchors
from catalogs.beats import beat_complaints
from catalogs.columns import CellError
from catalogs.formats import delivery_complaints
from catalogs.loras import Loras
from catalogs.plates import Plates, Refused
from catalogs.problems import Complaint, Problem, problem
from catalogs.shot import DEFAULT_DELIVERIES, LONGEST, MOST_REROLLS, SHORTEST, Anchor, LoraUse, Plate, Shot
from catalogs.source_types import TERMS, is_source_type, read_source_type
from catalogs.timebase import frames_for, rate_display

T = TypeVar("T")

MOST_FRAMES = 10_000_000
"""Highest frame number that an edit may name."""

MOST_OVERLAP = 10_000
"""Native frames of an overlap; the model's windows bound it further."""

DECISIVE = frozenset(("frames", "frame_in", "frame_out", "seconds", "fps", "handles", "speed", "overlap", "model"))
"""Columns without which nobody can say how a shot's windows lie."""


def _no_complaints(shot: Shot) -> Sequence[Complaint]:
    del shot
    return ()


@dataclass(frozen=True, slots=True)
class ModelRules:
    """What a submission must know of a model."""

    needs_plate: bool = True
    """Whether it animates a still; False for text-to-video."""
    needs_prompt: bool = True
    """Whether it must be told what happens."""
    smallest: tuple[int, int] = columns.SIDES[:1] * 2
    """Long and short side of the smallest delivery, in pixels; holds for either orientation."""
    largest: tuple[int, int] = columns.SIDES[1:] * 2
    """Long and short side of the largest delivery, in pixels."""
    longest: int | None = None
    """Most delivery frames, handles included; None if there is no limit."""
    takes_loras: bool = False
    """Whether a `loras` cell has an effect."""
    judge: Callable[[Shot], Sequence[Complaint]] = _no_complaints
    """What its windows cannot do of what a shot asks: context, overlap, anchors, length."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every row of a list."""

    show: str
    """Show of rows that name none; empty if there is none to fall back on."""
    model: str
    """Model of rows that name none."""
    models: Mapping[str, ModelRules]
    """Every model that may be asked for."""
    plates: Plates
    """Where stills come from."""
    loras: Loras
    """Where LoRAs come from."""


@dataclass(slots=True)
class Cells:
    """One row's cells by column, and what turned out to be wrong with them."""

    file: str
    line: int
    cells: Mapping[str, str]
    """Column of ALIASES -> cell, stripped; only columns that the file has."""
    headers: Mapping[str, str]
    """Column of ALIASES -> the file's spelling."""
    metadata: tuple[tuple[str, str], ...]
    """Unknown columns with a value, as (header, cell)."""
    problems: list[Problem] = field(default_factory=list)
    """Errors and warnings found so far, in reading order."""
    wrong: set[str] = field(default_factory=set)
    """Columns of ALIASES with an error."""

    def text(self, column: str) -> str:
        """The cell; empty if the file has no such column."""
        return self.cells.get(column, "")

    def add(
        self, code: str, column: str, words: Mapping[str, object] | None = None, *, value: str | None = None
    ) -> None:
        """Notes a problem of this row; `value` is what is wrong of the cell, without it all of it."""
        header = self.headers.get(column, column)
        shown = self.text(column) if value is None else value
        found = problem(code, self.file, line=self.line, column=header, value=shown, words=words)
        self.problems.append(found)
        if found.severity == "error":
            self.wrong.add(column)

    def read(self, column: str, reader: Callable[[str], T]) -> T | None:
        """The cell's value; None if it is empty, or wrong and thereby noted."""
        if not self.text(column):
            return None
        try:
            return reader(self.text(column))
        except CellError as error:
            self.add(error.code, column, error.words)
            return None


def read_request(row: Cells, terms: Terms) -> Shot | None:
    """The row's shot; None if something is wrong, which `row.problems` then says in full."""
    show = row.read("show", columns.read_code) if row.text("show") else terms.show
    code = row.read("shot", columns.read_code)
    if not row.text("shot"):
        row.add("E301", "shot")
    sequence = _sequence(row)
    model = (row.text("model") or terms.model).lower()
    rules = terms.models.get(model)
    if rules is None:
        row.add("E315", "model", {"names": ", ".join(terms.models)})
        rules = ModelRules(needs_plate=False, needs_prompt=False, takes_loras=True)
    elif not row.text("prompt") and rules.needs_prompt:
        row.add("E322", "prompt", {"model": model})
    if not row.text("plate") and rules.needs_plate:
        row.add("E401", "plate", {"model": model})
    loras = _loras(row, terms.loras, model=model, rules=rules)
    plate, end_plate = _plate(row, "plate", terms.plates), _plate(row, "end_plate", terms.plates)
    rate = row.read("fps", columns.read_fps) or Fraction(30)
    handles = row.read("handles", partial(columns.read_whole, low=0, high=1000)) or 0
    frames = _length(row, rate)
    if frames and rules.longest is not None and frames + 2 * handles > rules.longest:
        limit = max(0, rules.longest - 2 * handles)
        words = {"frames": frames + 2 * handles, "model": model, "limit": limit, "otherwise": ""}
        row.add("E317", _length_column(row), words)
    width, height = _size(row, plate, end_plate, model=model, rules=rules)
    deliveries, repeated = row.read("deliveries", columns.read_deliveries) or (DEFAULT_DELIVERIES, False)
    if repeated:
        row.add("W303", "deliveries")
    size = None if width is None or height is None else (width, height)
    for complaint in delivery_complaints(deliveries, size=size, rate=rate):
        row.add(complaint.code, complaint.column, complaint.words)
    shot = Shot(
        show=show or "",
        code=code or "",
        frames=frames or SHORTEST,
        sequence=sequence,
        plate=plate,
        end_plate=end_plate,
        prompt=row.read("prompt", columns.read_text) or "",
        negative_prompt=row.read("negative_prompt", columns.read_text) or "",
        rate=rate,
        handles=handles,
        width=width,
        height=height,
        model=model,
        seed=row.read("seed", columns.read_seed),
        steps=row.read("steps", columns.read_steps),
        guidance=row.read("guidance", columns.read_guidance),
        loras=loras,
        context=row.read("context", columns.read_context) or "",
        overlap=row.read("overlap", partial(columns.read_whole, low=0, high=MOST_OVERLAP)),
        anchors=_anchors(row, terms.plates),
        max_rerolls=row.read("max_rerolls", partial(columns.read_whole, low=0, high=MOST_REROLLS)),
        camera=row.read("camera", columns.read_camera) or "",
        deliveries=deliveries,
        speed=row.read("speed", columns.read_speed) or Fraction(1),
        retimer=row.read("retimer", columns.read_retimer) or "",
        priority=row.read("priority", partial(columns.read_whole, low=1, high=99)) or 50,
        due=row.read("due", columns.read_due),
        notes=row.read("notes", columns.read_text) or "",
        submitted_by=row.read("submitted_by", columns.read_text) or "",
        metadata=_metadata(row, rules),
    )
    if not row.wrong & DECISIVE:
        for complaint in (*beat_complaints(shot), *anchor_complaints(shot), *rules.judge(shot)):
            column = _length_column(row) if complaint.column == "frames" else complaint.column
            row.add(complaint.code, column, complaint.words)
    return None if any(found.severity == "error" for found in row.problems) else shot


def _sequence(row: Cells) -> str:
    """`episode_sequence`, or the one of them that is there."""
    parts = [row.read(column, columns.read_code) for column in ("episode", "sequence")]
    joined = "_".join(part for part in parts if part)
    if len(joined) > columns.LONGEST_CODE:
        row.add("E304", "sequence", {"limit": columns.LONGEST_CODE})
    return joined


def _plate(row: Cells, column: str, plates: Plates) -> Plate | None:
    if not row.text(column):
        return None
    found = plates.get(row.text(column))
    if isinstance(found, Refused):
        row.add(found.code, column, found.words)
        return None
    return found


def _anchors(row: Cells, plates: Plates) -> tuple[Anchor, ...]:
    """The row's stills; those that do not open are told and left out."""
    anchors = []
    for at, path in row.read("anchors", read_anchors) or ():
        found = plates.get(path)
        if isinstance(found, Refused):
            row.add(found.code, "anchors", found.words, value=path)
        else:
            anchors.append(Anchor(at, found))
    return tuple(anchors)


def _loras(row: Cells, loras: Loras, *, model: str, rules: ModelRules) -> tuple[LoraUse, ...]:
    """The row's LoRAs; none for a model that takes none, which is told."""
    if row.text("loras") and not rules.takes_loras:
        row.add("W301", "loras", {"model": model})
        return ()
    text = row.read("loras", columns.read_text)
    if text is None:
        return ()
    found, wrong = loras.read(text, model=model)
    for refused in wrong:
        row.add(refused.code, "loras", refused.words)
    return found


def _length_column(row: Cells) -> str:
    return next((name for name in ("frames", "frame_out", "seconds") if row.text(name)), "frames")


def _length(row: Cells, rate: Fraction) -> int | None:
    """Frames from whichever columns give them; all that do must agree."""
    if not any(row.text(name) for name in ("frames", "frame_in", "frame_out", "seconds")):
        row.add("E309", "frames")
        return None
    found = {
        "frames": row.read("frames", partial(columns.read_whole, low=SHORTEST, high=LONGEST)),
        "frame_out": _length_of_range(row),
        "seconds": _length_of_seconds(row, rate),
    }
    lengths = {name: frames for name, frames in found.items() if frames is not None}
    if len(set(lengths.values())) > 1:
        (first, frames), *others = lengths.items()
        for name, other in others:
            if other != frames:
                detail = f"{row.headers.get(name, name)}, which makes {other} frames"
                row.add("E310", first, {"detail": detail})
    return next(iter(lengths.values()), None)


def _length_of_range(row: Cells) -> int | None:
    for one, other in (("frame_in", "frame_out"), ("frame_out", "frame_in")):
        if row.text(one) and not row.text(other):
            row.add("E311", one, {"name": other})
            return None
    bounds = partial(columns.read_whole, low=0, high=MOST_FRAMES)
    first, last = row.read("frame_in", bounds), row.read("frame_out", bounds)
    if first is None or last is None:
        return None
    if last < first:
        row.add("E312", "frame_out")
        return None
    if last - first + 1 > LONGEST:
        row.add("E307", "frame_out", {"low": first, "high": first + LONGEST - 1})
        return None
    return last - first + 1


def _length_of_seconds(row: Cells, rate: Fraction) -> int | None:
    asked = row.read("seconds", partial(columns.read_decimal, low=0, high=LONGEST))
    if asked is None:
        return None
    frames = frames_for(asked, rate)
    if asked * rate < Fraction(1, 2) or frames > LONGEST:
        high = f"{float(LONGEST / rate):g} s ({LONGEST} frames)"
        row.add("E307", "seconds", {"low": f"{float(1 / rate):.3f} s (1 frame)", "high": high})
        return None
    if frames != asked * rate:
        words = {"seconds": row.text("seconds"), "rate": rate_display(rate), "frames": frames}
        row.add("W302", "seconds", words)
    return frames


def _size(
    row: Cells, plate: Plate | None, end_plate: Plate | None, *, model: str, rules: ModelRules
) -> tuple[int | None, int | None]:
    portrait = plate is not None and plate.height > plate.width
    size = row.read("resolution", partial(columns.read_resolution, portrait=portrait))
    if size is None:
        return None, None
    width, height = size
    sides = (max(size), min(size))
    fits = all(low <= side <= high for low, side, high in zip(rules.smallest, sides, rules.largest, strict=True))
    if not fits:
        low, high = (f"{long}x{short}" for long, short in (rules.smallest, rules.largest))
        row.add("E316", "resolution", {"model": model, "low": low, "high": high})
    for column, still in (("plate", plate), ("end_plate", end_plate)):
        # More than 1 % of difference in aspect loses pixels that somebody may have wanted.
        if still and abs(still.width * height - width * still.height) * 100 > width * still.height:
            words = {"plate": f"{still.width}x{still.height}", "size": f"{width}x{height}"}
            row.add("W401", column, words)
    return width, height


def _metadata(row: Cells, rules: ModelRules) -> tuple[tuple[str, str], ...]:
    pairs = list(row.metadata)
    if row.text("loras") and not rules.takes_loras:
        pairs.append((row.headers["loras"], row.text("loras")))
    for name, value in pairs:
        try:
            columns.read_text(value)
        except CellError as error:
            row.problems.append(
                problem(error.code, row.file, line=row.line, column=name, value=value, words=error.words)
            )
        if is_source_type(name):
            try:
                read_source_type(value)
            except ValueError:
                names = {"names": ", ".join(TERMS)}
                row.problems.append(problem("E337", row.file, line=row.line, column=name, value=value, words=names))
    return tuple(pairs)
