"""Validates TOML files against a JSON Schema: what it finds wrong with each, or null.

Standard input: {"schema": …, "files": ["…", …]}.
"""

import json
import sys
import tomllib

from jsonschema import Draft202012Validator

given = json.load(sys.stdin)
Draft202012Validator.check_schema(given["schema"])
validator = Draft202012Validator(given["schema"])


def first_error(text):
    error = next(validator.iter_errors(tomllib.loads(text)), None)
    return error and f"{error.json_path}: {error.message}"


json.dump([first_error(text) for text in given["files"]], sys.stdout)
