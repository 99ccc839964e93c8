from pathlib import Path as FilePath

import pytest
from django.conf import settings

from dashboard.freshness import EXPLANATIONS, LABELS, Path, Reason, judge


@pytest.mark.feature("B3")
@pytest.mark.feature("S3.13")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (Path("open", gap_open=False, worker_alive=True), Reason.CURRENT),
        (Path("open", gap_open=True, worker_alive=True), Reason.CATCHING_UP),
        (Path("open", gap_open=True, worker_alive=True, link_reason="refused: roleChanged"), Reason.PARTLY_LIVE),
        (Path("open", gap_open=False, worker_alive=True, link_reason="a gate that keeps what is open"), Reason.CURRENT),
        (Path("open", gap_open=False, worker_alive=False), Reason.WORKER_SILENT),
        (Path("backoff", gap_open=True, worker_alive=True), Reason.UPSTREAM_DOWN),
        (Path("stopped", gap_open=False, worker_alive=True), Reason.UPSTREAM_DOWN),
        (Path("suspended", gap_open=True, worker_alive=True), Reason.NOBODY_WATCHING),
        (Path("suspended", gap_open=True, worker_alive=False), Reason.NOBODY_WATCHING),
    ],
)
def test_the_hop_that_is_broken_is_named(path, reason):
    assert judge(path) is reason


def test_only_a_path_without_a_flaw_is_current():
    states = ["open", "backoff", "connecting", "waiting", "failed", "stopped", "suspended"]
    current = [
        path
        for state in states
        for gap in (True, False)
        for alive in (True, False)
        for why in ("", "refused: roleChanged")
        if judge(path := Path(state, gap, alive, why)) is Reason.CURRENT
    ]
    assert current == [
        Path("open", gap_open=False, worker_alive=True, link_reason=why) for why in ("", "refused: roleChanged")
    ]


def test_the_browser_says_the_same_words():
    script = FilePath(settings.BASE_DIR, "static", "js", "live", "freshness.js").read_text()
    for reason in Reason:
        assert f'"{LABELS[reason]}"' in script
        assert f'"{EXPLANATIONS[reason]}"' in script


def test_every_reason_has_words():
    assert set(LABELS) == set(EXPLANATIONS) == set(Reason)
