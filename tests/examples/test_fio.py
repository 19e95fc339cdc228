"""Every fio job runs on a mount, for a second."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import needs_fuse
from tests.examples.conftest import EXAMPLES
from tests.mount.conftest import World

JOBS = sorted(EXAMPLES.glob("fio/*.fio"))


@needs_fuse
@pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_fio_job_runs_on_a_mount(world: World, job: Path) -> None:
    (world.backing / "llmfs-fio.bin").write_bytes(bytes(4 << 20))
    mounted = world.mount()
    done = subprocess.run(
        ["fio", "--output-format=json", str(job)],
        env=world.environment({"DIRECTORY": str(mounted.path), "SIZE": "4m", "RUNTIME": "1"}),
        cwd=world.root,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (measured,) = json.loads(done.stdout[done.stdout.index("{") :])["jobs"]
    assert (measured["jobname"], measured["error"]) == (job.stem, 0)
    assert measured["read"]["total_ios"] > 0
    assert sum(mounted.status()["reads"].values()) > 0
    assert [path.name for path in world.backing.iterdir()] == ["llmfs-fio.bin"]
