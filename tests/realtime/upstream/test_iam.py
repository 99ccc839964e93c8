"""AWS credentials: found by botocore's chain, signed for every operation, verified by the emulator."""

import json
import subprocess
import sys

import pytest

from realtime.appsync.auth import Request
from realtime.upstream.credentials import TokenUnavailable
from realtime.upstream.iam import IamCredentials
from tests.realtime.management.commands.conftest import ROOT, manage

KEY, SECRET = "AKIDEXAMPLE", "not-a-real-secret"


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """No profile and no metadata service of this machine."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


@pytest.mark.feature("S3.9")
async def test_without_credentials_the_next_step_is_named(environment):
    environment.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(TokenUnavailable, match="AWS_ACCESS_KEY_ID"):
        await IamCredentials("eu-west-1").get()


async def test_b05_credentials_are_looked_for_anew_when_the_service_refused_them(environment):
    environment.setenv("AWS_ACCESS_KEY_ID", "AKIDFIRST")
    environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    credentials = IamCredentials("eu-west-1")
    assert (await credentials.get()).access_key_id == "AKIDFIRST"
    environment.setenv("AWS_ACCESS_KEY_ID", "AKIDSECOND")
    assert (await credentials.get()).access_key_id == "AKIDFIRST"
    assert (await credentials.get(refresh=True)).access_key_id == "AKIDSECOND"


@pytest.mark.feature("S3.10")
async def test_each_request_is_signed_over_its_own_body_and_nothing_shows_the_secret(environment):
    environment.setenv("AWS_ACCESS_KEY_ID", KEY)
    environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    environment.setenv("AWS_SESSION_TOKEN", "session-word")
    authorization = await IamCredentials("eu-west-1").get()
    first = authorization.headers(Request("api.example", "/event", '{"channel":"/a/b"}'))
    second = authorization.headers(Request("api.example", "/event", '{"channel":"/a/c"}'))
    assert first["Authorization"] != second["Authorization"]
    assert "/eu-west-1/appsync/aws4_request" in first["Authorization"]
    assert first["X-Amz-Security-Token"] == "session-word"
    assert first["host"] == "api.example"
    assert SECRET not in repr(authorization)
    assert "session-word" not in repr(authorization)


@pytest.mark.feature("S0.7")
@pytest.mark.parametrize("over", ["http", "ws"])
def test_the_emulator_verifies_what_we_sign(environment, over):
    environment.setenv("AWS_ACCESS_KEY_ID", KEY)
    environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    command = [sys.executable, str(ROOT / "manage.py"), "emulator", "--fleet", "6", "--rate", "0"]
    with subprocess.Popen([*command, "--iam-key", f"{KEY}:{SECRET}"], stdout=subprocess.PIPE, text=True) as process:
        try:
            url = json.loads(process.stdout.readline())["events_url"]
            arguments = (
                "publish",
                "/default/news",
                '"é <b>"',
                "--over",
                over,
                "--url",
                url,
                "--auth",
                "iam",
                "--region",
                "eu-west-1",
            )
            good = manage(*arguments)
            environment.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
            bad = manage(*arguments)
        finally:
            process.terminate()
    assert (good.returncode, good.stdout.strip()) == (0, "event 0: sent"), good.stderr
    assert bad.returncode == 1
