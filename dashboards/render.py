#!/usr/bin/env python3
"""Draws a dashboard as a picture: about what Grafana shows of it, for where there is no Grafana.

    dashboards/render.py --prometheus http://127.0.0.1:9090 --minutes 10 \\
        --rows 'At a glance' --rows Reads --out docs/overview.svg

It reads the panels from the dashboard's JSON, asks Prometheus what Grafana would ask, and draws time
series and stats; nothing else of Grafana's. Series that are 0 all along are left out. Python 3.9,
nothing else."""

import argparse
import json
import math
import pathlib
import time
import urllib.parse
import urllib.request
from html import escape

FOLDER = pathlib.Path(__file__).parent
#: Grafana's grid, in pixels.
COLUMN, UNIT, GAP = 58, 30, 6
POINTS = 110
#: The colours of Grafana's dark theme.
PAGE, PANEL, EDGE, TEXT, DIM, GRID = "#111217", "#181b1f", "#2c3235", "#ccccdc", "#8e8e9b", "#25282d"
NAMED = {"green": "#73bf69", "blue": "#5794f2", "orange": "#ff9830", "yellow": "#fade2a", "red": "#f2495c",
         "purple": "#b877d9", "text": TEXT}
PALETTE = ["#73bf69", "#fade2a", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#ffa6b0", "#96d98d",
           "#ffee52", "#ca95e5", "#ffb357"]


class Source:
    """A Prometheus, and the span that is shown of it."""

    def __init__(self, url, start, end, scrape):
        self.url, self.start, self.end = url, start, end
        self.step = max(1, round((end - start) / POINTS))
        # As Grafana computes it.
        self.rate_interval = max(self.step + scrape, 4 * scrape)

    def expression(self, target, app):
        span = f"{round(self.end - self.start)}s"
        text = target["expr"].replace("$__rate_interval", f"{self.rate_interval}s").replace("$__range", span)
        return text.replace("$app", app)

    def ask(self, path, **query):
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}") as answer:
            return json.load(answer)["data"]["result"]

    def series(self, target, app):
        """What one target shows: pairs of a name and its points."""
        expression = self.expression(target, app)
        if target["instant"]:
            found = self.ask("/api/v1/query", query=expression, time=self.end)
            return [(name_of(target, one), [(self.end, number(one["value"][1]))]) for one in found]
        found = self.ask("/api/v1/query_range", query=expression, start=self.start, end=self.end, step=self.step)
        return [(name_of(target, one), [(at, number(value)) for at, value in one["values"]]) for one in found]


def number(text):
    value = float(text)
    return None if math.isnan(value) or math.isinf(value) else value


def name_of(target, one):
    name = target["legendFormat"]
    for label, value in one["metric"].items():
        name = name.replace("{{" + label + "}}", value)
    return name


