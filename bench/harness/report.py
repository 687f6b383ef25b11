"""Tables for people."""


def table(heads, rows):
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]

    def line(cells):
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(heads), rule, *map(line, rows)])


def page(description, sections, date, options):
    """The whole of RESULTS.md."""
    facts = table(["", ""], description)
    return "\n\n".join([
        "# Results",
        f"Made by `bench/run {options.section}` on {date}: {options.rounds} rounds of "
        f"{options.seconds} s each, medians with (lowest–highest). Only ratios within this one run "
        "mean anything: see [README.md](README.md) for what is measured and how to read it.",
        facts,
        *sections,
    ]) + "\n"
