"""The resource store: every object, and the log of its changes, in one SQLite file.

Why SQLite: an acknowledged write must survive a power cut, and one machine needs no consensus. Each write is one
transaction with `synchronous=FULL` that holds the object, its row in the change log and the risen version; there is no
state between them. Only what tells of this machine's own life (events, how a process does) need not be `durable`: it
survives our end, not always that of the machine, since a request may wait for it behind a slow disk. The log is what
makes watches cheap and honest: a watcher holds a version, not a queue, so a slow one costs no memory; one that falls
behind what is kept is told `Gone` and lists again, as with Kubernetes.

Objects are plain JSON dicts and leave the store as fresh copies. A store may be used from several threads.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from colonnade.control.objects import (
    Change,
    Changes,
    Object,
    Objects,
    Ref,
    created,
    decode,
    encode,
    metadata_of,
    replaced,
    specified,
    timestamp,
    utcnow,
    with_status,
)
from colonnade.control.watch import Watch
from colonnade.defaults import WATCH_HISTORY
from colonnade.errors import AlreadyExists, Conflict, Error, Gone, NotFound

SCHEMA_VERSION = 1
UNSYNCED = 1000  # writes that need not be durable, one after the other: as many versions may be lost in a power cut

__all__ = ["SCHEMA_VERSION", "Change", "Object", "Ref", "Store", "Watch", "timestamp", "utcnow"]
log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE counter (version INTEGER NOT NULL, floor INTEGER NOT NULL);
INSERT INTO counter VALUES (0, 0);
CREATE TABLE objects (
  grp TEXT NOT NULL, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  object BLOB NOT NULL,
  PRIMARY KEY (grp, resource, namespace, name)
) WITHOUT ROWID;
CREATE TABLE log (
  version INTEGER PRIMARY KEY, type TEXT NOT NULL,
  grp TEXT NOT NULL, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  previous INTEGER NOT NULL, object BLOB NOT NULL
);
CREATE INDEX log_of_resource ON log (grp, resource, version);
"""


