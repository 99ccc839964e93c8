"""What the engine needs from this product, under the names of `realtime.product.Product`."""

from dashboard.access import TopicAccess
from dashboard.recording import FieldRecorder
from dashboard.retention import ChangeTimeline
from dashboard.state import CurrentState
from realtime import config

recorder = FieldRecorder(asks=bool(config.load().upstream.snapshot_url))
access = TopicAccess()
state = CurrentState()
timeline = ChangeTimeline()
