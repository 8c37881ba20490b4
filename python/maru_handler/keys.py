"""What a key may be. The compiled module turns keys into bytes: `module/keys.hpp` says how."""

from __future__ import annotations

from typing import TypeAlias

Key: TypeAlias = str | int | bytes | None
"""A str is taken as its UTF-8. An int, bytes and None are keys of their own: `42` is not `"42"`."""
