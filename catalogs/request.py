"""One row of a shot list to one Shot: what the columns need of each other and of the model.

Knows: required cells, lengths, sizes, defaults. Does not know: files, headers' spellings, other rows.
Memory: one row, and one plate while it is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from catalogs import columns
from catalogs.anchors import anchor_complaints
from catalogs.beats import beat_complaints, read_beats
from catalogs.columns import CellError
from catalogs.formats import delivery_complaints
from catalogs.loras import Loras
from catalogs.plates import Plates, Refused
from catalogs.problems import Complaint, problem
from catalogs.shot import DEFAULT_DELIVERIES, SHORTEST, Anchor, Delivery, LoraUse, Plate, Shot
from catalogs.shotrow import Cells, ShotRow, read_row
from catalogs.source_types import TERMS, is_source_type, read_source_type
from catalogs.spans import DECIDING, handles_of, length_column, length_of

DECISIVE = frozenset((*DECIDING, "speed", "overlap", "model"))
"""Columns without which nobody can say how a shot's windows lie."""

MOST_JUDGED = 10_000
"""Ways of asking that are remembered with what models have said."""

RATE = Fraction(30)
"""Frames per second of a row that names none."""


def _no_complaints(shot: Shot) -> Sequence[Complaint]:
    del shot
    return ()


def _unknown(_: object) -> None:
    return None


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
    """What its windows cannot do of what a shot asks: length, rate, speed, context, overlap, anchors, end plate. Asked
    once for all shots that agree in these."""
    seconds: Callable[[Shot], float | None] = _unknown
    """How long a shot is expected to take; None if nobody can say."""
    tokens: Callable[[str], int | None] = _unknown
    """Tokens that its text encoder makes of a prompt; None if nobody can say."""
    most_tokens: int = 0
    """Tokens of a prompt that it reads; the rest is cut off. 0 if there is no limit."""


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
    night: float | None = None
    """Seconds of the window in which shots are made; None if there is none."""
    judged: dict[Hashable, tuple[Complaint, ...]] = field(default_factory=dict, repr=False, compare=False)
    """What models have said, by all that they judge."""


def read_request(row: Cells, terms: Terms) -> Shot | None:
    """The row's shot; None if something is wrong, which `row.problems` then says in full."""
    told, wrong = read_row(row.cells)
    for column, fault, words in wrong:
        row.add(fault, column, words)
    if not row.text("shot"):
        row.add("E301", "shot")
    model = told.model or terms.model
    rules = terms.models.get(model)
    if rules is None:
        row.add("E315", "model", {"names": ", ".join(terms.models)})
        rules = ModelRules(needs_plate=False, needs_prompt=False, takes_loras=True)
    elif not row.text("prompt") and rules.needs_prompt:
        row.add("E322", "prompt", {"model": model})
    if not row.text("plate") and rules.needs_plate:
        row.add("E401", "plate", {"model": model})
    sequence = _sequence(row, told)
    loras = _loras(row, told, terms.loras, model=model, rules=rules)
    plate, end_plate = _plate(row, "plate", told.plate, terms), _plate(row, "end_plate", told.end_plate, terms)
    rate = told.fps or RATE
    handles = handles_of(row, told)
    frames = length_of(row, told, rate)
    if frames and rules.longest is not None and frames + 2 * handles > rules.longest:
        limit = max(0, rules.longest - 2 * handles)
        words = {"frames": frames + 2 * handles, "model": model, "limit": limit, "otherwise": ""}
        row.add("E317", length_column(row), words)
    size = _size(row, told, plate, end_plate, model=model, rules=rules)
    deliveries, repeated = told.deliveries or (DEFAULT_DELIVERIES, False)
    if repeated:
        row.add("W303", "deliveries")
    for complaint in _deliverable(deliveries, size, rate):
        row.add(complaint.code, complaint.column, complaint.words)
    shot = Shot(
        show=told.show or terms.show,
        code=told.shot or "",
        frames=frames or SHORTEST,
        sequence=sequence,
        plate=plate,
        end_plate=end_plate,
        prompt=told.prompt or "",
        negative_prompt=told.negative_prompt or "",
        rate=rate,
        handles=handles,
        width=size[0] if size else None,
        height=size[1] if size else None,
        model=model,
        seed=told.seed,
        steps=told.steps,
        guidance=told.guidance,
        loras=loras,
        context=told.context or "",
        overlap=told.overlap,
        anchors=_anchors(row, told, terms.plates),
        max_rerolls=told.max_rerolls,
        camera=told.camera or "",
        deliveries=deliveries,
        speed=told.speed or Fraction(1),
        retimer=told.retimer or "",
        priority=told.priority or 50,
        due=told.due,
        notes=told.notes or "",
        submitted_by=told.submitted_by or "",
        metadata=_metadata(row, rules),
    )
    if not row.wrong & DECISIVE:
        for complaint in _complaints(shot, rules, terms):
            column = length_column(row) if complaint.column == "frames" else complaint.column
            row.add(complaint.code, column, complaint.words)
    return None if any(found.severity == "error" for found in row.problems) or row.wrong else shot


