"""What the platform's life costs: cold starts from zero, a step of the load, a thousand services.

    python -m bench.scale              all of it, into bench/SCALE.md
    python -m bench.scale --quick      fewer starts, shorter loads
    python -m bench.scale cold         a part; prints and keeps its figures, and writes the report of all that is kept

Unlike `bench.run`, which pins servers to one core, everything here has the whole machine: it is about processes that
come and go. Each part starts `colonnade up` on a state folder of its own.
"""
