"""Run the pipeline under faults: `python tests/faults/run.py`; see `--help`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.faults.command import main

    sys.exit(main())
