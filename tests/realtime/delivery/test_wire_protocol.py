"""The contract for strangers says what the code does."""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from django.conf import settings

from realtime.delivery import envelope
from realtime.delivery.session import CAPABILITIES

TEXT = Path(settings.BASE_DIR, "docs/reference/wire-protocol.md").read_text()
EXAMPLES = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
FRAMES = {"hello": envelope.Hello, "event": envelope.Event, "state": envelope.State}


@pytest.mark.feature("S1.18")
def test_every_error_code_is_listed_with_its_status():
    listed = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", TEXT, re.MULTILINE))
    assert listed == {fault.code: str(fault.status) for fault in envelope.FAULTS}


def test_every_close_code_is_listed():
    assert re.findall(r"^\| (4\d\d\d) \|", TEXT, re.MULTILINE) == [str(int(close)) for close in envelope.Close]


def test_every_client_frame_is_listed():
    table = TEXT.partition("## Frames of the client")[2].partition("##")[0]
    assert re.findall(r"^\| `([a-z]+)` \|", table, re.MULTILINE) == list(envelope.COMMANDS)
    assert set(CAPABILITIES) == set(envelope.COMMANDS)


def test_every_cause_of_a_resync_is_explained():
    row = next(line for line in TEXT.splitlines() if line.startswith("| `resync`"))
    assert set(re.findall(r"`([a-z-]+)` \(", row)) == set(get_args(envelope.ResyncCause))


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_a_frame(example):
    frame = FRAMES[msgspec.json.decode(example)["type"]]
    decoded = msgspec.json.decode(example, type=frame)
    assert msgspec.json.decode(msgspec.json.encode(decoded)) == msgspec.json.decode(example)


def test_each_kind_of_frame_has_an_example():
    assert {msgspec.json.decode(example)["type"] for example in EXAMPLES} == set(FRAMES)
