"""Traces from and to other programs."""

import contextlib
import gzip
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predictor import interchange
from predictor.events import FLAG_WRITE, Op
from predictor.trace import TraceError

LINES = """ts,op,pid,comm,path,size,offset
1795479664.007081,EXEC,20516,python,/opt/bin/python,0,0
1795479664.008040,OPEN_ENOENT,20516,python,/opt/lib/libx.so,0,0
1795479664.009000,OPEN,20516,python,/opt/lib/a b.py,0,0
1795479664.009100,READ,20516,python,/opt/lib/a b.py,100,4096
1795479664.009200,MMAP,20516,python,/opt/lib/a b.py,200000,0
1795479664.009300,STAT,20516,python,/opt/lib,0,0
1795479664.009400,OPEN_W,20517,cc1,/tmp/x,0,0
1795479664.009500,WRITE,20517,cc1,/tmp/x,10,0
1795479664.009600,READDIR,20517,cc1,/tmp,144,0
"""


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(LINES.encode()))
    return path


def test_csv_is_read(trace: Path) -> None:
    (batch,) = interchange.read_csv(trace)
    ops = [Op(op) for op in batch.records["op"].tolist()]
    assert ops == [Op.OPEN, Op.ABSENT, Op.OPEN, Op.READ, Op.READ, Op.GETATTR, Op.OPEN, Op.WRITE, Op.READDIR]
    assert batch.paths.path(int(batch.records["path"][3])) == b"opt/lib/a b.py"
    assert batch.records["offset"][3] == 4096
    assert batch.records["length"][3:5].tolist() == [100, 200000]
    assert batch.records["flags"][6] == FLAG_WRITE
    assert batch.records["time_ns"][0] == 1795479664007081000
    assert [stream.command for stream in batch.streams.values()] == ["python", "cc1"]


def test_csv_comes_back(trace: Path, tmp_path: Path) -> None:
    assert interchange.write_csv(interchange.read_csv(trace), tmp_path / "again.csv") == 9
    (first,), (again,) = interchange.read_csv(trace), interchange.read_any(tmp_path / "again.csv")
    assert first.records.tobytes() == again.records.tobytes()


def test_oracle_general_names_the_next_access(trace: Path, tmp_path: Path) -> None:
    assert interchange.write_oracle_general(interchange.read_csv(trace), tmp_path / "o") == 3
    rows = list(struct.iter_unpack("<IQIq", (tmp_path / "o").read_bytes()))
    assert [row[3] for row in rows] == [1, -1, -1]
    assert rows[0][1] == rows[1][1] != rows[2][1]
    assert rows[0][2] == 128 << 10


def test_fio_log_opens_what_it_reads(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(LINES.replace("a b", "ab"))
    assert interchange.write_fio(interchange.read_csv(path), tmp_path / "fio") == 3
    lines = (tmp_path / "fio").read_text().splitlines()
    assert lines[:4] == [
        "fio version 2 iolog",
        "opt/lib/ab.py add",
        "opt/lib/ab.py open",
        "opt/lib/ab.py read 4096 100",
    ]
    assert lines[-1].endswith(" close")


def test_parquet_is_written_or_says_what_it_needs(trace: Path, tmp_path: Path) -> None:
    try:
        import pyarrow.parquet
    except ImportError:
        with pytest.raises(TraceError, match="pyarrow"):
            interchange.write_parquet(interchange.read_csv(trace), tmp_path / "p")
    else:
        interchange.write_parquet(interchange.read_csv(trace), tmp_path / "p")
        assert pyarrow.parquet.read_table(tmp_path / "p").num_rows == 9


def test_chrome_trace_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.pfw"
    path.write_text(
        '[\n{"name":"open64","cat":"POSIX","pid":"0","tid":"7","ts":"10","dur":"1","args":{"fname":"/d/x","ret":3}}\n'
        '{"name":"read","cat":"POSIX","pid":"0","tid":"7","ts":"12","dur":"1","args":{"fname":"/d/x","ret":"4096"}}\n'
        '{"name":"read","cat":"POSIX","pid":"0","tid":"7","ts":"13","dur":"1","args":{"fname":"/d/x","ret":"100"}}\n'
        '{"name":"compute","cat":"app","pid":"0","tid":"7","ts":"14","dur":"1"}\n]\n'
    )
    (batch,) = interchange.read_any(path)
    assert [Op(op) for op in batch.records["op"].tolist()] == [Op.OPEN, Op.READ, Op.READ]
    assert batch.records["offset"].tolist() == [0, 0, 4096]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n1,2\n",
        LINES + "x,OPEN,1,c,/a,0,0\n",
        LINES + "1.0,FLY,1,c,/a,0,0\n",
        LINES + "1.0,READ,1,c,/a,-5,0\n",
        LINES + "1.0,READ\n",
        LINES + "1.0,READ,1,c,/a,99999999999999999999999,0\n",
    ],
)
def test_what_is_no_csv_trace_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(TraceError):
        list(interchange.read_csv(path))


def test_a_gzip_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(b"plain")
    with pytest.raises(TraceError):
        list(interchange.read_csv(path))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=100), kind=st.sampled_from(["t.csv", "t.pfw"]))
def test_any_text_is_read_or_refused(tmp_path: Path, text: str, kind: str) -> None:
    path = tmp_path / kind
    path.write_text(("ts,op,pid,comm,path,size,offset\n" if kind == "t.csv" else "{") + text, errors="surrogateescape")
    with contextlib.suppress(TraceError):
        list(interchange.read_any(path))
