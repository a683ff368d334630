"""The commands that fetch what a job produced, into files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jobs.db import Database
from jobs.runtime.settings import Settings
from jobs.store import metrics
from tests.gantry.command import gantry, submit


def test_curves_are_saved_in_the_format_of_the_suffix(served: Settings, tmp_path: Path) -> None:
    job_id = submit(served)
    db = Database(served.database)
    with db.write() as s:
        metrics.append(s, job_id, 1, 1, ["loss_d"], np.array([[0.5], [0.25]], np.float32))
    db.dispose()
    for name, start in (("a.png", b"\x89PNG"), ("a.csv", b"step,loss_d\n1,0.5"), ("a.json", b'{"series"')):
        done = gantry("curves", job_id, "-o", str(tmp_path / name), settings=served)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name).read_bytes().startswith(start)
    assert gantry("curves", job_id, "-o", str(tmp_path / "a.gif"), settings=served).returncode != 0


@pytest.mark.parametrize("command", ["samples", "curves", "previews", "weights"])
def test_json_on_the_screen_and_a_file_are_not_combined(tmp_path: Path, command: str) -> None:
    done = gantry(command, "job_0", "--json", "-o", str(tmp_path / "file"))
    assert done.returncode == 2 and "--json cannot be combined with -o." in done.stderr
    assert not (tmp_path / "file").exists()
