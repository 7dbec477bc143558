"""ncnn models are read as if whoever wrote them meant harm, and become the published weights."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ncnn_models import FP16_TAG, write_network, write_zero_flow

from models.headers import WeightsError, read_header
from models.ifnet import ARCHITECTURES
from models.interface import EngineUnavailable
from models.ncnn_files import Layer, read_ncnn
from models.rife_convert import architecture_of, convert_ncnn, named_weights
from models.weights import judge
from models.weights_lock import file_sha256, read_lock

NAMES = pytest.mark.parametrize("name", ARCHITECTURES)
SMALL = """7767517
4 4
Input in0 0 1 in0
MemoryData beta 0 1 factor 0=1 1=1 2=2
Convolution c 1 1 in0 b 0=2 1=3 3=2 4=1 5=1 6=54 9=2 -23310=1,0.2
BinaryOp m 2 1 b factor out0 0=2
"""
BIN = np.array([3, 4], "<f4").tobytes() + struct.pack("<I", FP16_TAG) + bytes(108) + np.ones(2, "<f4").tobytes()


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an ncnn model of each architecture."""
    folder = tmp_path_factory.mktemp("ncnn")
    for name in ARCHITECTURES:
        write_network(folder / f"rife-v{name}", name)
    return folder


def read(folder: Path, param: str, weights: bytes) -> tuple[Layer, ...]:
    """What stands in these two files."""
    (folder / "a.param").write_text(param)
    (folder / "a.bin").write_bytes(weights)
    return read_ncnn(folder / "a.param")


def test_a_network_is_read(tmp_path: Path) -> None:
    """Layers in order, options by number, weights in 32 bits whatever they were kept in."""
    first, beta, conv, times = read(tmp_path, SMALL, BIN)
    assert (first.kind, first.inputs, first.outputs) == ("Input", (), ("in0",))
    assert np.array_equal(beta.weights[0], [3, 4])
    assert conv.options == {0: 2, 1: 3, 3: 2, 4: 1, 5: 1, 6: 54, 9: 2, 10: (0.2,)}
    assert [weights.shape for weights in conv.weights] == [(2, 3, 3, 3), (2,)]
    assert all(weights.dtype == np.float32 for weights in conv.weights)
    assert times.inputs == ("b", "factor")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("7767517", "7767518", "starts with '7767518'"),
        ("4 4", "4", "how many layers"),
        ("4 4", "5 4", "has 4 layers, says 5"),
        ("4 4", "99999999999 4", "no whole number"),
        ("Convolution", "Softmax", "kind 'Softmax'"),
        ("1 1 in0 b", "1 1 nothing b", "'nothing' is read before it is made"),
        ("1 1 in0 b", "1 1 in0 in0", "'in0' is made twice"),
        ("1 1 in0 b", "0 1 b", "0 inputs"),
        ("2 1 b factor out0", "2 9 b factor out0", "9 outputs"),
        ("0=2 1=3", "0=2 0=3", "given twice"),
        ("0=2 1=3", "0=2 99=3", "no option"),
        ("0=2 1=3", "0=x 1=3", "no whole number"),
        ("0=2 1=3", "0=1e999 1=3", "no number"),
        ("0=2 1=3", "0=2.5 1=3", "option 0 is 2.5"),
        ("0=2 1=3", "0=0 1=3", "option 0 is 0"),
        ("0=2 1=3", "0=7 1=3", "are not 7 of 3x3"),
        ("6=54", "6=2000000000", "no size of anything"),
        ("6=54", "6=36000000", "ends within c"),
        ("5=1", "5=0", "such as RIFE has not"),
        ("5=1", "5=1 8=1", "works in 8 bits"),
        ("-23310=1,0.2", "-23310=2,0.2", "array of 2 elements has 1"),
        ("2=2", "2=2000000", "ends within beta"),
        ("2=2", "2=-5", "no size of anything"),
    ],
)
def test_a_graph_that_lies_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    """With the place, the value and what to do."""
    assert old in SMALL
    with pytest.raises(WeightsError, match=said):
        read(tmp_path, SMALL.replace(old, new, 1), BIN)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (BIN[:-1], "ends within c"),
        (BIN + b"x", "1 bytes more"),
        (b"", "ends within beta"),
        (BIN[:8] + struct.pack("<I", 0x000D4B38) + BIN[12:], "quantised"),
        (BIN[:8] + struct.pack("<I", FP16_TAG) + b"\xff\x7f" * 54 + BIN[-8:], "not finite"),
    ],
)
def test_weights_that_lie_are_refused(tmp_path: Path, weights: bytes, said: str) -> None:
    """Cut off, too long, in 8 bits, or no numbers."""
    with pytest.raises(WeightsError, match=said):
        read(tmp_path, SMALL, weights)


