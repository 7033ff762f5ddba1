"""What changed between two specs of one model, and what each change costs. Pure."""

from __future__ import annotations

from powerd.catalog.fields import FIELDS, ChangeClass
from powerd.catalog.spec import ModelSpec


def changes(old: ModelSpec, new: ModelSpec) -> dict[str, ChangeClass]:
    """The fields whose values differ, in the order of the table, with their classes; where it stands is no change."""
    return {
        name: field.change
        for name, field in FIELDS.items()
        if field.available and getattr(old, field.attribute) != getattr(new, field.attribute)
    }
