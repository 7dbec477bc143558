"""The JSON Schemas that come with the package, and what does not fit them. Helpers, no tests."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator


def validator(name: str) -> Draft202012Validator:
    """The schema of that name as it is shipped."""
    schema = json.loads((files("tasks") / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def complaints(name: str, document: Any) -> list[str]:
    """Every misfit, with where it is."""
    return [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(document)]