def test_files_that_are_not_there_are_a_sentence(tmp_path: Path) -> None:
    """Either of the two, or one that is far too large, which is not read."""
    with pytest.raises(WeightsError, match=r"a\.param cannot be read"):
        read_ncnn(tmp_path / "a.param")
    (tmp_path / "a.param").write_text(SMALL)
    with pytest.raises(WeightsError, match=r"a\.bin cannot be read"):
        read_ncnn(tmp_path / "a.param")
    with (tmp_path / "a.bin").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(WeightsError, match="1099511627776 bytes"):
        read_ncnn(tmp_path / "a.param")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_nothing_but_a_weights_error_comes_of_damage(tmp_path: Path, data: st.DataObject) -> None:
    """Any part of either file overwritten by anything: a network or a sentence, never a traceback."""
    param, weights = bytearray(SMALL.encode()), bytearray(BIN)
    for content in (param, weights):
        place = data.draw(st.integers(0, len(content)))
        content[place : place + data.draw(st.integers(0, 6))] = data.draw(
            st.one_of(
                st.binary(max_size=6), st.sampled_from([b"-1", b"99999999", b" ", b"\n", b",", b"1e9", b"=", b"Split"])
            )
        )
    (tmp_path / "a.param").write_bytes(param)
    (tmp_path / "a.bin").write_bytes(weights)
    with pytest.raises(WeightsError, match=r"a\.param|a\.bin|layer"):  # undamaged it is no RIFE
        named_weights(tmp_path / "a.param")


@NAMES
def test_a_model_becomes_the_published_weights(networks: Path, tmp_path: Path, name: str) -> None:
    """All of them, by name, in shape; the lock knows the file, and the header says what it was made of."""
    pytest.importorskip("safetensors")
    param = networks / f"rife-v{name}" / "flownet.param"
    made = convert_ncnn(param, tmp_path / "flownet.safetensors", weights=tmp_path)
    header = read_header(made.path)
    assert {entry.name: entry.shape for entry in header.tensors} == ARCHITECTURES[name].shapes()
    assert architecture_of({entry.name: entry.shape for entry in header.tensors}) == name
    assert made.tensors == len(header.tensors)
    assert made.dropped == ()
    assert header.metadata["architecture"] == f"rife-{name}"
    assert file_sha256(param) in str(header.metadata["source"])
    locked = read_lock(tmp_path)["flownet.safetensors"]
    assert (locked.sha256, locked.bytes) == (made.sha256, made.bytes) == (file_sha256(made.path), made.bytes)
    assert file_sha256(param.with_suffix(".bin")) in locked.source
    assert judge(made.path, weights=tmp_path).require().files[0].against == "lock"


def test_a_model_is_put_where_it_is_looked_for(tmp_path: Path) -> None:
    """WEIGHTS/rife-v4.6 becomes WEIGHTS/rife-4.6/flownet.safetensors; elsewhere the result lies beside its source."""
    pytest.importorskip("safetensors")
    param = write_zero_flow(tmp_path / "rife-v4.6") / "flownet.param"
    assert convert_ncnn(param, weights=tmp_path).path == tmp_path / "rife-4.6" / "flownet.safetensors"
    assert "rife-4.6/flownet.safetensors" in read_lock(tmp_path)
    assert convert_ncnn(param).path == param.with_suffix(".safetensors")
    with pytest.raises(WeightsError, match="exists already"):
        convert_ncnn(param)
    with pytest.raises(WeightsError, match=r"no \.param"):
        convert_ncnn(param.with_suffix(".bin"))
    with pytest.raises(WeightsError, match=r"ends in \.safetensors"):
        convert_ncnn(param, tmp_path / "a.bin")
    assert not list(tmp_path.rglob("*.part"))


