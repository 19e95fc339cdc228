"""The documentation as a site: it builds without a warning, and its reference leaves nothing out."""

import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llmfs import metrics_table, reference, settings
from llmfs.settings import read_file

REPOSITORY = Path(__file__).parents[1]
TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material")
    target = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", target],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    return target


def test_the_site_builds_without_a_warning_and_asks_nobody_else(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        loaded = re.findall(r"<(?:script|img|link)\b[^>]*?(?:src|href)=\"?(https?://[^\s\">]*)", page.read_text())
        assert not loaded, page


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    pytest.importorskip("material")
    for name in ("docs", "mkdocs.yml", "examples", *(path.name for path in REPOSITORY.glob("*.md"))):
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, tmp_path / name)
    with (tmp_path / "docs" / "index.md").open("a") as page:
        page.write("\n[nowhere](nothing.md)\n")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode != 0 and "nothing.md" in done.stderr


def test_included_documents_lead_nowhere_outside_of_the_site(site: Path) -> None:
    shown = (site / "explanation" / "architecture.html").read_text()
    assert "How llmfs works" in shown
    assert not re.search(r'href="?[^"\s>]*\.(py|toml|yml|md)\b', shown)


def test_the_reference_names_every_command_option_key_and_metric(site: Path) -> None:
    def page(name: str) -> str:
        return html.unescape(re.sub(r"<[^>]+>", "", (site / "reference" / f"{name}.html").read_text()))

    import typer

    from llmfs import cli
    from llmfs.manual import commands

    shown = page("commands")
    for name, command in commands(typer.main.get_command(cli.app)):
        assert f"llmfs {name}" in shown
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name != "help":
                assert all(option in shown for option in parameter.opts), f"{name}: {parameter.opts}"
    shown = page("configuration")
    assert all(key in shown for key in (*settings.KEYS, "policy"))
    shown = page("metrics")
    assert all(row.name in shown for row in metrics_table.rows())
    shown = page("predictor")
    assert all(name in shown for name in (*reference.PREDICTOR_MODULES, "Engine", "read_trace"))


def test_every_key_of_the_configuration_is_explained() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \| ([^|]+) \| ([^|]*) \|$", reference.configuration(REPOSITORY / "README.md"), re.M
    )
    assert {key for key, _, about in rows if about.strip()} == set(settings.KEYS)


def test_the_example_of_a_configuration_holds_every_key(tmp_path: Path) -> None:
    """Those that are commented out as well: what it shows of them can be read."""
    text = (REPOSITORY / "examples" / "llmfs.toml").read_text()
    general = re.sub(r"^# (?=[a-z-]+ = )", "", text.partition("[[mount.policy]]")[0], flags=re.MULTILINE)
    assert set(re.findall(r"^([a-z-]+) = ", general, re.MULTILINE)) == set(settings.KEYS)
    file = tmp_path / "llmfs.toml"
    file.write_text(general)
    read_file(str(file), Path("/mnt/nas"))


@pytest.mark.parametrize("page", sorted(REPOSITORY.glob("docs/**/*.md")), ids=lambda path: path.stem)
def test_configurations_shown_are_right(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(TOML.findall(page.read_text())):
        file = tmp_path / f"{number}.toml"
        file.write_text(text)
        read_file(str(file), Path("/mnt/nas"))
