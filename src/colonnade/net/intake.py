"""Accepted sockets on their way to a connection: TLS, plain HTTP, or both on one port, told apart by the first byte.

0x16 opens a TLS handshake (RFC 8446, section 5.1). The byte is looked at with MSG_PEEK, so that whoever gets the socket
still reads all of it. A client that connects and sends nothing costs one watched descriptor until `patience` is over,
and holds up nobody; nor does a handshake that does not go on.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial

logger = logging.getLogger(__name__)

_TLS_HANDSHAKE = 0x16
_ACCEPTS_PER_TURN = 64
_RETRY_AFTER = 0.5  # seconds without accepting when the process is out of descriptors
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Intake:
    """Takes accepted sockets and hands each to a protocol of `factory`.

    Args:
        factory: makes the protocol of one connection.
        context: for TLS; None takes plain connections only.
        optional: with a context, plain connections are taken as well.
        patience: seconds that a client may take to its first byte, and then again for its handshake.
    """

    def __init__(
        self, factory: Callable[[], asyncio.Protocol], context: ssl.SSLContext | None, optional: bool, patience: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._factory = factory
        self._context = context
        self._optional = optional
        self._patience = patience
        self._watched: dict[socket.socket, asyncio.TimerHandle | None] = {}  # listening; when accepting goes on
        self._silent: dict[socket.socket, asyncio.TimerHandle] = {}
        self._handovers: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether a socket is on its way to its protocol."""
        return bool(self._silent or self._handovers)

    def watch(self, listening: socket.socket) -> None:
        """Accept from a listening socket from now on."""
        self._watched[listening] = None
        self._loop.add_reader(listening, self._accept, listening)

    def unwatch(self, listening: socket.socket) -> None:
        """Accept no more from it. Without effect if it was not watched."""
        if listening in self._watched:
            self._loop.remove_reader(listening)
            retry = self._watched.pop(listening)
            if retry is not None:
                retry.cancel()

    def take_waiting(self, listening: socket.socket) -> None:
        """Accept what waits in the kernel at this moment."""
        try:
            while self._take_next(listening):
                pass
        except OSError as error:
            logger.warning("connections that wait cannot be accepted: %s", error.strerror)

    def drop_silent(self) -> None:
        """Close the sockets that have not sent a byte."""
        for accepted in list(self._silent):
            self._drop(accepted)

    def close(self) -> None:
        """Give up all that is on its way."""
        self.drop_silent()
        for task in self._handovers:
            task.cancel()

    def _accept(self, listening: socket.socket) -> None:
        try:
            for _ in range(_ACCEPTS_PER_TURN):
                if not self._take_next(listening):
                    return
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            logger.warning("cannot accept a connection: %s", error.strerror)
            self._loop.remove_reader(listening)
            self._watched[listening] = self._loop.call_later(_RETRY_AFTER, self.watch, listening)

    def _take_next(self, listening: socket.socket) -> bool:
        """Accept one connection; False if none waits."""
        try:
            accepted, _ = listening.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionAbortedError:
            return True  # one that waited has left
        accepted.setblocking(False)
        if self._context is not None and self._optional:
            self._silent[accepted] = self._loop.call_later(self._patience, self._drop, accepted)
            self._loop.add_reader(accepted, self._peek, accepted)
        else:
            self._begin(accepted, self._context)
        return True

    def _peek(self, accepted: socket.socket) -> None:
        try:
            first = accepted.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            first = b""
        if not first:
            self._drop(accepted)
            return
        self._loop.remove_reader(accepted)
        self._silent.pop(accepted).cancel()
        self._begin(accepted, self._context if first[0] == _TLS_HANDSHAKE else None)

    def _begin(self, accepted: socket.socket, context: ssl.SSLContext | None) -> None:
        task = self._loop.create_task(self._hand_over(accepted, context))
        self._handovers.add(task)
        task.add_done_callback(partial(self._handed_over, accepted))

    async def _hand_over(self, accepted: socket.socket, context: ssl.SSLContext | None) -> None:
        await self._loop.connect_accepted_socket(
            self._factory,
            accepted,
            ssl=context,
            ssl_handshake_timeout=None if context is None else self._patience,
        )

    def _handed_over(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        self._handovers.discard(task)
        if task.cancelled():
            accepted.close()
            return
        error = task.exception()
        if error is None:
            return
        accepted.close()
        if isinstance(error, (OSError, ssl.SSLError, TimeoutError)):
            logger.debug("connection given up before its first request: %s", error)
        else:
            logger.error("an accepted connection was lost", exc_info=error)

    def _drop(self, accepted: socket.socket) -> None:
        self._loop.remove_reader(accepted)
        self._silent.pop(accepted).cancel()
        accepted.close()
