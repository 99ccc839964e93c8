"""What Prometheus reads, hop by hop. Each process counts its own; add them up with `sum`.

Labels never hold a user, device or link: their number must stay bounded.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

# Milliseconds when all is well; minutes when the database was away and copies were kept in memory.
LAG_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.3, 2.6, 5, 10, 30, 60, 600)

# ── Upstream ──────────────────────────────────────────────────────────────────────────────────────────────

LINKS = Gauge("fleetlight_links", "Upstream links of this worker by state.", ["state"])
BUCKETS = Gauge("fleetlight_buckets", "Buckets of links that this worker owns, of 64 in all.")
SERVICE_EVENTS = Counter(
    "fleetlight_service_link_events_total", "Events that the service link heard, by what became of them.", ["outcome"]
)
HELD_UP = Counter(
    "fleetlight_upstream_held_up_total", "Times that a socket was not read, as too much waited to be recorded."
)
CONNECTS = Counter("fleetlight_upstream_connects_total", "Attempts to connect by outcome.", ["outcome"])

# ── Bridge, record and feed ───────────────────────────────────────────────────────────────────────────────

COPIES = Counter("fleetlight_copies_total", "Copies of events from upstream by feed.", ["feed"])
UNDECODABLE = Counter("fleetlight_undecodable_total", "Payloads that nothing could read.", ["feed"])
RECORD_LAG = Histogram(
    "fleetlight_record_lag_seconds", "Age of a batch's oldest copy when it was committed.", buckets=LAG_BUCKETS
)
BATCH_SECONDS = Histogram("fleetlight_batch_seconds", "Time to record a batch and its feed entries.")
ENTRIES = Counter("fleetlight_feed_entries_total", "Entries written to feeds.")
GAPS = Counter("fleetlight_gaps_total", "Gaps closed by outcome.", ["outcome"])

# ── Relay ─────────────────────────────────────────────────────────────────────────────────────────────────

RELAYED = Counter("fleetlight_relayed_total", "Entries copied to Valkey and announced.")
RELAY_SWEEPS = Counter("fleetlight_relay_swept_total", "Topics whose entries a sweep found unrelayed.")
RELAY_ERRORS = Counter("fleetlight_relay_errors_total", "Attempts to relay that failed.")

# ── Delivery ──────────────────────────────────────────────────────────────────────────────────────────────

SESSIONS = Gauge("fleetlight_sessions", "Open browser sessions by transport.", ["transport"])
REFUSED = Counter("fleetlight_sessions_refused_total", "Sessions refused at the door by code.", ["code"])
CLOSED = Counter("fleetlight_sessions_closed_total", "Sessions closed by us by code.", ["code"])
DELIVERED = Counter("fleetlight_delivered_total", "Entries sent to browsers.")
LOST_BY_LAYER = Counter("fleetlight_layer_lost_total", "Entries that a repair brought, not the layer.")
RESYNCS = Counter("fleetlight_resyncs_total", "Resyncs that browsers were sent by cause.", ["cause"])
HOP_SECONDS = Histogram(
    "fleetlight_hop_seconds", "Time of an entry from hop to hop, sampled once a second.", ["hop"], buckets=LAG_BUCKETS
)
