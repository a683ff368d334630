"""`python -m gantry`: the command `gantry`."""

from gantry.cli.app import main

if __name__ == "__main__":
    main()
