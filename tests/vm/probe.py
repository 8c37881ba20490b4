"""Touches a device without Maru, to see what the machine does: probe.py DEVICE VERB.

  read OFFSET LENGTH     prints the bytes in hexadecimal
  write OFFSET HEX       writes them
  count OFFSET           adds one to the 8 bytes at OFFSET, again and again, until it is killed
  poison OFFSET          makes the page at OFFSET fail for whoever touches it: in a guest only"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable

UNIT = 2 << 20  # what a Device-DAX mapping is made of


MADV_HWPOISON = 100  # <asm-generic/mman-common.h>


def opened(path: str, begin: int = 0) -> mmap.mmap:
    """2 MiB of the device."""
    fd = os.open(path, os.O_RDWR)
    try:
        return mmap.mmap(fd, UNIT, offset=begin)  # asks for the size of regular files alone, which a device has none of
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


def poison(data: mmap.mmap, offset: str) -> None:
    at = int(offset) % UNIT
    data[at]  # a page that is there
    data.madvise(MADV_HWPOISON, at, mmap.PAGESIZE)


def main() -> None:
    verbs: dict[str, Callable[..., None]] = {"read": read, "write": write, "count": count, "poison": poison}
    begin = int(sys.argv[3]) // UNIT * UNIT if sys.argv[2] == "poison" else 0
    verbs[sys.argv[2]](opened(sys.argv[1], begin), *sys.argv[3:])


if __name__ == "__main__":
    main()
