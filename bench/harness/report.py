"""What was measured, for people: a section as text, and the whole of RESULTS.md, each from JSON alone."""

from .goals import GOALS, figure

#: What is in the place of a figure that there is not.
NOTHING = "–"

_ABOUT = """# Results

Made by `bench/run` from `results/*.json`, and not to be changed by hand. [README.md](README.md) says what
each section measures and how to read it. **Only ratios within one run mean anything**: figures of two
sections may be of different days. Medians, with (lowest–highest) of the rounds."""

_GOALS_ABOUT = """It is the median that meets a goal. Beside nginx and Varnish, which write no access log here,
the gateway without one counts; what the log costs, the sections tell."""


def page(results, drawn):
    """The whole of RESULTS.md. `results` are the documents by the names of their sections; those in `drawn`
    have a picture."""
    judged = _judged(results)
    parts = [_ABOUT, "## Goals", _tally(judged), _GOALS_ABOUT, _goals_table(results, judged)]
    for name, document in results.items():
        parts += [f"## {document['title']}", _made(name, document["made"])]
        if name in drawn:
            parts.append(f"![{document['title']}](results/{name}.svg)")
        parts += _parts(document["parts"])
    return "\n\n".join(parts) + "\n"


def section(document):
    """One section, for a terminal."""
    return "\n\n".join([f"## {document['title']}", *_parts(document["parts"])])


def table(heads, rows):
    """Markdown, aligned so that it reads as text too."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]

    def line(cells):
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(heads), rule, *map(line, rows)])


def cell(value, column):
    """One figure of a table, as its column wants it shown."""
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return value

    def shown(number):
        return f"{number * (100 if column['share'] else 1):,.{column['digits']}f}"

    if isinstance(value, dict):
        text = f"{shown(value['median'])} ({shown(value['lowest'])}–{shown(value['highest'])})"
    else:
        text = shown(value)
    return f"{text} %" if column["share"] else text


def _judged(results):
    """The goals that were measured, by name."""
    parts = [part for document in results.values() for part in document["parts"]]
    return {part["name"]: part for part in parts if part["kind"] == "goal"}


def _tally(judged):
    met = sum(part["met"] for part in judged.values())
    missed, unknown = len(judged) - met, len(GOALS) - len(judged)
    return f"Of {len(GOALS)} goals {met} are met, {missed} are not, and {unknown} were not measured."


def _goals_table(results, judged):
    """All goals, and what became of them."""
    rows = []
    for name, goal in GOALS.items():
        seen = judged.get(name)
        measured = figure(seen["measured"], goal.unit) if seen else "not measured"
        verdict = _verdict(seen) if seen else NOTHING
        document = results.get(goal.section)
        link = f"[{goal.section}](#{_anchor(document['title'])})" if document else goal.section
        rows.append([goal.text, goal.wants(), measured, verdict, link])
    return table(["goal", "wanted", "measured", "", "section"], rows)


def _parts(parts):
    """The parts as Markdown; goals that follow each other are one list."""
    blocks = []
    for part in parts:
        if part["kind"] == "prose":
            blocks.append(part["text"])
        elif part["kind"] == "table":
            blocks.append(_table(part))
        elif part["kind"] == "goal":
            line = _goal(part)
            if blocks and blocks[-1].startswith("- "):
                line = f"{blocks.pop()}\n{line}"
            blocks.append(line)
    return blocks


def _table(part):
    columns = part["columns"]
    rows = [
        [row["subject"], *(cell(row["values"][column["head"]], column) for column in columns)]
        for row in part["rows"]
    ]
    return table([part["head"], *(column["head"] for column in columns)], rows)


def _goal(part):
    goal = GOALS[part["name"]]
    note = f" {part['note']}" if part["note"] else ""
    found = f"{figure(part['measured'], goal.unit)}, wanted {goal.wants()}: {_verdict(part)}."
    return f"- {goal.text}: {found}{note}"


def _verdict(part):
    return "met" if part["met"] else "**not met**"


def _made(name, made):
    """Of which commit a section is, when and on what it was made."""
    machine, versions = made["machine"], made["versions"]
    commit = f"`{made['commit']}`{' with changes' if made['dirty'] else ''}"
    commit += " (with a program that was built before)" if made["binary"] == "given" else ""
    tools = ", ".join(f"{tool} {version}" for tool, version in versions.items())
    return (
        f"`bench/run {name}`, {made['rounds']} rounds of {made['seconds']} s, {made['at']}, commit {commit}; "
        f"{machine['cpu']}, {machine['cores']} cores, {machine['kernel']}; {tools}."
    )


def _anchor(title):
    """The anchor of a heading, as GitHub makes it."""
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c == "-")
