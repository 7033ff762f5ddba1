"""Every family's way to write tool calls, as one table that `recognise` picks from."""

from __future__ import annotations

from powerd.output.formats import ToolFormat
from powerd.output.gemma import GEMMA_FAMILIES
from powerd.output.json_families import JSON_FAMILIES
from powerd.output.markup_families import MARKUP_FAMILIES
from powerd.output.pythonic import PYTHONIC_FAMILIES

FAMILIES: tuple[ToolFormat, ...] = (*JSON_FAMILIES, *MARKUP_FAMILIES, *GEMMA_FAMILIES, *PYTHONIC_FAMILIES)

#: The same by name.
BY_NAME = {family.name: family for family in FAMILIES}
