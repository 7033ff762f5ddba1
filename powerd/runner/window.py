"""What stays of a prompt that does not fit, and of a context that is full. Pure; all in tokens."""

from __future__ import annotations

#: Tokens beyond the kept ones that a context must have, so that something can be dropped and something stays.
_LEAST = 2


def head(num_keep: int, adds_bos: bool, prompt: int, context: int) -> int:
    """How many tokens at the beginning are never dropped: `num_keep` and the one that begins every text.

    A negative `num_keep` means all of the prompt.
    """
    kept = prompt if num_keep < 0 else num_keep + adds_bos
    return max(0, min(kept, context - _LEAST))


def after_cutting(keep: int, context: int) -> int:
    """How long a prompt that does not fit becomes: half of what is not kept is left free (contract section 6)."""
    return context - max((context - keep) // 2, 1)


def dropped(keep: int, position: int) -> int:
    """How many of the `position` tokens in a full context go: the older half of what is not kept."""
    return max((position - keep) // 2, 1)
