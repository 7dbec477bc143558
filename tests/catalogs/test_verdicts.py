"""Claims about verdicts: what may follow what, that each can be taken back, and that nobody's word is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.changes import Change, fresh_seed, over_the_list, read_changes
from catalogs.errors import AmbiguousShotError, FencedError, UnknownShotError, VerdictError
from catalogs.footage import Status, Take
from catalogs.night import AttemptStatus
from catalogs.problems import Complaint
from catalogs.shot import Shot
from catalogs.store import Catalogue, open_catalogue
from catalogs.verdict import Decision, Target

Make = Callable[..., Shot]


def publish(catalogue: Catalogue, name: str, *, key: str = "k") -> Take:
    """A take of the shot that is in review."""
    take = catalogue.begin_take(name, key=key, plan=lambda version: {})
    manifest = Path(f"/d/v{take.version:03d}/manifest.json")
    catalogue.finish_take(take, manifest=manifest, clips=[], deliverables=[], findings=[], seconds={})
    return take


@pytest.fixture
def reviewed(catalogue: Catalogue, shot: Make) -> Catalogue:
    """A catalogue whose shots A and B are in review, C is ready."""
    catalogue.submit([shot("A", prompt="a boat"), shot("B"), shot("C")], source="t")
    publish(catalogue, "A")
    publish(catalogue, "B")
    return catalogue


def stati(catalogue: Catalogue, name: str) -> tuple[str, list[str]]:
    """Where the shot and its versions stand."""
    return catalogue.find(name).status.value, [take.status.value for take in catalogue.takes(name)]


def refused(call: Callable[[], object]) -> list[str]:
    """The sentences of a verdict that may not be."""
    with pytest.raises(VerdictError) as caught:
        call()
    return list(caught.value.sentences)


def test_an_approved_shot_leaves_the_nights_and_its_version_is_the_one(reviewed: Catalogue) -> None:
    """Shot and version are approved, no night takes the shot up, and who, when, why and what is written down."""
    [ruling] = reviewed.verdicts.approve(["A"], by="Zoë", note="lovely")
    assert (ruling.slate, ruling.before, ruling.after, ruling.changed) == (
        "AGM_A_v001",
        Status.REVIEW,
        Status.APPROVED,
        True,
    )
    assert stati(reviewed, "A") == ("approved", ["approved"])
    assert [record.shot.code for record in reviewed.renderable()] == ["C"]
    [verdict] = reviewed.verdicts.history("A").verdicts
    assert (verdict.decision, verdict.version, verdict.by, verdict.note) == (Decision.APPROVE, 1, "Zoë", "lovely")
    assert verdict.at.tzinfo is not None
    assert (verdict.before, verdict.after, verdict.undone) == (Status.REVIEW, Status.APPROVED, False)


def test_all_of_them_or_none(reviewed: Catalogue) -> None:
    """One shot that cannot be approved, one that does not exist: no shot is, and every refusal is a sentence."""
    said = refused(lambda: reviewed.verdicts.approve(["A", "C", "AGM/B", "c"], by="z"))
    assert said == ["AGM/C has no take yet, so there is nothing to approve; `dailies render AGM/C` makes one"]
    with pytest.raises(UnknownShotError):
        reviewed.verdicts.approve(["A", "NO"], by="z")
    assert stati(reviewed, "A")[0] == stati(reviewed, "B")[0] == "review"
    assert reviewed.verdicts.history("A").verdicts == ()
    assert len(reviewed.verdicts.approve(["A", "AGM/B", "a"], by="z")) == 2, "a shot named twice is judged once"


def test_a_dry_run_decides_nothing(reviewed: Catalogue) -> None:
    """It says what would be, in the same words."""
    asked = {"changes": {"prompt": "two boats"}, "by": "z"}
    [said] = reviewed.verdicts.retake(["A"], dry_run=True, **asked)  # type: ignore[arg-type]
    assert stati(reviewed, "A") == ("review", ["review"])
    assert reviewed.find("A").shot.prompt == "a boat"
    assert reviewed.verdicts.retake(["A"], **asked) == [said]  # type: ignore[arg-type]


def test_a_retake_is_another_version_of_another_request(reviewed: Catalogue) -> None:
    """The shot is ready with the change, its revision newer; the version sent back keeps its files, and the next take
    is a version of its own even if it has the same key."""
    before = reviewed.find("A")
    [ruling] = reviewed.verdicts.retake(["A"], {"prompt": "two boats", "camera": ""}, by="z", note="one is lonely")
    assert ruling.changes == (Change("prompt", "a boat", "two boats"),)
    assert stati(reviewed, "A") == ("ready", ["retake"])
    after = reviewed.find("A")
    assert after.shot == replace(before.shot, prompt="two boats")
    assert after.revision == before.revision + 1
    assert after.take is not None
    assert after.take.manifest == Path("/d/v001/manifest.json")
    assert publish(reviewed, "A").version == 2
    assert stati(reviewed, "A") == ("review", ["retake", "review"])


def test_a_retake_without_changes_gets_a_seed_of_its_own(reviewed: Catalogue) -> None:
    """Every retake another one, said in the ruling; naming the seed that made these pixels is refused."""
    seeds = set()
    for _ in range(4):
        [ruling] = reviewed.verdicts.retake(["A"], {"prompt": "a boat"}, by="z")
        [change] = ruling.changes
        assert change.field == "seed"
        seeds.add(change.new)
        publish(reviewed, "A", key=f"{change.new}")
    assert len(seeds) == 4
    seed = reviewed.find("A").shot.seed
    assert seed in seeds
    assert "leave out --seed" in refused(lambda: reviewed.verdicts.retake(["A"], {"seed": seed}, by="z"))[0]


@given(st.integers(0, 10_000), st.text("ABC019_", min_size=1))
def test_a_fresh_seed_is_a_seed_and_another_one(number: int, code: str) -> None:
    """From 0 to 2**31-1, never the shot's own, and the same for the same question."""
    first = fresh_seed(Shot("AGM", code, 1), number)
    again = fresh_seed(Shot("AGM", code, 1, seed=first), number)
    assert 0 <= first < 2**31
    assert 0 <= again < 2**31
    assert first != again
    assert fresh_seed(Shot("AGM", code.lower(), 1), number) == first


