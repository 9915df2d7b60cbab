"""``python -m tests.benchmarks``: see `side_by_side`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # as pytest does for the modules that stand beside this one

from side_by_side import main

main()
