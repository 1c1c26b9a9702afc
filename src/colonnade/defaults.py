"""Defaults and limits that users rely on, in one place. Sizes in bytes, times in seconds."""

from __future__ import annotations

MIB = 1 << 20

# Addresses of `colonnade up`.
HOST = "127.0.0.1"
HTTP_PORT = 8080
GRPC_PORT = 8081
API_PORT = 8082
DOMAIN = "example.com"  # KServe's default ingress domain

# What one request may bring.
MAX_HEADER_BYTES = 64 << 10  # request line and all header fields
MAX_HEADER_COUNT = 200
MAX_TARGET_BYTES = 16 << 10  # path and query of a request; more is 414
MAX_BODY_BYTES = 256 * MIB
MAX_GRPC_MESSAGE_BYTES = 64 * MIB
MAX_API_BODY_BYTES = 3 * MIB  # Kubernetes' own limit on a resource
READ_TIMEOUT = 30.0  # a request that has begun and does not go on is cut
MIN_BODY_RATE = 1 << 10  # bytes per second of a request's body, in the mean over each READ_TIMEOUT; slower is 408
MAX_DISCARD_BYTES = 256 << 10  # of a request that is still being sent when it has its answer; then nothing more is read
DISCARD_TIMEOUT = 2.0  # how long such a client may go on sending before it is cut
DRAIN_LINGER = 0.5  # a stop leaves unused connections open for so long, for requests that are on their way
IDLE_TIMEOUT = 75.0  # a connection without a request is closed
CONNECT_TIMEOUT = 5.0
MAX_HTTP2_STREAMS = 1024  # requests under way on one HTTP/2 connection; more are refused unexecuted
KEPT_BUFFER_BYTES = 32 * MIB  # of buffers for large bodies that a process keeps to use them again

# Between the gateway and a replica.
WHOLE_REQUEST = 1 * MIB  # a body announced up to here is collected and sent in one write
WHOLE_ANSWER = 64 << 10  # likewise an answer
REPLAY = 1 * MIB  # bytes of a streamed body kept to send them again
MUX_SLOT = 2 * MIB  # memory that a gateway process shares with a replica, for one body; larger ones go in parts
MUX_SLOTS = 64  # of these per connection, half of them for requests; memory that was never filled costs nothing
MAX_MUX_STREAMS = 1 << 16  # requests of one such connection that may be under way
MAX_MUX_UNREAD = 16 * MIB  # bytes that a replica has not read of it; then it gets no new request

# What the gateway does for a service whose replicas fail or are flooded.
MAX_GATEWAY_WORKERS = 64  # processes of the gateway
MAX_IN_FLIGHT = 4096  # requests that one gateway process forwards at one time; more are 503
IN_FLIGHT_BORROW = 4  # one service may have so many times what is free of these
SLOW_START = 5.0  # until a replica that joins others gets its full share of the requests
EJECT_AFTER_FAILURES = 5  # in a row, and a replica gets no requests for a while
MAX_EJECTED_PERCENT = 50  # of a service's replicas
EJECTION_FIRST = 5.0  # doubled each time
EJECTION_MAX = 120.0
RETRY_PERCENT = 20  # retries per 100 requests of a service
RETRIES_PER_SECOND = 1.0  # and so many more
BREAKER_FAILURES = 20  # of a service in a row, without an answer of any replica, and it answers 503 at once
BREAKER_FIRST = 1.0  # until one request tries again, doubled each time
BREAKER_MAX = 30.0

# Requests that wait in the gateway: for a revision that was scaled to zero, or for busy replicas. Per revision and
# process.
HELD_REQUESTS = 1000
HELD_BYTES = 256 * MIB  # of their bodies
HELD_SECONDS = 60.0  # then 503; a model may take so long to load
QUEUED_SECONDS = 300.0  # likewise for a replica that has as many requests as it may

# Copies of requests for a shadow revision, and other looks at what went through the gateway.
OBSERVED_BYTES = 1 * MIB  # of a request or an answer; a larger one is not kept
SHADOW_IN_FLIGHT = 32  # copies under way at one time, of a service and process; more are dropped
SHADOW_COMPARED_BYTES = 64 << 10  # of an answer; to compare a larger one would hold up other requests
SHADOW_TOLERANCE = 1e-4  # relative, between numbers of two answers that count as equal

