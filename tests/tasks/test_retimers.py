"""Which interpolator retimes here."""

from __future__ import annotations

from pathlib import Path

import pytest
from ncnn_models import write_network

from models.flow import FlowInterpolator
from models.retimers import FLOW, RIFE_NCNN, RIFE_TORCH, RetimerWish, parse_wish
from models.rife_convert import convert_ncnn
from tasks import retimers
from tasks.errors import MachineNotReadyError


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