@NAMES
@pytest.mark.parametrize("folded", [False, True], ids=["constants", "folded"])
def test_factors_are_found_or_one(tmp_path: Path, name: str, folded: bool) -> None:
    """Constants are the factors of the residuals that they multiply; where there are none, factors are 1."""
    found, weights = named_weights(write_network(tmp_path, name, folded=folded) / "flownet.param")
    assert found == name
    factors = [tensor for key, tensor in weights.items() if key.endswith("beta")]
    assert len(factors) == 8 * len(ARCHITECTURES[name].channels)
    assert all((tensor == 1).all() == folded for tensor in factors)


def test_factors_belong_to_what_they_multiply(networks: Path, tmp_path: Path) -> None:
    """Constants listed in another order, and under names that say nothing, go to the same convolutions."""
    folder = networks / "rife-v4.25"
    lines = (folder / "flownet.param").read_text().split("\n")
    constants = [index for index, line in enumerate(lines) if line.startswith("MemoryData")]
    values = np.frombuffer((folder / "flownet.bin").read_bytes()[: 4 * 8 * sum(ARCHITECTURES["4.25"].channels)], "<f4")
    parts = np.split(values, np.cumsum([int(lines[index].rsplit("=", 1)[1]) for index in constants])[:-1])
    rest = (folder / "flownet.bin").read_bytes()[values.nbytes :]
    turned = [lines[index] for index in constants][::-1]
    lines[constants[0] : constants[-1] + 1] = turned
    text = "\n".join(lines).replace("convblock", "x")
    (tmp_path / "flownet.param").write_text(text)
    (tmp_path / "flownet.bin").write_bytes(b"".join(part.tobytes() for part in parts[::-1]) + rest)
    _, expected = named_weights(folder / "flownet.param")
    _, found = named_weights(tmp_path / "flownet.param")
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_two_encoders_must_be_one(networks: Path, tmp_path: Path) -> None:
    """Weights that differ between the frames are no published model."""
    folder = networks / "rife-v4.25"
    content = bytearray((folder / "flownet.bin").read_bytes())
    content[4 * 8 * sum(ARCHITECTURES["4.25"].channels) + 4] ^= 1
    (tmp_path / "flownet.bin").write_bytes(content)
    (tmp_path / "flownet.param").write_text((folder / "flownet.param").read_text())
    with pytest.raises(WeightsError, match=r"encode\.cnn0\.weight differs"):
        named_weights(tmp_path / "flownet.param")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ReLU l12 1 1 b11 b12 0=0.2", "ReLU l12 1 1 b11 b12 0=0.1", "slope 0.2"),
        ("0=0\nReLU", "0=2\nReLU", "no residual|no factor"),
        ("3=2 4=1 5=1 6=6048", "3=1 4=1 5=1 6=6048", "another stride"),
    ],
)
def test_another_network_of_the_same_sizes_is_refused(
    networks: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    """Weights that fit are not enough: the graph must do with them what RIFE does."""
    folder = networks / "rife-v4.6"
    text = (folder / "flownet.param").read_text()
    assert old in text, text[:1500]
    (tmp_path / "flownet.param").write_text(text.replace(old, new, 1))
    (tmp_path / "flownet.bin").write_bytes((folder / "flownet.bin").read_bytes())
    with pytest.raises(WeightsError, match=said):
        named_weights(tmp_path / "flownet.param")


def test_an_architecture_is_known_by_names_and_shapes() -> None:
    """Prefix and leftovers of the training do not count; anything else is named with what is nearest."""
    for name, architecture in ARCHITECTURES.items():
        shapes = {f"module.{key}": shape for key, shape in architecture.shapes().items()}
        assert architecture_of({**shapes, "module.teacher.a": (1,), "module.caltime.b": (2, 2)}) == name
        for wrong, said in (
            ({**shapes, "extra": (1,)}, "extra is not part of it"),
            ({key: shape for key, shape in shapes.items() if "block1.lastconv.0.bias" not in key}, "bias is missing"),
            ({**shapes, "module.block0.conv0.0.0.weight": (96, 8, 3, 3)}, r"\[96, 8, 3, 3\] instead of"),
        ):
            with pytest.raises(EngineUnavailable, match=rf"nearest is {name}.*{said}"):
                architecture_of(wrong)
