"""Headers of safetensors and GGUF files: what is accepted is what the libraries accept, and nothing else."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.gguf_header import GGML_BLOCKS
from models.headers import SAFETENSORS_BITS, WeightsError, format_of, read_header

ROOT = Path(__file__).resolve().parents[2]


def _fuzzer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_headers", ROOT / "benchmarks/fuzz_headers.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_headers"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


fuzz = _fuzzer()


def _safetensors(path: Path, header: str | bytes, data: bytes = b"") -> Path:
    text = header.encode() if isinstance(header, str) else header
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def _entry(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> str:
    return json.dumps({"dtype": dtype, "shape": shape, "data_offsets": offsets})


def test_a_sound_file_says_what_the_library_says(tmp_path: Path) -> None:
    """Names, dtypes, shapes and metadata are those that safetensors reads; starts and ends cut the same bytes."""
    torch = pytest.importorskip("torch")
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tmp_path / "a.safetensors"
    tensors = {"a.b": torch.arange(6.0).reshape(2, 3), "c": torch.ones(4, dtype=torch.bfloat16), "z": torch.zeros(0, 2)}
    save_file(tensors, path, metadata={"format": "pt", "näme": 'a "quoted" \\ 日本'})
    header = read_header(path)
    assert header.format == "safetensors" == format_of(path)
    assert header.metadata == {"format": "pt", "näme": 'a "quoted" \\ 日本'}
    with safe_open(path, "pt") as opened:
        assert {entry.name for entry in header.tensors} == set(opened.keys())
        for entry in header.tensors:
            assert list(entry.shape) == opened.get_slice(entry.name).get_shape()
    raw = path.read_bytes()
    spans = {entry.name: raw[entry.start : entry.end] for entry in header.tensors}
    assert spans["a.b"] == tensors["a.b"].numpy().tobytes()


def test_a_gguf_of_the_writer_is_read(tmp_path: Path) -> None:
    """Quantised and plain tensors, five dimensions, metadata and alignment come out as the gguf package wrote them."""
    gguf = pytest.importorskip("gguf")
    import numpy as np

    path = tmp_path / "a.gguf"
    writer = gguf.GGUFWriter(path, "wan")
    writer.add_array("general.tags", ["a", "b"])
    writer.add_array("comfy.gguf.orig_shape.patch", [2, 3, 4])
    writer.add_custom_alignment(64)
    plain = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 2, 2)
    writer.add_tensor("five", plain)
    writer.add_tensor("patch", np.zeros((6, 4), np.float16))
    rows = gguf.quants.quantize(np.ones((3, 64), np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("q", rows, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_header(path)
    shapes = {entry.name: (entry.dtype, entry.shape) for entry in header.tensors}
    assert shapes == {"five": ("F32", (1, 2, 3, 2, 2)), "patch": ("F16", (2, 3, 4)), "q": ("Q8_0", (3, 64))}
    assert header.metadata["general.architecture"] == "wan"
    assert header.metadata["general.alignment"] == 64
    raw = path.read_bytes()
    assert raw[header.tensors[0].start : header.tensors[0].end] == plain.tobytes()


def test_the_tables_are_those_of_the_packages() -> None:
    """Every ggml type has the block that the gguf package states, and every dtype the width that torch gives it."""
    constants = pytest.importorskip("gguf.constants")
    theirs = {int(kind): (kind.name, *sizes) for kind, sizes in constants.GGML_QUANT_SIZES.items()}
    assert {kind: theirs.get(kind) for kind in GGML_BLOCKS} == dict(GGML_BLOCKS)
    assert set(theirs) <= set(GGML_BLOCKS)
    assert SAFETENSORS_BITS["BF16"] == 16


FLAWS = {
    "no length": (b"\x01\x00", "has no header"),
    "endless header": (struct.pack("<Q", 1 << 62) + b"{}", "claims"),
    "no object": (struct.pack("<Q", 2) + b"[]", "no safetensors header"),
}


@pytest.mark.parametrize(("raw", "said"), FLAWS.values(), ids=FLAWS)
def test_a_start_that_is_none_is_refused(tmp_path: Path, raw: bytes, said: str) -> None:
    """A length beyond the file, or something else than an object, is said with the file's name."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw)
    with pytest.raises(WeightsError, match=said) as caught:
        read_header(path)
    assert str(path) in str(caught.value)


