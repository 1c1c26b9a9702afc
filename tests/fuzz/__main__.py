"""`python -m tests.fuzz TARGET SECONDS FOLDER`: fuzzes one parser, guided by the lines that each input reaches.

An input that breaks the parser is printed, kept in the folder, and ends the process with a code other than 0.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["colonnade", "hpack"]):
    from .targets import TARGETS

MAX_LENGTH = 4096
MAX_SECONDS = 20  # for one input: more is a hang
MAX_MEMORY = 2048  # MiB


def main() -> None:
    name, seconds, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    make, seeds = TARGETS[name]
    logging.lastResort = None  # peers that do not keep to the protocol are worth a line, but not here
    target = make()
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)

    def test_one_input(data: bytes) -> None:
        try:
            target(data)
        except BaseException:
            print(f"broken by {data!r}", file=sys.stderr, flush=True)
            raise

    for seed in seeds:
        test_one_input(seed)
    bounds = (f"-max_total_time={seconds}", f"-timeout={MAX_SECONDS}", f"-rss_limit_mb={MAX_MEMORY}")
    options = (f"-max_len={MAX_LENGTH}", f"-artifact_prefix={folder}/", "-print_final_stats=1", "-verbosity=0")
    atheris.Setup([sys.argv[0], *bounds, *options, str(corpus)], test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
