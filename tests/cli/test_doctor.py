"""What the doctor finds."""

import builtins
import importlib
import json
import resource
import types
from pathlib import Path

import pytest

from llmfs import doctor, preflight
from llmfs.doctor import Verdict
from tests.cli.conftest import World


def find(name: str) -> doctor.Finding:
    return next(each for each in doctor.examine(Path("/")) if each.name == name)


@pytest.fixture(autouse=True)
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch takes seconds to import; what is said of it has its own tests."""
    real = importlib.import_module
    monkeypatch.setattr(
        importlib, "import_module", lambda name: types.ModuleType(name) if name == "torch" else real(name)
    )
    monkeypatch.setitem(__import__("sys").modules, "torch", types.ModuleType("torch"))


def test_a_needed_thing_that_is_missing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "FUSE_DEVICE", "/dev/no-fuse")
    result = world.run("doctor")
    assert result.status == 1
    assert "missing /dev/fuse      there is no /dev/no-fuse" in result.out
    assert "fix: modprobe fuse" in result.out
    result = world.run("doctor", "--json")
    assert result.status == 1
    (found,) = [each for each in json.loads(result.out) if each["verdict"] == "missing"]
    assert found["name"] == "/dev/fuse" and found["fix"].startswith("modprobe fuse")


def test_a_module_that_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def load(name: str) -> types.ModuleType:
        if name == "pyfuse3":
            raise ImportError("libfuse3.so.4: cannot open\nshared object")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", load)
    finding = find("pyfuse3")
    assert finding.verdict is Verdict.MISSING
    assert finding.found == "ImportError: libfuse3.so.4: cannot open"
    assert "libfuse3-dev" in finding.fix and "fuse3-devel" in finding.fix


def test_torch_for_cuda_is_advised_against(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = types.ModuleType("torch")
    torch.version = types.SimpleNamespace(cuda="12.8")  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "torch", torch)
    finding = find("torch")
    assert finding.verdict is Verdict.ADVICE
    assert "CPU build" in finding.fix


def test_few_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert find("open files").verdict is Verdict.ADVICE


def test_nothing_is_imported_to_say_the_version(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *rest: object, **more: object) -> types.ModuleType:
        assert name not in ("torch", "trio", "pyfuse3", "lmdb", "numpy")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    assert world.run("--version").out.startswith("llmfs ")
    assert "mount" in world.run("--help").out
    assert "mount" in world.run().out
