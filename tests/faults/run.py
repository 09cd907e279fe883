"""Try faults on the pipeline: `python tests/faults/run.py`; `--help` tells the rest."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.faults.command import main

    sys.exit(main())
