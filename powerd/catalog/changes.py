"""What changed between two specs of one model, and what each change costs. Pure."""

from __future__ import annotations

from powerd.catalog.fields import FIELDS, ChangeClass
from powerd.catalog.spec import ModelSpec


def _rescaled(old: ModelSpec, new: ModelSpec) -> bool:
    """Whether the adapters are the same files: their scales travel with each request."""
    before, after = ([(each.source, each.digest) for each in spec.adapters] for spec in (old, new))
    return before == after


def changes(old: ModelSpec, new: ModelSpec) -> dict[str, ChangeClass]:
    """The fields whose values differ, in the order of the table, with their classes; where it stands is no change."""
    return {
        name: "live" if name == "adapters" and _rescaled(old, new) else field.change
        for name, field in FIELDS.items()
        if field.available and getattr(old, field.attribute) != getattr(new, field.attribute)
    }
