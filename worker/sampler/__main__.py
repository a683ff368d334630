"""`python -m worker.sampler`: the inference server in this process, until it is told to stop."""

import sys

from worker.sampler.server import main

if __name__ == "__main__":
    sys.exit(main())
