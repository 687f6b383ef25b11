"""A picture of each section, from its JSON alone: bars with what the rounds came to and the goal, and lines
over time."""

from . import svg
from .goals import GOALS
from .report import cell
from .svg import MARGIN, WIDTH, Scale, bar, line, stroke, text, tick_label, whisker, width_of

ROW, BAR = 26, 14
#: Of a chart of lines, without head and legend.
PLOT = 190

#: Whose colour is whose, by what is in the name: the first that fits. The same in all pictures.
_FAMILIES = {
    "gateway": "blue", "nginx": "green", "varnish": "purple", "companion": "orange", "node": "yellow",
    "floor": "grey", "baseline": "grey", "wrong": "red", "delayed": "red", "worst": "red",
    "aborted": "yellow", "refused": "yellow", "complete": "green", "good": "green", "storage": "teal",
    "cdn": "orange",
}
#: For lines of no family.
_OTHERS = ["blue", "orange", "teal", "purple", "green", "yellow"]
#: For those of one family after the first.
_FAINT = [1.0, 0.7, 0.45]


def draw(document):
    """The picture of a section, or "" if there is nothing to draw."""
    body, bottom = [], MARGIN + 36
    for part in document["parts"]:
        for panel in _panels(part):
            shapes, bottom = panel(bottom)
            body += shapes
            bottom += 22
    if not body:
        return ""
    title = svg.text(MARGIN, MARGIN + 14, document["title"], "title")
    return svg.document(document["title"], bottom, [title, *body])


def _panels(part):
    """What draws this part: functions from the top of a panel to its shapes and its bottom."""
    if part["kind"] == "chart":
        yield lambda top: _chart(part, top)
    if part["kind"] != "table":
        return
    if part["stacked"]:
        yield lambda top: _stack(part, top)
    for column in part["columns"]:
        if column["drawn"]:
            yield lambda top, column=column: _bars(part, column, top)


def _bars(table, column, top):
    """A bar for each subject, with whiskers, and the goal."""
    rows = [row for row in table["rows"] if isinstance(row["values"][column["head"]], (int, float, dict))]
    values = [_spread(row["values"][column["head"]]) for row in rows]
    wanted = [GOALS[goal].wanted for goal in (column["goal"], *(row["goal"] for row in rows)) if goal]
    figures = [cell(row["values"][column["head"]], column) for row in rows]
    left = MARGIN + max(width_of(row["subject"]) for row in rows) + 12
    right = WIDTH - MARGIN - max(map(width_of, figures)) - 12
    scale = Scale(max([*(value["highest"] for value in values), *wanted]) * 1.02, left, right)
    head = ": ".join(filter(None, [table["head"], column["head"]]))
    shapes, top = [text(MARGIN, top, head, "head")], top + (28 if column["goal"] else 14)
    bottom = top + ROW * len(rows)
    shapes += _grid(scale, top, bottom, column["share"])
    shades = _shades(rows, column["peer"])
    for number, (row, value, figure) in enumerate(zip(rows, values, figures)):
        middle = top + ROW * (number + 0.5)
        shapes.append(text(left - 10, middle + 4, row["subject"], anchor="end"))
        shapes.append(bar(left, middle - BAR / 2, scale.at(value["median"]) - left, BAR, *shades[number]))
        if value["lowest"] < value["highest"]:
            shapes += whisker(scale.at(value["lowest"]), scale.at(value["highest"]), middle)
        shapes.append(text(WIDTH - MARGIN, middle + 4, figure, anchor="end"))
        if row["goal"]:
            shapes += _wanted(row["goal"], scale, middle - ROW / 2 + 2, middle + ROW / 2 - 2, beside=True)
    if column["goal"]:
        shapes += _wanted(column["goal"], scale, top - 4, bottom)
    return shapes, bottom + 18


def _wanted(name, scale, top, bottom, beside=False):
    """The line of a goal, with what it wants above it, or beside it."""
    goal = GOALS[name]
    x = scale.at(goal.wanted)
    words = f"goal {goal.wants()}"
    if beside:
        label = text(x + 5, (top + bottom) / 2 + 4, words, "wanted")
        if x + 5 + width_of(words, 11) > scale.end:
            label = text(x - 5, (top + bottom) / 2 + 4, words, "wanted", "end")
    else:
        half = width_of(words, 11) / 2
        label = text(min(max(x, MARGIN + half), WIDTH - MARGIN - half), top - 4, words, "wanted", "middle")
    return [stroke(x, top, x, bottom, "goal"), label]


