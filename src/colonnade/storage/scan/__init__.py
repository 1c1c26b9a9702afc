"""Looks at what was fetched before any process opens it: what it is, whether it is whole, and whether it runs code.

Nothing here loads a model or imports a framework: files are read as bytes, by the rules of their formats, with bounds
on memory. A file per family of formats; each says what it found and decides nothing. Start reading in `examine`, which
walks an artefact, and in `report`, which turns findings, the user's consent and the pinned digest into a verdict. This
room must not know manifests or services.
"""

from colonnade.storage.scan.examine import examine
from colonnade.storage.scan.report import Consent, Finding, Report, Risk, Verdict

__all__ = ["Consent", "Finding", "Report", "Risk", "Verdict", "examine"]
