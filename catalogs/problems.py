"""Everything that can be wrong with a shot list: one table of stable codes, and the value `Problem`.

Knows: each code's severity, sentence and remedy. Does not know: files, parsers, databases.
The table in docs/shot-lists.md is written from this one (docs/messages.py; a test compares the two).
Codes are public: never renumber one, never give an old one a new meaning. Memory: O(1) per problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

SHOWN = 60
"""Characters of a cell that a message quotes; a prompt of a page would bury the sentence."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One code's sentence and remedy, with `{words}` for what differs from case to case."""

    message: str
    """What is wrong, without a full stop."""
    remedy: str
    """What the sender can do about it."""
    note: str = ""
    """What the documentation adds, as sentences."""


KINDS: Final[Mapping[str, Kind]] = {
    # E1: the file as a whole
    "E101": Kind("the shot list cannot be read: {detail}", "check the path and the permissions"),
    "E102": Kind(
        "the shot list is not a regular file", "name one CSV or XLSX file", note="It is a folder, a pipe or a device."
    ),
    "E103": Kind("the shot list is larger than {limit} MB", "split it"),
    "E104": Kind("{detail} are not read", "save the sheet as XLSX or as CSV (UTF-8) and submit that"),
    "E105": Kind("the file holds {detail}: it is not a CSV text", "save the sheet as CSV (UTF-8)"),
    "E106": Kind("the file is empty", "put the column names in the first row and one shot in each row below"),
    "E107": Kind("there are column names but no shots", "put one shot in each row below them"),
    "E108": Kind("the CSV breaks off here: {detail}", "look for a quote that is not closed or not doubled"),
    "E109": Kind("the row has more cells than there are columns", "put quotes around cells that hold {mark}"),
    "E110": Kind("the file is neither UTF-8 nor cp1252", "save the sheet as CSV (UTF-8)"),
    "E111": Kind("the file has more than {limit}", "split it"),
    "E112": Kind("the workbook is protected by a password", "save it without one"),
    "E113": Kind("the workbook cannot be read: {detail}", "open it in a spreadsheet program and save it as XLSX anew"),
    "E114": Kind("there is no such sheet", "{remedy}"),
    "E115": Kind(
        "the formula has no result in the file", "save the workbook in a spreadsheet program, or type the value"
    ),
    "E116": Kind("the formula ends in an error", "correct it, or type the value"),
    # E2: the header
    "E201": Kind("the column '{name}' is missing", "add it; it may also be called {aliases}"),
    "E202": Kind("two columns mean '{name}': {detail}", "rename or remove one of them"),
    "E203": Kind("the file's name is no legal show code", "add a 'show' column, or submit with --show CODE"),
    # E3: a cell
    "E301": Kind("the cell is empty", "fill it in"),
    "E302": Kind("not a legal code", "use letters, digits, dot, dash, underscore; begin with a letter or digit"),
    "E303": Kind("the code cannot be a file name on Windows", "choose another code, without a dot at its end"),
    "E304": Kind(
        "the code is longer than {limit} characters", "shorten it", note="Episode and sequence count together."
    ),
    "E305": Kind("the shot stands already in line {other}", "remove one; upper and lower case count as one code"),
    "E306": Kind("not a whole number", "write digits only, such as {example}"),
    "E307": Kind("out of range", "use {low} to {high}"),
    "E308": Kind("not a number", "write digits with a decimal point, such as {example}"),
    "E309": Kind("the shot has no length", "fill in frames, or frame_in and frame_out, or seconds"),
    "E310": Kind("the length disagrees with {detail}", "correct one of them, or leave one empty"),
    "E311": Kind("frame_in and frame_out go together", "fill in '{name}' too"),
    "E312": Kind("frame_out is before frame_in", "correct one of them; both frames are part of the shot"),
    "E313": Kind("not a frame rate", "use 23.976, 24, 25, 29.97, 30, 48, 50, 59.94, 60 or N/D up to 240"),
    "E314": Kind("not a resolution", "use WxH, even numbers from {low} to {high}, or 480p, 720p, 1080p"),
    "E315": Kind("there is no such model", "use {names}"),
    "E316": Kind("the model {model} makes no such size", "use {low} to {high}, either way up"),
    "E317": Kind(
        "{frames} frames with handles are too long for {model}", "shorten the shot to {limit} frames{otherwise}"
    ),
    "E318": Kind("there is no such camera move", "use {names}"),
    "E319": Kind(
        "not a delivery: {detail}",
        "use {names}, separated by spaces, commas, + or |",
        note="Or one has two options, or two qualities.",
    ),
    "E320": Kind("not a speed", "use 1, or for slow motion 1/2, 1/4 or 0.5, down to 1/16"),
    "E321": Kind("not a date", "write YYYY-MM-DD"),
    "E322": Kind("the model {model} needs a prompt", "describe what happens in the shot"),
    "E323": Kind("the text holds a control character ({detail})", "type the text again without it"),
    "E324": Kind("the text is longer than {limit} characters", "shorten it"),
    "E325": Kind("the model {model} cannot be given this context", "use {names}"),
    "E326": Kind(
        "the beats cannot be read: {detail}",
        "{remedy}",
        note="A time is none or is not closed, times are out of order, a beat has no words.",
    ),
    "E327": Kind("the beat at {at} s is past the last frame of the cut, at {end} s", "move it, or lengthen the shot"),
    "E328": Kind("the anchors cannot be read: {detail}", "write 4s=plates/a.png; 8s=plates/b.png"),
    "E329": Kind("{detail}", "{remedy}"),
    "E330": Kind("the model {model} cannot arrive at a still", "leave it out, or use {names}"),
    "E331": Kind("an overlap of {overlap} frames is too long for windows of at most {longest}", "{remedy}"),
    "E332": Kind(
        "an overlap of {overlap} frames is shorter than the {context} that the context {kind} hands on",
        "use {context} or more, or leave it empty",
    ),
    "E333": Kind(
        "with the context {kind} windows share {own} frames and no other number, not {overlap}",
        "leave the overlap empty",
    ),
    "E334": Kind(
        "with an overlap of {overlap} frames a window cannot end where a still stands",
        "use {names}, or leave it empty",
    ),
    "E335": Kind(
        "{detail} leaves no room for a window",
        "{remedy}",
        note="Two stills, or a still and an end of the shot, are too near to each other.",
    ),
    "E336": Kind("not a retimer", "use {names}, or leave it empty for the best that runs"),
    "E337": Kind("not a digital source type of something rendered", "use {names}, or leave it empty"),
    "E340": Kind("{delivery}: {kind} has one quality only", "leave {word} out"),
    "E341": Kind(
        "{delivery}: a sequence of pictures carries no sound", "leave {word} out, or ask for a film beside it"
    ),
    "E342": Kind("{delivery}: {word} stands on review copies only", "use {others}"),
    "E343": Kind(
        "{delivery} cannot be {size}: {detail}",
        "{remedy}",
        note="The codec is not made for pictures of that size, or needs even sides.",
    ),
    "E344": Kind(
        "{delivery} cannot have {rate} frames a second at {size}: {detail}",
        "{remedy}",
        note="The codec is not made for so many frames a second at that size.",
    ),
    "E345": Kind(
        "the handles are {head} frames at the head and {tail} at the tail",
        "a shot has one number for both: make them equal, add a column handles, or submit with --set handles=NUMBER",
    ),
    "E346": Kind(
        "the code is nearly {other}, in line {line}",
        "write it as there, or submit with --allow-new if they are two shots",
        note="They differ in case, in leading zeros, or in dots, dashes and underscores.",
    ),
    "E347": Kind("the folders name no shot", "write /show/sequence/shot, or /show/episode/sequence/shot"),
    # E4: a plate
    "E401": Kind("the model {model} needs a plate", "name the still that the shot starts from"),
    "E402": Kind("there is no such file under {root}", "check the path; folders are separated by /"),
    "E403": Kind("the plate lies outside {root}", "move it inside, or set DAILIES_PLATES to the common folder"),
    "E404": Kind("the plate is not a regular file", "name an image file", note="It is a folder, a pipe or a device."),
    "E405": Kind(
        "the plate does not open: {detail}",
        "export it again as PNG, TIFF or JPEG",
        note="It is no image, is cut off, or may not be read.",
    ),
    "E406": Kind("the plate has {detail}, more than {limit} megapixels", "scale it down"),
    "E407": Kind("the plate is {detail}, smaller than {limit}x{limit}", "use the full-size still"),
    "E408": Kind("the plate is {detail}, longer than {limit}:1", "crop it"),
    "E409": Kind(
        "the still at {at} s is {still} and {size}: their shapes differ by more than {limit} %",
        "crop it to the same shape",
    ),
    "E410": Kind("the plate has {size} GB, more than {limit}", "export it again, packed"),
    "E411": Kind("the plate is {detail} at the same time", "export it again, as an image and nothing else"),
    # E5: against the catalogue
    "E501": Kind("the shot is in the catalogue already and differs in {detail}", "submit with --mode upsert"),
    "E502": Kind("the shot is not in the catalogue", "submit with --mode create or upsert"),
    "E503": Kind(
        "the shot resembles {other}, which is in the catalogue",
        "write {other} if that is meant, or submit with --allow-new",
    ),
    # E6: a LoRA
    "E601": Kind(
        "the LoRAs cannot be read: {detail}",
        "write NAME:SCALE or PATH:SCALE, separated by spaces",
        note="A colon without a number, an open quote, a number without a name (`mist:0,8` is two), more than 16.",
    ),
    "E602": Kind("the scale {scale} of the LoRA {lora} is out of range", "use {low} to {high}"),
    "E603": Kind("no LoRA called {lora} is installed", "{remedy}"),
    "E604": Kind("there is no LoRA file {lora} under {roots}", "check the path; folders are separated by /"),
    "E605": Kind(
        "the LoRA {lora} is not .safetensors",
        "convert it with `dailies weights convert`, or get it as .safetensors",
    ),
    "E606": Kind("the LoRA {lora} lies outside {roots}", "move it into one of them"),
    "E607": Kind("the LoRA {lora} is not a regular file", "name a .safetensors file"),
    "E608": Kind("the LoRA {lora} is named twice", "name it once, with one scale", note="By its name or by its path."),
    "E609": Kind("the LoRA {lora} is made for {models}, not for {model}", "take it out, or use another model"),
    # W: notices
    "W101": Kind("the file is not UTF-8 and was read as cp1252", "look at names with accents, or save as UTF-8"),
    "W102": Kind("{count} cells hold formulas", "their results, as they were last saved, are taken"),
    "W103": Kind("the cell reaches from row {first} to row {last}", "it stands in each of them"),
    "W104": Kind("{count} hidden rows of the sheet {sheet} are read too", "delete them if they are not meant"),
    "W201": Kind(
        "the column is not known and is kept as metadata",
        "if it means '{name}', rename it",
        note="It looks like one that is.",
    ),
    "W202": Kind("a column without a name is kept as metadata", "give it a name"),
    "W301": Kind("loras are not supported by {model}", "they are kept as metadata and change nothing"),
    "W302": Kind("{seconds} s are not whole frames at {rate} fps", "the shot gets {frames} frames"),
    "W303": Kind("the delivery is named twice", "it is made once"),
    "W304": Kind(
        "the model {model} was not trained for the context {kind}",
        "it is offered as an experiment: look at the seams, or use {names}",
    ),
    "W305": Kind(
        "with an overlap of {overlap} frames the window behind a still is blended over it",
        "use {context}, or leave it empty, to see the stills themselves",
    ),
    "W306": Kind(
        "frames says {frames}, and frame_in to frame_out are {other} with the last one",
        "the shot gets {frames} frames; correct one of the columns if that is not meant",
        note="Kitsu counts so: the last frame is the first of the next shot.",
    ),
    "W307": Kind(
        "the shot takes {model} about {hours} h, and the night has {night}",
        "shorten it or give it fewer steps; else it is finished in another night, from the windows that are there",
    ),
    "W308": Kind(
        "the prompt is {tokens} tokens long, and {model} reads {limit}",
        "shorten it, or spread it over beats",
        note="Told where the model's tokenizer is installed.",
    ),
    "W401": Kind("the plate is {plate} and the delivery {size}", "it is cropped at the centre; change either"),
    "W402": Kind(
        "the photograph was taken with the camera turned (EXIF orientation {orientation})",
        "it is turned upright; look whether that is meant",
    ),
    "W403": Kind(
        "the plate's colours are {profile}, which is not applied", "export it as sRGB or BT.709 if its colours matter"
    ),
    "W404": Kind("the plate is transparent in part", "it is laid over black; flatten it if that is not meant"),
    "W405": Kind("the plate's file holds {count} pictures", "the first is taken; export the one that is meant"),
    "W406": Kind(
        "the plate differs from {other} in its letters' case or accents alone, and in its content",
        "rename one of them: some systems take both for one file",
    ),
    "W501": Kind(
        "the shot is {status}, with {takes}", "the change makes it ready again, and a new take replaces what is out"
    ),
}
"""Every code, in the order of the documentation. E refuses the whole file, W is a notice."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one place of a shot list, with its remedy."""

    file: str
    """The list as the sender named it; empty for shots that came from no file."""
    line: int
    """Line of the file, counted from 1, in which the row begins; 0 for the file as a whole."""
    column: str
    """The column as the file spells it; empty for the row or the file as a whole."""
    value: str
    """The cell as it stands in the file; empty if there is none."""
    code: str
    """A key of KINDS."""
    message: str
    """What is wrong, without a full stop."""
    remedy: str
    """What to do about it."""
    severity: Literal["error", "warning"]
    """`error` refuses the file, `warning` is a notice."""

    def __str__(self) -> str:
        place = self.file + (f":{self.line}" if self.line else "")
        head = ": ".join(part for part in (place, _quoted(self.column)) if part)
        value = _quoted(self.value)
        quoted = f" ({value})" if value else ""
        return f"{head}{': ' if head else ''}{_plain(self.message)}{quoted}; {_plain(self.remedy)} [{self.code}]"


