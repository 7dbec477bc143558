"""10,000 mutated headers of safetensors and GGUF files: no crash, no hang, no allocation beyond the file's size.

Each case is a small sound file with one to three mutations: bytes flipped, parts cut out, doubled or appended, lengths
and counts set to extremes, JSON edited. Only WeightsError may come out. What is accepted must be opened by the
safetensors and gguf libraries as well, with the same names and shapes. Prints a table and writes
results/fuzz_headers.json.

    python benchmarks/fuzz_headers.py [CASES] [SEED]
"""

from __future__ import annotations

import json
import random
import struct
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.headers import Header, WeightsError, read_header

CONSTANT = 64 << 10
"""Bytes that a case may allocate beyond its file: the reader's own objects, and a message."""
EXTREMES = (
    0,
    1,
    2,
    7,
    255,
    256,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**53,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
WORDS = (
    "-1",
    "1e9",
    "1.5",
    "null",
    "true",
    "[]",
    "{}",
    '""',
    "99999999999999999999999",
    "9223372036854775807",
    '"F64"',
    "[[",
)


def safetensors(dice: random.Random) -> bytes:
    """A sound safetensors file of up to six tensors."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", "note": "n" * dice.randrange(40)}}
    at = 0
    for i in range(dice.randrange(1, 7)):
        dtype, width = dice.choice((("F32", 4), ("BF16", 2), ("I64", 8), ("U8", 1), ("F8_E4M3", 1)))
        shape = [dice.randrange(1, 5) for _ in range(dice.randrange(4))]
        size = width
        for side in shape:
            size *= side
        header[f"blocks.{i}.weight"] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + dice.randbytes(at)


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(dice: random.Random) -> bytes:
    """A sound GGUF file of up to six tensors, some quantised."""
    entries = [
        _text("general.architecture") + struct.pack("<I", 8) + _text("wan"),
        _text("general.quantization_version") + struct.pack("<II", 4, 2),
        _text("tokens") + struct.pack("<IIQ", 9, 8, 3) + _text("a") + _text("bc") + _text("def"),
        _text("scores") + struct.pack("<IIQ3f", 9, 6, 3, 0.5, 1.5, 2.5),
    ]
    infos, data = b"", b""
    count = dice.randrange(1, 7)
    for i in range(count):
        kind, block, width = dice.choice(((0, 1, 4), (1, 1, 2), (8, 32, 34), (12, 256, 144), (30, 1, 2)))
        shape = [block * dice.randrange(1, 3), *(dice.randrange(1, 4) for _ in range(dice.randrange(3)))]
        elements = 1
        for side in shape:
            elements *= side
        infos += _text(f"blocks.{i}.weight") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, len(data))
        data += dice.randbytes(elements // block * width)
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, count, len(entries)) + b"".join(entries) + infos
    return head + bytes(-len(head) % 32) + data


def _flip(raw: bytearray, dice: random.Random) -> None:
    for _ in range(dice.randrange(1, 9)):
        raw[dice.randrange(min(len(raw), 600))] ^= 1 << dice.randrange(8)


def _truncate(raw: bytearray, dice: random.Random) -> None:
    del raw[dice.randrange(len(raw)) :]


def _cut(raw: bytearray, dice: random.Random) -> None:
    start = dice.randrange(min(len(raw), 600))
    del raw[start : start + dice.randrange(1, 40)]


def _double(raw: bytearray, dice: random.Random) -> None:
    start = dice.randrange(min(len(raw), 600))
    raw[start:start] = raw[start : start + dice.randrange(1, 200)]


def _append(raw: bytearray, dice: random.Random) -> None:
    raw += dice.randbytes(dice.randrange(1, 200))


def _length(raw: bytearray, dice: random.Random) -> None:
    """The 8 bytes that a reader trusts first: header length, or one of GGUF's two counts."""
    at = dice.choice((8, 16)) if raw[:4] == b"GGUF" else 0
    raw[at : at + 8] = struct.pack("<Q", dice.choice((*EXTREMES, len(raw), dice.randrange(2000))))


def _extreme(raw: bytearray, dice: random.Random) -> None:
    code = dice.choice(("<Q", "<I"))
    at = dice.randrange(max(1, min(len(raw), 600)))
    raw[at : at + struct.calcsize(code)] = struct.pack(code, dice.choice(EXTREMES) % (1 << 8 * struct.calcsize(code)))


def _edit(raw: bytearray, dice: random.Random) -> None:
    """Another word in the JSON, its length put right; any bytes in GGUF."""
    if raw[:4] == b"GGUF" or len(raw) < 10:
        return _extreme(raw, dice)
    length = int.from_bytes(raw[:8], "little")
    text = raw[8 : 8 + length].decode("latin-1")
    spots = [i for i, sign in enumerate(text) if sign in '0123456789"[]{},:']
    if not spots:
        return _flip(raw, dice)
    at = dice.choice(spots)
    text = text[:at] + dice.choice(WORDS) + text[at + dice.randrange(3) :]
    raw[:] = struct.pack("<Q", len(text)) + text.encode("latin-1") + raw[8 + length :]
    return None


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _truncate, _cut, _double, _append, _length, _extreme, _edit, _edit,
)  # fmt: skip


