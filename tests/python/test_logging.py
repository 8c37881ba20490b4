"""Goal: the level of the packages' loggers follows MARU_LOG_LEVEL, else LMCACHE_LOG_LEVEL, else INFO, and an
application's own choice stays. Method: loggers of packages that no other test uses."""

from __future__ import annotations

import logging
import uuid

import pytest

from maru_common import get_logger


@pytest.fixture
def package():
    return f"maru_test_{uuid.uuid4().hex}"


@pytest.mark.parametrize(
    "maru, lmcache, level",
    [
        (None, None, logging.INFO),
        ("DEBUG", "ERROR", logging.DEBUG),
        (None, "error", logging.ERROR),
        ("", "Warning", logging.WARNING),
        ("35", None, 35),
        ("loud", "ERROR", logging.INFO),
    ],
)
def test_the_level_comes_from_the_environment(monkeypatch, package, maru, lmcache, level):
    for variable, text in (("MARU_LOG_LEVEL", maru), ("LMCACHE_LOG_LEVEL", lmcache)):
        if text is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, text)
    assert get_logger(f"{package}.module").getEffectiveLevel() == level
    assert logging.getLogger(package).level == level


def test_a_level_that_somebody_set_stays(monkeypatch, package):
    monkeypatch.setenv("MARU_LOG_LEVEL", "DEBUG")
    logging.getLogger(package).setLevel(logging.ERROR)
    assert get_logger(package).getEffectiveLevel() == logging.ERROR


def test_a_logger_has_no_handler_of_its_own(package):
    assert get_logger(f"{package}.module").handlers == []
    assert logging.getLogger(package).handlers == []