SCALES = {"bytes": [(2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")],
          "Bps": [(1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1, "B/s")],
          "s": [(3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")]}


def format_value(value, unit, states=()):
    """A value as Grafana writes it."""
    if value is None:
        return "no data"
    if states and 0 <= round(value) < len(states):
        return states[round(value)]
    if unit == "percentunit":
        return f"{value * 100:.4g} %"
    for size, name in SCALES.get(unit, []):
        if abs(value) >= size or (size, name) == SCALES[unit][-1]:
            return "0 " + name if value == 0 else f"{value / size:.3g} {name}"
    if unit == "short":
        size, name = next((pair for pair in [(1e6, " Mil"), (1e3, " K")] if abs(value) >= pair[0]), (1, ""))
        return f"{value / size:.3g}{name}"
    name = {"reqps": " req/s", "ops": " /s"}.get(unit, "")
    return f"{value:.3g}{name}"


def nice_top(value):
    """The next number that divides well."""
    power = 10 ** math.floor(math.log10(value)) if value > 0 else 1
    return next(step * power for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * power >= value * 0.999)


def states_of(panel):
    mappings = panel["fieldConfig"]["defaults"].get("mappings") or []
    options = mappings[0]["options"] if mappings else {}
    return [options[key]["text"] for key in sorted(options)]


class Picture:
    def __init__(self):
        self.parts = []

    def add(self, text):
        self.parts.append(text)

    def text(self, x, y, text, size=11, fill=TEXT, anchor="start", weight="normal"):
        self.add(f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"'
                 f' font-weight="{weight}">{escape(text)}</text>')

    def frame(self, x, y, width, height, title):
        self.add(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="2" fill="{PANEL}" stroke="{EDGE}"/>')
        self.text(x + 10, y + 18, title, 12, weight="500")


def draw_stat(picture, panel, series, x, y, width, height):
    picture.frame(x, y, width, height, panel["title"])
    states, defaults = states_of(panel), panel["fieldConfig"]["defaults"]
    steps = defaults["thresholds"]["steps"]
    for at, (name, points) in enumerate(series):
        value = points[-1][1]
        color = [step["color"] for step in steps if step["value"] is None or (value or 0) >= step["value"]][-1]
        room = (height - 30) / len(series)
        middle = y + 28 + room * (at + 0.5)
        if panel["options"]["textMode"] == "name":
            picture.text(x + 12, middle + 8, name, 21, NAMED[color], weight="500")
            continue
        picture.text(x + 12, middle + 5, name, 12, DIM)
        picture.text(x + width - 12, middle + 8, format_value(value, panel_unit(panel), states), 21,
                     NAMED[color], "end", "500")


def panel_unit(panel):
    return panel["fieldConfig"]["defaults"]["unit"]


def colors_of(panel, names):
    fixed = {override["matcher"]["options"]: override["properties"][0]["value"]["fixedColor"]
             for override in panel["fieldConfig"]["overrides"]}
    taken = {NAMED[fixed[name]] for name in names if name in fixed}
    free = iter([color for color in PALETTE if color not in taken] * 4)
    return [NAMED[fixed[name]] if name in fixed else next(free) for name in names]


def stack(series, times):
    """Each series on top of those before it: its lower and its upper edge."""
    below, stacked = dict.fromkeys(times, 0.0), []
    for _, points in series:
        values = dict(points)
        above = {at: below[at] + (values.get(at) or 0.0) for at in times}
        stacked.append((below, above))
        below = above
    return stacked


def draw_series(picture, panel, series, source, x, y, width, height):
    picture.frame(x, y, width, height, panel["title"])
    series = [(name, points) for name, points in series if any(value for _, value in points)]
    defaults, states = panel["fieldConfig"]["defaults"], states_of(panel)
    custom = defaults["custom"]
    stacked = custom["stacking"]["mode"] == "normal"
    left, top, right, bottom = x + 68, y + 32, x + width - 12, y + height - 44
    times = sorted({at for _, points in series for at, _ in points})
    edges = stack(series, times) if stacked else []
    highest = max([value for _, above in edges for value in above.values()]
                  + [value for _, points in series for _, value in points if value is not None and not stacked] + [0])
    limit = defaults.get("max") or nice_top(highest or 1)
    if highest > limit:
        limit = nice_top(highest)

    def place(at, value):
        across = left + (at - source.start) / (source.end - source.start) * (right - left)
        return f"{across:.1f} {bottom - (value / limit) * (bottom - top):.1f}"

    ticks = len(states) - 1 if states else 4
    for tick in range(ticks + 1):
        value = limit * tick / ticks
        height_of = bottom - (bottom - top) * tick / ticks
        picture.add(f'<path d="M{left} {height_of:.0f}H{right}" stroke="{GRID}"/>')
        picture.text(left - 6, height_of + 4, format_value(value, defaults["unit"], states), 10, DIM, "end")
    minutes = max(1, round((source.end - source.start) / 60 / 5))
    first = math.ceil(source.start / 60)
    for minute in range(first, int(source.end // 60) + 1, minutes):
        across = left + (minute * 60 - source.start) / (source.end - source.start) * (right - left)
        picture.text(across, bottom + 14, time.strftime("%H:%M", time.gmtime(minute * 60)), 10, DIM, "middle")
    colors = colors_of(panel, [name for name, _ in series])
    opacity = custom["fillOpacity"] / 100
    for at, ((_, points), color) in enumerate(zip(series, colors)):
        if stacked:
            below, above = edges[at]
            upper, lower = [place(t, above[t]) for t in times], [place(t, below[t]) for t in reversed(times)]
            picture.add(f'<path d="M{"L".join(upper + lower)}Z" fill="{color}" fill-opacity="{opacity}"/>')
            runs = [upper]
        else:
            runs = lines(points, place, custom.get("lineInterpolation") == "stepAfter", source.step)
        for run in runs:
            picture.add(f'<path d="M{"L".join(run)}" fill="none" stroke="{color}" stroke-width="1.3"/>')
    if not series:
        picture.text((left + right) / 2, (top + bottom) / 2, "0 all along", 12, DIM, "middle")
    draw_legend(picture, [name for name, _ in series], colors, left - 56, y + height - 12, right)


def lines(points, place, stairs, step):
    """The lines of a series: it is broken where it has no value."""
    runs, run, before = [], [], None
    for at, value in points:
        if value is None or before is not None and at - before[0] > 1.5 * step:
            runs, run, before = runs + [run], [], None
        if value is None:
            continue
        if stairs and before is not None and before[1] != value:
            run.append(place(at, before[1]))
        run.append(place(at, value))
        before = (at, value)
    return [run for run in runs + [run] if run]


def draw_legend(picture, names, colors, x, y, right):
    for at, (name, color) in enumerate(zip(names, colors)):
        width = 24 + 6.4 * len(name)
        # The last one needs no room for saying that there are more.
        if x + width > right - (0 if at == len(names) - 1 else 55):
            picture.text(x, y, f"and {len(names) - at} more", 10.5, DIM)
            return
        picture.add(f'<path d="M{x:.0f} {y - 4}h12" stroke="{color}" stroke-width="3"/>')
        picture.text(x + 16, y, name, 10.5)
        x += width


def is_empty(panel, series):
    """Whether a panel over time shows nothing but 0."""
    return panel["type"] != "stat" and not any(value for _, points in series for _, value in points)


def draw(board, rows, source, app, skip_empty):
    picture, shown, lowest = Picture(), None, 0
    # From left to right and from top to bottom, as Grafana has them: what is left out leaves no gap.
    across, line_at = 0, 0
    for panel in board["panels"]:
        grid = panel["gridPos"]
        if panel["type"] == "row":
            shown = panel["title"] in rows
            if shown:
                picture.text(10, lowest + 20, f"⌄ {panel['title']}", 14, weight="500")
                lowest += UNIT
                across, line_at = 0, lowest
            continue
        if not shown:
            continue
        series = [one for target in panel["targets"] for one in source.series(target, app)]
        if skip_empty and is_empty(panel, series):
            continue
        if across + grid["w"] > 24:
            across, line_at = 0, lowest
        place = (across * COLUMN + GAP, line_at + GAP / 2, grid["w"] * COLUMN - GAP, grid["h"] * UNIT - GAP)
        if panel["type"] == "stat":
            draw_stat(picture, panel, series, *place)
        else:
            draw_series(picture, panel, series, source, *place)
        across += grid["w"]
        lowest = max(lowest, line_at + grid["h"] * UNIT)
    width, height = 24 * COLUMN + GAP, lowest + 44
    span = f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime(source.start))} to " \
           f"{time.strftime('%H:%M', time.gmtime(source.end))} UTC"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 -40 {width} {height}" ' \
           f'font-family="Inter, Helvetica, Arial, sans-serif">' \
           f'<rect y="-40" width="{width}" height="{height}" fill="{PAGE}"/>'
    picture.text(10, -14, board["title"], 17, weight="500")
    picture.text(width - 10, -14, f"{span}  ·  drawn by dashboards/render.py from the dashboard's JSON", 11, DIM, "end")
    return head + "\n".join(picture.parts) + "</svg>\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its URL")
    parser.add_argument("--dashboard", default=FOLDER / "overview.json", type=pathlib.Path)
    parser.add_argument("--app", default=".*", help="the app, or a regular expression")
    parser.add_argument("--minutes", default=60, type=float, help="how many minutes are shown")
    parser.add_argument("--end", default=None, type=float, help="when they end, in seconds since 1970; default: now")
    parser.add_argument("--scrape", default=15, type=int, help="how often Prometheus scrapes, in seconds")
    parser.add_argument("--rows", action="append", required=True, help="the title of a row to draw; again for more")
    parser.add_argument("--skip-empty", action="store_true", help="leave out panels that are 0 all along")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    options = parser.parse_args()
    end = options.end or time.time()
    source = Source(options.prometheus, end - options.minutes * 60, end, options.scrape)
    board = json.loads(options.dashboard.read_text(encoding="utf-8"))
    options.out.write_text(draw(board, options.rows, source, options.app, options.skip_empty), encoding="utf-8")


if __name__ == "__main__":
    main()