HEADERS = {
    "duplicate tensor": (f'{{"a":{_entry()},"a":{_entry()}}}', "twice"),
    "duplicate key": ('{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', "twice"),
    "unknown dtype": (f'{{"a":{_entry("F31")}}}', "unknown dtype"),
    "beyond the file": (f'{{"a":{_entry("F32", (4,), (0, 16))}}}', "lies at 0 to 16"),
    "backwards": (f'{{"a":{_entry("F32", (2,), (8, 0))}}}', "lies at 8 to 0"),
    "overlap": (f'{{"a":{_entry()},"b":{_entry("F32", (1,), (4, 8))}}}', "overlaps"),
    "hole at the start": (f'{{"a":{_entry("F32", (1,), (4, 8))}}}', "belong to no tensor"),
    "hole at the end": (f'{{"a":{_entry("F32", (1,), (0, 4))}}}', "belong to no tensor"),
    "too few bytes": (f'{{"a":{_entry("F32", (3,))}}}', "needs 12 bytes and has 8"),
    "overflow": (f'{{"a":{_entry("F32", (1 << 62, 1 << 62, 4))}}}', "larger than any file"),
    "overflow times zero": (f'{{"a":{_entry("F32", (1 << 62, 1 << 62, 0), (0, 0))}}}', "larger than any file"),
    "negative": (f'{{"a":{_entry("F32", (-2,))}}}', "no whole number"),
    "float": (f'{{"a":{_entry("F32", (2.0,))}}}', "no whole number"),
    "huge number": (f'{{"a":{_entry("F32", (10**400,))}}}', "no whole number"),
    "unknown key": ('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}', "unknown key"),
    "missing key": ('{"a":{"dtype":"F32","shape":[2]}}', "lacks"),
    "nine dimensions": (f'{{"a":{_entry("F32", (1,) * 8 + (2,))}}}', "more than 8"),
    "metadata of numbers": ('{"__metadata__":{"a":1}}', "no text"),
    "nested": ('{"a":' + "[" * 10_000, "must stand"),
    "not utf-8": (b'{"\xff":1}', "UTF-8"),
    "half a surrogate": ('{"\\ud800":1}', "UTF-8"),
    "control sign": ('{"\\u0000":' + _entry() + "}", "do not print"),
    "text after it": (f'{{"a":{_entry()}}} x', "after its end"),
    "half bytes": (f'{{"a":{_entry("F4", (15,))}}}', "needs 7.5 bytes"),
}


@pytest.mark.parametrize(("header", "said"), HEADERS.values(), ids=HEADERS)
def test_every_flaw_of_a_header_has_its_sentence(tmp_path: Path, header: str | bytes, said: str) -> None:
    """Each breach of the format is refused by name, at its byte, with what to do."""
    path = _safetensors(tmp_path / "x.safetensors", header, bytes(8))
    with pytest.raises(WeightsError, match=said) as caught:
        read_header(path)
    assert "at byte" in str(caught.value)
    assert "download it again" in str(caught.value)


