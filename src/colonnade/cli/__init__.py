"""The command line: what a person or a script types, and what they read back.

Each command is one module; it asks the platform over the same API that kubectl speaks, so nothing here knows the
store, the reconcilers or a replica. Only `up` and `run` start the platform itself. Decisions about what to say (`why`,
`check`) are pure functions over objects; printing is in `output`. Start reading at `main`.
"""
