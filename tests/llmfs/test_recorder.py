"""The access log: every access once, in order, with names that its reader can resolve."""

import os

import numpy as np
import pytest
import trio
import trio.testing

from llmfs.attributes import Attributes
from llmfs.inodes import ROOT_ID, Inode
from llmfs.recorder import BATCH_RECORDS, Batch, Recorder
from predictor.events import ACCESS, ROOT, Op, Tier

DIRECTORY = Attributes(0o40755, 2, 0, 0, 0, 0, 4096, 0, 0, 0, 0, 0, 2)


def inode(number: int, place: tuple[Inode, bytes] | None) -> Inode:
    return Inode(number, place, DIRECTORY)


def records(batches: list[Batch]) -> np.ndarray:
    return np.concatenate([np.frombuffer(batch[2], ACCESS) for batch in batches])


def in_trio(test: object) -> None:
    async def main() -> None:
        test()  # type: ignore[operator]

    trio.run(main)


def test_every_access_is_handed_on_once_in_order() -> None:
    def test() -> None:
        batches: list[Batch] = []
        recorder = Recorder(batches.append)
        root = inode(ROOT_ID, None)
        file = inode(5, (root, b"f"))
        stream = recorder.stream_of(os.getpid())
        count = BATCH_RECORDS * 2 + 10
        for i in range(count):
            recorder.record(Op.READ, Tier.CACHE, recorder.path_of(file), stream, 0.0, i * 4096, 4096)
        recorder.flush()
        shown = records(batches)
        assert len(shown) == count == recorder.recorded
        assert shown["offset"].tolist() == [i * 4096 for i in range(count)]
        assert set(shown["op"]) == {Op.READ} and set(shown["tier"]) == {Tier.CACHE}
        assert [path for batch in batches for path in batch[0]] == [(recorder.path_of(file), ROOT, b"f")]
        assert [each[0] for batch in batches for each in batch[1]] == [stream]
        recorder.flush()
        assert len(records(batches)) == count

    in_trio(test)


def test_dictionary_is_whole_for_a_reader_that_starts_in_the_middle() -> None:
    def test() -> None:
        batches: list[Batch] = []
        recorder = Recorder(batches.append)
        root = inode(ROOT_ID, None)
        directory = inode(2, (root, b"d"))
        file = inode(3, (directory, b"\xff not utf-8"))
        path, stream = recorder.path_of(file), recorder.stream_of(os.getpid())
        recorder.record(Op.READ, Tier.CACHE, path, stream, 0.0)
        recorder.flush()
        paths, streams = recorder.dictionary(0, 0, 10)
        assert (paths, streams) == batches[0][:2]
        assert recorder.dictionary(0, 0, 1) == (paths[:1], streams[:1])
        assert recorder.dictionary(1, 1, 10) == (paths[1:], [])
        names = {number: (parent, name) for number, parent, name in paths}
        parent, name = names[path]
        assert name == b"\xff not utf-8" and names[parent] == (ROOT, b"d")
        assert recorder.path(file) == b"d/\xff not utf-8"

    in_trio(test)


def test_renamed_directory_gives_what_is_below_it_other_paths() -> None:
    def test() -> None:
        recorder = Recorder(lambda batch: None)
        root = inode(ROOT_ID, None)
        directory = inode(2, (root, b"old"))
        file = inode(3, (directory, b"f"))
        assert recorder.path(file) == b"old/f"
        directory.place = (root, b"new")
        recorder.moved()
        assert recorder.path(file) == b"new/f"

    in_trio(test)


def test_files_without_end_take_bounded_memory_and_get_numbers_that_their_reader_knows() -> None:
    def test() -> None:
        names: dict[int, tuple[int, bytes]] = {}
        resolved: list[bytes] = []

        def take(batch: Batch) -> None:
            paths, _, _ = batch
            for number, parent, name in paths:
                assert number not in names  # never given twice
                names[number] = (parent, name)
            for number in np.frombuffer(batch[2], ACCESS)["path"].tolist():
                assert names[number][0] in names
                resolved.append(names[number][1])

        recorder = Recorder(take, paths_in_use=134)
        directory = inode(2, (inode(ROOT_ID, None), b"d"))
        used = [b"%d" % (number if number % 3 else 0) for number in range(1000)]
        for name in used:
            recorder.record(Op.LOOKUP, Tier.CACHE, recorder.child_of(directory, name), 1, 0.0)
            assert len(recorder._paths) <= 103
        recorder.flush()
        assert resolved == used
        told, _ = recorder.dictionary(0, 0, 1000)
        assert (directory.path_id, ROOT, b"d") in told and 50 < len(told) <= 103
        assert recorder.dictionary(told[-2][0], 0, 1000)[0] == told[-1:]

    in_trio(test)


def test_processes_without_end_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmfs.recorder._STREAMS_MAX", 10)
    monkeypatch.setattr("llmfs.recorder._process_of", lambda pid: (pid, "sh"))

    def test() -> None:
        recorder = Recorder(lambda batch: None)
        assert [recorder.stream_of(pid) for pid in range(1, 96)] == list(range(1, 96))
        assert recorder.stream_of(95) == 95 and recorder.stream_of(1) == 96
        assert recorder.dictionary(0, 0, 100)[1] == [(number, number, "sh") for number in range(91, 96)] + [
            (96, 1, "sh")
        ]
        assert recorder.dictionary(0, 95, 100)[1] == [(96, 1, "sh")]

    in_trio(test)


def test_path_of_a_file_deeper_than_the_stack() -> None:
    def test() -> None:
        recorder = Recorder(lambda batch: None)
        at = inode(ROOT_ID, None)
        for level in range(3000):
            at = inode(level + 2, (at, b"d"))
        assert recorder.path(at) == b"/".join([b"d"] * 3000)

    in_trio(test)


def test_process_that_is_gone_has_a_stream_all_the_same() -> None:
    def test() -> None:
        recorder = Recorder(lambda batch: None)
        mine, gone, kernel = recorder.stream_of(os.getpid()), recorder.stream_of(2**22 - 1), recorder.stream_of(0)
        assert len({mine, gone, kernel}) == 3
        assert recorder.stream_of(os.getpid()) == mine

    in_trio(test)


def test_run_hands_on_without_being_asked(autojump_clock: trio.testing.MockClock) -> None:
    batches: list[Batch] = []

    async def main() -> None:
        recorder = Recorder(batches.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder.run)
            for i in range(3):
                recorder.record(Op.OPEN, Tier.CACHE, ROOT, 1, 0.0, i)
                await trio.sleep(1)
                assert len(records(batches)) == i + 1
            nursery.cancel_scope.cancel()

    trio.run(main, clock=autojump_clock)


def test_batches_are_larger_while_the_source_is_not_asked(autojump_clock: trio.testing.MockClock) -> None:
    async def lengths(is_quiet: bool) -> list[int]:
        batches: list[Batch] = []
        recorder = Recorder(batches.append, is_quiet=lambda: is_quiet)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder.run)
            for i in range(40):
                recorder.record(Op.OPEN, Tier.CACHE, ROOT, 1, 0.0, i)
                await trio.sleep(0.001)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert records(batches)["offset"].tolist() == list(range(40))
        return [len(records([batch])) for batch in batches]

    async def main() -> None:
        assert max(await lengths(is_quiet=False)) < 10 < max(await lengths(is_quiet=True))

    trio.run(main, clock=autojump_clock)


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0)
