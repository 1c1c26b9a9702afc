"""`python -m colonnade` is the command line."""

from colonnade.cli.main import main

main()
