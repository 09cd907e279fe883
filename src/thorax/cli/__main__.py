"""`python -m thorax.cli` is `thorax`."""

from thorax.cli import run

run()
