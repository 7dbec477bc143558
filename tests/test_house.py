"""The architecture is a check, not a wish."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("desk", "flows", "tasks", "models", "catalogs")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCES
    if "migrations" not in path.parts
)
HEAVY = ("torch", "diffusers", "transformers")
LONGEST = 400


def _import_without(module: str, blocked: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys\n"
        "class Wall:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {blocked!r}:\n"
        "            raise ImportError(f'{name} must not be imported here')\n"
        "sys.meta_path.insert(0, Wall())\n"
        f"import {module}\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


def test_every_module_imports_without_torch() -> None:
    """The core runs on machines that have no torch: nothing imports it on the way in."""
    done = _import_without(", ".join(MODULES), HEAVY)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["desk.cli", "flows.lists", "desk.show", "flows.planning", "flows.settings"])
def test_answers_that_must_come_at_once_do_without_prefect(module: str) -> None:
    """submit, shots, plan, status and doctor start without importing Prefect."""
    done = _import_without(module, (*HEAVY, "prefect"))
    assert done.returncode == 0, done.stderr


def test_the_command_line_starts_without_anything_heavy() -> None:
    """`dailies --help` imports neither pandas nor SQLAlchemy nor numpy: that is what keeps it under half a second."""
    done = _import_without("desk.cli", (*HEAVY, "prefect", "pandas", "sqlalchemy", "numpy", "cv2", "av", "PIL"))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is(path: Path) -> None:
    """A module without a docstring, or one that outgrew a reader, does not pass."""
    text = path.read_text(encoding="utf-8")
    if path.name != "__init__.py":
        assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
    assert text.count("\n") <= LONGEST, f"{path} has more than {LONGEST} lines"


def test_only_one_module_starts_programs() -> None:
    """subprocess is imported by tasks/frames.py, by models/rife_trial.py for its trials in a child process, and by
    models/convert.py, which has pickles read in one."""
    users = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if re.search(r"^\s*(import subprocess|from subprocess)", path.read_text(encoding="utf-8"), re.M)
    }
    assert users == {"tasks/frames.py", "models/rife_trial.py", "models/convert.py"}


def test_only_settings_read_our_variables() -> None:
    """DAILIES_* is read in flows/settings.py and nowhere else."""
    readers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if re.search(r"(environ|getenv)[^\n]*DAILIES_|given[^\n]*DAILIES_", path.read_text(encoding="utf-8"))
    }
    assert readers == {"flows/settings.py"}


def test_flow_files_shadow_nothing() -> None:
    """The path form of a Prefect entrypoint puts flows/ on sys.path: no file there may hide another module."""
    taken = set(sys.stdlib_module_names) | set(PACKAGES)
    taken |= {entry.name.split(".")[0] for entry in Path(sysconfig.get_paths()["purelib"]).iterdir()}
    names = {path.stem for path in (ROOT / "flows").glob("*.py")} - {"__init__"}
    assert not names & taken


def test_tests_are_no_packages() -> None:
    """Without __init__.py below tests/, two files may have the same name and none shadows a package of ours."""
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_the_wheel_holds_the_five_packages() -> None:
    """What is installed is what is checked here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == set(PACKAGES)


def test_no_test_file_is_empty() -> None:
    """Every test has a sentence that says what it claims."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert not silent


FOREIGN = {
    "job",
    "jobs",
    "item",
    "items",
    "data",
    "info",
    "manager",
    "utils",
    "helper",
    "helpers",
    "process",
    "chunk",
    "scene",
}
"""Words that mean nothing here; HOUSE words are shot, take, window, clip, master, deliverable, finding."""


SQLALCHEMY = ("process_bind_param", "process_result_value")
"""Methods of TypeDecorator that a column type has to override under these names."""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_are_the_fields_own(path: Path) -> None:
    """No function, class, parameter or field of ours is named by a word that could mean anything."""
    named: list[tuple[str, int]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            named.append((node.name, node.lineno))
        elif isinstance(node, ast.arg):
            named.append((node.arg, node.lineno))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            named.append((node.target.id, node.lineno))
    named = [(name, line) for name, line in named if name not in SQLALCHEMY]
    foreign = [(name, line) for name, line in named if FOREIGN & set(name.lower().strip("_").split("_"))]
    assert not foreign
