"""The settings as a process reads them: with nothing set, for production, and with mistakes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE = 60
PRODUCTION = {
    "DEBUG": "false",
    "SECRET_KEY": "q8ZrT2-w" * 8,
    "TOKEN_KEY": Fernet.generate_key().decode(),
    "ALLOWED_HOSTS": "fleet.example.com",
    "CSRF_TRUSTED_ORIGINS": "https://fleet.example.com",
    "DATABASE_URL": "postgres://fleet:pw@db.example.com/fleet",
    "REDIS_URL": "rediss://valkey.example.com:6379/0",
    "APPSYNC_EVENTS_URL": "https://abcdefghijklmnopqrstuvwxyz.appsync-api.eu-west-1.amazonaws.com/event",
}


@pytest.fixture
def manage(tmp_path):
    """Run `manage.py` in an environment of only what is given."""

    def run(*arguments, **variables):
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "STATE_DIR": str(tmp_path), "ENV_FILE": os.devnull, **variables},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )

    return run


def test_an_empty_environment_is_a_development_site(manage, tmp_path):
    done = manage("check")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"secret-key", "token-key"}


def test_production_settings_pass_the_deployment_check(manage):
    done = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert done.returncode == 0, done.stderr
    assert "no issues (0 silenced)" in done.stdout


@pytest.mark.parametrize("name", ["SECRET_KEY", "TOKEN_KEY", "ALLOWED_HOSTS"])
def test_production_does_not_invent_what_it_needs(manage, name):
    done = manage("check", **{**PRODUCTION, name: ""})
    assert done.returncode == 1
    assert f"{name} is not set" in done.stderr


def test_all_mistakes_are_told_at_once_without_a_traceback(manage):
    done = manage("check", DEBUG="perhaps", LIVE_SESSIONS="many", REDIS_URL="http://valkey")
    for name in ("DEBUG", "LIVE_SESSIONS", "REDIS_URL"):
        assert name in done.stderr
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_key_made_by_openssl_can_be_used(manage):
    done = manage("check", **{**PRODUCTION, "TOKEN_KEY": "+/" * 21 + "+="})
    assert done.returncode == 0, done.stderr


def settings_of(manage, *names, **variables):
    code = f"import json; from django.conf import settings as s; print(json.dumps([s.{', s.'.join(names)}]))"
    done = manage("shell", "--no-imports", "-c", code, **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_https_is_demanded_unless_someone_says_otherwise(manage):
    names = ("SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "SECURE_HSTS_SECONDS")
    assert settings_of(manage, *names, **PRODUCTION) == [True, True, 31_536_000]
    assert settings_of(manage, *names, **PRODUCTION, HTTPS="false") == [False, False, 0]


def test_a_proxy_is_believed_only_when_told_so(manage):
    assert settings_of(manage, "SECURE_PROXY_SSL_HEADER", **PRODUCTION) == [None]
    header = ["HTTP_X_FORWARDED_PROTO", "https"]
    assert settings_of(manage, "SECURE_PROXY_SSL_HEADER", **PRODUCTION, TRUST_PROXY="true") == [header]


def test_sqlite_waits_for_its_turn_and_keeps_every_commit(manage):
    (databases,) = settings_of(manage, "DATABASES")
    options = databases["default"]["OPTIONS"]
    assert options["transaction_mode"] == "IMMEDIATE"
    assert "synchronous=FULL" in options["init_command"]
    assert "journal_mode=WAL" in options["init_command"]


def test_the_example_lists_every_variable_and_no_other():
    read = (ROOT / "project/settings.py").read_text()
    names = set(re.findall(r'\benv\.(?!demand)\w+\(\s*"([A-Z_]+)"', read))
    listed = set(re.findall(r"^#? ?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M))
    assert listed == names


def test_the_example_tells_the_defaults(manage, tmp_path):
    uncommented = re.sub(r"^# (?=[A-Z][A-Z_]+=)", "", (ROOT / ".env.example").read_text(), flags=re.M)
    uncommented = re.sub(r"^STATE_DIR=.*$", "", uncommented, flags=re.M)  # each test has its own
    (tmp_path / "example.env").write_text(uncommented)
    code = "from django.conf import settings as s; print({n: getattr(s, n) for n in dir(s) if n.isupper()})"
    told = manage("shell", "--no-imports", "-c", code, ENV_FILE=str(tmp_path / "example.env"))
    unset = manage("shell", "--no-imports", "-c", code)
    assert told.returncode == unset.returncode == 0, told.stderr
    assert _without_addresses(told.stdout) == _without_addresses(unset.stdout)


def _without_addresses(shown):
    """Leave out where objects are in memory, and the setting that differs on purpose."""
    return re.sub(r" at 0x[0-9a-f]+|'DOTENV': [^,]+,", "", shown)