def _stack(table, top):
    """A bar for each subject, of several columns one behind the other."""
    heads, rows = table["stacked"], table["rows"]
    left = MARGIN + max(width_of(row["subject"]) for row in rows) + 12
    sums = [sum(row["values"][head] for head in heads) for row in rows]
    scale = Scale(max(sums), left, WIDTH - MARGIN)
    shapes, top = _head(table["head"], [(head, _family(head) or "blue") for head in heads], top)
    bottom = top + ROW * len(rows)
    shapes += _grid(scale, top, bottom)
    for number, row in enumerate(rows):
        middle, so_far = top + ROW * (number + 0.5), 0
        shapes.append(text(left - 10, middle + 4, row["subject"], anchor="end"))
        for head in heads:
            begin, so_far = scale.at(so_far), so_far + row["values"][head]
            shapes.append(bar(begin, middle - BAR / 2, scale.at(so_far) - begin, BAR, _family(head) or "blue"))
    return shapes, bottom + 18


def _chart(chart, top):
    """Lines over time, or over named places."""
    colours = _colours(list(chart["lines"]))
    title = f"{chart['title']}, {chart['y']}"
    shapes, top = _head(title, list(zip(chart["lines"], colours)), top)
    points = [point for line in chart["lines"].values() for point in line]
    goal = GOALS[chart["goal"]] if chart["goal"] else None
    ys = [y for _, y in points] + ([goal.wanted] if goal else [])
    least = min([y for y in ys if y > 0], default=1) if chart["is_log"] else 0
    bottom = top + PLOT
    vertical = Scale(max([*ys, least]) or 1, bottom, top, least, chart["is_log"])
    left = MARGIN + max(width_of(tick_label(tick), 11) for tick in vertical.ticks) + 10
    across = Scale(max(x for x, _ in points), left, WIDTH - MARGIN - 8, min(x for x, _ in points))
    shapes += _spans(chart, across, top, bottom)
    for tick in vertical.ticks:
        y = vertical.at(tick)
        shapes += [stroke(left, y, WIDTH - MARGIN, y, "grid"), text(left - 8, y + 4, tick_label(tick), "small", "end")]
    places = chart["places"]
    for tick in range(len(places)) if places else across.ticks:
        words = places[tick] if places else tick_label(tick)
        anchor = "end" if places and tick == len(places) - 1 else "middle"
        shapes.append(text(across.at(tick), bottom + 16, words, "small", anchor))
    for (name, mine), colour in zip(chart["lines"].items(), colours):
        shapes.append(line([(across.at(x), vertical.at(y)) for x, y in mine], colour))
    if goal:
        y = vertical.at(goal.wanted)
        shapes.append(stroke(left, y, WIDTH - MARGIN, y, "goal"))
        shapes.append(text(left + 6, y - 5, f"goal {goal.wants()}", "wanted"))
    if chart["x"]:
        bottom += 14
        shapes.append(text((left + WIDTH - MARGIN) / 2, bottom + 16, chart["x"], "small", "middle"))
    return shapes, bottom + 22


def _spans(chart, across, top, bottom):
    shapes = []
    for begin, end, words in chart["spans"]:
        x = across.at(begin)
        shapes.append(bar(x, top, across.at(end) - x, bottom - top, "span"))
        shapes.append(text(x + 6, top + 14, words, "small"))
    return shapes


def _head(title, legend, top):
    """The head of a panel, and under it which colour is what; where the panel goes on."""
    shapes = [text(MARGIN, top, title, "head")] if title else []
    top += 20 if title else 0
    x = MARGIN
    for words, colour in legend:
        shapes += [bar(x, top - 9, 10, 10, colour), text(x + 15, top, words, "small")]
        x += 15 + width_of(words, 11) + 18
    return shapes, top + 14


def _grid(scale, top, bottom, share=False):
    shapes = []
    for tick in scale.ticks:
        x = scale.at(tick)
        label = f"{tick * 100:g} %" if share else tick_label(tick)
        shapes += [stroke(x, top, x, bottom, "grid"), text(x, bottom + 14, label, "small", "middle")]
    return shapes


def _spread(value):
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
