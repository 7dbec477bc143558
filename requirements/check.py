"""Do the locks fit pyproject.toml, each other, and what is installed? Prints every misfit; exit 1 if there is one."""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent


def pins(name: str) -> dict[str, Version]:
    """Canonical package name -> pinned version of one lock."""
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(package): Version(pinned) for package, pinned in pairs}


def unmet(requirements: list[str], lock: dict[str, Version], name: str) -> list[str]:
    """What pyproject.toml asks for and the lock does not give."""
    found = []
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        pinned = lock.get(canonicalize_name(requirement.name))
        if pinned is None or pinned not in requirement.specifier:
            found.append(f"{name}: {text} is asked for, {pinned or 'nothing'} is pinned")
    return found


def misfits() -> list[str]:
    """Every way in which the locks are wrong."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core, everything = pins("core.lock"), pins("all.lock")
    extras = project["optional-dependencies"]
    found = unmet(project["dependencies"], core, "core.lock")
    asked = [*project["dependencies"], *extras["gpu"], *extras["cluster"], *extras["c2pa"], *extras["test"]]
    found += unmet(asked, everything, "all.lock")
    found += [
        f"core.lock pins {package} {pinned}, all.lock {everything.get(package)}"
        for package, pinned in core.items()
        if everything.get(package) != pinned
    ]
    for package, pinned in everything.items():
        try:
            installed = Version(version(package))
        except PackageNotFoundError:
            found.append(f"all.lock pins {package} {pinned}, which is not installed")
            continue
        if installed.public != pinned.public:
            found.append(f"all.lock pins {package} {pinned}, {installed} is installed")
    return found


if __name__ == "__main__":
    problems = misfits()
    print("\n".join(problems) or "the locks fit")
    sys.exit(bool(problems))
