"""`python -m edge_app` is `pneumoscope`."""

import sys

from edge_app.cli import main

sys.exit(main())