# The payload log, of each service and gateway process.
LOGGED_BYTES = 256 << 10  # of a body; of a larger one the beginning is logged
LOG_QUEUE = 10_000  # requests that are not written yet; more are dropped and counted
LOG_QUEUE_BYTES = 64 * MIB  # of their bodies, likewise
LOG_FLUSH = 5.0  # for what is still to be written when the gateway ends
LOG_SENDERS = 5  # events under way to one URL at a time, as in KServe
LOG_SEND_TIMEOUT = 10.0
LOG_ATTEMPTS = 6  # of a POST, with pauses from LOG_RETRY_FIRST on, doubled each time
LOG_RETRY_FIRST = 0.2
LOG_RETRY_MAX = 30.0
LOG_BATCH_INTERVAL = 1.0  # until a batch is posted though it is not full
LOG_FILE_ROTATION = 60.0  # until a file is finished though it is not full
LOG_ROTATED_BYTES = 32 * MIB  # of rows; then a file is full
LOG_SPOOL_BYTES = 1024 * MIB  # of rows on this machine's disk that their folder or bucket does not take

# An InferenceGraph.
GRAPH_MAX_DEPTH = 32  # of nodes in nodes
GRAPH_MAX_CALLS = 256  # that one request can make
GRAPH_MAX_HOPS = 8  # of a request from graph to graph by URLs; then 508
GRAPH_KEPT_BYTES = 256 * MIB  # of answers that one request holds until they are put together or passed on
GRAPH_QUICK_BYTES = 64 * 1024  # of a body on which conditions are tested on the event loop
GRAPH_QUICK_VALUES = 500  # that one request's conditions look at there
GRAPH_CONDITION_BYTES = 32 * MIB  # of a body on which conditions are tested at all; then 413
GRAPH_CONDITION_VALUES = 1_000_000  # that one request's conditions look at; then 413
GRAPH_CONDITION_TIME = 10.0  # that one test may take, a few times what those values need
GRAPH_CONDITION_WAITING = 256 * MIB  # of bodies that wait to be tested; then 503
GRAPH_RETRY_FIRST = 0.025  # until a step is tried again, doubled each time
GRAPH_RETRY_MAX = 1.0

# Replicas.
MAX_QUEUE = 1000  # requests that wait for one model before 429
MAX_QUEUE_BYTES = 512 * MIB  # of the bodies of requests that wait for one model before 429
STREAM_REQUESTS = 64  # of one gRPC stream or WebSocket under way at a time; then no more are read
STREAM_BYTES = 4 * MIB  # likewise, of their messages
QUEUE_TARGET = 1.0  # a request may wait so long for its model, or for 4 runs of a slow one; twice that in a burst
QUEUE_INTERVAL = 0.1  # waits above the target for so long are no burst: what would wait longer than it is 429
MAX_BATCH_SIZE = 128  # rows of one call of a model that is known to take rows; how many pay is measured
GRACE_PERIOD = 30.0  # from SIGTERM to SIGKILL
READY_TIMEOUT = 600.0  # a replica that is not ready by then has failed
BACKOFF_FIRST = 0.5
BACKOFF_MAX = 60.0
POOL_SEEDS = 4  # processes that have imported a runtime and fork its replicas, at one time
LOG_FILE_BYTES = 64 * MIB  # per replica; one older file is kept
ENVIRONMENT_TIMEOUT = 1800.0  # of each of the two steps that make a replica's Python environment
ENVIRONMENT_TTL = 7 * 86400.0  # an environment that no replica uses is kept for so long

# The machine's budget. What a manifest requests is claimed; what it does not request claims nothing.
OVERCOMMIT_CPU = 4.0  # times the cores may be claimed in all: cores are shared in time
OVERCOMMIT_MEMORY = 1.0  # memory is not
EVICT_AFTER_IDLE = 5.0  # a service that may sleep makes room for another after so many seconds without a request
MEMORY_LOOK = 1.0  # between looks at the memory of replicas with a limit, where no cgroup watches it
DATA_LIMIT_SLACK = 512 * MIB  # RLIMIT_DATA is twice a limit on memory and so much, see `platforms/limits.py`

