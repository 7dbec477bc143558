"""A night in which ten processes are killed ends as it would have in peace."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from postgres import NoPostgresError, binaries
from rendering import ROOT, clean_environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for its victims in /proc")


@pytest.mark.timeout(900)
def test_ten_kills_cost_no_shot_and_no_frame() -> None:
    """Every shot is published once, bit for bit; the poison one is quarantined; nothing is left open or running."""
    database = "postgresql"
    try:
        binaries()
    except NoPostgresError:
        if os.environ.get("DAILIES_REQUIRE_POSTGRES") == "1":
            raise
        database = "sqlite"
    words = [sys.executable, str(ROOT / "benchmarks" / "chaos.py"), "--kept", "", "--database", database]
    words += ["--kills", "10", "--shots", "8", "--seed", "1", "--gap", "2", "5", "--pause", "0.5"]
    done = subprocess.run(words, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
