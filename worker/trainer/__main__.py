"""`python -m worker.trainer JOB ATTEMPT TENANT`: one attempt of a job in this process."""

import sys

from worker.trainer.attempt import leave, main

if __name__ == "__main__":
    leave(main(sys.argv[1:]))
