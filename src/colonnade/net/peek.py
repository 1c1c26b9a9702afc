"""TLS and plain HTTP on one port: the first byte tells (0x16 opens a TLS handshake, RFC 8446, section 5.1).

The byte is looked at with MSG_PEEK, so that whoever gets the socket still reads all of it. A client that connects and
sends nothing costs one watched descriptor until `patience` is over, and holds up nobody.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable

logger = logging.getLogger(__name__)

_TLS_HANDSHAKE = 0x16
_ACCEPTS_PER_TURN = 64
_RETRY_AFTER = 0.5  # seconds without accepting when the process is out of descriptors


class PeekingListener:
    """Accepts from `sock` and hands each connection, TLS or plain, to a protocol of `factory`."""

    def __init__(
        self,
        sock: socket.socket,
        factory: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext,
        patience: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._factory = factory
        self._context = context
        self._patience = patience
        self._waiting: dict[socket.socket, asyncio.TimerHandle] = {}
        self._handovers: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._loop.add_reader(sock, self._accept)

    @property
    def busy(self) -> bool:
        """Whether a connection is on its way to its protocol."""
        return bool(self._handovers)

    def close(self) -> None:
        """Stop accepting. Connections whose first byte has not come are closed."""
        self._loop.remove_reader(self._sock)
        if self._retry is not None:
            self._retry.cancel()
        for accepted in list(self._waiting):
            self._drop(accepted)

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                accepted, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                logger.warning("cannot accept a connection: %s", error.strerror)
                self._loop.remove_reader(self._sock)
                self._retry = self._loop.call_later(_RETRY_AFTER, self._accept_again)
                return
            accepted.setblocking(False)
            self._waiting[accepted] = self._loop.call_later(self._patience, self._drop, accepted)
            self._loop.add_reader(accepted, self._peek, accepted)

    def _accept_again(self) -> None:
        self._retry = None
        self._loop.add_reader(self._sock, self._accept)

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
        self._waiting.pop(accepted).cancel()
        task = self._loop.create_task(self._hand_over(accepted, first[0] == _TLS_HANDSHAKE))
        self._handovers.add(task)
        task.add_done_callback(self._handovers.discard)

    async def _hand_over(self, accepted: socket.socket, encrypted: bool) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._factory,
                accepted,
                ssl=self._context if encrypted else None,
                ssl_handshake_timeout=self._patience if encrypted else None,
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            logger.debug("connection given up before its first request: %s", error)
            accepted.close()

    def _drop(self, accepted: socket.socket) -> None:
        self._loop.remove_reader(accepted)
        self._waiting.pop(accepted).cancel()
        accepted.close()
