"""A picture of each section, from its JSON alone: bars with what the rounds came to and the goal, and lines
over time."""

from dataclasses import dataclass

from . import svg
from .goals import GOALS
from .report import cell
from .svg import MARGIN, WIDTH, Scale, bar, dot, line, stroke, text, tick_label, whisker, width_of

ROW, BAR = 26, 14
#: Of a chart of lines, without head and legend.
PLOT = 190

#: Whose colour is whose, by what is in the name: the first that fits. The same in all pictures.
_FAMILIES = {
    # What others have made; and the gateway as it is not usually, or what it is compared with.
    "javascript": "yellow", "boto3": "purple", "google-cloud": "purple", "aws-": "teal",
    '"off"': "grey", "without": "grey", "floor": "grey", "baseline": "grey",
    "gateway": "blue", "nginx": "green", "varnish": "purple", "companion": "orange", "node": "yellow",
    # What became of requests, and who answered them.
    "wrong": "red", "delayed": "red", "worst": "red", "aborted": "yellow", "refused": "yellow",
    "complete": "green", "good": "green", "storage": "teal", "cdn": "orange",
}
#: For lines of no family.
_OTHERS = ["blue", "orange", "teal", "purple", "green", "yellow"]
#: For those of one family after the first.
_FAINT = [1.0, 0.7, 0.45]


def draw(document):
    """The picture of a section, or "" if there is nothing to draw."""
    frame = _Frame.of(document["parts"])
    body, bottom = [], MARGIN + 46
    for part in document["parts"]:
        for panel in _panels(part):
            shapes, bottom = panel(frame, bottom)
            body += shapes
            bottom += 22
    if not body:
        return ""
    title = svg.text(MARGIN, MARGIN + 14, document["title"], "title")
    return svg.document(document["title"], bottom, [title, *body])


@dataclass
class _Frame:
    """What the panels of one picture have in common, so that they can be compared."""

    #: Where the bars begin.
    left: float
    #: The least and the most that bars on the same scale show, by its name.
    ranges: dict
    #: How wide the figures beside them are.
    widths: dict
    #: Whether a goal is met, by its name, where it was judged.
    met: dict

    @classmethod
    def of(cls, parts):
        tables = [part for part in parts if part["kind"] == "table"]
        met = {part["name"]: part["met"] for part in parts if part["kind"] == "goal"}
        frame, names = cls(0, {}, {}, met), [""]
        for table in tables:
            drawn = [column for column in table["columns"] if column["drawn"]]
            names += [row["subject"] for row in table["rows"] if drawn or table["stacked"]]
            for column in drawn:
                ends = [value[end] for _, value in _values(table, column) for end in ("lowest", "highest")]
                ends += [GOALS[name].wanted for name in _goals(table, column)]
                scale = _scale_name(table, column)
                ends += frame.ranges.get(scale, [])
                frame.ranges[scale] = [min(ends), max(ends)]
                figures = [frame.figure(row, column) for row, _ in _values(table, column)]
                frame.widths[scale] = max([frame.widths.get(scale, 0), *map(width_of, figures)])
        frame.left = MARGIN + max(map(width_of, names)) + 12
        return frame

    def scale(self, table, column):
        name = _scale_name(table, column)
        (least, most), right = self.ranges[name], WIDTH - MARGIN - self.widths[name] - 12
        return Scale(most * 1.02, self.left, right, least if column["is_log"] else 0, column["is_log"])

    def figure(self, row, column):
        """What stands beside the bar of a row."""
        text = cell(row["values"][column["head"]], column)
        return f"{text}, {self.verdict(row['goal'])[0]}" if row["goal"] else text

    def verdict(self, name):
        """What the line of a goal is to say, and how."""
        words = f"goal {GOALS[name].wants()}"
        if name not in self.met:
            return words, "goal"
        return (f"{words}: met", "met") if self.met[name] else (f"{words}: not met", "goal")


def _panels(part):
    """What draws this part: functions from the frame and the top of a panel to its shapes and its bottom."""
    if part["kind"] == "chart":
        yield lambda frame, top: _chart(frame, part, top)
    if part["kind"] != "table":
        return
    if part["stacked"]:
        yield lambda frame, top: _stack(frame, part, top)
    for column in part["columns"]:
        if column["drawn"]:
            yield lambda frame, top, column=column: _bars(frame, part, column, top)


