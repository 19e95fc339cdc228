"""A live mount's /metrics is what Prometheus reads, and its counters move with what happens."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import time
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmfs.cache_dir import CacheDir
from llmfs.metrics import PARTS
from llmfs.policy.freshness import SHORTEST_NS
from llmfs.source import LOOKS_IN_LISTING
from tests.mount.conftest import Mounted, World, drop_pages, eventually


def samples(m: Mounted) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(m.metrics_text())
        for sample in family.samples
    }


def value(m: Mounted, name: str, **labels: str) -> float:
    return samples(m)[name, tuple(sorted(labels.items()))]


def test_counters_move_as_reads_happen(world: World) -> None:
    (world.backing / "f").write_bytes(os.urandom(500_000))
    m = world.mount("--predictor", "off", "--metrics-port", "0", source=world.slow_source())
    before = samples(m)
    assert before["llmfs_cache_limit_bytes", ()] == 10 * 2**30
    data = (m / "f").read_bytes()
    cold = samples(m)

    def moved(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return cold[key] - before[key]

    served = {tier: moved("llmfs_read_bytes_total", tier=tier) for tier in ("cache", "source", "joined")}
    assert sum(served.values()) >= 500_000 and served["source"] > 0
    assert moved("llmfs_reads_total", tier="source") > 0
    assert moved("llmfs_source_duration_seconds_count", operation="read") > 0
    assert moved("llmfs_request_duration_seconds_count", operation="read", tier="source") > 0
    assert (
        moved("llmfs_stall_seconds_total", kind="data") > 0
        and moved("llmfs_stall_seconds_total", kind="attributes") > 0
    )
    assert moved("llmfs_demand_fetched_bytes_total") >= 500_000
    assert moved("llmfs_cache_bytes") >= 500_000 and moved("llmfs_cache_blocks") == 4
    assert moved("llmfs_accesses_total") > 0
    drop_pages(m / "f")
    assert (m / "f").read_bytes() == data
    warm = samples(m)
    key = ("llmfs_read_bytes_total", (("tier", "cache"),))
    assert warm[key] - cold[key] >= 500_000
    for key in (("llmfs_read_bytes_total", (("tier", "source"),)), ("llmfs_stall_seconds_total", (("kind", "data"),))):
        assert warm[key] == cold[key]
    key = ("llmfs_request_duration_seconds_count", (("operation", "read"), ("tier", "cache")))
    assert warm[key] > cold[key]
    (m / "g").write_bytes(b"x" * 1000)
    assert value(m, "llmfs_written_bytes_total") == 1000
    status = m.status()
    assert status["read_bytes"]["cache"] >= 500_000 and status["source_calls"]["requests"] > 0


def test_prefetches_are_told_by_generator_and_save_stalls(world: World) -> None:
    (world.backing / "d").mkdir()
    for number in range(40):
        (world.backing / "d" / f"f{number:02}").write_bytes(os.urandom(1_000_000))
    for number in range(4):
        (world.backing / "d" / f"s{number}").mkdir()
    m = world.mount("--predictor", "sequential", "--metrics-port", "0", source=world.slow_source())
    names = os.listdir(m / "d")
    for name in names:
        if name.startswith("f"):
            (m / "d" / name).read_bytes()
    for name in names:
        if name.startswith("s"):
            os.listdir(m / "d" / name)
    now = samples(m)

    def total(name: str, **labels: str) -> float:
        wanted = labels.items()
        return sum(value for (each, has), value in now.items() if each == name and wanted <= dict(has).items())

    for kind, generator in (("data", "sequential"), ("listing", "descent")):
        issued = total("llmfs_prefetch_issued_total", kind=kind, generator=generator)
        in_time = total("llmfs_prefetch_used_total", kind=kind, generator=generator, timeliness="in_time")
        late = total("llmfs_prefetch_used_total", kind=kind, generator=generator, timeliness="late")
        assert issued > 0 and 0 < in_time + late <= issued, (kind, issued, in_time, late)
        assert total("llmfs_prefetch_issued_total", kind=kind) == issued, "nobody else prefetches"
        saved_s = total("llmfs_stall_saved_seconds_total", kind=kind, generator=generator)
        assert (saved_s > 0) == (in_time > 0)
    waiting = m.status()["waiting"]
    assert waiting["suffered_s"] >= round(total("llmfs_stall_seconds_total"), 3) > 0
    assert waiting["saved_by_prefetching_s"] == pytest.approx(total("llmfs_stall_saved_seconds_total"), abs=0.01)
    assert total("llmfs_prefetch_used_bytes_total") <= total("llmfs_prefetch_issued_bytes_total")


def test_prefetches_are_told_by_what_decided_on_them(world: World) -> None:
    """Readahead is a rule's; of what was never read the shipped network decides."""
    (world.backing / "large").write_bytes(os.urandom(4_000_000))
    directories = [f"d{number:02}" for number in range(60)]
    for directory in directories:
        (world.backing / directory).mkdir()
        for number in range(20):
            (world.backing / directory / f"{number:02}").write_bytes(b"x" * 20_000)
    m = world.mount("--metrics-port", "0", source=world.slow_source())
    eventually(lambda: m.status()["predictor_state"] == "pretrained", 30, "a predictor that is ready")
    (m / "large").read_bytes()

    def by_model(outcome: str, name: str = "items") -> dict[str, float]:
        return {
            dict(labels)["model"]: number
            for (each, labels), number in samples(m).items()
            if each == f"llmfs_prefetch_model_{name}_total" and dict(labels)["outcome"] == outcome
        }

    assert by_model("issued", "bytes")["rules"] > 1_000_000 and by_model("in_time")["rules"] > 0

    def is_ranked() -> bool:
        directory = directories.pop()  # that nobody has read
        for name in sorted(os.listdir(m / directory)):
            (m / directory / name).read_bytes()
            time.sleep(0.005)  # as a program that does something with it
        issued = by_model("issued")
        return issued["pretrained"] > 0 and issued["learned"] == 0

    eventually(is_ranked, 60, "rankings")
    now = samples(m)
    for outcome, name in (("issued", "llmfs_prefetch_issued_total"), ("unused", "llmfs_prefetch_unused_total")):
        assert sum(by_model(outcome).values()) >= sum(value for (each, _), value in now.items() if each == name)


