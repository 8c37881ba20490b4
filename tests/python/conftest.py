"""The packages of the tree are under test, unless PYTHONPATH already names built ones."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_tests = Path(__file__).resolve().parent

if importlib.util.find_spec("maru_common") is None:
    sys.path.insert(0, str(_tests.parent.parent / "python"))
sys.path.insert(0, str(_tests / "standins"))
