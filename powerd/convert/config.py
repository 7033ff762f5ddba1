"""A checkpoint's JSON documents, read with care: values of the right kind, or an error that names the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from powerd.errors import BadRequest

MAX_INTEGER = (1 << 31) - 1
MAX_NUMBER = 3.4e38


def _is_number(value: Any) -> bool:
    """Whether a float32 can hold it, which is what a GGUF has."""
    return type(value) in (int, float) and abs(value) < MAX_NUMBER


class Config:
    """The fields of `values`, a JSON object of the file `name`. A field that is null counts as absent."""

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self.values = values
        self.name = name

    def __contains__(self, field: str) -> bool:
        return self.values.get(field) is not None

    def integer(self, field: str, default: int | None = None, *, least: int = 1, most: int = MAX_INTEGER) -> int:
        """A whole number in these limits. Raises BadRequest when it is none, or missing without a default."""
        value = self._value(field, default)
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or not least <= value <= most:
            raise self.wrong(field, f"a whole number from {least} to {most}")
        return value

    def number(self, field: str, default: float | None = None) -> float:
        """A finite number. Raises BadRequest as `integer` does."""
        value = self._value(field, default)
        if not _is_number(value):
            raise self.wrong(field, "a number")
        return float(value)

    def positive(self, field: str, default: float | None = None) -> float:
        """A finite number above 0. Raises BadRequest as `integer` does."""
        value = self.number(field, default)
        if not value > 0:
            raise self.wrong(field, "a number above 0")
        return value

    def flag(self, field: str, default: bool) -> bool:
        """True or false. Raises BadRequest for anything else."""
        value = self._value(field, default)
        if type(value) is not bool:
            raise self.wrong(field, "true or false")
        return value

    def text(self, field: str, default: str = "") -> str:
        """A string. Raises BadRequest for anything else."""
        value = self._value(field, default)
        if not isinstance(value, str):
            raise self.wrong(field, "a string")
        return value

    def section(self, field: str) -> Config:
        """An object inside; empty where there is none. Raises BadRequest for anything else."""
        value = self._value(field, {})
        if not isinstance(value, Mapping):
            raise self.wrong(field, "an object")
        return Config(value, f"{self.name}: {field}")

    def numbers(self, field: str) -> list[float]:
        """A list of finite numbers; empty where there is none. Raises BadRequest for anything else."""
        value = self._value(field, [])
        if not isinstance(value, list) or not all(map(_is_number, value)):
            raise self.wrong(field, "a list of numbers")
        return [float(item) for item in value]

    def words(self, field: str) -> list[str]:
        """A list of strings; empty where there is none. Raises BadRequest for anything else."""
        value = self._value(field, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(field, "a list of strings")
        return value

    def items(self, field: str) -> list[Any]:
        """A list; empty where there is none. Raises BadRequest for anything else."""
        value = self._value(field, [])
        if not isinstance(value, list):
            raise self.wrong(field, "a list")
        return value

    def first(self, *fields: str) -> str:
        """The first of these names that is there, else the last one."""
        return next((field for field in fields if field in self), fields[-1])

    def wrong(self, field: str, expected: str) -> BadRequest:
        """The error for a field that is not what it should be."""
        value = self.values.get(field)
        found = "it is missing" if value is None else f"it is {str(value)[:60]}"
        return BadRequest(f"{self.name}: {field} must be {expected}; {found}", "files")

    def _value(self, field: str, default: Any) -> Any:
        value = self.values.get(field)
        return default if value is None else value
