"""Which interpolator retimes here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from ncnn_models import write_linear, write_network

from models.flow import FlowInterpolator
from models.interface import DeviceLost, Frame
from models.retimers import ANY, FLOW, RIFE_NCNN, RIFE_TORCH, RetimerWish, parse_wish
from models.rife_convert import convert_ncnn
from tasks import retimers
from tasks.errors import MachineNotReadyError


@pytest.fixture(autouse=True)
def nothing_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has lost no device and said nothing yet."""
    monkeypatch.setattr(retimers, "_LOST", set())
    monkeypatch.setattr(retimers, "_told", set())


def test_without_weights_optical_flow_retimes(tmp_path: Path) -> None:
    """It needs none, and is what a machine has that never saw RIFE."""
    assert retimers.interpolator(tmp_path).spec == FlowInterpolator().spec
    assert retimers.spec(tmp_path, wish=parse_wish("flow")).engine == FLOW


def test_rife_required_without_weights_is_refused(tmp_path: Path) -> None:
    """With the folder, and what brings the weights."""
    with pytest.raises(MachineNotReadyError, match=r"weights pull rife-4\.25"):
        retimers.interpolator(tmp_path, require_rife=True)


@pytest.mark.parametrize("words", ["rife-ncnn", "rife-torch device=cuda:0", "model=rife-4.6", "flow device=cuda:0"])
def test_a_wish_is_fulfilled_or_refused(words: str, tmp_path: Path) -> None:
    """What was asked for by name is never replaced by something else."""
    with pytest.raises(MachineNotReadyError, match="cannot run"):
        retimers.interpolator(tmp_path, wish=parse_wish(words))


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
def test_installed_weights_are_preferred(linear_model: Path) -> None:
    """RIFE before flow, unless flow is asked for."""
    weights = linear_model.parent
    assert retimers.spec(weights).engine == RIFE_NCNN
    assert retimers.spec(weights, wish=RetimerWish(engine=FLOW)).engine == FLOW
    assert retimers.spec(weights, wish=RetimerWish(model="rife-v4.6")).model == "rife-v4.6"


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
def test_a_plan_finds_its_own_retimer_again(linear_model: Path, tmp_path: Path) -> None:
    """Where it runs, whatever is best there; None where it is not installed."""
    weights = linear_model.parent
    planned = retimers.spec(weights)
    found = retimers.as_planned(planned, weights)
    assert found is not None
    assert found.spec == planned
    assert retimers.as_planned(planned, tmp_path) is None
    flow = retimers.as_planned(FlowInterpolator().spec, weights)
    assert flow is not None
    assert flow.spec.engine == FLOW


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
def test_the_next_best_is_another_engine(linear_model: Path, tmp_path: Path) -> None:
    """What was lost is not touched again; after the last there is nothing."""
    weights = linear_model.parent
    following = retimers.next_best(retimers.spec(weights), weights)
    assert following is not None
    assert following.spec.engine == FLOW
    assert retimers.next_best(retimers.spec(tmp_path), tmp_path) is None


def test_the_states_name_every_way_of_retiming(tmp_path: Path) -> None:
    """Optical flow is always one of them."""
    assert [state.name for state in retimers.states(tmp_path) if state.ready] == [FLOW]


@pytest.fixture
def torch_weights(tmp_path: Path) -> Path:
    """A weights folder with RIFE 4.25 for torch, its weights random."""
    pytest.importorskip("torch")
    param = write_network(tmp_path / "rife-v4.25", "4.25") / "flownet.param"
    convert_ncnn(param, weights=tmp_path)
    return tmp_path


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
def test_torch_goes_before_ncnn(torch_weights: Path) -> None:
    """It has no 8-bit step; either can be asked for, and their settings stand in the spec."""
    assert retimers.spec(torch_weights).engine == RIFE_TORCH
    ncnn = retimers.spec(torch_weights, wish=parse_wish("rife-ncnn tta=temporal"))
    assert (ncnn.engine, ncnn.model) == (RIFE_NCNN, "rife-v4.25")
    assert ncnn.version != retimers.spec(torch_weights, wish=parse_wish("rife-ncnn")).version


def test_weights_of_another_version_are_refused(torch_weights: Path) -> None:
    """A 4.25 network in the folder of 4.6 is not run as what it is not."""
    folder = torch_weights / "rife-4.6"
    (torch_weights / "rife-4.25").rename(folder)
    with pytest.raises(MachineNotReadyError, match=r"network of RIFE 4\.25"):
        retimers.interpolator(torch_weights, wish=parse_wish("rife-torch"))


def test_weights_that_changed_are_refused(torch_weights: Path) -> None:
    """The lock knows what was converted; one flipped byte is another network."""
    file = torch_weights / "rife-4.25" / "flownet.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(MachineNotReadyError, match="sha256"):
        retimers.interpolator(torch_weights, wish=parse_wish("rife-torch"))


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
def test_a_plan_keeps_its_weights_and_settings(tmp_path: Path) -> None:
    """Newer weights that came meanwhile, and another wish on the machine that finishes, change nothing."""
    for version in ("4.6", "4.25"):
        write_linear(tmp_path / f"rife-v{version}")
    wish = parse_wish("rife-ncnn model=rife-v4.6 tta=temporal uhd=off")
    planned = retimers.spec(tmp_path, wish=wish)
    for there in (wish, ANY, parse_wish("tta=both"), parse_wish("flow")):
        found = retimers.as_planned(planned, tmp_path, wish=there)
        assert found is not None
        assert found.spec == planned


@pytest.mark.rife
@pytest.mark.expects_log
@pytest.mark.usefixtures("rife_runs")
def test_bad_weights_do_not_hide_good_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The next newest are taken, and the log says which were passed over."""
    write_linear(tmp_path / "rife-v4.6")
    broken = tmp_path / "rife-v4.25"
    broken.mkdir()
    (broken / "flownet.param").write_text("no network")
    (broken / "flownet.bin").touch()
    assert retimers.spec(tmp_path).model == "rife-v4.6"
    assert "retimes instead" in caplog.text


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
def test_what_was_lost_is_not_chosen_again(linear_model: Path) -> None:
    """The shots after the one on which a device was lost are planned without it."""
    weights = linear_model.parent

    class Losing(FlowInterpolator):
        def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
            raise DeviceLost("gone")

    watched = retimers.Watched(Losing(), retimers.Candidate(RIFE_NCNN, "cpu", linear_model))
    frame = np.zeros((8, 8, 3), np.uint16)
    assert retimers.spec(weights).engine == RIFE_NCNN
    with pytest.raises(DeviceLost):
        list(watched.between(frame, frame, [Fraction(1, 2)]))
    assert retimers.spec(weights).engine == FLOW


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
def test_the_spec_is_known_without_loading(torch_weights: Path) -> None:
    """What a plan writes down is what is opened later, for every engine and setting."""
    for words in ("flow", "rife-ncnn", "rife-ncnn tta=both uhd=on", "rife-torch", "rife-torch uhd=off tta=temporal"):
        wish = parse_wish(words)
        assert retimers.spec(torch_weights, wish=wish) == retimers.interpolator(torch_weights, wish=wish).spec
