"""Whom a fetch trusts: certificate authorities of a company, by the variables that KServe's initializer takes."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from colonnade.errors import LoadFailed

_BUNDLE_NAME = "cabundle.crt"  # the file that KServe's CA bundle ConfigMap becomes


def is_true(text: str | None) -> bool:
    """How KServe's variables say yes."""
    return (text or "").strip().lower() in ("1", "true", "yes")


def is_false(text: str | None) -> bool:
    """How KServe's variables say no."""
    return (text or "").strip().lower() in ("0", "false", "no")


def ca_bundle(env: Mapping[str, str], *variables: str) -> Path | None:
    """The file of further certificate authorities: of one of the variables, or of the mounted ConfigMap; or None.

    Raises:
        LoadFailed: the file that a variable names is not there (KServe's text).
    """
    named = next((env[variable] for variable in variables if env.get(variable)), None)
    if named is None:
        folder = env.get("CA_BUNDLE_VOLUME_MOUNT_POINT")
        if not folder:
            return None
        named = str(Path(folder, _BUNDLE_NAME))
    path = Path(named)
    if not path.is_file():
        raise LoadFailed(f"Failed to find ca bundle file({named}). Correct the variable that names it")
    return path


def tls_context(env: Mapping[str, str], *variables: str) -> ssl.SSLContext:
    """A context that trusts the system's authorities and those of `ca_bundle`.

    Raises:
        LoadFailed: the bundle is absent or damaged.
    """
    context = ssl.create_default_context()
    bundle = ca_bundle(env, *variables)
    if bundle is not None:
        try:
            context.load_verify_locations(cafile=bundle)
        except (ssl.SSLError, OSError) as error:
            raise LoadFailed(f"the ca bundle file {bundle} cannot be used: {error}; give PEM certificates") from error
    return context