def test_only_one_version_is_approved(reviewed: Catalogue) -> None:
    """An older version may be approved by name or slate: the newer one loses its approval, and undo gives it back."""
    reviewed.verdicts.retake(["A"], {}, by="z")
    publish(reviewed, "A", key="k2")
    reviewed.verdicts.approve(["A"], by="z")
    assert stati(reviewed, "A") == ("approved", ["retake", "approved"])
    [ruling] = reviewed.verdicts.approve(["AGM_A_v001"], by="z")
    assert ruling.slate == "AGM_A_v001"
    assert stati(reviewed, "A") == ("approved", ["approved", "review"])
    reviewed.verdicts.undo(["A"], by="z")
    assert stati(reviewed, "A") == ("approved", ["retake", "approved"])
    assert not reviewed.verdicts.approve([Target("A", 2)], by="z")[0].changed, "that is so already"
    assert len(reviewed.verdicts.history("A").verdicts) == 4


def test_a_version_that_waits_for_its_retake_may_be_approved_by_name(reviewed: Catalogue) -> None:
    """Without a version a shot that is not in review is refused, and told which there are; a slate is a version."""
    reviewed.verdicts.retake(["A"], {}, by="z")
    [said] = refused(lambda: reviewed.verdicts.approve(["A"], by="z"))
    assert said == "AGM/A is ready, not in review; name a version to approve, --version (v001)"
    reviewed.verdicts.approve([Target("A", 1)], by="z")
    assert stati(reviewed, "A") == ("approved", ["approved"])
    assert "no v007" in refused(lambda: reviewed.verdicts.approve([Target("B", 7)], by="z"))[0]
    assert "name one" in refused(lambda: reviewed.verdicts.approve([Target("AGM_B_v001", 2)], by="z"))[0]


def test_nothing_is_approved_or_sent_back_while_it_is_rendered(reviewed: Catalogue) -> None:
    """A sentence says so; what failed has nothing to approve, and can be sent back with another seed."""
    take = reviewed.begin_take("C", key="k", plan=lambda version: {})
    assert "is being rendered" in refused(lambda: reviewed.verdicts.approve(["C"], by="z"))[0]
    assert "is being rendered" in refused(lambda: reviewed.verdicts.retake(["C"], {}, by="z"))[0]
    reviewed.fail_take(take, error="black", seconds={})
    [said] = refused(lambda: reviewed.verdicts.approve(["C"], by="z"))
    assert said == "AGM/C is failed, not in review; render it first"
    assert "nothing of it was published" in refused(lambda: reviewed.verdicts.approve([Target("C", 1)], by="z"))[0]
    reviewed.verdicts.retake(["C"], {"seed": 7}, by="z")
    assert stati(reviewed, "C") == ("ready", ["failed"])
    assert reviewed.find("C").error == ""
    reviewed.verdicts.undo(["C"], by="z")
    assert (stati(reviewed, "C"), reviewed.find("C").error) == (("failed", ["failed"]), "black")


