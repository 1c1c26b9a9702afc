"""`python -m colonnade.server`."""

from __future__ import annotations

from colonnade.observe import memory

if __name__ == "__main__":
    memory.begin()
    from colonnade.server.main import main  # brings nearly all that there is

    main()
