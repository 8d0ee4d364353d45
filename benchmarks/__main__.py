"""`python -m benchmarks`: what should I run here, how good, how fast, against what?"""

import sys

from benchmarks.cli import main

sys.exit(main())
