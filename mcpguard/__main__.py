"""`python -m mcpguard`: the same as the command `mcpguard`."""

import sys

from mcpguard.cli import main

sys.exit(main())
