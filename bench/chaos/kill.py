"""The mount and its predictor, killed at any moment; and the mount at the worst one."""

import os
import random
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from bench.chaos.load import RECORD_BYTES, content, make_files, whole_records
from bench.chaos.place import Daemon, Load, Result, Task, is_alive, is_gone, slow_source, wait_for
from bench.conformance import compare
from bench.mounted import llmfs

_LOAD_S = (0.05, 1.2)  # how long they write before the daemon is killed
_JUMPED_BYTES = 8 << 20
_PUSH_SLOW_S = 0.005  # reads hold pages for so long
_CATCH_S = 20.0
_BACK_S = 60.0  # a predictor that dies often is started again after half a minute
_SERVES = ("rules", "pretrained", "learned")  # a predictor that is there, whatever it knows


def kill_mount(task: Task) -> Result:
    """Two processes write; all that fsync acknowledged to them is in the source when the daemon has been killed."""
    rounds = task.amount(50, 3)
    seed = random.randrange(1 << 32)
    result = Result(
        f"{rounds} times kill -9 under writes", {"records": 0, "files": 0, "torn": 0, "could not die": 0, "seed": seed}
    )
    dice = random.Random(seed)
    with slow_source(task.directory) as (backing, slow), Daemon(slow, task.directory) as daemon:
        for number in range(rounds):
            _round(number, dice.uniform(*_LOAD_S), daemon, backing, result)
        result.failures += compare(daemon.mountpoint, backing)[:5]
        result.check("starting it anew" not in daemon.log(), "a cache was thrown away")
    return result


def _round(number: int, load_s: float, daemon: Daemon, backing: Path, result: Result) -> None:
    log, prefix, mount = f"log-{number}", f"f{number}", daemon.mountpoint
    log_notes, file_notes = (backing.parent / f"{name}.notes" for name in (log, prefix))

    def check(claim: bool, failure: str) -> None:
        result.check(claim, f"round {number}: {failure}")

    with Load("append", mount / log, log_notes) as appender, Load("keep", mount, prefix, file_notes) as keeper:
        check(wait_for(lambda: log_notes.exists() and file_notes.exists(), 20), "no load")
        time.sleep(load_s)
        helper = int(daemon.status()["predictor_pid"] or 0)
        died = daemon.kill()
        for complaint in (appender.end(dies=True), keeper.end(dies=True)):
            check(not complaint, complaint)
    check(not helper or wait_for(lambda: not is_alive(helper), 20), "the predictor outlives its mount")

    found = (backing / log).read_bytes() if (backing / log).exists() else b""
    promised = int((log_notes.read_text() or "0").split()[0])
    whole = whole_records(found)
    check(whole >= promised, f"{whole} of {promised} acknowledged records")
    # The one that was being written may be there in part: nobody was told that it is there.
    check(len(found) - whole * RECORD_BYTES < RECORD_BYTES, "rubbish after the records")
    names = file_notes.read_text().split()
    for name in names:
        same = (backing / name).exists() and (backing / name).read_bytes() == content(name)
        check(same, f"{name} was acknowledged and is not as it was written")
    result.figures["records"] += promised
    result.figures["files"] += len(names)
    result.figures["torn"] += len(found) % RECORD_BYTES != 0
    result.figures["could not die"] += not died

    if died:
        daemon.umount()
    daemon.mount()
    for name in (log, *names) if found else names:
        same = (mount / name).read_bytes() == (backing / name).read_bytes()
        check(same, f"{name} is another one through the mount")
    check(daemon.metric("llmfs_cache_corrupt_blocks_total") == 0, "a damaged block")
    check(daemon.metric("llmfs_faults_total", "blocks") == 0, "a fault of the cache")


def kill_push(task: Task) -> Result:
    """The daemon is killed while it gives the kernel a page that a read holds, and cannot die: it is ended by force."""
    rounds = task.amount(10, 4)
    result = Result(f"{rounds} times kill -9 while a push waits for a page", {"caught": 0, "could not die": 0})
    with slow_source(task.directory, _PUSH_SLOW_S) as (backing, slow):
        name = max(make_files(backing, 9, _JUMPED_BYTES), key=lambda each: len(content(each)))
        with Daemon(slow, task.directory) as daemon:
            for number in range(rounds):
                _kill_in_push(number, name, daemon, result)
    result.check(result.figures["caught"] > 0, "no push was caught waiting: nothing was tried")
    return result


def _kill_in_push(number: int, name: str, daemon: Daemon, result: Result) -> None:
    llmfs("evict", str(daemon.mountpoint / name))
    with ExitStack() as stack:
        jump = ("jump", daemon.mountpoint / name, str(_JUMPED_BYTES))
        readers = [stack.enter_context(Load(*jump, f"{number}-{each}")) for each in range(6)]
        give_up_s = time.monotonic() + _CATCH_S
        while not (is_caught := _push_waits(daemon.pid)) and time.monotonic() < give_up_s:
            pass  # it waits for milliseconds
        result.figures["caught"] += is_caught
        if daemon.kill():
            daemon.umount("--force")  # readers may still have it open
        else:
            result.figures["could not die"] += 1
        result.check(wait_for(lambda: is_gone(daemon.pid), 20), f"round {number}: the daemon does not end")
        for reader in readers:
            complaint = reader.end(dies=True)
            result.check(not complaint, f"round {number}: {complaint}")
    daemon.mount()


def _push_waits(pid: int) -> bool:
    """Whether a thread of the process waits in the kernel, with what it writes to /dev/fuse. Root alone can see it."""
    for stack in Path(f"/proc/{pid}/task").glob("*/stack"):
        with suppress(OSError):
            shown = stack.read_text()
            if "fuse_dev_write" in shown and "folio" in shown:
                return True
    return False


def kill_predictor(task: Task) -> Result:
    """A program reads; the predictor is killed again and again; the program reads on, and the predictor comes back."""
    times = task.amount(20, 3)
    result = Result(f"{times} times kill -9 of the predictor under reads")
    longest_s = 0.0
    with slow_source(task.directory) as (backing, slow):
        make_files(backing, 60)
        with Daemon(slow, task.directory) as daemon, Load("read", daemon.mountpoint, "1") as reader:
            for _ in range(times):
                result.check(wait_for(lambda: daemon.status()["predictor_pid"], _BACK_S), "it did not come back")
                time.sleep(0.5)
                helper = int(daemon.status()["predictor_pid"] or 0)
                if helper:
                    os.kill(helper, signal.SIGKILL)
                began_s = time.monotonic()
                _comes_back(daemon, helper)
                longest_s = max(longest_s, time.monotonic() - began_s)
                result.check(reader.is_running, "the reader has ended")
            serves = wait_for(lambda: daemon.status()["predictor_state"] in _SERVES, _BACK_S)
            result.check(serves, f"the predictor is {daemon.status()['predictor_state']} at the end")
            complaint = reader.stop()
            result.check(not complaint, complaint)
            result.figures = {
                "restarts": daemon.metric("llmfs_predictor_restarts_total"),
                "longest away, s": round(longest_s, 1),
                "reads": sum(daemon.status()["reads"].values()),
            }
            result.check(result.figures["restarts"] >= times, "not each death was noticed")
    return result


def _comes_back(daemon: Daemon, killed: int) -> bool:
    return wait_for(lambda: daemon.status()["predictor_pid"] not in (None, killed), _BACK_S)