# Autoscaling: Knative's defaults (its ConfigMap config-autoscaler).
AUTOSCALE_TICK = 2.0
STABLE_WINDOW = 60.0
PANIC_WINDOW = 10.0  # percent of the stable window
PANIC_THRESHOLD = 200.0  # percent of what the ready replicas take by their target; from there on it is a panic
TARGET_UTILIZATION = 70.0  # percent of the target that a replica shall have
MAX_SCALE_UP_RATE = 1000.0  # times the ready replicas, in one decision
MAX_SCALE_DOWN_RATE = 2.0
TARGET_BURST_CAPACITY = 211.0

# Storage.
MAX_DOWNLOAD_BYTES = 64 << 30
MAX_UNPACKED_BYTES = 64 << 30
MAX_UNPACKED_RATIO = 200  # unpacked bytes per packed byte, above 64 MiB unpacked
MAX_UNPACKED_FILES = 100_000
CACHE_BYTES = 50 << 30  # of models that no service uses; the least recently used go first
CACHE_SPARED = 600.0  # a model that was asked for within so many seconds is not evicted, whoever asked
PARTIAL_TTL = 7 * 86400.0  # a broken download is kept for so long to be continued
INITIALIZER_TIMEOUT = 3600.0  # of the command of a ClusterStorageContainer
DOWNLOAD_CONNECTIONS = 8  # of one download
DOWNLOAD_SEGMENT_BYTES = 32 * MIB  # larger files come in ranges of this size, several at a time
DOWNLOAD_CHECKPOINT_BYTES = 8 * MIB

# Golden requests: how far a number in an answer may be from the one in `golden.json` that does not say it itself.
GOLDEN_RTOL = 1e-4
GOLDEN_ATOL = 1e-6

# The resource store.
WATCH_HISTORY = 10_000  # changes kept for watches; older versions answer 410 Gone
EVENT_TTL = 3600.0
REVISION_HISTORY = 10  # unused revisions of a component that are kept, as Kubernetes keeps them (revisionHistoryLimit)
PROBATION = 10.0  # seconds for which a new revision must have been ready before the replicas of the one before it go

# Annotations of ours.
TRUST_CODE = "colonnade.dev/trust-code"
MODEL_DIGEST = "colonnade.dev/model-digest"  # what was fetched must have it, see `colonnade digest`
REQUIREMENTS = "colonnade.dev/requirements"  # packages of a Python environment of its own; "none" for none
DIRECT = "colonnade.dev/direct"  # "true": a port of its own, past the gateway
STICKY = "colonnade.dev/sticky"  # `header:NAME` or `cookie:NAME`: callers of one value stay with one revision
SHADOW = "colonnade.dev/shadow"  # `NAME=PERCENT`: a variant, a revision or `latest` gets copies of the requests
ANALYSIS = "colonnade.dev/analysis"  # how a new revision is stepped up, see `control/rollouts/analysis.py`
ROLLOUT_PAUSED = "colonnade.dev/rollout-paused"  # "true": no traffic moves
ROLLOUT_PROMOTED = "colonnade.dev/rollout-promoted"  # the name of a revision that gets all its traffic at once
STEP_TIMEOUT = "colonnade.dev/step-timeout"  # of an InferenceGraph: `2s, root/rank=500ms`
STEP_RETRIES = "colonnade.dev/step-retries"  # likewise: `1, root/rank=2`
LOG_SAMPLE = "colonnade.dev/log-sample"  # share of requests whose payloads are logged, 0 to 1
LOG_REDACT = "colonnade.dev/log-redact"  # what is blotted out of logged payloads: JSON paths, /patterns/, headers
LOG_MAX_BYTES = "colonnade.dev/log-max-bytes"  # LOGGED_BYTES of this service
LOG_FAILURES = "colonnade.dev/log-failures"  # "true": responses that are no success are logged too
GPU_SHARE = "colonnade.dev/gpu-share"  # a part of one GPU, such as "0.25"; parts are admitted, not enforced
ANNOTATION_SLOW_START = "colonnade.dev/slow-start"  # SLOW_START of this service; likewise those that follow
ANNOTATION_EJECT_AFTER = "colonnade.dev/eject-after-failures"
ANNOTATION_MAX_EJECTED = "colonnade.dev/max-ejected-percent"
ANNOTATION_RETRY_PERCENT = "colonnade.dev/retry-percent"
ANNOTATION_BREAKER = "colonnade.dev/breaker-failures"
