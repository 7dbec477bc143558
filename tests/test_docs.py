"""Documentation that can be wrong is tested."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import typer.main

from desk.cli import app
from flows.settings import VARIABLES
from tasks.limits import shipped

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PACKAGES = ("desk", "flows", "tasks", "models", "catalogs")


def _listed() -> set[str]:
    """Files named in the README's tree."""
    tree = README.split("```text tree\n")[1].split("```")[0]
    found: set[str] = set()
    folders: list[str] = []
    for line in tree.splitlines():
        if match := re.match(r"^( *)([A-Za-z0-9_.-]+/?)(  |$)", line):
            depth = len(match[1]) // 2
            del folders[depth:]
            if match[2].endswith("/"):
                folders.append(match[2])
            else:
                found.add("".join(folders) + match[2])
    return found


def test_the_readmes_tree_is_the_disk() -> None:
    """Every source file stands in the README with its purpose, and nothing stands there that is not on disk."""
    sources = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py" and "migrations" not in path.parts
    }
    listed = _listed()
    assert sources - listed == set()
    assert {name for name in listed if not (ROOT / name).exists()} == set()


def test_every_command_and_option_is_documented() -> None:
    """Each command of `dailies` has a section in docs/commands.md that names all its options."""
    page = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        section = re.search(rf"^## `dailies {name}.*?(?=^## |\Z)", page, re.M | re.S)
        assert section, f"docs/commands.md has no section on {name}"
        options = [option for entry in command.params for option in entry.opts if option.startswith("--")]
        assert [option for option in options if option not in section[0]] == []
    assert set(re.findall(r"^## `dailies (\w+)", page, re.M)) == set(commands)


def test_every_variable_stands_in_the_example() -> None:
    """deploy/env.example and the README name every variable that Settings reads, and no other."""
    example = (ROOT / "deploy/env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"DAILIES_[A-Z0-9_]+", example)) == set(VARIABLES)
    assert set(VARIABLES) <= set(re.findall(r"DAILIES_[A-Z0-9_]+", README))


def test_every_limit_of_inspection_stands_on_its_page() -> None:
    """docs/inspection.md has a row for each code, with its severities and each number of tasks/limits.toml."""
    page = (ROOT / "docs/inspection.md").read_text(encoding="utf-8")
    rows = {match[1]: match[0].split("|") for match in re.finditer(r"^\| `(\w+)` \|(?:[^|\n]*\|){4}$", page, re.M)}
    for code, table in shipped().tables.items():
        _, _, severity, _, numbers, _, _ = rows.pop(code)
        graded = [f"`{key}` {value}" for key, value in table.items() if isinstance(value, str) and key != "severity"]
        assert severity.strip() == "; ".join([str(table["severity"]), *graded])
        assert numbers.strip() == ", ".join(
            f"`{key}` {value:g}" for key, value in table.items() if not isinstance(value, str)
        )
    assert rows.keys() <= {"blocker", "issue", "fyi", "off"}


def test_links_between_pages_lead_somewhere() -> None:
    """Every relative link in a Markdown page points at a file that exists."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    for page in listed.stdout.split():
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"


def test_the_readme_names_the_commands_that_make_runs() -> None:
    """`make demo` and `make test` stand in the README and in the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test", "lint"):
        assert f"make {target}" in README
        assert re.search(rf"^{target}:", makefile, re.M)