@lru_cache(maxsize=1024)
def _deliverable(
    deliveries: tuple[Delivery, ...], size: tuple[int, int] | None, rate: Fraction
) -> tuple[Complaint, ...]:
    return tuple(delivery_complaints(deliveries, size=size, rate=rate))


def _complaints(shot: Shot, rules: ModelRules, terms: Terms) -> list[Complaint]:
    """What is wrong with a shot as a whole; its model is asked once for each way in which shots differ for it."""
    found: list[Complaint] = []
    if "[" in shot.prompt:
        found += beat_complaints(shot)
    if shot.anchors:
        found += anchor_complaints(shot)
    key = (shot.model, shot.frames, shot.handles, shot.rate, shot.speed, shot.context, shot.overlap, shot.anchors)
    asked = (
        *key,
        shot.end_plate is None,
        shot.width,
        shot.height,
        shot.plate and (shot.plate.width, shot.plate.height),
    )
    if asked not in terms.judged:
        if len(terms.judged) >= MOST_JUDGED:
            terms.judged.clear()
        terms.judged[asked] = (*rules.judge(shot), *_too_long_for_a_night(shot, rules, terms))
    found += terms.judged[asked]
    return found + _unread_words(shot, rules)


def _too_long_for_a_night(shot: Shot, rules: ModelRules, terms: Terms) -> list[Complaint]:
    seconds = rules.seconds(shot) if terms.night else None
    if seconds is None or terms.night is None or seconds <= terms.night:
        return []
    words = {"hours": f"{seconds / 3600:.1f}", "night": f"{terms.night / 3600:.1f}", "model": shot.model}
    return [Complaint("W307", "frames", words)]


def _unread_words(shot: Shot, rules: ModelRules) -> list[Complaint]:
    """What of a prompt no window is told, because the model's text encoder ends before it."""
    # a token is a byte or more, and one marks the end
    if not rules.most_tokens or len(shot.prompt.encode()) < rules.most_tokens:
        return []
    try:
        preface, beats = read_beats(shot.prompt)
    except ValueError:
        return []
    # a window is told what holds throughout and at least one beat
    texts = [f"{preface} {beat.words}".strip() for beat in beats] or [preface]
    counts = [count for text in texts if (count := rules.tokens(text)) is not None]
    if not counts or max(counts) <= rules.most_tokens:
        return []
    words = {"tokens": max(counts), "limit": rules.most_tokens, "model": shot.model}
    return [Complaint("W308", "prompt", words)]


def _sequence(row: Cells, told: ShotRow) -> str:
    """`episode_sequence`, or the one of them that is there."""
    joined = (
        f"{told.episode}_{told.sequence}" if told.episode and told.sequence else told.episode or told.sequence or ""
    )
    if len(joined) > columns.LONGEST_CODE:
        row.add("E304", "sequence", {"limit": columns.LONGEST_CODE})
    return joined


def _plate(row: Cells, column: str, path: str | None, terms: Terms) -> Plate | None:
    if path is None:
        return None
    found = terms.plates.get(path)
    if isinstance(found, Refused):
        row.add(found.code, column, found.words)
        return None
    _note(row, column, found, terms.plates)
    return found


def _note(row: Cells, column: str, plate: Plate, plates: Plates) -> None:
    for code, words in plates.notes(plate):
        row.add(code, column, words, value=plate.path.rpartition("/")[2])


def _anchors(row: Cells, told: ShotRow, plates: Plates) -> tuple[Anchor, ...]:
    """The row's stills; those that do not open are told and left out."""
    anchors = []
    for at, path in told.anchors or ():
        found = plates.get(path)
        if isinstance(found, Refused):
            row.add(found.code, "anchors", found.words, value=path)
        else:
            _note(row, "anchors", found, plates)
            anchors.append(Anchor(at, found))
    return tuple(anchors)


def _loras(row: Cells, told: ShotRow, loras: Loras, *, model: str, rules: ModelRules) -> tuple[LoraUse, ...]:
    """The row's LoRAs; none for a model that takes none, which is told."""
    if told.loras is None:
        return ()
    if not rules.takes_loras:
        row.add("W301", "loras", {"model": model})
        return ()
    found, wrong = loras.read(told.loras, model=model)
    for refused in wrong:
        row.add(refused.code, "loras", refused.words)
    return found


def _size(
    row: Cells, told: ShotRow, plate: Plate | None, end_plate: Plate | None, *, model: str, rules: ModelRules
) -> tuple[int, int] | None:
    if told.resolution is None:
        return None
    size = told.resolution.sides(portrait=plate is not None and plate.height > plate.width)
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
    return size


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
