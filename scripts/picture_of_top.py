"""Draws what a person sees of `maructl top` at SERVER, after a while, as a PNG. Called by scripts/docs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pyte
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "python"))

from watched import Watched  # noqa: E402

COLUMNS, ROWS = 80, 24
CELL_WIDTH, CELL_HEIGHT, MARGIN = 10, 20, 12
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono{}.ttf"
PAPER, INK = "#14181d", "#d5dae0"
COLOURS = {
    "default": INK,
    "red": "#ff6b6b",
    "green": "#5fcf80",
    "brown": "#e5c15c",  # pyte's name for the third colour
    "magenta": "#c792ea",
    "cyan": "#62c9d8",
    "black": "#7d8792",  # the bright one
}
EIGHTHS = "▁▂▃▄▅▆▇█"
SHADES = {"░": 0.25, "▒": 0.5, "▓": 0.75}


def mixed(colour: str, share: float) -> str:
    """`colour` on the paper, as if only that share of it were printed."""
    pairs = zip(bytes.fromhex(colour[1:]), bytes.fromhex(PAPER[1:]))
    return "#" + bytes(round(ink * share + paper * (1 - share)) for ink, paper in pairs).hex()


def draw(screen: pyte.Screen, target: Path) -> None:
    """Cell by cell; blocks as rectangles, since fonts leave gaps between them."""
    size = (2 * MARGIN + COLUMNS * CELL_WIDTH, 2 * MARGIN + ROWS * CELL_HEIGHT)
    image = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(image)
    fonts = {bold: ImageFont.truetype(FONT.format("-Bold" if bold else ""), 16) for bold in (False, True)}
    for row in range(ROWS):
        for column in range(COLUMNS):
            cell = screen.buffer[row][column]
            left, top = MARGIN + column * CELL_WIDTH, MARGIN + row * CELL_HEIGHT
            colour = COLOURS[cell.fg]
            right, bottom = left + CELL_WIDTH - 1, top + CELL_HEIGHT - 1
            if cell.data in SHADES:
                pen.rectangle((left, top + 2, right, bottom - 2), fill=mixed(colour, SHADES[cell.data]))
            elif cell.data in EIGHTHS:
                height = (EIGHTHS.index(cell.data) + 1) * (CELL_HEIGHT - 4) // len(EIGHTHS)
                pen.rectangle((left, bottom - 1 - height, right - 1, bottom - 2), fill=colour)
            elif cell.data.strip():
                pen.text((left, top), cell.data, fill=colour, font=fonts[cell.bold and cell.fg != "black"])
    image.quantize(128).save(target, optimize=True)


def last_frame(output: bytes) -> pyte.Screen:
    """What the last whole drawing shows. Dim text gets a colour here: pyte knows no such thing."""
    first_cell = b"\x1b[1;1H"
    screen = pyte.Screen(COLUMNS, ROWS)
    frame = first_cell + output.split(first_cell)[-2]
    pyte.ByteStream(screen).feed(frame.replace(b"\x1b[2m", b"\x1b[90m"))
    return screen


def main() -> None:
    server, target = sys.argv[1:]
    command = [ROOT / "build" / "release" / "bin" / "maructl", "--server", server, "top", "--interval-ms", "500"]
    watched = Watched(command, COLUMNS, ROWS)
    try:
        full = re.compile("hit rate.* [▁▂▃▄▅▆▇█]{26} ")
        watched.until(lambda: full.search(watched.text), "a full sparkline", 60)
        watched.read(1)
        draw(last_frame(watched.output), Path(target))
    finally:
        watched.close()


if __name__ == "__main__":
    main()