def _bars(frame, table, column, top):
    """A bar for each subject, with whiskers, and the goal."""
    values = _values(table, column)
    scale = frame.scale(table, column)
    shapes, top = [text(MARGIN, top, _title(table, column), "head")], top + (30 if column["goal"] else 14)
    bottom = top + ROW * len(values)
    shapes += _grid(scale, top, bottom, column["share"])
    shades = _shades([row for row, _ in values], column["peer"])
    for number, (row, value) in enumerate(values):
        middle, median = top + ROW * (number + 0.5), scale.at(value["median"])
        shapes.append(text(frame.left - 10, middle + 4, row["subject"], anchor="end"))
        height = 2 if column["is_log"] else BAR
        shapes += bar(frame.left, middle - height / 2, median - frame.left, height, *shades[number])
        if value["lowest"] < value["highest"]:
            shapes += whisker(scale.at(value["lowest"]), scale.at(value["highest"]), middle)
        if column["is_log"]:
            shapes.append(dot(median, middle, shades[number][0], 6))
        shapes.append(text(WIDTH - MARGIN, middle + 4, frame.figure(row, column), anchor="end"))
        if row["goal"]:
            x, kind = scale.at(GOALS[row["goal"]].wanted), frame.verdict(row["goal"])[1]
            ends = (x, middle - ROW / 2 + 2, x, middle + ROW / 2 - 2)
            shapes += [stroke(*ends, "halo"), stroke(*ends, f"wanted {kind}")]
    if column["goal"]:
        shapes += _wanted(frame, column["goal"], scale, top - 4, bottom)
    return shapes, bottom + 18


def _wanted(frame, name, scale, top, bottom):
    """The line of a goal, and above it what it wants."""
    x, (words, kind) = scale.at(GOALS[name].wanted), frame.verdict(name)
    half = width_of(words, 11) / 2
    middle = min(max(x, MARGIN + half), WIDTH - MARGIN - half)
    return [stroke(x, top, x, bottom, f"wanted {kind}"), text(middle, top - 4, words, f"words {kind}", "middle")]


def _values(table, column):
    """The rows that have a figure in this column, and what it spreads over."""
    found = [(row, row["values"][column["head"]]) for row in table["rows"]]
    return [(row, _as_spread(value)) for row, value in found if isinstance(value, (int, float, dict))]


def _goals(table, column):
    return filter(None, [column["goal"], *(row["goal"] for row in table["rows"])])


def _label(column):
    return column["label"] or column["head"]


def _scale_name(table, column):
    """Ratios to the same subject are on the same scale, and everything else has its own."""
    return _label(column) if column["peer"] else _title(table, column)


def _title(table, column):
    return ": ".join(filter(None, [table["head"], _label(column)]))


def _stack(frame, table, top):
    """A bar for each subject, of several columns one behind the other."""
    heads, rows = table["stacked"], table["rows"]
    sums = [sum(row["values"][head] for head in heads) for row in rows]
    figures = [f"{total:,.0f}" for total in sums]
    scale = Scale(max(sums), frame.left, WIDTH - MARGIN - max(map(width_of, figures)) - 12)
    shapes, top = _head(table["head"], [(head, _family(head) or "blue") for head in heads], top)
    bottom = top + ROW * len(rows)
    shapes += _grid(scale, top, bottom)
    for number, row in enumerate(rows):
        middle, so_far = top + ROW * (number + 0.5), 0
        shapes.append(text(frame.left - 10, middle + 4, row["subject"], anchor="end"))
        for head in heads:
            begin, so_far = scale.at(so_far), so_far + row["values"][head]
            shapes += bar(begin, middle - BAR / 2, scale.at(so_far) - begin, BAR, _family(head) or "blue")
        shapes.append(text(WIDTH - MARGIN, middle + 4, figures[number], anchor="end"))
    return shapes, bottom + 18


