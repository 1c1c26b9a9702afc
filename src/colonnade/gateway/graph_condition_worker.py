"""The process in which a gateway has large bodies tested on the conditions of its graphs.

Decoding a large body and walking through it take long, and a thread would keep the interpreter from the event loop. So
the gateway asks this process, one question after the other over its standard input, and it ends when that does. Run as
`python -m`.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

import msgspec

from colonnade.graph.conditions import Choice, first
from colonnade.graph.gjson import Budget, TooMuch

_QUESTION = struct.Struct("<qII")  # values that may be looked at; bytes of the paths, bytes of the body, which follow
_REPLY = struct.Struct("<qq")  # values that are left; index of the condition that holds, or one of those below
REPLY_BYTES = _REPLY.size
_NONE, _INVALID, _TOO_MUCH = -1, -2, -3
_NICENESS = 5  # requests that no condition holds up come first

_paths = msgspec.json.Decoder(tuple[str, ...])


class Reply(NamedTuple):
    """What a process has found out: `tested` is None if that took too much, `left` is what is left of the budget."""

    tested: Choice | None
    left: int


def question(body: bytes, paths: Sequence[str], left: int) -> bytes:
    """What is written before a body to ask about it."""
    words = msgspec.json.encode(paths)
    return _QUESTION.pack(left, len(words), len(body)) + words


def read_reply(data: bytes) -> Reply:
    """Read what came back."""
    left, which = _REPLY.unpack(data)
    if which == _TOO_MUCH:
        return Reply(None, left)
    return Reply(Choice(which if which >= 0 else None, which != _INVALID), left)


def answer(body: bytes, paths: Sequence[str], left: int) -> bytes:
    """Do the test, and say what came of it."""
    budget = Budget(left)
    try:
        tested = first(body, paths, budget)
    except TooMuch:
        return _REPLY.pack(0, _TOO_MUCH)
    none = _NONE if tested.valid else _INVALID
    return _REPLY.pack(budget.left, none if tested.which is None else tested.which)


def work(questions: BinaryIO, replies: BinaryIO) -> None:
    """Answer until the questions end."""
    while len(head := questions.read(_QUESTION.size)) == _QUESTION.size:
        left, words, size = _QUESTION.unpack(head)
        paths = _paths.decode(questions.read(words))
        replies.write(answer(questions.read(size), paths, left))
        replies.flush()


if __name__ == "__main__":
    os.nice(_NICENESS)
    try:
        work(sys.stdin.buffer, sys.stdout.buffer)
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(0)  # the gateway is gone, or a terminal tells both to end
