"""`llmfs trace export` and `llmfs train`: what was seen, taken elsewhere and learned from."""

import typer

app = typer.Typer(help="Take out the record of what was read.")
