"""What the engine needs from this product, under the names of `realtime.product.Product`."""

from dashboard.access import TopicAccess
from dashboard.recording import FieldRecorder
from dashboard.retention import ChangeTimeline
from dashboard.state import CurrentState

recorder = FieldRecorder()
access = TopicAccess()
state = CurrentState()
timeline = ChangeTimeline()
