"""The product on PostgreSQL with several workers, which a test may kill, freeze, stop and start."""

from itertools import combinations
from types import SimpleNamespace

import psycopg
from psycopg.rows import dict_row

from realtime.models import BUCKETS, bucket_of
from realtime.rendezvous import owners
from tests.demo import until
from tests.faults.stack import Process, Stack

ORGANIZATIONS, PEOPLE = 2, 3
SUBJECTS = [f"{org}-{person}" for org in range(1, ORGANIZATIONS + 1) for person in range(1, PEOPLE + 1)]
NAMES = [f"worker-{number}" for number in range(1, 30)]

ACCOUNTS = f"""
from dashboard.models import User
for name in {SUBJECTS}:
    User.objects.create_user(f"user-{{name}}", password="fleetlight", subject=f"sub-{{name}}")
"""


class SharedStack(Stack):
    """As Stack, with ``workers`` by name; none of them is started by itself."""

    def __init__(self, folder, database_url, **options):
        several = ("--organizations", str(ORGANIZATIONS), "--people", str(PEOPLE))
        super().__init__(folder, emulator=several, DATABASE_URL=database_url, **options)
        self._connection = psycopg.connect(database_url, autocommit=True, row_factory=dict_row)
        self.workers = {}

    def __exit__(self, *exception):
        for worker in self.workers.values():
            worker.stop()
        super().__exit__(*exception)
        self._connection.close()

    def prepare_database(self):
        self.run_manage("migrate", "--verbosity", "0")
        self.run_manage("shell", "-c", ACCOUNTS)

    def start_workers(self):
        """Tests say when, and how many."""

    def start_worker(self, name):
        """Start a worker, or one that ended once more."""
        if name not in self.workers:
            command = [*self.worker.part.command()[:3], "--name", name]
            part = SimpleNamespace(name=name, command=lambda: command, environment=self.worker.part.environment)
            self.workers[name] = Process(part, self._log(name), self._extra)
        self.workers[name].start()
        return self.workers[name]

    def query(self, statement, *parameters):
        return self._connection.execute(statement.replace("?", "%s"), parameters).fetchall()

    # ── Who owns what ────────────────────────────────────────────────────────────────────────────────────────

    def owners(self):
        """Return subject → the worker that holds the lease of that link's bucket."""
        leases = {row["bucket"]: row["owner"] for row in self.query("SELECT * FROM realtime_lease")}
        links = self.query("SELECT id, subject FROM realtime_link")
        return {row["subject"]: leases.get(bucket_of(row["id"]), "") for row in links}

    def links_of(self, name):
        return sorted(subject for subject, owner in self.owners().items() if owner == name)

    def due(self, names):
        """Return subject → the worker among these that should own the link."""
        found = owners(BUCKETS, frozenset(names))
        links = self.query("SELECT id, subject FROM realtime_link")
        return {row["subject"]: found[bucket_of(row["id"])] for row in links}

    def fair(self, count):
        """Return names of workers among which the links are shared as evenly as can be."""
        links = len(SUBJECTS)
        return next(
            names
            for names in combinations(NAMES, count)
            if all(list(self.due(names).values()).count(name) == links // count for name in names)
        )

    def wait_shared(self, names, deadline=20):
        """Wait until each link is live with the one of these workers that should own it."""
        until(lambda: self.owners() == self.due(names), f"the sharing among {names}", deadline)
        until(lambda: all(self.is_live(f"sub-{name}") for name in SUBJECTS), "all links", deadline)

    def gaps(self, subject, since):
        """Return the windows of one link that began or closed after ``since`` (µs)."""
        return self.query(
            "SELECT gap.* FROM realtime_gap AS gap JOIN realtime_link AS link ON link.id = gap.link_id "
            "WHERE link.subject = ? AND (gap.closed_at IS NULL OR gap.closed_at > ?) ORDER BY gap.started_at",
            subject,
            since,
        )
