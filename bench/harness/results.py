"""`bench/results/`: a JSON file and a picture for each section, and the page that is made of them."""

import datetime
import json

from . import machine, picture, report
from .goals import GOALS
from .outcome import judgement
from .sections import SECTIONS

FOLDER = machine.repository() / "bench/results"


def document(outcome, options):
    """All of an outcome that is kept: with when, where and of what it is."""
    commit, dirty = machine.commit()
    made = {
        "at": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit,
        "dirty": dirty,
        "binary": "given" if options.binary else "built",
        "rounds": options.rounds,
        "seconds": options.seconds,
        "machine": machine.description(),
        "versions": machine.versions(),
    }
    return {"made": made, **outcome.document()}


def write(name, document, folder=FOLDER):
    """Keeps a section in the place of what was there of it; the other sections stay."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(_json(document))
    render(folder)


def read(folder=FOLDER):
    """The documents there are, in the order of the sections, judged by the goals of today."""
    files = {name: folder / f"{name}.json" for name in SECTIONS}
    results = {name: json.loads(file.read_text()) for name, file in files.items() if file.is_file()}
    for document in results.values():
        document["parts"] = [_judged(part) for part in document["parts"] if part.get("name", "") in ("", *GOALS)]
    return results


def rendered(results):
    """What the files are to hold, by path within `bench/`: the page, the pictures, and the results."""
    pictures = {name: picture.draw(document) for name, document in results.items()}
    drawn = {name: text for name, text in pictures.items() if text}
    return {
        "RESULTS.md": report.page(results, drawn),
        **{f"results/{name}.svg": text for name, text in drawn.items()},
        **{f"results/{name}.json": _json(document) for name, document in results.items()},
    }


def render(folder=FOLDER):
    """Writes the page, the pictures and the judgements anew."""
    for path, text in rendered(read(folder)).items():
        (folder.parent / path).write_text(text)


def _judged(part):
    if part["kind"] != "goal":
        return part
    return judgement(part["name"], part["measured"], part["note"])


def _json(document):
    return f"{_lines(document, '')}\n"


def _lines(value, indent):
    """JSON with what belongs together in one line, so that a diff is of whole figures."""
    inner = indent + " "
    if isinstance(value, dict) and any(isinstance(one, (dict, list)) for one in value.values()):
        items = [f"{json.dumps(key, ensure_ascii=False)}: {_lines(one, inner)}" for key, one in value.items()]
        return _block("{}", items, indent)
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return _block("[]", [_lines(one, inner) for one in value], indent)
    return json.dumps(value, ensure_ascii=False)


def _block(brackets, items, indent):
    lines = ",".join(f"\n{indent} {item}" for item in items)
    return f"{brackets[0]}{lines}\n{indent}{brackets[1]}"
