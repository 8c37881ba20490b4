"""The loggers of Maru's packages: `logging`'s own, named after the packages, with one level for all of them.

The level is `MARU_LOG_LEVEL`, else `LMCACHE_LOG_LEVEL`, else INFO. Handlers and formats are the application's affair.
"""

from __future__ import annotations

import logging
import os


def get_logger(module: str) -> logging.Logger:
    """The logger for a module (`__name__`). The first of a package sets the package's level, unless somebody did."""
    package = logging.getLogger(module.partition(".")[0])
    if package.level == logging.NOTSET:
        package.setLevel(_level_from_environment())
    return logging.getLogger(module)


def _level_from_environment() -> int:
    for variable in ("MARU_LOG_LEVEL", "LMCACHE_LOG_LEVEL"):
        text = os.environ.get(variable, "").strip().upper()
        if not text:
            continue
        level = int(text) if text.isdecimal() else logging.getLevelName(text)
        if isinstance(level, int) and level > 0:
            return level
        logging.getLogger(__name__).warning("%s is not a log level: INFO is taken", variable)
        break
    return logging.INFO
