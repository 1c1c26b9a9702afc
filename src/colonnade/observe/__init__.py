"""What the product says about itself: structured logs and metrics.

Logs are the standard library's, with one format for machines and one for people; metrics are plain numbers that cost
an addition to count and are put into Prometheus' text form only when somebody scrapes. This room must not know what is
counted or logged, and keeps no global registry. Start reading at `metrics.py`.
"""

from colonnade.observe.logs import configure
from colonnade.observe.metrics import Counter, Gauge, Histogram, Registry

__all__ = ["Counter", "Gauge", "Histogram", "Registry", "configure"]