def test_an_omitted_shot_is_out_and_comes_back(reviewed: Catalogue) -> None:
    """Nothing of it goes; no verdict but undo reaches it, and it then stands where it stood."""
    reviewed.verdicts.approve(["A"], by="z")
    reviewed.verdicts.omit(["A", "C"], by="z", note="cut from the film")
    assert stati(reviewed, "A") == ("omitted", ["approved"])
    assert reviewed.renderable() == []
    assert "`dailies undo AGM/A` brings it back" in refused(lambda: reviewed.verdicts.approve(["A"], by="z"))[0]
    assert "brings it back" in refused(lambda: reviewed.verdicts.retake(["C"], {}, by="z"))[0]
    assert not reviewed.verdicts.omit(["A"], by="z")[0].changed
    reviewed.verdicts.undo(["A", "C"], by="z")
    assert stati(reviewed, "A") == ("approved", ["approved"])
    assert stati(reviewed, "C") == ("ready", [])


def test_a_shot_asked_for_anew_while_it_was_out_comes_back_ready(reviewed: Catalogue, shot: Make) -> None:
    """What it stood for was another request."""
    reviewed.verdicts.omit(["A"], by="z")
    reviewed.submit([shot("A", prompt="a whale")], source="t", mode="update")
    assert stati(reviewed, "A")[0] == "omitted"
    reviewed.verdicts.undo(["A"], by="z")
    assert stati(reviewed, "A") == ("ready", ["review"])


def test_whoever_renders_an_omitted_shot_is_fenced(reviewed: Catalogue) -> None:
    """Its attempt is cancelled, it publishes nothing, and the shot stays out."""
    take = reviewed.begin_take("C", key="k", plan=lambda version: {})
    reviewed.verdicts.omit(["C"], by="z")
    [attempt] = reviewed.nights.attempts(shot="C")
    assert attempt.status is AttemptStatus.CANCELLED
    with pytest.raises(FencedError), reviewed.publishing(take):
        pytest.fail("it may not publish")
    with pytest.raises(FencedError):
        reviewed.finish_take(take, manifest=Path("/m"), clips=[], deliverables=[], findings=[], seconds={})
    assert stati(reviewed, "C")[0] == "omitted"
    reviewed.verdicts.undo(["C"], by="z")
    assert stati(reviewed, "C")[0] == "ready", "nobody renders it now"


def test_a_shot_that_waits_in_the_batch_leaves_it_when_it_is_approved(reviewed: Catalogue) -> None:
    """A retake that is granted to a reel and then thought better of: the reel may not begin it."""
    reviewed.verdicts.retake(["A"], {}, by="z")
    batch = reviewed.nights.open_batch(until=None, wishes={}, plan={}, flow_run="f")
    [granted] = reviewed.nights.grant(batch.name, "reel 01", ["AGM/A"])
    reviewed.verdicts.approve([Target("A", 1)], by="z")
    with pytest.raises(FencedError):
        reviewed.nights.begin("AGM/A", granted.fence, flow_run="g")
    assert reviewed.nights.grant(batch.name, "reel 01", ["AGM/A"]) == []


def test_verdicts_are_taken_back_one_by_one(reviewed: Catalogue) -> None:
    """Undo after undo, down to where the shot stood first; then there is nothing left, and all of it is told."""
    states = [stati(reviewed, "A")]
    for decide in (
        lambda: reviewed.verdicts.retake(["A"], {"steps": 20}, by="z"),
        lambda: reviewed.verdicts.approve([Target("A", 1)], by="z"),
        lambda: reviewed.verdicts.omit(["A"], by="z"),
    ):
        decide()
        states.append(stati(reviewed, "A"))
    for state in reversed(states[:-1]):
        reviewed.verdicts.undo(["A"], by="y")
        assert stati(reviewed, "A") == state
    assert reviewed.find("A").shot.steps is None
    assert "no verdict to take back" in refused(lambda: reviewed.verdicts.undo(["A"], by="y"))[0]
    told = reviewed.verdicts.history("A").verdicts
    assert [(one.decision.value, one.undone, one.undoes and one.undoes.value) for one in told] == [
        ("retake", True, None),
        ("approve", True, None),
        ("omit", True, None),
        ("undo", False, "omit"),
        ("undo", False, "approve"),
        ("undo", False, "retake"),
    ]


