"""The live page of a mount: what a real browser makes of it under load, and who is told nothing."""

import json
import os
import re
import stat
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bench import browser
from llmfs.web.address import ADDRESS_FILE, read_address
from tests.mount.conftest import Mounted, World, drop_pages, eventually

needs_browser = pytest.mark.skipif(browser.find() is None, reason="there is no chromium")

ODD = "<script>document.title='x'</script>&\"'<img src=x onerror=alert(1)>"
"""No slash may be in a name: those of its end tags are others that look like it."""


def address(m: Mounted) -> str:
    url = read_address(m.cache_dir)
    assert url is not None
    return url


def ask(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def figures(m: Mounted) -> dict[str, object]:
    answer = json.loads(ask(address(m) + "data")[2])
    assert isinstance(answer, dict)
    return answer


def samples(m: Mounted) -> int:
    history = figures(m)["history"]
    assert isinstance(history, dict)
    return len(history.get("at_s", ()))


@pytest.fixture
def odd(world: World) -> str:
    name = ODD.replace("/", "\N{FRACTION SLASH}")
    (world.backing / name).write_bytes(os.urandom(700_000))
    return name


@needs_browser
def test_a_browser_shows_a_mount_under_load_and_a_name_stays_a_name(world: World, odd: str) -> None:
    m = world.mount("--web", source=world.slow_source())
    for _ in range(3):
        (m / odd).read_bytes()
        drop_pages(m / odd)
    eventually(lambda: samples(m) > 1, 20)
    shown, console = browser.dom(address(m) + "#dark")
    assert 'data-state="live"' in shown and 'data-theme="dark"' in shown
    assert str(m.path) in shown and "<title>llmfs: " in shown
    assert odd.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in shown
    assert shown.count("<script>") == 1 and "<img" not in shown
    assert "area cache" in shown and "predictor: " in shown
    assert console == "", "the browser complained"


@needs_browser
def test_a_mount_that_read_nothing_claims_nothing(world: World) -> None:
    m = world.mount("--web", "--predictor", "off")
    shown, _ = browser.dom(address(m) + "#light")
    assert 'data-state="live"' in shown and 'data-theme="light"' in shown
    body, _, _ = shown.partition("<script>")
    assert "nothing read yet" in body and "by prefetching. " not in body and "Programs waited" not in body


@needs_browser
def test_the_policy_for_contents_lets_nothing_else_run(world: World, tmp_path: Path) -> None:
    """The check of the check: a script that the policy does not name is refused, and the browser says so."""
    m = world.mount("--web", "--predictor", "off")
    _, headers, html = ask(address(m))
    page = tmp_path / "page.html"
    policy = headers["Content-Security-Policy"].replace("frame-ancestors 'none'", "")
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    spoiled = (
        html.decode().replace("<title>", meta + "<title>").replace("<main>", "<script>document.x=1</script><main>")
    )
    page.write_text(spoiled)
    _, console = browser.dom(page.as_uri())
    assert "violates the following Content Security Policy" in console


def test_it_is_off_unless_asked_for(world: World) -> None:
    m = world.mount("--predictor", "off", "--metrics-port", "0")
    assert not (m.cache_dir / ADDRESS_FILE).exists() and "page" not in world.llmfs("status", m.path).split()
    assert ask(f"http://127.0.0.1:{m.status()['metrics_port']}/data")[2].startswith(b"# HELP")


def test_the_page_is_its_owner_s_alone_and_goes_with_the_mount(world: World) -> None:
    m = world.mount("--predictor", "off", "--web")
    url = address(m)
    assert stat.S_IMODE((m.cache_dir / ADDRESS_FILE).stat().st_mode) == 0o600
    assert url in world.llmfs("status", m.path)
    secret = urlsplit(url).path.strip("/")
    assert secret not in m.log() and secret not in json.dumps(m.status())
    assert (url == address(m.remount())) is False
    m.umount()
    assert not (m.cache_dir / ADDRESS_FILE).exists()


def test_who_does_not_know_the_secret_or_comes_by_another_name_gets_metrics(world: World) -> None:
    m = world.mount("--predictor", "off", "--web")
    url = address(m)
    base = url[: -len(urlsplit(url).path)]
    for path in ("/", "/metrics", "/data", "/x/data", "/" + "a" * 22 + "/data"):
        status, _, body = ask(base + path)
        assert status == 200 and body.startswith(b"# HELP")
    assert ask(url + "data", Host="evil.example:80")[2].startswith(b"# HELP")
    assert ask(url + "data", Host=f"localhost:{urlsplit(url).port}")[2].startswith(b"{")
    assert ask(url + "nothing")[0] == 404


def test_headers_are_strict(world: World) -> None:
    m = world.mount("--predictor", "off", "--web")
    for url in (address(m), address(m) + "data"):
        _, headers, _ = ask(url, Origin="http://evil.example")
        assert not any(name.lower().startswith("access-control") for name in headers)
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
    policy = ask(address(m))[1]["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy


@needs_browser
def test_predictions_say_what_came_of_them(world: World) -> None:
    names = [f"f{number:02}" for number in range(12)]
    for name in names:
        (world.backing / name).write_bytes(os.urandom(200_000))
        os.utime(world.backing / name, (1_000_000, 1_000_000))
    m = world.mount("--web", source=world.slow_source())
    eventually(lambda: m.status()["predictor_state"] not in ("loading", "down"), 60)

    def has_come() -> bool:
        world.llmfs("evict", m.path)
        for name in names:
            (m / name).read_bytes()
        told = figures(m)["predictions"]
        assert isinstance(told, list)
        has_saved = m.status()["waiting"]["saved_s"] > 0.1
        return has_saved and any(each["outcome"] in ("came", "in time", "late") for each in told)

    eventually(has_come, 60)
    shown, console = browser.dom(address(m))
    (table,) = re.findall(r'<tbody id="predictions">(.*?)</tbody>', shown, re.DOTALL)
    rows = re.findall(r'<td class="name"[^>]*>(f\d\d)</td>.*?<td class="outcome ([a-z]+)">([a-z ]+)</td>', table)
    assert {name for name, _, _ in rows} <= set(names)
    assert any(
        (kind, outcome) in (("good", "came"), ("good", "in time"), ("joined", "late")) for _, kind, outcome in rows
    )
    assert re.search(r" saved</div>.* of it by prefetching\. Programs waited [^<]*times as long\.<", shown)
    assert console == ""