class Store:
    """Resources with a version that only rises, over restarts too.

    Errors are those of `colonnade.errors`: NotFound, AlreadyExists, Conflict, Gone, in Kubernetes' words.
    """

    def __init__(self, path: Path, *, now: Callable[[], datetime] = utcnow, history: int = WATCH_HISTORY) -> None:
        """Opens or creates the file. `history` is how many changes are kept for watches.

        Raises Error if the file was written by a newer Colonnade.
        """
        self._now = now
        self._history = max(1, history)
        self.lock = threading.RLock()
        self._watches: set[Watch] = set()
        self._subscribers: list[Callable[[Change], None]] = []
        self._undelivered: deque[Change] = deque()
        self._delivering = False
        self._closed = False
        self._unsynced = 0
        cut = path.with_name(f"{path.name}-wal").exists()  # an orderly end leaves none
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # it holds Secrets; SQLite gives -wal the same mode
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._version, self._floor = self._open(path)
            if cut:  # no version is given twice, whatever the disk has lost
                self._version += UNSYNCED
                self._db.execute("UPDATE counter SET version=?", (self._version,))
        except BaseException:
            self._db.close()
            raise

    def _open(self, path: Path) -> tuple[int, int]:
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found > SCHEMA_VERSION:
            raise Error(
                f"{path} was written by a newer Colonnade (store schema {found}, this one reads {SCHEMA_VERSION}): "
                "run that version, or use another --state-dir"
            )
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        if found == 0:
            with self._transaction():
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
                self._version = self._floor = 0
                namespace = {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"labels": {"kubernetes.io/metadata.name": "default"}},
                    "spec": {"finalizers": []},
                    "status": {"phase": "Active"},
                }
                ref = Ref("", "namespaces", "", "default")
                self._append(Change("ADDED", 1, ref, created(ref, namespace, 1, self._now())))
            self._undelivered.clear()  # nobody listens yet
        version, floor = self._db.execute("SELECT version, floor FROM counter").fetchone()
        return version, floor

    # Reading

    @property
    def watches(self) -> int:
        """How many watches are open."""
        with self.lock:
            return len(self._watches)

    @property
    def version(self) -> int:
        """The version of the last committed write."""
        with self.lock:
            return self._version

    @property
    def floor(self) -> int:
        """The oldest version from which a watch can start."""
        return self._floor

    def get(self, ref: Ref) -> Object | None:
        """The object, or None."""
        with self.lock:
            row = self._db.execute(
                "SELECT object FROM objects WHERE grp=? AND resource=? AND namespace=? AND name=?", ref
            ).fetchone()
        return None if row is None else decode(row[0])

    def list(self, group: str, resource: str, namespace: str | None = None) -> tuple[Objects, int]:
        """The objects in order of (namespace, name), and the version that this list shows."""
        query = "SELECT object FROM objects WHERE grp=? AND resource=?"
        values: tuple[str, ...] = (group, resource)
        if namespace is not None:
            query, values = query + " AND namespace=?", (*values, namespace)
        with self.lock:
            rows = self._db.execute(query + " ORDER BY namespace, name", values).fetchall()
            version = self._version
        return [decode(row[0]) for row in rows], version

    def at(self, version: int) -> Object | None:
        """The object as the write of this version left it, or None if that is no longer kept."""
        with self.lock:
            row = self._db.execute("SELECT object FROM log WHERE version=?", (version,)).fetchone()
        return None if row is None else decode(row[0])

    def changes(
        self, group: str, resource: str, since: int, namespace: str | None = None, *, limit: int = -1
    ) -> Changes:
        """The changes after version `since`, oldest first. Raises Gone if some of them are no longer kept."""
        query = "SELECT type, version, namespace, name, object, previous FROM log WHERE grp=? AND resource=?"
        values: tuple[str | int, ...] = (group, resource)
        if namespace is not None:
            query, values = query + " AND namespace=?", (*values, namespace)
        with self.lock:
            if since < self._floor or since > self._version:
                raise Gone(
                    f"too old resource version: {since} ({self._floor})"
                    if since < self._floor
                    else f"resource version {since} is not of this store, whose last is {self._version}"
                )
            rows = self._db.execute(
                query + " AND version>? ORDER BY version LIMIT ?", (*values, since, limit)
            ).fetchall()
        return [
            Change(kind, version, Ref(group, resource, space, name), decode(blob), previous)
            for kind, version, space, name, blob, previous in rows
        ]

    def watch(self, group: str, resource: str, since: int, namespace: str | None = None) -> Watch:
        """Follows the changes after `since`; must be called in a running event loop. Raises Gone as `changes`."""
        with self.lock:
            if since < self._floor or since > self._version:
                self.changes(group, resource, since, namespace, limit=0)
            watch = Watch(self, group, resource, since, namespace)
            self._watches.add(watch)
        return watch

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Calls back with each change after its commit, in order, in the writing thread. Returns the way to stop."""
        with self.lock:
            self._subscribers = [*self._subscribers, callback]

        def unsubscribe() -> None:
            with self.lock:
                self._subscribers = [kept for kept in self._subscribers if kept is not callback]

        return unsubscribe

    # Writing

    def create(self, ref: Ref, obj: Object, *, dry_run: bool = False, durable: bool = True) -> Object:
        """Adds an object: sets uid, creationTimestamp, resourceVersion and generation 1. Raises AlreadyExists.

        A dry run's object has no resourceVersion, since no version of it exists.
        """
        with self._write(dry_run, durable):
            if self.get(ref) is not None:
                raise AlreadyExists(f'{ref.qualified} "{ref.name}" already exists')
            version = self._version + 1
            change = Change("ADDED", version, ref, created(ref, obj, version, self._now()))
            self._append(change)
        made = decode(encode(change.object))
        if dry_run:
            del made["metadata"]["resourceVersion"]
        return made

    def update(
        self, ref: Ref, obj: Object, *, status: bool = False, dry_run: bool = False, durable: bool = True
    ) -> Object:
        """Replaces an object, or with `status` only its `.status`; without it the stored `.status` stays.

        A `metadata.resourceVersion` or `uid` in `obj` must be the stored one, else Conflict. A write that changes
        nothing, or is a dry run, is acknowledged with the old version. `generation` rises if more than metadata and
        status changed.
        """
        with self._write(dry_run, durable):
            stored = self._expect(ref, metadata_of(obj).get("uid"), metadata_of(obj).get("resourceVersion"))
            changed = with_status(stored, obj) if status else replaced(ref, stored, obj)
            if encode(changed) == encode(stored):
                return stored
            if not status and encode(specified(changed)) != encode(specified(stored)):
                changed["metadata"]["generation"] = stored["metadata"].get("generation", 0) + 1
            previous = int(stored["metadata"]["resourceVersion"])
            changed["metadata"]["resourceVersion"] = str(self._version + 1)
            change = Change("MODIFIED", self._version + 1, ref, decode(encode(changed)), previous)
            self._append(change)
        made = decode(encode(change.object))
        if dry_run:
            made["metadata"]["resourceVersion"] = str(previous)
        return made

    def delete(self, ref: Ref, *, uid: str | None = None, version: str | None = None, dry_run: bool = False) -> Object:
        """Removes an object and returns its last state. `uid` and `version` are preconditions (Conflict)."""
        with self._write(dry_run):
            stored = self._expect(ref, uid, version)
            previous = int(stored["metadata"]["resourceVersion"])
            stored["metadata"]["resourceVersion"] = str(self._version + 1)
            change = Change("DELETED", self._version + 1, ref, stored, previous)
            self._append(change)
        return decode(encode(change.object))

    def close(self) -> None:
        """Ends all watches and closes the file."""
        with self.lock:
            if self._closed:
                return
            self._closed = True
            for watch in list(self._watches):
                watch.close()
            self._db.close()

    @contextmanager
    def _write(self, dry_run: bool, durable: bool = True) -> Iterator[None]:
        """One transaction; what is appended in it is committed and then announced, or with `dry_run` rolled back."""
        with self.lock:
            self._unsynced = 0 if durable or self._unsynced >= UNSYNCED - 1 else self._unsynced + 1
            durable = self._unsynced == 0
            before, floor, announced = self._version, self._floor, len(self._undelivered)
            try:
                with self._transaction(commit=not dry_run, durable=durable):
                    yield
            except BaseException:
                dry_run = True
                raise
            finally:
                if dry_run:
                    self._version, self._floor = before, floor
                    while len(self._undelivered) > announced:
                        self._undelivered.pop()
            self._deliver()

    @contextmanager
    def _transaction(self, *, commit: bool = True, durable: bool = True) -> Iterator[None]:
        """What is not durable is in the file all the same, and on the disk with the next commit that is, before it."""
        if not durable:
            self._db.execute("PRAGMA synchronous=NORMAL")
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT" if commit else "ROLLBACK")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        finally:
            if not durable:
                self._db.execute("PRAGMA synchronous=FULL")

    def _expect(self, ref: Ref, uid: str | None, version: str | None) -> Object:
        stored = self.get(ref)
        if stored is None:
            raise NotFound(f'{ref.qualified} "{ref.name}" not found')
        refusal = f'Operation cannot be fulfilled on {ref.qualified} "{ref.name}": '
        found = stored["metadata"]
        if uid and uid != found["uid"]:
            raise Conflict(
                f"{refusal}Precondition failed: UID in precondition: {uid}, UID in object meta: {found['uid']}"
            )
        if version and version != found["resourceVersion"]:
            raise Conflict(
                f"{refusal}the object has been modified; please apply your changes to the latest version and try again"
            )
        return stored

    def _append(self, change: Change) -> None:
        """Writes a change into the open transaction and queues it for those who listen."""
        blob = encode(change.object)
        if change.type == "DELETED":
            self._db.execute("DELETE FROM objects WHERE grp=? AND resource=? AND namespace=? AND name=?", change.ref)
        else:
            self._db.execute("INSERT OR REPLACE INTO objects VALUES (?,?,?,?,?)", (*change.ref, blob))
        self._db.execute(
            "INSERT INTO log VALUES (?,?,?,?,?,?,?,?)",
            (change.version, change.type, *change.ref, change.previous, blob),
        )
        floor = self._floor
        if change.version - floor > self._history + self._history // 8:  # trimmed in strides, not at each write
            floor = change.version - self._history
            self._db.execute("DELETE FROM log WHERE version<=?", (floor,))
        self._db.execute("UPDATE counter SET version=?, floor=?", (change.version, floor))
        self._version, self._floor = change.version, floor
        self._undelivered.append(change)

    def _deliver(self) -> None:
        """Announces what was committed. A callback that writes does not get ahead of the change that it answers."""
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._undelivered:
                change = self._undelivered.popleft()
                for watch in list(self._watches):
                    watch.notice(change)
                for callback in self._subscribers:
                    try:
                        callback(change)
                    except Exception:
                        log.exception("a subscriber of the store failed", extra={"version": change.version})
        finally:
            self._delivering = False

    def forget(self, watch: Watch) -> None:
        with self.lock:
            self._watches.discard(watch)
