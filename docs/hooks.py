"""Has mkdocs take in what is made from the code (llmfs/reference.py), and documents that stand elsewhere.

Links of those to files that are no pages become plain text: the site is read without a checkout.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from llmfs import reference

ROOT = Path(__file__).parents[1]
INCLUDED = {
    "explanation/architecture.md": "ARCHITECTURE.md",
    "explanation/model.md": "MODEL_CARD.md",
    "explanation/security.md": "SECURITY.md",
    "explanation/contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
"""Page: the document that it is."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    made = {
        "reference/commands.md": reference.commands(),
        "reference/configuration.md": reference.configuration(ROOT / "examples" / "llmfs.toml"),
        "reference/metrics.md": reference.metrics(),
        "reference/predictor.md": reference.predictor(),
        **{page: included(page) for page in INCLUDED},
    }
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def included(page: str) -> str:
    """A document of the checkout as a page of the site."""
    above = "../" * page.count("/")
    pages = {document: above + path for path, document in INCLUDED.items()}
    pages["examples/prometheus/METRICS.md"] = above + "reference/metrics.md"

    def link(match: re.Match[str]) -> str:
        text, target = match.groups()
        path, _, anchor = target.partition("#")
        if re.match(r"\w+:", target) or not path:
            return match[0]
        return f"[{text}]({pages[path]}{'#' * bool(anchor)}{anchor})" if path in pages else f"{text} (`{path}`)"

    text = (ROOT / INCLUDED[page]).read_text()
    parts = re.split(r"(^```.*?^```|`[^`\n]+`)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        part if number % 2 else re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", link, part) for number, part in enumerate(parts)
    )
