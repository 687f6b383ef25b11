"""What the benchmark tells: that its page and pictures are what its results give, and that no section and no
goal was forgotten. Python 3.9, nothing else."""

import json
import math
import pathlib
import re
import sys
import tempfile
import unittest
import xml.etree.ElementTree

BENCH = pathlib.Path(__file__).resolve().parents[3] / "bench"
sys.dont_write_bytecode = True
sys.path.insert(0, str(BENCH))

from harness import goals, picture, report, results, svg
from harness.goals import GOALS, Goal
from harness.outcome import Chart, Column, Judged, Outcome, Spread, Table
from harness.sections import SECTIONS

MADE = {
    "at": "2026-01-31 12:00 UTC", "commit": "0123abc", "dirty": True, "binary": "built", "rounds": 3,
    "seconds": 4, "machine": {"cpu": "A CPU", "cores": 2, "kernel": "Linux 6"}, "versions": {"nginx": "1.22.1"},
}


def hits():
    table = Table("10 KiB", [
        Column("requests/s"),
        Column("of nginx", digits=2, peer="nginx", drawn=True, goal="hits.10KiB"),
        Column("from memory", digits=1, share=True),
    ])
    table.add("nginx", Spread.of([100_000, 90_000, 120_000]), 1, None)
    table.add("gateway <no log>", 161_234.5678, Spread.of([1.59, 1.7, 1.55]), Spread.of([0.25, 0.5, 1]))
    return Outcome("Reads from memory", [
        "Prose: [a] { b }, \"c\".",
        table,
        Judged("hits.10KiB", Spread.of([1.59, 1.7, 1.55])),
        Judged("hits.304", 1.75, "A note."),
    ])


def healing():
    table = Table("where storage has", [Column("reads"), Column("complete"), Column("aborted")],
                  stacked=["complete", "aborted"])
    table.add("the same object", 10_000, 9_000, 1_000)
    table.add("another one, with a name that is long", 2_000, 0, 2_000)
    signed = Table("", [Column("time of (a)", digits=2, peer="(a)", drawn=True, is_log=True, goal="signing.s3")])
    signed.add("(a)", 1)
    signed.add("(b)", Spread.of([990, 1000, 1010]))
    return Outcome("Healing", [table, signed])


def blackout():
    lines = {"p50": [[0, 1.5], [1, 2.5]], "worst": [[0, 0.02], [1, 400.0]]}
    return Outcome("Blackout", [
        Chart("Latency", "seconds", "ms", lines, spans=[[0.5, 1, "silent & gone"]], is_log=True),
        Chart("By share", "", "ms", lines, places=["p50", "worst"], goal="slow.tail"),
        Judged("blackout.errors", 0),
        Judged("blackout.delayed", 36),
    ])


def documents():
    return {
        name: {"made": MADE, **outcome.document()}
        for name, outcome in (("hits", hits()), ("healing", healing()), ("blackout", blackout()))
    }


#: The names of shapes begin with it.
SVG = "{http://www.w3.org/2000/svg}"


def shapes(name, kind):
    """The shapes of one kind in the picture of a section."""
    drawn = results.rendered(documents())[f"results/{name}.svg"]
    return list(xml.etree.ElementTree.fromstring(drawn).iter(f"{SVG}{kind}"))


class Goals(unittest.TestCase):
    def test_each_belongs_to_a_section(self):
        for name, goal in GOALS.items():
            self.assertIn(goal.section, SECTIONS, name)
            self.assertEqual(name.partition(".")[0], goal.section)
            self.assertIn(goal.unit, ("×", "%", "ms", "s", "KiB", "MiB", "µs", ""), name)
        texts = [(goal.section, goal.text) for goal in GOALS.values()]
        self.assertEqual(len(texts), len(set(texts)), "two goals say the same")

    def test_the_number_wanted_is_met_unless_it_is_to_be_fallen_short_of(self):
        for bound, below, same, above in (
            (goals.AT_LEAST, False, True, True),
            (goals.AT_MOST, True, True, False),
            (goals.UNDER, True, False, False),
        ):
            goal = Goal("presign", "", bound, 2.0)
            self.assertEqual([goal.is_met(value) for value in (1.9, 2, 2.1)], [below, same, above], bound)
            spread = {"median": 2.1, "lowest": 1.0, "highest": 3.0}
            self.assertEqual(goal.is_met(spread), above, "the median counts")

    def test_figures(self):
        for measured, unit, shown in (
            (0.9, "%", "90 %"), (0.9995, "%", "99.95 %"), (1234.5, "ms", "1,234 ms"), (0, "", "0"),
            (1.594, "×", "1.59 ×"), (12.345, "KiB", "12.3 KiB"),
            ({"median": 2, "lowest": 1.5, "highest": 3.25}, "×", "2 (1.5–3.25) ×"),
        ):
            self.assertEqual(goals.figure(measured, unit), shown)