def _quoted(text: str) -> str:
    """What somebody else wrote, as much of it as a message bears, on one line."""
    line = _plain(" ".join(text[: SHOWN * 10].split()))
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"


def _plain(text: str) -> str:
    """Without what would move a terminal's cursor or turn the letters around it."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing wrong with a shot, wherever it came from."""

    code: str
    """A key of KINDS."""
    column: str
    """Field of Shot, and column of a list, that it is about."""
    words: Mapping[str, object]
    """What fills that code's sentence."""

    @property
    def refuses(self) -> bool:
        """Whether the shot cannot be made so; else it is a notice."""
        return self.code.startswith("E")

    def __str__(self) -> str:
        kind = KINDS[self.code]
        return f"{kind.message.format_map(self.words)}; {kind.remedy.format_map(self.words)}"


def problem(
    code: str,
    file: str,
    *,
    line: int = 0,
    column: str = "",
    value: str = "",
    words: Mapping[str, object] | None = None,
) -> Problem:
    """The Problem of `code` at a place; `words` fill the sentence. Raises KeyError for an unknown code."""
    kind = KINDS[code]
    known = words or {}
    return Problem(
        file=file,
        line=line,
        column=column,
        value=value,
        code=code,
        message=kind.message.format_map(known),
        remedy=kind.remedy.format_map(known),
        severity="error" if code.startswith("E") else "warning",
    )
