"""Which size a model makes for a shot, and which size is delivered. Pure.

Knows: what a shot asks, a model's presets and limits. Does not know: memory, how pictures are scaled.
"""

from __future__ import annotations

from fractions import Fraction

from catalogs.shot import Shot
from models.interface import GeneratorSpec
from tasks.errors import PlanError


def delivery_size(shot: Shot, spec: GeneratorSpec) -> tuple[int, int]:
    """Width and height in pixels: what is asked for, else the model's preset nearest to the plate's shape.

    Raises PlanError for an odd side.
    """
    if shot.width is not None and shot.height is not None:
        if shot.width % 2 or shot.height % 2:
            raise PlanError(f"a delivery of {shot.width}x{shot.height} is not even; 4:2:0 needs even sizes")
        return shot.width, shot.height
    aspect = Fraction(shot.plate.width, shot.plate.height) if shot.plate else Fraction(*spec.sizes[0])
    return _nearest_preset(aspect, spec)


def generated_size(asked: tuple[int, int], spec: GeneratorSpec) -> tuple[int, int]:
    """What the model makes: the delivery size where it can, else its preset of the nearest shape, to be scaled."""
    fits = not spec.presets_only or asked in spec.sizes
    if fits and all(side % spec.size_multiple == 0 and spec.smallest <= side <= spec.largest for side in asked):
        return asked
    return _nearest_preset(Fraction(*asked), spec)


def _nearest_preset(aspect: Fraction, spec: GeneratorSpec) -> tuple[int, int]:
    """The model's preset whose shape is closest to `aspect` (width over height), the first of equals."""
    return min(spec.sizes, key=lambda size: abs(_log_ratio(Fraction(*size), aspect)))


def _log_ratio(a: Fraction, b: Fraction) -> Fraction:
    """Distance of two shapes, the same for twice as wide and half as wide."""
    return max(a / b, b / a)
