"""`python -m thorax.cli` is `thorax`."""

from thorax.cli import main

main(prog_name="thorax")