class Sections(unittest.TestCase):
    def test_each_is_explained_and_can_run(self):
        readme = (BENCH / "README.md").read_text()
        rows = re.findall(r"^\| `(\w+)` \| \S", readme, re.MULTILINE)
        self.assertEqual(sorted(rows), sorted(SECTIONS))
        for name, module in SECTIONS.items():
            self.assertTrue(callable(module.run), name)

    def test_each_goal_is_one_that_its_section_judges(self):
        for name, goal in GOALS.items():
            source = pathlib.Path(SECTIONS[goal.section].__file__).read_text()
            # In full, or made of parts: f"hits.{size}".
            parts = re.findall(r'f?"([a-z0-9]+\.[^" ]*|\{[a-z]+\}\.[^" ]*)"', source)
            patterns = [re.sub(r"\\\{.*?\\\}", "[A-Za-z0-9.]+", re.escape(part)) for part in parts]
            self.assertTrue(any(re.fullmatch(one, name) for one in patterns), f"{goal.section} does not judge {name}")


class Page(unittest.TestCase):
    def test_goals_stand_at_the_top_met_or_not_or_not_measured(self):
        page = report.page(documents(), {"hits"})
        top = page[:page.index("## Reads from memory")]
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in top.splitlines() if line.startswith("| ")]
        self.assertEqual(len(rows), 1 + len(GOALS), "a row for each goal")
        self.assertIn(f"Of {len(GOALS)} goals 2 are met, 2 are not, and {len(GOALS) - 4} were not measured.", top)
        by_text = {row[0]: row[1:] for row in rows}
        for name, row in (
            ("hits.10KiB", ["≥ 1.6 ×", "1.59 (1.55–1.7) ×", "**not met**", "[hits](#reads-from-memory)"]),
            ("hits.304", ["≥ 1.75 ×", "1.75 ×", "met", "[hits](#reads-from-memory)"]),
            ("hits.range", ["≥ 1.25 ×", "not measured", "–", "[hits](#reads-from-memory)"]),
            ("blackout.errors", ["none", "0", "met", "[blackout](#blackout)"]),
            ("blackout.delayed", ["≤ 35", "36", "**not met**", "[blackout](#blackout)"]),
            ("memory.cdn", ["≤ 150 MiB", "not measured", "–", "memory"]),
        ):
            self.assertEqual(by_text[GOALS[name].text], row, name)

    def test_a_section_says_of_what_it_is(self):
        page = report.page(documents(), {"hits"})
        self.assertIn(
            "`bench/run hits`, 3 rounds of 4 s, 2026-01-31 12:00 UTC, commit `0123abc` with changes; A CPU, "
            "2 cores, Linux 6; nginx 1.22.1.\n\n![Reads from memory](results/hits.svg)\n\nProse",
            page,
        )
        self.assertNotIn("blackout.svg", page, "there is no such picture")
        self.assertIn("| nginx            | 100,000 (90,000–120,000) | 1.00             | –                   |", page)
        self.assertIn("| gateway <no log> | 161,235                  | 1.59 (1.55–1.70) | 50.0 (25.0–100.0) % |", page)
        self.assertIn("- answers 304 from memory, beside nginx: 1.75 ×, wanted ≥ 1.75 ×: met. A note.\n", page)


