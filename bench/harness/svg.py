"""The little of SVG that the pictures need: shapes, text, colours for a light and a dark page, scales."""

import math

from html import escape

WIDTH = 760
#: Between the edge and what is drawn.
MARGIN = 24

#: Each colour on a light page, and on a dark one.
COLOURS = {
    "page": ("#ffffff", "#0d1117"),
    "text": ("#1f2937", "#e5e7eb"),
    "dim": ("#6b7280", "#9ca3af"),
    "grid": ("#e5e7eb", "#21262d"),
    "span": ("#f3f4f6", "#161b22"),
    "goal": ("#be123c", "#fb7185"),
    "met": ("#15803d", "#4ade80"),
    "blue": ("#2563eb", "#58a6ff"),
    "green": ("#059669", "#34d399"),
    "purple": ("#7c3aed", "#a78bfa"),
    "orange": ("#ea580c", "#fb923c"),
    "yellow": ("#ca8a04", "#facc15"),
    "teal": ("#0d9488", "#2dd4bf"),
    "red": ("#dc2626", "#f87171"),
    "grey": ("#9ca3af", "#6e7681"),
}

_SHAPES = """
text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: var(--text); }
.title { font-size: 17px; font-weight: 600; }
.head { font-size: 13px; font-weight: 600; }
.small { font-size: 11px; fill: var(--dim); }
.words { font-size: 11px; }
.words.goal { fill: var(--goal); }
.words.met { fill: var(--met); }
.grid { stroke: var(--grid); }
.halo { stroke: var(--page); stroke-width: 3.5; stroke-linecap: square; }
.whisker { stroke: var(--text); stroke-width: 1.5; }
.wanted { stroke-width: 1.5; stroke-dasharray: 5 3; }
.wanted.goal { stroke: var(--goal); }
.wanted.met { stroke: var(--met); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
"""


def document(title, height, body):
    """The whole file."""
    light, dark = ("".join(f"--{name}:{pair[at]};" for name, pair in COLOURS.items()) for at in (0, 1))
    style = f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}{_SHAPES}"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
        f'height="{height:g}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{style}</style>",
        f'<rect width="{WIDTH}" height="{height:g}" rx="8" fill="var(--page)"/>',
        *body,
        "</svg>",
    ]) + "\n"


def text(x, y, words, kind="", anchor="start"):
    kind = f' class="{kind}"' if kind else ""
    anchor = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind}{anchor}>{escape(str(words))}</text>'


def width_of(words, size=12):
    """About how wide a text is: what draws it decides on the font."""
    return len(words) * size * 0.56


def bar(x, y, width, height, colour, strength=1.0):
    """A filled rectangle; with less strength, mixed with the colour of the page."""
    shape = f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" rx="2"'
    if strength == 1:
        return [f'{shape} fill="var(--{colour})"/>']
    return [f'{shape} fill="var(--page)"/>', f'{shape} fill="var(--{colour})" opacity="{strength:g}"/>']


def stroke(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def whisker(x1, x2, y):
    """From the lowest to the highest, with ends, and an edge that sets it off from what is under it."""
    strokes = [(x1, y, x2, y), *((x, y - 3.5, x, y + 3.5) for x in (x1, x2))]
    return [stroke(*ends, kind) for kind in ("halo", "whisker") for ends in strokes]


def dot(x, y, colour, radius=3.5):
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="var(--{colour})"/>'


def line(points, colour):
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="{path}" class="line" stroke="var(--{colour})"/>'


class Scale:
    """Where on the page a number is."""

    def __init__(self, most, begin, end, least=0.0, is_log=False):
        self.begin, self.end, self.is_log = begin, end, is_log
        self.ticks = _powers(least, most) if is_log else _ticks(least, most)
        self.least, self.most = self.ticks[0], max(self.ticks[-1], most) * (1.2 if is_log else 1.0)

    def at(self, value):
        if self.is_log:
            value = max(value, self.least)
            part = math.log(value / self.least) / math.log(self.most / self.least)
        else:
            part = (value - self.least) / (self.most - self.least)
        return self.begin + (self.end - self.begin) * part


def tick_label(value):
    return f"{value:,.10g}"


def _ticks(least, most):
    """Four to eight round numbers from the least to not far below the most."""
    span = (most - least) or 1.0
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(times for times in (1, 2, 5, 10) if span / (step * times) <= 7)
    first = math.floor(least / step + 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(most / step + 1e-9) + 1)]


def _powers(least, most):
    """Powers of ten from below the least to not above the most, and two of them at least."""
    first, last = math.floor(math.log10(least)), math.floor(math.log10(most))
    return [10.0 ** power for power in range(first, max(last, first + 1) + 1)]
