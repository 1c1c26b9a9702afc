"""Memory that both ends of a multiplexed socket share, for bodies that would cost a socket several copies.

The client makes it and names its descriptor; the server opens that through `/proc`, which lets only processes of the
same user in and needs no name in any file system, so nothing is left behind by a kill. The memory is sealed: neither
side can shrink it under the other. It is cut into slots, the first half for requests and the second for answers. Who
sends a body fills a slot of its half and names it. Who takes it gets a view of that memory, and gives the slot back
when the last thing that refers to the view is gone, be it an array of a model that has long answered.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import weakref
from collections.abc import Callable, Sequence
from typing import Self

from colonnade.net.head import Part
from colonnade.net.mux.frames import SLOT, SLOTS, Malformed

_SIZE = SLOT * SLOTS
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_ALIGNMENT = 16  # all that the elements of an array need
_Slot = ctypes.c_ubyte * SLOT


class Room:
    """A slot for a body that is still to come.

    Attributes:
        mapping: where it is.
        offset: where the body begins, in the whole memory.
        view: to be filled. The slot stays taken for as long as anything refers to this memory.
    """

    __slots__ = ("mapping", "offset", "view")

    def __init__(self, mapping: Mapping, offset: int, view: memoryview) -> None:
        self.mapping = mapping
        self.offset = offset
        self.view = view


class Mapping:
    """One end of the shared memory."""

    def __init__(self, descriptor: int, own: range) -> None:
        """`own`: the slots that this end fills."""
        self._memory = mmap.mmap(descriptor, _SIZE)
        self._own = own
        self._free = list(reversed(own))  # the last one used is the next one: its pages are in the cache
        self._watched: dict[int, weakref.ref[ctypes.Array[ctypes.c_ubyte]]] = {}  # slots that something refers to
        self._lent: set[int] = set()  # own slots that the other end has

    @classmethod
    def create(cls) -> tuple[Self, int]:
        """New memory for a client, and the descriptor to be named to the server.

        Raises:
            OSError: the system has none.
        """
        descriptor = os.memfd_create("colonnade-mux", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, _SIZE)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_SEAL)
            return cls(descriptor, range(SLOTS // 2)), descriptor
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def open(cls, process: int, descriptor: int) -> Self:
        """The memory that a client has named.

        Raises:
            OSError: it cannot be opened, or is not what it should be.
        """
        opened = os.open(f"/proc/{process}/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(opened).st_size != _SIZE or fcntl.fcntl(opened, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
                raise OSError("the memory of the peer is of another size, or not sealed")
            return cls(opened, range(SLOTS // 2, SLOTS))
        finally:
            os.close(opened)

    # This end's slots.

    def fill(self, parts: Sequence[Part]) -> int | None:
        """Put a body into a free slot for the other end, and return where it begins; None if it does not fit, or no
        slot is free."""
        if not self._free or sum(map(len, parts)) > SLOT:
            return None
        slot = self._free.pop()
        self._lent.add(slot)
        at = slot * SLOT
        for part in parts:
            self._memory[at : at + len(part)] = part
            at += len(part)
        return slot * SLOT

    def room(self, size: int, aligned: int) -> Room | None:
        """A free slot for a body of so many bytes, whose byte number `aligned` will lie at a multiple of 16."""
        begin = -aligned % _ALIGNMENT
        if not self._free or begin + size > SLOT:
            return None
        slot = self._free.pop()
        return Room(self, slot * SLOT + begin, self._view(slot, begin, size, self._unless_lent))

    def lend(self, room: Room) -> bool:
        """The other end gets what the room was filled with; False if it has that already."""
        slot = room.offset // SLOT
        if slot in self._lent:
            return False
        self._lent.add(slot)
        return True

    def free(self, offset: int) -> None:
        """The other end has given a body back.

        Raises:
            Malformed: it did not have it.
        """
        slot = offset // SLOT
        if slot not in self._lent:
            raise Malformed(f"slot {slot} is given back by who did not have it")
        self._lent.remove(slot)
        if slot not in self._watched:
            self._free.append(slot)

    def _unless_lent(self, offset: int) -> None:
        if offset // SLOT not in self._lent:
            self._free.append(offset // SLOT)

    # The other end's slots.

    def borrow(self, offset: int, length: int, released: Callable[[int], None]) -> memoryview:
        """The body of the other end that begins at `offset`. `released` is called with that, from any thread, when
        nothing refers to the body any more.

        Raises:
            Malformed: there is no such body.
        """
        slot, begin = divmod(offset, SLOT)
        if slot >= SLOTS or slot in self._own or slot in self._watched or begin + length > SLOT:
            raise Malformed(f"no body of {length} bytes can begin at {offset}")
        return self._view(slot, begin, length, released)

    def _view(self, slot: int, begin: int, length: int, released: Callable[[int], None]) -> memoryview:
        memory = _Slot.from_buffer(self._memory, slot * SLOT)

        def gone(_: object) -> None:
            del self._watched[slot]
            released(slot * SLOT + begin)

        self._watched[slot] = weakref.ref(memory, gone)
        return memoryview(memory).cast("B")[begin : begin + length]
