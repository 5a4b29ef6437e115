"""``python -m steadystar.cli``."""

import sys

from steadystar.cli import main

if __name__ == "__main__":
    sys.exit(main())
