"""Renders terminals captured with colours (`tmux capture-pane -e -p`) as one HTML
page of windows.

usage: render.py SIDE_BY_SIDE COLUMNS TITLE FILE [TITLE FILE]...
"""

import html
import re
import sys

PALETTE = """
    #1f2430 #ff6b68 #a8cc6c #e8bf6a #6cb2ff #d48ce8 #5ccfe6 #d0d4dc
    #7a8294 #ff8f8d #c2e08a #ffd98a #94c8ff #e3abf2 #8ae2f2 #ffffff
""".split()
FOREGROUND, BACKGROUND = "#d9dde5", "#1f2430"

PAGE = """<!doctype html>
<meta charset="utf-8">
<style>
body { margin: 0; padding: 10px; background: #ffffff; display: grid; gap: 10px;
  grid-template-columns: repeat(SIDE_BY_SIDE, max-content); width: max-content; }
figure { margin: 0; border-radius: 7px; overflow: hidden; background: BACKGROUND; }
figcaption { background: #39404f; color: #e6e9ef; font: 600 14px/28px "DejaVu Sans", sans-serif;
  text-align: center; }
pre { margin: 0; width: COLUMNSch; padding: 7px 11px 9px; color: FOREGROUND;
  font: 15px/19px "DejaVu Sans Mono", monospace; }
</style>
"""


def indexed(number):
    """The CSS colour of a number in the palette of 256."""
    if number < 16:
        return PALETTE[number]
    if number >= 232:
        return "#" + f"{8 + 10 * (number - 232):02x}" * 3
    levels = [0, 95, 135, 175, 215, 255]
    cube = number - 16
    return "#%02x%02x%02x" % (levels[cube // 36], levels[cube // 6 % 6], levels[cube % 6])


class Style:
    def __init__(self):
        self.flags, self.colour, self.ground = set(), None, None

    def select(self, codes):
        """Applies one SGR sequence."""
        codes = [int(code or 0) for code in codes.replace(":", ";").split(";")]
        while codes:
            code = codes.pop(0)
            if code == 0:
                self.__init__()
            elif code in (1, 2, 3, 4, 7):
                self.flags.add(code)
            elif code == 22:
                self.flags -= {1, 2}
            elif code in (23, 24, 27):
                self.flags.discard(code - 20)
            elif code in (38, 48):
                if codes.pop(0) == 5:
                    colour = indexed(codes.pop(0))
                else:
                    colour = "#%02x%02x%02x" % tuple(codes[:3])
                    del codes[:3]
                self.paint(code, colour)
            elif code in (39, 49):
                self.paint(code - 1, None)
            elif 30 <= code <= 37 or 40 <= code <= 47:
                self.paint(38 if code < 40 else 48, PALETTE[code % 10])
            elif 90 <= code <= 97 or 100 <= code <= 107:
                self.paint(38 if code < 100 else 48, PALETTE[code % 10 + 8])

    def paint(self, which, colour):
        if which == 38:
            self.colour = colour
        else:
            self.ground = colour

    def colours(self):
        """The colours of a letter and of its cell; `None` for the window's."""
        colour, ground = self.colour or FOREGROUND, self.ground
        return (ground or BACKGROUND, colour) if 7 in self.flags else (colour, ground)

    def css(self):
        colour, ground = self.colours()
        css = f"color:{colour}"
        css += f";background:{ground}" if ground else ""
        css += ";font-weight:bold" if 1 in self.flags else ""
        css += ";opacity:.65" if 2 in self.flags else ""
        css += ";font-style:italic" if 3 in self.flags else ""
        css += ";text-decoration:underline" if 4 in self.flags else ""
        return css


def runs(captured, style):
    """The parts of a capture, each with the style in force."""
    for part in re.split(r"(\x1b\[[0-9;:]*m)", captured):
        if part.startswith("\x1b["):
            style.select(part[2:-1])
        elif part:
            yield part


def terminal(captured):
    style = Style()
    parts = (f'<span style="{style.css()}">{html.escape(part)}</span>' for part in runs(captured, style))
    return "".join(parts)


def main(side_by_side, columns, *windows):
    page = PAGE.replace("SIDE_BY_SIDE", side_by_side).replace("COLUMNS", columns)
    print(page.replace("FOREGROUND", FOREGROUND).replace("BACKGROUND", BACKGROUND))
    for title, file in zip(windows[::2], windows[1::2]):
        with open(file, encoding="utf-8") as captured:
            shown = terminal(captured.read())
        print(f"<figure><figcaption>{html.escape(title)}</figcaption><pre>{shown}</pre></figure>")


if __name__ == "__main__":
    main(*sys.argv[1:])
