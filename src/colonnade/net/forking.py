"""What a platform and a process that forks for it say to each other, over a socket that keeps messages whole.

The process (a *seed*) has imported what takes long to import, and makes replicas of itself on request. The socket is
one of a pair, which has no name: nobody else can ask. Its end tells each side that the other is gone. Each question has
one answer, in order; the first message is `Ready`, which nobody asked for.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence

import msgspec

MESSAGE_BYTES = 1 << 20  # an environment and a command line have less, or they are not sent
ROOM_VARIABLE = "COLONNADE_ROOM"  # takes up memory in which a fork shows its own command line and environment
_ROOM_BYTES = 4096


class Fork(msgspec.Struct, frozen=True, tag=True):
    """Make a process that is as if this command had been started; the output comes with it as a file descriptor.

    The variables that must be seen in /proc stand first.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str


class Reap(msgspec.Struct, frozen=True, tag=True):
    """Release the id of a process that has ended. Until it is asked for, no other process gets the id."""

    pid: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """All is imported.

    Attributes:
        seconds: that took so long.
        trouble: why it cannot fork after all; empty if it can.
    """

    seconds: float
    trouble: str = ""


class Forked(msgspec.Struct, frozen=True, tag=True):
    """The process lives, leads a session of its own, and shows its own marks in /proc."""

    pid: int


class Reaped(msgspec.Struct, frozen=True, tag=True):
    """How it ended: its exit code, or the negative number of the signal that ended it; None if nobody knows."""

    pid: int
    code: int | None


class Refused(msgspec.Struct, frozen=True, tag=True):
    """It could not be made, and why."""

    reason: str


Question = Fork | Reap
Answer = Ready | Forked | Reaped | Refused

_encoder = msgspec.json.Encoder()
_questions: msgspec.json.Decoder[Question] = msgspec.json.Decoder(Question)
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def command(seed: Sequence[str], descriptor: int) -> tuple[str, ...]:
    """The command line that starts a seed. The last word takes up memory, see `ROOM_VARIABLE`."""
    return (*seed, str(descriptor), "-" * _ROOM_BYTES)


def variables() -> dict[str, str]:
    """Variables for a seed beside those of its replicas: `ROOM_VARIABLE`, and what keeps the allocator of Arrow, which
    pandas brings, from beginning a thread."""
    return {ROOM_VARIABLE: "-" * _ROOM_BYTES, "JE_ARROW_MALLOC_CONF": "background_thread:false"}


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a new connection."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, MESSAGE_BYTES)
    return ends


def send(end: socket.socket, message: Question | Answer, descriptors: Sequence[int] = ()) -> None:
    """Send one message.

    Raises:
        OSError: the other side is gone, or the message is too long.
    """
    content = _encoder.encode(message)
    if len(content) > MESSAGE_BYTES:
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    socket.send_fds(end, [content], list(descriptors))


def question(end: socket.socket) -> tuple[Question, list[int]] | None:
    """The next question and the descriptors that came with it; None if the other side is gone."""
    content, descriptors, _, _ = socket.recv_fds(end, MESSAGE_BYTES, 1)
    return (_questions.decode(content), descriptors) if content else None


def answer(end: socket.socket) -> Answer | None:
    """The next answer; None if the other side is gone.

    Raises:
        BlockingIOError: there is none yet.
    """
    content = end.recv(MESSAGE_BYTES)
    return _answers.decode(content) if content else None