def opened_elsewhere(path: Path, header: Header) -> bool:
    """Whether the format's own library opens the file and finds the same names and shapes; True if it is absent."""
    try:
        if header.format == "safetensors":
            from safetensors import safe_open

            with safe_open(path, "np") as file:
                theirs = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        else:
            from gguf import GGUFReader

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reader = GGUFReader(path)
            theirs = {tensor.name: tuple(int(side) for side in reversed(tensor.shape)) for tensor in reader.tensors}
    except ImportError:
        return True
    except Exception as error:
        print(f"accepted, and its own library says: {error}", file=sys.stderr)
        return False
    return theirs == {entry.name: entry.shape for entry in header.tensors}


def run(cases: int, *, seed: int, folder: Path) -> dict[str, Any]:
    """Judge that many mutants, half of each format; what came of them."""
    dice = random.Random(seed)
    path = folder / "mutant"
    result: dict[str, Any] = {"cases": cases, "seed": seed, "refused": 0, "accepted": 0, "other_errors": 0}
    result |= {"disagreements": 0, "over_memory": 0, "slowest_ms": 0.0, "largest_excess_bytes": -(1 << 62)}
    result["by_mutation"] = {}
    for sound in (safetensors, gguf):  # imports are no part of a case
        path.write_bytes(sound(dice))
        read_header(path)
    for case in range(cases):
        raw = bytearray((safetensors, gguf)[case % 2](dice))
        names = []
        for _ in range(dice.randrange(1, 4)):
            if raw:
                mutation = dice.choice(MUTATIONS)
                names.append(mutation.__name__.strip("_"))
                mutation(raw, dice)
        path.write_bytes(raw)
        tracemalloc.start()
        start = time.perf_counter()
        header: Header | None = None
        try:
            header = read_header(path)
            outcome = "accepted"
        except WeightsError:
            outcome = "refused"
        except Exception as error:
            outcome = "other_errors"
            print(f"case {case}, seed {seed}: {type(error).__name__}: {error}", file=sys.stderr)
        took = (time.perf_counter() - start) * 1000
        excess = tracemalloc.get_traced_memory()[1] - len(raw)
        tracemalloc.stop()
        result[outcome] += 1
        for name in set(names):
            kept = result["by_mutation"].setdefault(name, {"cases": 0, "refused": 0})
            kept["cases"] += 1
            kept["refused"] += outcome == "refused"
        result["slowest_ms"] = round(max(result["slowest_ms"], took), 2)
        result["largest_excess_bytes"] = max(result["largest_excess_bytes"], excess)
        result["over_memory"] += excess > CONSTANT
        if header is not None and not opened_elsewhere(path, header):
            result["disagreements"] += 1
    return result


def main() -> None:
    from report import table, write

    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = run(cases, seed=seed, folder=Path(folder))
    result["seconds"] = round(time.perf_counter() - start, 1)
    print(table([{"mutation": name, **counts} for name, counts in sorted(result["by_mutation"].items())]))
    print(table([{name: value for name, value in result.items() if name != "by_mutation"}]))
    write("fuzz_headers", result)
    sys.exit(bool(result["other_errors"] or result["over_memory"] or result["disagreements"]))


if __name__ == "__main__":
    main()
