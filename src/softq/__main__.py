"""`python -m softq`."""

import sys

from softq.cli import main

sys.exit(main())
