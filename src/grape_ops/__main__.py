"""Run the command line with ``python -m grape_ops``."""

from grape_ops.cli import main

if __name__ == "__main__":
    main()
