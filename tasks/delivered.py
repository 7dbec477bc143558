"""What a plan says about its deliverables: what each must be, what its slate says, how the manifest lists it. Pure.

Knows: plans, frame numbers, timecode. Does not know: files, encoders, what inspection found.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from catalogs.timebase import FIRST_FRAME
from tasks.captions import Caption
from tasks.inspect import Expectation
from tasks.naming import lead_frames, reel_name, start_timecode
from tasks.plan import PlannedDelivery, TakePlan
from tasks.presets import encoder_flags, preset


def expectation(plan: TakePlan, planned: PlannedDelivery) -> Expectation:
    """What a deliverable must be, according to the plan."""
    rate = plan.shot.rate
    lead = lead_frames(planned.extras)
    return Expectation(
        kind=planned.kind,
        option=planned.option,
        frames=plan.frames + lead,
        rate=rate,
        width=plan.delivery_width,
        height=plan.delivery_height,
        timecode=start_timecode(planned.kind, planned.extras, rate),
        reel=reel_name(planned.kind, plan.slate, rate),
        silent="silent" in planned.extras,
        lead=lead,
        quality=planned.quality,
        burnt="burnin" in planned.extras,
    )


def caption(plan: TakePlan, day: date) -> Caption:
    """What review copies of a take say; `day` is that of the encode."""
    shot = plan.shot
    return Caption(
        slate=plan.slate,
        show=shot.show,
        shot="_".join(filter(None, (shot.sequence, shot.code))),
        version=f"v{plan.version:03d}",
        day=day,
        frames=plan.frames,
        rate=shot.rate,
        handles=shot.handles,
        notes=shot.notes,
        by=shot.submitted_by,
    )


def delivered_json(plan: TakePlan, planned: PlannedDelivery) -> dict[str, Any]:
    """What the manifest says of a deliverable besides what was measured. Frame numbers are half-open ranges.

    `frame_in`, `frame_out` number the file's frames, `cut_in`, `cut_out` those of the cut: what lies between are the
    slate, which is no frame of the shot, and the handles.
    """
    rate, lead, handles = plan.shot.rate, lead_frames(planned.extras), plan.shot.handles
    flags = encoder_flags(
        planned.kind,
        planned.option,
        rate=rate,
        width=plan.delivery_width,
        quality=planned.quality,
        encoder=planned.encoder,
    )
    last = FIRST_FRAME + plan.frames
    return {
        "option": planned.option,
        "quality": planned.quality or ("client" if "crf" in flags or "cq" in flags else ""),
        "extras": list(planned.extras),
        "encoder": flags["c:v"],
        "frame_in": FIRST_FRAME - lead,
        "frame_out": last,
        "slate_frames": lead,
        "handles": handles,
        "cut_in": FIRST_FRAME + handles,
        "cut_out": last - handles,
        "timecode": start_timecode(planned.kind, planned.extras, rate),
        "reel": reel_name(planned.kind, plan.slate, rate),
        "review_only": any(word in planned.extras for word in ("slate", "burnin")),
        "container": preset(planned.kind, planned.option).container,
    }