def test_a_retake_that_was_rendered_is_not_taken_back(reviewed: Catalogue) -> None:
    """The version is there: which one is wanted is said by approving it."""
    reviewed.verdicts.retake(["A"], {}, by="z")
    publish(reviewed, "A", key="k2")
    assert "--version N" in refused(lambda: reviewed.verdicts.undo(["A"], by="z"))[0]
    assert stati(reviewed, "A") == ("review", ["retake", "review"])


def test_an_older_version_cannot_be_sent_back(reviewed: Catalogue) -> None:
    """A slate on the desk may be yesterday's; a shot without a take has its list."""
    reviewed.verdicts.retake(["A"], {}, by="z")
    publish(reviewed, "A", key="k2")
    [said] = refused(lambda: reviewed.verdicts.retake(["AGM_A_v001"], {}, by="z"))
    assert said == "AGM/A v001 cannot be sent back, the newest is v002; judge that one"
    assert "submit the list" in refused(lambda: reviewed.verdicts.retake(["C"], {}, by="z"))[0]


def test_whoever_looked_at_something_else_is_told(reviewed: Catalogue) -> None:
    """Two supervisors on one shot: the second, whose page is older, is refused by status as by revision."""
    seen = reviewed.find("A")
    page = Target("A", 1, seen.revision, seen.status)
    reviewed.verdicts.approve([page], by="first")
    assert "look again" in refused(lambda: reviewed.verdicts.retake([page], {}, by="second"))[0]
    reviewed.verdicts.retake(["A"], {}, by="first")
    stale = Target("A", 1, seen.revision)
    assert "was changed since you looked" in refused(lambda: reviewed.verdicts.approve([stale], by="second"))[0]


def test_a_list_that_comes_again_does_not_take_a_retake_back(reviewed: Catalogue, shot: Make) -> None:
    """The same row is unchanged, in every mode, and says what it keeps; a row with a new word is followed."""
    reviewed.verdicts.retake(["A"], {"prompt": "two boats", "seed": 7}, by="z")
    listed = shot("A", prompt="a boat")
    for mode in ("create", "update", "upsert"):
        result = reviewed.submit([listed], source="t", mode=mode)  # type: ignore[arg-type]
        assert result.unchanged == ("AGM/A",)
        [kept] = result.kept
        assert kept.changes == (Change("prompt", "a boat", "two boats"), Change("seed", None, 7))
    longer = replace(listed, frames=50)
    assert reviewed.submit([longer], source="t", mode="update").changed == ("AGM/A",)
    now = reviewed.find("A").shot
    assert (now.frames, now.prompt, now.seed) == (50, "two boats", 7)
    said = reviewed.submit([replace(longer, prompt="a whale")], source="t", mode="update")
    assert [one.field for kept in said.kept for one in kept.changes] == ["seed"]
    assert reviewed.find("A").shot.prompt == "a whale"
    assert [one.field for one in reviewed.verdicts.history("A").retaken] == ["seed"]
    again = reviewed.submit([replace(longer, prompt="a boat")], source="t", mode="update")
    assert again.changed == ("AGM/A",), "the list changed its mind twice: its word holds"


def test_a_list_that_follows_the_retake_owns_the_value(reviewed: Catalogue, shot: Make) -> None:
    """What was exported and sent back is unchanged; the first list is then a change like any other."""
    reviewed.verdicts.retake(["A"], {"prompt": "two boats"}, by="z")
    result = reviewed.submit([shot("A", prompt="two boats")], source="t", mode="update")
    assert (result.unchanged, result.kept) == (("AGM/A",), ())
    assert reviewed.submit([shot("A", prompt="a boat")], source="t", mode="update").changed == ("AGM/A",)
    assert reviewed.find("A").shot.prompt == "a boat"


def test_undoing_a_retake_leaves_a_newer_word_of_the_list(reviewed: Catalogue, shot: Make) -> None:
    """Fields that a list changed since stay as it says; the others go back, and are the list's again."""
    reviewed.verdicts.retake(["A"], {"prompt": "two boats", "steps": 20}, by="z")
    reviewed.submit([shot("A", prompt="a whale")], source="t", mode="update")
    [ruling] = reviewed.verdicts.undo(["A"], by="z")
    assert ruling.changes == (Change("steps", 20, None),)
    found = reviewed.verdicts.history("A")
    assert (found.shot.prompt, found.shot.steps, found.retaken) == ("a whale", None, ())
    assert found.status is Status.READY, "asked for anew: the version in review is of another request"