class Files(unittest.TestCase):
    def test_a_section_is_renewed_without_the_others(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder) / "results"
            for name, document in documents().items():
                results.write(name, document, folder)
            before = {file.name: file.read_text() for file in folder.iterdir()}
            names = {f"{name}.{kind}" for name in documents() for kind in ("json", "svg")}
            self.assertEqual(set(before), names)
            self.assertEqual(results.read(folder), documents(), "what is read is what was written")
            results.write("hits", dict(documents()["hits"], title="Other reads"), folder)
            after = {file.name: file.read_text() for file in folder.iterdir()}
            changed = {name for name in before if before[name] != after[name]}
            self.assertEqual(changed, {"hits.json", "hits.svg"})
            page = (folder.parent / "RESULTS.md").read_text()
            self.assertLess(page.index("## Other reads"), page.index("## Blackout"))

    def test_what_is_read_is_judged_by_the_goals_of_today(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            document = documents()["blackout"]
            document["parts"][-1].update(wanted=50, met=True)
            document["parts"].append({"kind": "goal", "name": "blackout.gone", "measured": 1, "note": ""})
            (folder / "blackout.json").write_text(json.dumps(document))
            self.assertEqual(results.read(folder)["blackout"]["parts"], documents()["blackout"]["parts"])

    def test_the_files_are_what_the_results_give(self):
        found = results.read()
        if not found:
            self.skipTest("nothing has been measured and kept")
        for path, text in results.rendered(found).items():
            self.assertEqual((BENCH / path).read_text(), text, f"{path}: run bench/run render")
        there = {file.stem for file in results.FOLDER.iterdir()}
        self.assertLessEqual(there, set(SECTIONS), "results of no section")

    def test_a_section_judges_each_of_its_goals(self):
        for name, document in results.read().items():
            judged = [part["name"] for part in document["parts"] if part["kind"] == "goal"]
            own = [goal for goal in GOALS if GOALS[goal].section == name]
            self.assertEqual(sorted(judged), sorted(own), f"measure again: bench/run {name} --write")


class Pictures(unittest.TestCase):
    def test_nothing_leaves_the_page(self):
        for name in documents():
            [root] = shapes(name, "svg")
            height = float(root.get("height"))
            texts = shapes(name, "text")
            self.assertGreater(len(texts), 5)
            for text in texts:
                size = 11 if text.get("class") in ("small", "words goal", "words met") else 12
                width = svg.width_of(text.text, size)
                before = {None: 0, "middle": width / 2, "end": width}[text.get("text-anchor")]
                left = float(text.get("x")) - before
                self.assertGreaterEqual(left, 0, text.text)
                self.assertLessEqual(left + width, svg.WIDTH, text.text)
                self.assertLessEqual(float(text.get("y")), height - 4, text.text)

    def test_ratios_to_the_same_subject_are_on_one_scale_and_other_figures_on_their_own(self):
        parts = []
        for head, value in (("a", 2), ("b", 8)):
            table = Table(head, [Column("of nginx", peer="nginx", drawn=True), Column("MiB", drawn=True)])
            table.add("nginx", 1, value)
            table.add("gateway", value, value)
            parts.append(table)
        document = {"made": MADE, **Outcome("Reads", parts).document()}
        root = xml.etree.ElementTree.fromstring(picture.draw(document))
        bars = [bar for bar in root.iter(f"{SVG}rect") if bar.get("height") == "14.0"]
        ratio_a, mib_a, ratio_b, mib_b = (
            [float(bar.get("width")) for bar in bars[at:at + 2]] for at in range(0, len(bars), 2)
        )
        self.assertEqual(ratio_a[0], ratio_b[0], "1 is as long in both")
        self.assertAlmostEqual(mib_a[0], mib_b[0], msg="each fills its own panel")

    def test_parts_of_a_whole_stand_one_behind_the_other(self):
        bars = [bar for bar in shapes("healing", "rect") if bar.get("height") == "14.0"]
        begins, widths = ([float(bar.get(key)) for bar in bars] for key in ("x", "width"))
        whole = widths[0] + widths[1]
        for width, share in zip(widths, (0.9, 0.1, 0.0, 0.2)):
            self.assertAlmostEqual(width / whole, share, places=2)
        self.assertAlmostEqual(begins[1], begins[0] + widths[0], places=0)

    def test_figures_that_are_far_apart_are_by_powers_of_ten(self):
        one, thousand = (float(dot.get("cx")) for dot in shapes("healing", "circle"))
        goal = next(line for line in shapes("healing", "line") if line.get("class") == "wanted goal")
        self.assertAlmostEqual((float(goal.get("x1")) - one) / (thousand - one), math.log10(2) / 3, places=2)

    def test_bars_show_the_median_and_the_goal(self):
        bars = {bar.get("fill"): bar for bar in shapes("hits", "rect")}
        nginx, gateway = bars["var(--green)"], bars["var(--blue)"]
        ratio = float(gateway.get("width")) / float(nginx.get("width"))
        self.assertAlmostEqual(ratio, 1.59, places=2)
        goal = next(line for line in shapes("hits", "line") if line.get("class") == "wanted goal")
        at = (float(goal.get("x1")) - float(nginx.get("x"))) / float(nginx.get("width"))
        self.assertAlmostEqual(at, 1.6, places=2)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
