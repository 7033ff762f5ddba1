"""The batch's memory, and the guard on fields of C structures."""

from __future__ import annotations

import ctypes

import pytest

from powerd.runner.batch import set_fields


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int),)


def test_a_field_is_set() -> None:
    point = Point()
    set_fields(point, x=3)
    assert point.x == 3


def test_a_field_a_c_structure_does_not_have_is_refused() -> None:
    with pytest.raises(AttributeError, match="Point has no field 'use_mmap'"):
        set_fields(Point(), use_mmap=True)
