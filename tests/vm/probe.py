"""Touches a device without Maru, to see what the machine does: probe.py DEVICE VERB.

  read OFFSET LENGTH     prints the bytes in hexadecimal
  write OFFSET HEX       writes them
  count OFFSET           adds one to the 8 bytes at OFFSET, again and again, until it is killed"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable

UNIT = 2 << 20  # what a Device-DAX mapping is made of


def opened(path: str) -> mmap.mmap:
    """The first 2 MiB of the device."""
    fd = os.open(path, os.O_RDWR)
    try:
        return mmap.mmap(fd, UNIT)  # asks for the size of regular files alone, which a device has none of
    finally:
        os.close(fd)


def read(data: mmap.mmap, offset: str, length: str) -> None:
    print(data[int(offset) : int(offset) + int(length)].hex())


def write(data: mmap.mmap, offset: str, text: str) -> None:
    new = bytes.fromhex(text)
    data[int(offset) : int(offset) + len(new)] = new


def count(data: mmap.mmap, offset: str) -> None:
    print("counting", flush=True)
    word = memoryview(data)[int(offset) : int(offset) + 8].cast("Q")
    while True:
        word[0] += 1


def main() -> None:
    verbs: dict[str, Callable[..., None]] = {"read": read, "write": write, "count": count}
    verbs[sys.argv[2]](opened(sys.argv[1]), *sys.argv[3:])


if __name__ == "__main__":
    main()
