"""That the reconciling of an object fails again and again, as an Event on it: a log alone is read by nobody in time."""

from __future__ import annotations

from colonnade import errors
from colonnade.control.controller import Tell
from colonnade.control.events import Events
from colonnade.control.objects import Ref
from colonnade.control.store import Store
from colonnade.control.workqueue import Key


def telling(store: Store, events: Events, group: str, resource: str) -> Tell:
    """What a controller of this resource calls."""

    def tell(key: Key, error: Exception) -> None:
        found = store.get(Ref(group, resource, *key))
        if found is not None:
            events.record(found, "ReconcileFailed", message(error), "Warning")

    return tell


def message(error: Exception) -> str:
    """What went wrong, for whoever may read the object: a fault of ours may quote what is not for them."""
    known = error.message if isinstance(error, errors.Error) else f"{type(error).__name__}; its log says more"
    return f"The control plane cannot bring it to what its manifest asks for, and tries again: {known}"