PROMPT = st.sampled_from(["", "a", "b", "c"])


@given(PROMPT, PROMPT, st.integers(0, 3) | st.none())
def test_over_the_list_keeps_exactly_what_the_list_says_again(listed: str, now: str, seed: int | None) -> None:
    """A field whose list says what it said last stays; one whose list says anything else is the list's."""
    asked = Shot("AGM", "A", 1, prompt=listed, seed=seed)
    before = Shot("AGM", "A", 1, prompt=now, seed=99)
    shot, kept, still = over_the_list(asked, before, {"prompt": "a", "seed": None})
    assert shot.prompt == (now if listed == "a" else listed)
    assert shot.seed == (99 if seed is None else seed)
    assert {one.field for one in kept} == set(still)
    assert set(still) == {name for name, old in (("prompt", "a"), ("seed", None)) if getattr(asked, name) == old}


def test_two_who_undo_at_once_take_back_two_verdicts_or_one(url: str, shot: Make) -> None:
    """However they meet, each verdict is taken back once, and every one of them is written down."""
    with open_catalogue(url) as catalogue:
        catalogue.submit([shot("A")], source="t")
        publish(catalogue, "A")
        catalogue.verdicts.approve(["A"], by="z")
        catalogue.verdicts.omit(["A"], by="z")
        gate = threading.Barrier(4)

        def meddle() -> None:
            gate.wait()
            with suppress(VerdictError):
                catalogue.verdicts.undo(["A"], by="z")

        threads = [threading.Thread(target=meddle) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert stati(catalogue, "A") == ("review", ["review"])
        assert [one.undoes for one in catalogue.verdicts.history("A").verdicts] == [
            *(None, None),
            *(Decision.OMIT, Decision.APPROVE),
        ]


def test_what_a_model_cannot_do_is_refused_and_the_rest_is_said(reviewed: Catalogue) -> None:
    """A complaint that refuses names the shot and keeps every shot as it is; a notice is part of the ruling."""

    def judge(asked: Shot) -> list[Complaint]:
        code = "E322" if asked.code == "B" else "W301"
        return [Complaint(code, "prompt", {"model": "wan"})]

    [said] = refused(lambda: reviewed.verdicts.retake(["A", "B"], {"prompt": ""}, by="z", judge=judge))
    assert said == "AGM/B: the model wan needs a prompt; describe what happens in the shot"
    assert stati(reviewed, "A")[0] == "review"
    [ruling] = reviewed.verdicts.retake(["A"], {"prompt": ""}, by="z", judge=judge)
    assert len(ruling.notices) == 1
    assert "cannot be read" in refused(lambda: reviewed.verdicts.retake(["B"], {"prompt": "[5s] x [1s] y"}, by="z"))[0]


def test_changes_are_read_as_the_cells_of_a_list_are() -> None:
    """Empty is the default; everything that cannot be read is said at once."""
    assert read_changes({"camera": "Pan-Left", "seed": "", "guidance": "5.5", "prompt": " x "}) == {
        "camera": "pan left",
        "seed": None,
        "guidance": 5.5,
        "prompt": "x",
    }
    said = refused(lambda: read_changes({"seed": "-1", "steps": "many", "negative_prompt": "a\0b"}))
    assert said[0] == "seed is '-1': out of range; use 0 to 9223372036854775807"
    assert len(said) == 3
    assert "cannot change 'frames'" in refused(lambda: read_changes({"frames": "3"}))[0]


def test_notes_are_text(reviewed: Catalogue) -> None:
    """A control character, which PostgreSQL would not take either, is refused with a sentence."""
    assert "control character" in refused(lambda: reviewed.verdicts.omit(["A"], by="z", note="a\0b"))[0]
    assert "control character" in refused(lambda: reviewed.verdicts.omit(["A"], by="z\0"))[0]


def test_a_name_of_two_shows_is_refused(reviewed: Catalogue, shot: Make) -> None:
    """As everywhere: the candidates are named."""
    reviewed.submit([shot("A", show="XYZ")], source="t")
    with pytest.raises(AmbiguousShotError, match="XYZ/A"):
        reviewed.verdicts.approve(["A"], by="z")
