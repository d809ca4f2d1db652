"""Renders captures of one terminal as an animated SVG.

usage: animate.py COLUMNS ROWS TITLE FILE...

Each file is one moment. Its first line has the seconds for which it is shown,
and the cursor's column and row. The rest is `tmux capture-pane -e -p`.
"""

import html
import sys

from render import BACKGROUND, FOREGROUND, Style, runs

# As in the style of render.py: the size of a letter, and the margins.
WIDTH, HEIGHT, MARGIN, BAR = 9.031, 19, 11, 28

FRAME = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
<title>{title}</title>
<style>
text {{ font: 15px "DejaVu Sans Mono", ui-monospace, Menlo, Consolas, monospace; white-space: pre; fill: {foreground}; }}
.title {{ font: 600 14px "DejaVu Sans", sans-serif; fill: #e6e9ef; text-anchor: middle; }}
.film {{ animation: film {seconds:.2f}s step-end infinite; }}
@media (prefers-reduced-motion: reduce) {{ .film {{ animation: none; transform: translateY(-{last}px); }} }}
@keyframes film {{ {keyframes} }}
</style>
<rect width="{width}" height="{height}" rx="7" fill="{background}"/>
<path d="M0 {bar}V7a7 7 0 0 1 7-7H{inner}a7 7 0 0 1 7 7V{bar}z" fill="#39404f"/>
<text class="title" x="{middle}" y="19">{title}</text>
<defs>
{lines}
</defs>
<svg y="{bar}" width="{width}" height="{screen}"><g class="film">
{moments}
</g></svg>
</svg>
"""


def drawn(line, style):
    """One line of a screen, in SVG."""
    out, column = [], 0
    for part in runs(line, style):
        colour, ground = style.colours()
        x, width = MARGIN + column * WIDTH, len(part) * WIDTH
        column += len(part)
        if ground:
            out.append(f'<rect x="{x:.1f}" width="{width:.1f}" height="{HEIGHT}" fill="{ground}"/>')
        if part.strip():
            look = f' fill="{colour}"' if colour != FOREGROUND else ""
            look += ' font-weight="bold"' if 1 in style.flags else ""
            look += ' opacity=".65"' if 2 in style.flags else ""
            look += ' font-style="italic"' if 3 in style.flags else ""
            look += ' text-decoration="underline"' if 4 in style.flags else ""
            look = look and f' style="fill:{colour}"' + look.replace(f' fill="{colour}"', "")
            size = f'textLength="{width:.1f}" lengthAdjust="spacingAndGlyphs"'
            out.append(f'<text x="{x:.1f}" y="14" {size}{look}>{html.escape(part)}</text>')
    return "".join(out)


def main(columns, rows, title, *files):
    screen = int(rows) * HEIGHT + 16
    width = round(int(columns) * WIDTH + 2 * MARGIN)
    # A line that many moments show is drawn once.
    lines, moments, times = {}, [], []
    for number, file in enumerate(files):
        with open(file, encoding="utf-8") as captured:
            first, *shown = captured.read().split("\n")
        seconds, column, row = first.split()
        times.append(float(seconds))
        style, top = Style(), number * screen + 7
        moment = [f'<rect x="{MARGIN + int(column) * WIDTH:.1f}" y="{top + int(row) * HEIGHT}" width="9" height="{HEIGHT}" fill="#7a8294"/>']
        for place, line in enumerate(shown):
            if text := drawn(line, style):
                name = lines.setdefault(text, f"l{len(lines)}")
                moment.append(f'<use href="#{name}" y="{top + place * HEIGHT}"/>')
        moments.append("".join(moment))
    total, past, keyframes = sum(times), 0.0, []
    for number, seconds in enumerate(times):
        keyframes.append(f"{100 * past / total:.3f}% {{ transform: translateY(-{number * screen}px); }}")
        past += seconds
    print(FRAME.format(
        width=width, height=BAR + screen, inner=width - 7, middle=width / 2, bar=BAR, screen=screen,
        title=html.escape(title), background=BACKGROUND, foreground=FOREGROUND,
        seconds=total, last=(len(files) - 1) * screen, keyframes=" ".join(keyframes),
        lines="\n".join(f'<g id="{name}">{text}</g>' for text, name in lines.items()),
        moments="\n".join(moments),
    ), end="")


main(*sys.argv[1:])
