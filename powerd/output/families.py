"""Every family's way to write tool calls, as one table that `recognise` picks from."""

from __future__ import annotations

from powerd.output.calls.gemma import GEMMA_FAMILIES
from powerd.output.calls.json_families import JSON_FAMILIES
from powerd.output.calls.markup_families import MARKUP_FAMILIES
from powerd.output.calls.pythonic import PYTHONIC_FAMILIES
from powerd.output.formats import ToolFormat

FAMILIES: tuple[ToolFormat, ...] = (*JSON_FAMILIES, *MARKUP_FAMILIES, *GEMMA_FAMILIES, *PYTHONIC_FAMILIES)

#: The same by name.
BY_NAME = {family.name: family for family in FAMILIES}
