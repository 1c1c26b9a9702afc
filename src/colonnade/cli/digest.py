"""`colonnade digest`: what a model is, in one line, to be pinned; and what a scan says of it."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from colonnade.cli import output
from colonnade.cli.exits import FAILED, CommandFailed
from colonnade.cli.state import Target
from colonnade.control.layout import Layout
from colonnade.control.models.safety import consent, summary
from colonnade.errors import Error
from colonnade.storage.fetch import fetch
from colonnade.storage.scan import Report, examine


@click.command("digest", short_help="print the digest of a model, and what a scan finds in it")
@click.argument("model")
@click.option("--scan", is_flag=True, help="Print what was found too; exit code 1 if a service could not load it.")
@output.form_option("table", "json", "yaml")
@click.pass_obj
def command(target: Target, model: str, scan: bool, form: output.Form) -> None:
    """Print the digest of MODEL, a path or a URI, as the annotation colonnade.dev/model-digest takes it.

    A single file has the SHA-256 of its bytes. A folder has that of the list of its files, as sha256sum prints it,
    sorted by path. Nothing is loaded; what is not on this machine is downloaded first.
    """
    with ExitStack() as stack:
        cache = Layout(target.state_dir).cache
        if not cache.is_dir():  # no platform has kept anything here, and this command leaves nothing behind
            cache = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="colonnade-")))
        try:
            path = fetch(model, cache)
        except Error as error:
            raise CommandFailed(error.message) from None
        report = examine(path, consent=consent(None, model))
    if not report.scan.digest:
        raise CommandFailed(report.message)
    if form != "table":
        output.document(summary(report), form)
    else:
        click.echo(report.scan.digest)
        if scan:
            _print(report)
    if scan and not report.passed:
        click.get_current_context().exit(FAILED)


def _print(report: Report) -> None:
    kinds = ", ".join(f"{count} {name}" for name, count in report.scan.formats.items())
    click.echo(f"{report.verdict}: {report.scan.files} files, {report.scan.bytes} bytes ({kinds})")
    for finding in report.scan.findings:
        click.echo(f"  {finding.risk}: {finding.file}: {finding.message}")
