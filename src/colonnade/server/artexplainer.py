"""The explainer of `spec.explainer.art`: `python -m colonnade.server.artexplainer`, with the flags of KServe's.

It is a replica like any other, whose model is an attack on the predictor that `--predictor_host` names.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence

from colonnade.runtimes.explainers import art
from colonnade.server.main import serve

NAME = "art-explainer"  # KServe's default of --model_name


def main(argv: Sequence[str] | None = None) -> None:
    """Serves explanations; ends the process with its exit code."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--adversary_type", "--adversary-type", type=_attack, default=art.TYPE)
    known = art.Settings()
    parser.add_argument("--nb_classes", "--nb-classes", type=_count, default=known.nb_classes)
    parser.add_argument("--max_iter", "--max-iter", type=_count, default=known.max_iter)
    parser.add_argument("--eps", type=_distance, default=known.eps)
    given, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    settings = art.Settings(given.nb_classes, given.max_iter, given.eps)
    serve(art.SquareAttack(NAME, settings), ["--model_name", NAME, *rest])


def _attack(text: str) -> str:
    if text.lower() != art.TYPE.lower():
        raise argparse.ArgumentTypeError(f"{text} is not known; {art.TYPE} is the one there is")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return int(text)


def _distance(text: str) -> float:
    try:
        distance = float(text)
    except ValueError:
        distance = math.nan
    if not 0 < distance < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return distance


if __name__ == "__main__":
    main()