def test_prefetched_listings_and_attributes_that_nobody_asks_for_are_told(world: World) -> None:
    (world.backing / "d").mkdir()
    for number in range(4):
        (world.backing / "d" / f"s{number}").mkdir()
    (world.backing / "names").mkdir()
    for number in range(LOOKS_IN_LISTING + 1):  # too many for a listing to bring their attributes along
        (world.backing / "names" / f"{number:05}").touch()
    m = world.mount("--predictor", "sequential", "--metrics-port", "0", source=world.slow_source())

    def total(name: str, kind: str) -> float:
        found = samples(m).items()
        return sum(value for (each, has), value in found if each == name and dict(has)["kind"] == kind)

    os.listdir(m / "d")
    eventually(lambda: total("llmfs_prefetch_issued_total", "listing") == 4, 20, "listings of those below")
    assert total("llmfs_prefetch_unused_total", "listing") == 0
    for number in range(4):
        (world.backing / "d" / f"s{number}" / "new").touch()
    time.sleep(SHORTEST_NS / 1e9)
    for number in range(4):
        assert os.listdir(m / "d" / f"s{number}") == ["new"]
    assert total("llmfs_prefetch_unused_total", "listing") == 4

    def walk_begins() -> bool:
        for name in os.listdir(m / "names")[:4]:
            os.stat(m / "names" / name)
        time.sleep(1)
        return total("llmfs_prefetch_unused_total", "attributes") > 0

    eventually(walk_begins, 60, "names that were looked at twice ahead of no use")


def test_files_that_are_looked_at_again_are_told_by_what_became_of_them(world: World) -> None:
    for name in ("same", "changed", "gone"):
        (world.backing / name).write_bytes(b"x")
    m = world.mount("--predictor", "off", "--metrics-port", "0", source=world.slow_source(attr_timeout_s=0))

    def looks() -> dict[str, float]:
        return {
            dict(labels)["outcome"]: number
            for (name, labels), number in samples(m).items()
            if name == "llmfs_revalidations_total" and dict(labels)["kind"] == "name"
        }

    for name in ("same", "changed", "gone"):
        os.stat(m / name)
    before = looks()
    (world.backing / "changed").write_bytes(b"changed")
    (world.backing / "gone").unlink()
    time.sleep(SHORTEST_NS / 1e9)
    os.stat(m / "same")
    assert looks()["same"] == before["same"] + 1
    assert os.stat(m / "changed").st_size == len(b"changed")
    assert looks()["changed"] == before["changed"] + 1
    with pytest.raises(FileNotFoundError):
        os.stat(m / "gone")
    assert looks()["gone"] == before["gone"] + 1


