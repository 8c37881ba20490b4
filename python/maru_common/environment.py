"""Switches in the environment."""

from __future__ import annotations

import os

from maru_common.logging import get_logger

_logger = get_logger(__name__)


def flag_from_environment(variable: str, default: bool) -> bool:
    """Whether `variable` says yes (1, true, yes, on) or no (0, false, no, off); `default` when it says neither."""
    text = os.environ.get(variable, "").strip().lower()
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("0", "false", "no", "off"):
        return False
    if text:
        _logger.warning("%s must be 1 or 0: it is ignored", variable)
    return default
