"""`python -m colonnade.server`."""

from __future__ import annotations

from colonnade.server.main import main

if __name__ == "__main__":
    main()
