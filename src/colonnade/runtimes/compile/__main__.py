"""The child process of a conversion: `python -m colonnade.runtimes.compile JOB`, with the job as JSON."""

from __future__ import annotations

import sys

import msgspec

from colonnade.runtimes.compile import job

job.give_way()
job.run(msgspec.json.decode(sys.argv[1], type=job.Job))
