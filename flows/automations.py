"""What the Prefect server does by itself: notice runs that went silent, take up a night again, tell people.

Knows: Prefect's automations and notification blocks, the events of a batch. Does not know: the flows. An automation
that an operator has switched off stays off.

The trigger for silent runs is the one of https://docs.prefect.io/v3/advanced/detect-zombie-flows, for our deployments
only. A server compares beats with its own clock: machines must agree on the time to within half a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, ChangeFlowRunState, RunDeployment, SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from tasks.errors import MachineNotReadyError

BATCH_ENDED: Final = "dailies.batch.ended"
"""Event of a batch that is over. Resource `dailies.batch.NAME`, named NAME; payload: `text`, what to tell people."""

BATCH_STALLED: Final = "dailies.batch.stalled"
"""Event of a batch in which nothing moves. Resource and payload as above."""

SILENCE: Final = timedelta(seconds=70)
"""Two beats of 30 seconds, the shortest that Prefect allows, and ten more for a busy machine."""

SILENT: Final = "no sign of life: its process or machine is gone"
"""What the automation says of a run that it ends."""

BREATH: Final = timedelta(seconds=5)
"""Before a night is taken up again: whatever took it down may take the next one down as well."""

PREFIX: Final = "dailies: "
_TELL: Final = f"{PREFIX}tell "

_PAGE: Final = 200  # the most that the server gives in one answer


def notification_blocks(client: SyncPrefectClient, names: Sequence[str]) -> Mapping[str, UUID]:
    """Ids of Prefect blocks, by `type/name`.

    Raises MachineNotReadyError for one that does not exist or cannot send.
    """
    found = {}
    for name in names:
        kind, _, label = name.partition("/")
        documents = client.read_block_documents_by_type(kind, include_secrets=False) if _has_type(client, kind) else []
        block = next((document for document in documents if document.name == label), None)
        if block is None:
            raise MachineNotReadyError(
                f"DAILIES_NOTIFY names {name}, which this Prefect server does not have; start without it, make the "
                "block in the UI under Blocks, then start again with it"
            )
        if block.block_schema is None or "notify" not in block.block_schema.capabilities:
            raise MachineNotReadyError(
                f"DAILIES_NOTIFY names {name}, and a {kind} sends no notifications; name a block that does, such as "
                "slack-webhook, custom-webhook or email-server-credentials"
            )
        found[name] = block.id
    return found


def _has_type(client: SyncPrefectClient, kind: str) -> bool:
    from prefect.exceptions import ObjectNotFound

    try:
        client.read_block_type_by_slug(kind)
    except ObjectNotFound:
        return False
    return True


def apply_automations(
    client: SyncPrefectClient,
    deployments: Mapping[str, UUID],
    *,
    nightly: UUID | None,
    blocks: Mapping[str, UUID],
) -> list[str]:
    """Make our automations what they should be; the names of those made, changed or removed."""
    standing = _standing(client)
    wanted = [_silent(deployments.values())]
    if nightly is not None:
        wanted.append(_down(nightly))
        wanted += [automation for block in blocks.items() for automation in _told(*block, nightly)]
    changed = []
    for automation in wanted:
        before = standing.pop(automation.name, None)
        if before is None:
            client.create_automation(automation)
        elif _meaning(before) != _meaning(automation):
            client.update_automation(before.id, automation.model_copy(update={"enabled": before.enabled}))
        else:
            continue
        changed.append(f"automation {automation.name}")
    for name, left in standing.items():
        if name.startswith(_TELL):  # a block that is not named any more
            client.delete_automation(left.id)
            changed.append(f"automation {name}")
    return changed


def _standing(client: SyncPrefectClient) -> dict[str, Automation]:
    found: dict[str, Automation] = {}
    offset = 0
    while page := client.read_automations(limit=_PAGE, offset=offset):
        found |= {automation.name: automation for automation in page if automation.name.startswith(PREFIX)}
        offset += len(page)
        if len(page) < _PAGE:
            break
    return found


def _meaning(automation: AutomationCore) -> Any:
    return automation.model_dump(include={"name", "description", "trigger", "actions"})


def _of(ids: Sequence[UUID]) -> ResourceSpecification:
    return ResourceSpecification(
        {
            "prefect.resource.role": "deployment",
            "prefect.resource.id": [f"prefect.deployment.{one}" for one in ids],
        }
    )


def _silent(deployments: Any) -> AutomationCore:
    ends = ("Completed", "Failed", "Cancelled", "Crashed")
    beat = "prefect.flow-run.heartbeat"
    return AutomationCore(
        name=f"{PREFIX}flow run without heartbeat",
        description="A run whose worker or machine is gone stays Running: without two of its beats it is lost.",
        trigger=EventTrigger(
            after={beat},
            expect={beat, *(f"prefect.flow-run.{end}" for end in ends)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            match_related=_of(sorted(deployments)),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name=None,
                force=False,
                message=SILENT,
            )
        ],
    )


def _crashed(deployment: UUID) -> EventTrigger:
    return EventTrigger(
        expect={"prefect.flow-run.Crashed"},
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
        match_related=_of([deployment]),
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
    )


def _down(nightly: UUID) -> AutomationCore:
    return AutomationCore(
        name=f"{PREFIX}night went down",
        description="The run that follows the night died; another one takes its batch up where it is.",
        trigger=_crashed(nightly),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=nightly,
                parameters={"resume": True, "scheduled": True},  # a night that died before it began is begun
                job_variables=None,
                schedule_after=BREATH,
            )
        ],
    )


def _told(name: str, block: UUID, nightly: UUID) -> list[AutomationCore]:
    """Automations that send to one block: a batch ended, one stalls, the night's run died."""

    def batch(event: str, word: str) -> AutomationCore:
        trigger = EventTrigger(
            expect={event},
            match=ResourceSpecification({"prefect.resource.id": ["dailies.batch.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        )
        subject = f"Dailies: batch {{{{ event.resource.name }}}} {word}"
        return telling(word, trigger, subject, "{{ event.payload.text }}")

    def telling(word: str, trigger: EventTrigger, subject: str, body: str) -> AutomationCore:
        action: ActionTypes = SendNotification(block_document_id=block, subject=subject, body=body)
        return AutomationCore(
            name=f"{_TELL}{name} of a batch that {word}",
            description=f"Sends to the block {name}, which DAILIES_NOTIFY names.",
            trigger=trigger,
            actions=[action],
        )

    return [
        batch(BATCH_ENDED, "ended"),
        batch(BATCH_STALLED, "stalled"),
        telling(
            "went down",
            _crashed(nightly),
            "Dailies: the night went down",
            "The flow run {{ flow_run.name }} died: {{ flow_run.state.message }}. Another one takes its batch up.",
        ),
    ]
