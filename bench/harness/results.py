"""`bench/results/`: a JSON file and a picture for each section, and the page that is made of them."""

import datetime
import json

from . import machine, picture, report
from .sections import SECTIONS

FOLDER = machine.repository() / "bench/results"


def document(outcome, options):
    """All of an outcome that is kept: with when, where and of what it is."""
    commit, dirty = machine.commit()
    made = {
        "at": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit,
        "dirty": dirty,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "machine": machine.description(),
        "versions": machine.versions(),
    }
    return {"made": made, **outcome.document()}


def write(name, document, folder=FOLDER):
    """Keeps a section in the place of what was there of it; the other sections stay."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (folder / f"{name}.json").write_text(f"{text}\n")
    render(folder)


def read(folder=FOLDER):
    """The documents there are, in the order of the sections."""
    files = {name: folder / f"{name}.json" for name in SECTIONS}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.is_file()}


def rendered(results):
    """What the page and the pictures are to hold, by path within `bench/`."""
    pictures = {name: picture.draw(one) for name, one in results.items()}
    drawn = {name for name, text in pictures.items() if text}
    files = {f"results/{name}.svg": pictures[name] for name in drawn}
    return {"RESULTS.md": report.page(results, drawn), **files}


def render(folder=FOLDER):
    """Writes the page and the pictures anew."""
    for path, text in rendered(read(folder)).items():
        (folder.parent / path).write_text(text)