def test_source_that_is_gone_hangs_and_comes_back_shows(world: World) -> None:
    world.expect_complaint("cannot be reached|there again")
    for name in ("a", "b"):
        (world.backing / name).write_bytes(b"x")
    source = world.slow_source()
    m = world.mount("--predictor", "off", "--metrics-port", "0", source=source)
    assert world.slow is not None
    assert value(m, "llmfs_source_up") == 1 and value(m, "llmfs_source_stuck_calls") == 0
    world.slow.fail(["lookup", "getattr"], errno.EHOSTUNREACH, name_contains="a")
    with pytest.raises(OSError, match="No route"):
        os.stat(m / "a")
    assert value(m, "llmfs_source_up") == 0
    assert value(m, "llmfs_source_errors_total", **{"class": "unreachable"}) > 0
    assert value(m, "llmfs_source_errors_total", **{"class": "io"}) == 0
    world.slow.heal()
    os.stat(m / "a")
    assert value(m, "llmfs_source_up") == 1
    world.slow.hang(["open", "read"], name_contains="b")
    with subprocess.Popen(["cat", m / "b"], stdout=subprocess.DEVNULL) as reader:
        eventually(lambda: value(m, "llmfs_source_stuck_calls") == 1, 20, "a call that is stuck")
        world.slow.heal()
        assert reader.wait(20) == 0
    assert value(m, "llmfs_source_stuck_calls") == 0


def bytes_gone(m: Mounted) -> dict[str, float]:
    """Bytes that left the cache, by reason."""
    name = "llmfs_cache_evicted_bytes_total"
    return {dict(labels)["reason"]: number for (each, labels), number in samples(m).items() if each == name}


def test_blocks_that_a_person_has_evicted_are_told_apart(world: World) -> None:
    (world.backing / "f").write_bytes(b"x" * 300_000)
    m = world.mount("--metrics-port", "0", "--consistency", "immutable", source=world.slow_source())
    (m / "f").read_bytes()
    assert not any(bytes_gone(m).values())
    world.llmfs("evict", m / "f")
    gone = bytes_gone(m)
    assert gone.pop("asked") >= 300_000 and not any(gone.values())


def test_blocks_leave_a_full_cache_for_want_of_room_or_because_their_file_changed(world: World) -> None:
    (world.backing / "old").write_bytes(b"x" * 4_000_000)
    for number in range(20):
        (world.backing / f"f{number}").write_bytes(os.urandom(2_000_000))
    m = world.mount("--predictor", "off", "--metrics-port", "0", "--cache-size", "32M", source=world.slow_source())
    (m / "old").read_bytes()
    with open(m / "old", "r+b") as file:
        file.write(b"y")  # what was cached is of the past

    def gone() -> dict[str, float]:
        for number in range(20):
            (m / f"f{number}").read_bytes()
            drop_pages(m / f"f{number}")
        return bytes_gone(m)

    eventually(lambda: gone()["changed"], 60, "blocks of the file that changed go")
    reasons = gone()
    assert reasons["capacity"] > 0 and reasons["damaged"] == reasons["unused"] == reasons["asked"] == 0
    assert reasons["changed"] < 5_000_000
    assert value(m, "llmfs_cache_bytes") <= value(m, "llmfs_cache_capacity_bytes")
    assert value(m, "llmfs_cache_capacity_bytes") <= value(m, "llmfs_cache_limit_bytes")


def test_both_processes_are_measured(world: World) -> None:
    m = world.mount("--metrics-port", "0")
    resident = "llmfs_predictor_process_resident_memory_bytes"
    eventually(lambda: (resident, ()) in samples(m), 20, "the predictor's process")
    for prefix in ("", "llmfs_predictor_"):
        assert value(m, f"{prefix}process_resident_memory_bytes") > 1e7
    started_s = [value(m, f"{prefix}process_start_time_seconds") for prefix in ("", "llmfs_predictor_")]
    assert started_s[0] <= started_s[1]


