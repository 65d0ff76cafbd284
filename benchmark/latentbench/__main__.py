"""``python -m latentbench``: the command line."""

import sys

from latentbench.commands.cli import main

sys.exit(main())