def _gguf(path: Path, body: bytes, *, tensors: int = 0, entries: int = 0, version: int = 3) -> Path:
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", version, tensors, entries) + body)
    return path


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _tensor(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    numbers = struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
    return _text(name) + numbers


ONE = _tensor("a", (8,))
GGUFS = {
    "version 1": ({"body": bytes(100), "version": 1}, "version 1"),
    "big-endian": ({"body": bytes(100), "version": 0x03000000}, "big-endian"),
    "too many tensors": ({"body": bytes(100), "tensors": 1 << 60}, "tensors and"),
    "too many entries": ({"body": bytes(100), "entries": 1 << 60}, "metadata entries and"),
    "endless key": ({"body": struct.pack("<Q", 1 << 63) + bytes(30), "entries": 1}, "claims"),
    "unknown type": ({"body": _text("k") + struct.pack("<I", 77), "entries": 1}, "unknown type 77"),
    "endless list": ({"body": _text("k") + struct.pack("<IIQ", 9, 4, 1 << 61), "entries": 1}, "numbers in"),
    "list of lists": ({"body": _text("k") + struct.pack("<IIQ", 9, 9, 1), "entries": 1}, "list of the unknown type 9"),
    "no boolean": ({"body": _text("k") + struct.pack("<IB", 7, 2), "entries": 1}, "neither true nor false"),
    "alignment 3": ({"body": _text("general.alignment") + struct.pack("<II", 4, 3), "entries": 1}, "power of two"),
    "twice": ({"body": (_text("k") + struct.pack("<IB", 7, 1)) * 2, "entries": 2}, "twice"),
    "unknown quant": ({"body": _tensor("a", (8,), 4) + bytes(99), "tensors": 1}, "unknown type 4"),
    "odd offset": ({"body": _tensor("a", (8,), 0, 5) + bytes(99), "tensors": 1}, "no multiple of 32"),
    "half block": ({"body": _tensor("a", (40,), 8) + bytes(99), "tensors": 1}, "no multiple of 32"),
    "beyond the file": ({"body": _tensor("a", (800,)) + bytes(99), "tensors": 1}, "ends at byte"),
    "overflow": ({"body": _tensor("a", (1 << 62, 1 << 62)) + bytes(99), "tensors": 1}, "larger than any"),
    "many dimensions": ({"body": _tensor("a", (1,) * 9) + bytes(99), "tensors": 1}, "9 dimensions"),
    "overlap": ({"body": _tensor("a", (16,)) + _tensor("b", (8,), 0, 32) + bytes(256), "tensors": 2}, "overlaps"),
    "same name": ({"body": ONE + _tensor("a", (8,), 0, 32) + bytes(160), "tensors": 2}, "twice"),
    "hole": ({"body": _tensor("a", (8,), 0, 64) + bytes(200), "tensors": 1}, "belong to no tensor"),
    "appendix": ({"body": ONE + bytes(400), "tensors": 1}, "belong to no tensor"),
}


@pytest.mark.parametrize(("parts", "said"), GGUFS.values(), ids=GGUFS)
def test_every_flaw_of_a_gguf_header_has_its_sentence(tmp_path: Path, parts: dict[str, Any], said: str) -> None:
    """Each breach of GGUF is refused by name, at its byte."""
    path = _gguf(tmp_path / "x.gguf", **parts)
    with pytest.raises(WeightsError, match=said) as caught:
        read_header(path)
    assert "at byte" in str(caught.value)


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=150, deadline=None)
def test_noise_is_refused_or_read_and_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, g: bool
) -> None:
    """Any bytes give a header or a WeightsError."""
    path = tmp_path_factory.getbasetemp() / "noise"
    path.write_bytes(b"GGUF" + raw if g else raw)
    with suppress(WeightsError):
        read_header(path)
    format_of(path)


def test_mutated_headers_neither_crash_nor_hang_nor_swell(tmp_path: Path) -> None:
    """500 mutations: only WeightsError, within the time and memory bounds, and what passes the libraries open too."""
    result = fuzz.run(500, seed=11, folder=tmp_path)
    assert result["cases"] == 500
    assert result["other_errors"] == 0
    assert result["slowest_ms"] < 2000
    assert result["over_memory"] == 0
    assert result["disagreements"] == 0
    assert result["refused"] > 250


def test_a_header_of_nothing_but_brackets_costs_no_more_than_its_bytes(tmp_path: Path) -> None:
    """What a JSON library would build at twenty times the size is refused at the first bracket."""
    import tracemalloc

    path = _safetensors(tmp_path / "x.safetensors", b'{"a":[' + b"[]," * 1_000_000)
    tracemalloc.start()
    with pytest.raises(WeightsError):
        read_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < path.stat().st_size + (1 << 20)