def _chart(frame, chart, top):
    """Lines over time, or over named places."""
    colours = _colours(list(chart["lines"]))
    shapes, top = _head(f"{chart['title']}, {chart['y']}", list(zip(chart["lines"], colours)), top)
    vertical, across = _axes(chart, top)
    bottom = vertical.begin
    shapes += _spans(chart, across, top, bottom)
    for tick in vertical.ticks:
        y = vertical.at(tick)
        shapes.append(stroke(vertical.edge, y, WIDTH - MARGIN, y, "grid"))
        shapes.append(text(vertical.edge - 8, y + 4, tick_label(tick), "small", "end"))
    places = chart["places"]
    for tick in range(len(places)) if places else across.ticks:
        words = places[tick] if places else tick_label(tick)
        shapes.append(text(across.at(tick), bottom + 16, words, "small", "middle"))
    for (name, mine), colour in zip(chart["lines"].items(), colours):
        points = [(across.at(x), vertical.at(y)) for x, y in mine]
        shapes.append(line(points, colour))
        shapes += [dot(x, y, colour) for x, y in points if places]
    if chart["goal"]:
        y, (words, kind) = vertical.at(GOALS[chart["goal"]].wanted), frame.verdict(chart["goal"])
        shapes.append(stroke(vertical.edge, y, WIDTH - MARGIN, y, f"wanted {kind}"))
        shapes.append(text(vertical.edge + 6, y - 5, words, f"words {kind}"))
    if chart["x"]:
        bottom += 14
        shapes.append(text((vertical.edge + WIDTH - MARGIN) / 2, bottom + 16, chart["x"], "small", "middle"))
    return shapes, bottom + 22


def _axes(chart, top):
    """The scales of a chart: from its bottom up, and across. The first knows where the second begins."""
    points = [point for mine in chart["lines"].values() for point in mine]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    ys += [GOALS[chart["goal"]].wanted] if chart["goal"] else []
    least = min([y for y in ys if y > 0], default=1) if chart["is_log"] else 0
    # With room for words above.
    most = (max(ys) or 1) * ((2.0 if chart["spans"] else 1.0) if chart["is_log"] else 1.12)
    vertical = Scale(most, top + PLOT, top, least, chart["is_log"])
    vertical.edge = MARGIN + max(width_of(tick_label(tick), 11) for tick in vertical.ticks) + 10
    inset = 24 if chart["places"] else 0
    return vertical, Scale(max(xs), vertical.edge + inset, WIDTH - MARGIN - 8 - inset, min(xs))


def _spans(chart, across, top, bottom):
    shapes = []
    for begin, end, words in chart["spans"]:
        x = across.at(begin)
        shapes += bar(x, top, across.at(end) - x, bottom - top, "span")
        shapes.append(text(x + 6, top + 14, words, "small"))
    return shapes


def _head(title, legend, top):
    """The head of a panel, and under it which colour is what; where the panel goes on."""
    shapes = [text(MARGIN, top, title, "head")] if title else []
    top += 20 if title else 0
    x = MARGIN
    for words, colour in legend:
        shapes += [*bar(x, top - 9, 10, 10, colour), text(x + 15, top, words, "small")]
        x += 15 + width_of(words, 11) + 18
    return shapes, top + 14


def _grid(scale, top, bottom, share=False):
    shapes = []
    for tick in scale.ticks:
        x = scale.at(tick)
        label = f"{tick * 100:g} %" if share else tick_label(tick)
        shapes += [stroke(x, top, x, bottom, "grid"), text(x, bottom + 14, label, "small", "middle")]
    return shapes


def _as_spread(value):
    return value if isinstance(value, dict) else dict.fromkeys(("median", "lowest", "highest"), value)


def _family(name):
    return next((colour for word, colour in _FAMILIES.items() if word in name.lower()), "")


def _shades(rows, peer):
    """A colour and how strong it is, for each row. What is of no family is the gateway in some state; the
    state that the others are compared with is grey."""
    shades, seen = [], {}
    for row in rows:
        colour = _family(row["subject"]) or ("grey" if row["subject"] == peer else "blue")
        seen[colour] = seen.get(colour, 0) + 1
        many = sum((_family(other["subject"]) or "blue") == colour for other in rows)
        is_variant = _family(row["subject"]) and many > 1
        shades.append((colour, _FAINT[min(seen[colour], len(_FAINT)) - 1] if is_variant else 1.0))
    return shades


def _colours(names):
    """A colour for each line, none twice."""
    taken, colours = set(), []
    for name in names:
        colour = _family(name)
        if not colour or colour in taken:
            colour = next((one for one in _OTHERS if one not in taken), "grey")
        taken.add(colour)
        colours.append(colour)
    return colours
