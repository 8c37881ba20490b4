"""Goal: a setting of the wrong type is named before anything is done with it, and no message repeats a value.

Method: each setting with a value of another type; a token beside it must not turn up."""

from __future__ import annotations

import pytest
from maru_common import MaruConfig

SECRET = "S3CRET"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout_ms", 5.5),
        ("timeout_ms", "5"),
        ("timeout_ms", True),
        ("chunk_size_bytes", 1e6),
        ("chunk_size_bytes", None),
        ("pool_size", 1e7),
        ("expand_size", 2e6),
        ("instance_id", 7),
        ("server_url", b"tcp://localhost:1"),
        ("token_file", 3),
    ],
)
def test_a_setting_of_the_wrong_type_is_named_and_no_value_told(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"^{name} must be (int|str), not {type(value).__name__}$") as caught:
        MaruConfig(**{"token": SECRET, name: value})
    assert SECRET not in str(caught.value)


def test_a_token_of_bytes_is_refused_without_telling_it() -> None:
    with pytest.raises(TypeError, match="^token must be str, not bytes$"):
        MaruConfig(token=SECRET.encode())


def test_settings_that_may_be_left_out_may_be_none() -> None:
    assert MaruConfig(token=None, expand_size=None, tls_ca=None).expand_size is None
