"""What a section measured, as data: what `bench/results/NAME.json` holds, and what all pictures and pages
are made from."""

import statistics

from dataclasses import asdict, dataclass, field

from . import goals


@dataclass(frozen=True)
class Spread:
    """What the rounds came to."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values):
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))


@dataclass
class Column:
    """One metric of a table."""

    head: str
    #: Digits behind the point, where it is shown.
    digits: int = 0
    #: A part of a whole, which is shown in percent.
    share: bool = False
    #: The subject by whose figure of the same round this one is divided.
    peer: str = ""
    #: Shown in the section's picture, as bars.
    drawn: bool = False
    #: What the picture calls it, where the head alone says too little.
    label: str = ""
    #: Dots instead of bars, and each tick ten times the one before: for figures that are far apart.
    is_log: bool = False
    #: The goal whose line the picture has.
    goal: str = ""


@dataclass
class Table:
    """Figures of several subjects. `add` gives each a row with a cell for each column: a `Spread`, a number,
    a text, or None for what there is not; and a goal, if that is the row's own."""

    #: What the subjects have in common: the head of the column of their names.
    head: str
    columns: list
    #: The heads of columns that the picture shows together, one behind the other: parts of a whole.
    stacked: list = field(default_factory=list)
    rows: list = field(default_factory=list)

    def add(self, subject, *cells, goal=""):
        if len(cells) != len(self.columns):
            raise ValueError(f"{subject}: {len(cells)} cells for {len(self.columns)} columns")
        heads = [column.head for column in self.columns]
        self.rows.append({"subject": subject, "values": dict(zip(heads, cells)), "goal": goal})


@dataclass
class Chart:
    """Lines, for the picture alone: points [x, y] by the name of the line."""

    title: str
    #: What the axes show, with the unit.
    x: str
    y: str
    lines: dict
    #: Names of the places 0, 1, … on the x axis, where it has no numbers.
    places: list = field(default_factory=list)
    #: Spans of x and what happened in them: [from, to, text].
    spans: list = field(default_factory=list)
    #: Each tick of the y axis is ten times the one below.
    is_log: bool = False
    #: The goal whose line the picture has.
    goal: str = ""


@dataclass
class Judged:
    """A goal, and what was measured: a number, or the median of a `Spread`."""

    name: str
    measured: object
    #: What else there is to say of it.
    note: str = ""


@dataclass
class Outcome:
    """What a section gives back: a title, and what it has to tell in this order: prose (Markdown), `Table`,
    `Chart`, `Judged`."""

    title: str
    parts: list

    def document(self):
        """The same in plain lists and dictionaries, as JSON has it."""
        return {"title": self.title, "parts": [_part(part) for part in self.parts]}


def _part(part):
    if isinstance(part, str):
        return {"kind": "prose", "text": part}
    if isinstance(part, Judged):
        return judgement(part.name, _plain(part.measured), part.note)
    if isinstance(part, (Table, Chart)):
        return {"kind": type(part).__name__.lower(), **_plain(asdict(part))}
    raise TypeError(f"no part of an outcome: {part!r}")


def judgement(name, measured, note):
    """A goal as JSON has it."""
    goal = goals.GOALS[name]
    wanted = {"text": goal.text, "bound": goal.bound, "wanted": goal.wanted, "unit": goal.unit}
    found = {"measured": measured, "met": goal.is_met(measured)}
    return {"kind": "goal", "name": name, **wanted, **found, "note": note}


def _plain(value):
    """Without classes, and without digits that say nothing."""
    if isinstance(value, Spread):
        value = asdict(value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        short = float(f"{value:.6g}")
        return int(short) if short.is_integer() else short
    return value