def test_faults_of_cache_and_predictor_are_counted_and_reads_go_on(world: World) -> None:
    world.expect_complaint("predictor|is damaged")
    data = os.urandom(300_000)
    (world.backing / "f").write_bytes(data)
    m = world.mount("--metrics-port", "0", source=world.slow_source())
    (m / "f").read_bytes()
    faults = "llmfs_faults_total"
    assert all(value(m, faults, part=part) == 0 for part in PARTS)
    m.umount()
    for part in ("meta", "blocks"):
        (m.cache_dir / part / "data.mdb").write_bytes(os.urandom(100_000))
    m.mount()
    assert value(m, faults, part="records") == value(m, faults, part="blocks") == 1
    assert value(m, "llmfs_cache_up", part="records") == value(m, "llmfs_cache_up", part="blocks") == 1
    assert (m / "f").read_bytes() == data
    pid = eventually(lambda: m.status()["predictor_pid"], 20, "a predictor")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: value(m, faults, part="predictor") == 1, 20, "its end is seen")
    assert (m / "f").read_bytes() == data
    others = set(PARTS) - {"records", "blocks", "predictor"}
    assert all(value(m, faults, part=part) == 0 for part in others)


def test_predictor_tells_of_its_work(world: World) -> None:
    for number in range(30):
        (world.backing / f"{number:02}").write_bytes(os.urandom(50_000))
    m = world.mount("--metrics-port", "0", source=world.slow_source())
    eventually(lambda: m.status()["predictor_state"] == "pretrained", 30, "a predictor that is ready")

    def read_all() -> None:
        for number in range(30):
            (m / f"{number:02}").read_bytes()
            drop_pages(m / f"{number:02}")

    def all_after(events: float) -> bool:
        now = samples(m)
        accesses, dropped = now["llmfs_accesses_total", ()], now["llmfs_accesses_dropped_total", ()]
        return dropped == 0 and events < accesses == now["llmfs_predictor_events_total", ()]

    read_all()
    eventually(lambda: all_after(0), 20, "every access")
    first = samples(m)
    assert 0 < first["llmfs_predictor_lag_seconds", ()] < 20
    assert first["llmfs_predictor_visits_total", ()] >= 30 and first["llmfs_predictor_unknown_total", ()] == 0
    assert first["llmfs_predictor_inference_seconds_total", ()] > 0
    read_all()
    eventually(lambda: all_after(first["llmfs_predictor_events_total", ()]), 20, "every access")
    inference = ("llmfs_predictor_inference_seconds_total", ())
    assert samples(m)[inference] > first[inference]


def test_cache_directory_is_measured_as_it_is_on_its_disk(world: World) -> None:
    (world.backing / "f").write_bytes(os.urandom(3_000_000))
    m = world.mount("--predictor", "off", "--guard", "protect", "--metrics-port", "0", source=world.slow_source())
    before = value(m, "llmfs_cache_dir_bytes")
    (m / "f").read_bytes()
    (m / "f").write_bytes(b"what was there is kept to undo")

    def is_measured() -> bool:
        """The store writes behind."""
        sizes = CacheDir(m.cache_dir).sizes()
        taken = value(m, "llmfs_cache_dir_bytes")
        is_written = sizes["guard"] > 3_000_000 and taken > before + 6_000_000
        return is_written and abs(taken - sum(sizes.values())) < 100_000

    eventually(is_measured, 20, "what du says")
    assert before + 6_000_000 < value(m, "llmfs_cache_dir_bytes") < value(m, "llmfs_cache_limit_bytes")


def test_every_name_has_a_help_a_type_and_our_prefix(world: World) -> None:
    m = world.mount("--predictor", "off", "--metrics-port", "0")
    families = list(text_string_to_metric_families(m.metrics_text()))
    assert len(families) > 25
    for family in families:
        assert family.name.startswith(("llmfs_", "process_")) or family.name == "llmfs", family.name
        assert family.documentation and family.type != "unknown", family.name


def test_port_is_that_of_the_loopback_alone_and_in_the_status(world: World) -> None:
    m = world.mount("--predictor", "off", "--metrics-port", "0")
    port = m.status()["metrics_port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        assert response.headers["Content-Type"].startswith("text/plain")
    local = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError), open(table) as lines:
            local |= {line.split()[1] for line in lines}
    assert {address for address in local if address.endswith(f":{port:04X}")} == {f"0100007F:{port:04X}"}


def test_without_a_port_nothing_is_served_and_the_status_says_so(world: World) -> None:
    m = world.mount("--predictor", "off")
    assert m.status()["metrics_port"] is None
    shown = json.loads(world.llmfs("status", "--json", m.path))
    assert (shown if isinstance(shown, dict) else shown[0])["source"] == str(world.backing)
