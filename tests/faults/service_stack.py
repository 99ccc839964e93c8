"""A site whose links share one credential, and that asks the backend for each person's view with a token of its own."""

from realtime.emulator.options import DEFAULT_API_KEY
from tests.faults.stack import Stack

TOKEN = "a token of the service's own"


class ServiceStack(Stack):
    """As Stack, without any token of its users; its worker may be given another token for the snapshot."""

    def __init__(self, folder, **extra):
        shared = {"APPSYNC_AUTH": "api-key", "APPSYNC_API_KEY": DEFAULT_API_KEY, "SNAPSHOT_TOKEN": TOKEN}
        super().__init__(folder, emulator=("--snapshot-token", TOKEN), **shared, **extra)
        self._snapshots("http://127.0.0.1:9/snapshot")

    def start_emulator(self):
        super().start_emulator()
        self._snapshots(self.urls["snapshot_url"])

    def _snapshots(self, url):
        self._extra["SNAPSHOT_URL"] = f"{url}?userId={{userId}}"

    def restart_worker(self, token):
        self._extra["SNAPSHOT_TOKEN"] = token
        self.worker.stop()
        self.worker.start()
