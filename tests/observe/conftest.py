"""The Marud of the Python tests, and the built packages: PYTHONPATH must name them, as ctest does."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
