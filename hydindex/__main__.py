"""Lets `python -m hydindex` do what the `hydindex` command does."""

from hydindex.cli import main

if __name__ == "__main__":
    main()
