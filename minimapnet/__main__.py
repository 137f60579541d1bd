"""`python -m minimapnet` is the command `minimapnet`."""

import sys

from minimapnet.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
