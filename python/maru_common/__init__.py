"""What all of Maru's Python packages share: the configuration, addresses, the loggers. Standard library only."""

from maru_common.address import ServerAddress, parse_server_url, printable_server_url
from maru_common.config import MaruConfig
from maru_common.environment import flag_from_environment
from maru_common.logging import get_logger

__all__ = [
    "MaruConfig",
    "ServerAddress",
    "flag_from_environment",
    "get_logger",
    "parse_server_url",
    "printable_server_url",
]
