"""System checks: each mistake has an id and a hint, and a sound site has none."""

import pytest

from realtime import checks, config
from tests.certificates import Authority


@pytest.fixture(autouse=True)
def _fresh_configuration():
    config.load.cache_clear()
    yield
    config.load.cache_clear()


def ids(check):
    config.load.cache_clear()
    messages = check(None)
    assert all(message.hint for message in messages)
    return [message.id for message in messages]


def test_a_development_site_is_sound():
    assert ids(checks.check_layer) == ids(checks.check_upstream) == ids(checks.check_stores) == []


@pytest.mark.parametrize(
    ("backend", "problem"), [(checks.IN_MEMORY_LAYER, "realtime.E001"), (checks.CORE_LAYER, "realtime.E002")]
)
def test_layers_that_lose_messages_are_refused(settings, backend, problem):
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    assert ids(checks.check_layer) == [problem]


@pytest.mark.parametrize("name", ["APPSYNC_EVENTS_URL", "SNAPSHOT_URL", "OIDC_TOKEN_URL"])
def test_tokens_do_not_travel_in_the_open(settings, name):
    setattr(settings, name, "http://backend.example/event")
    assert ids(checks.check_upstream) == ["realtime.E003"]


@pytest.mark.feature("S3.3")
@pytest.mark.parametrize(
    ("preset", "setting"),
    [("fixed-10s", "UPSTREAM_RECONNECT_FACTOR"), ("exponential-5", "UPSTREAM_BREAKER_COOL_SECONDS")],
)
def test_a_number_that_the_preset_does_not_have_is_refused_by_name(settings, preset, setting):
    settings.UPSTREAM_RECONNECT = preset
    setattr(settings, setting, 3.0)
    assert ids(checks.check_upstream) == ["realtime.E014"]
    (message,) = checks.check_upstream(None)
    assert setting in message.msg + message.hint


def test_unless_someone_says_so(settings):
    settings.SNAPSHOT_URL = "http://backend.example/"
    settings.APPSYNC_ALLOW_PLAINTEXT = True
    assert ids(checks.check_upstream) == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
def test_on_this_machine_they_may(settings, host):
    settings.APPSYNC_EVENTS_URL = f"http://{host}:4000/event"
    assert ids(checks.check_upstream) == []


@pytest.mark.feature("S3.10")
def test_a_pinned_authority_needs_a_certificate(settings, tmp_path):
    settings.APPSYNC_CA_FILE = Authority(tmp_path).file
    assert ids(checks.check_upstream) == []
    settings.APPSYNC_CA_FILE.write_text("of no use")
    assert ids(checks.check_upstream) == ["realtime.E013"]


def test_signing_needs_a_region(settings):
    settings.APPSYNC_AUTH = "iam"
    assert ids(checks.check_upstream) == ["realtime.E004"]


@pytest.mark.feature("S4.4")
def test_a_service_link_needs_credentials_and_snapshots_of_its_own(settings):
    settings.UPSTREAM_LINKS = "service"
    assert ids(checks.check_upstream) == ["realtime.E011", "realtime.E012"]
    settings.APPSYNC_AUTH, settings.APPSYNC_API_KEY = "api-key", "da2-key"
    settings.SNAPSHOT_URL = "https://backend.example/snapshot?userId={userId}"
    assert ids(checks.check_upstream) == []


@pytest.mark.parametrize("auth", ["api-key", "lambda"])
def test_an_auth_mode_needs_its_secret(settings, auth):
    settings.APPSYNC_AUTH = auth
    assert ids(checks.check_upstream) == ["realtime.E005"]


@pytest.mark.parametrize("auth", ["user-pool", "oidc", "api-key", "lambda", "iam"])
def test_a_credential_that_all_links_share_needs_an_address_that_names_the_user(settings, auth):
    settings.APPSYNC_AUTH, settings.APPSYNC_REGION = auth, "eu-west-1"
    settings.APPSYNC_API_KEY = settings.APPSYNC_LAMBDA_TOKEN = "given"
    settings.SNAPSHOT_URL = "https://backend.example/view"
    assert ids(checks.check_upstream) == ([] if auth in ("user-pool", "oidc") else ["realtime.E010"])
    settings.SNAPSHOT_URL = "https://backend.example/{userId}/view"
    assert ids(checks.check_upstream) == []


def test_a_token_key_must_be_a_key(settings):
    settings.TOKEN_KEY = [*settings.TOKEN_KEY, "hunter2"]
    assert ids(checks.check_stores) == ["realtime.E006"]


def test_connections_are_not_kept_by_threads(settings, monkeypatch):
    monkeypatch.setitem(settings.DATABASES["default"], "CONN_MAX_AGE", 60)
    assert ids(checks.check_stores) == ["realtime.E008"]


@pytest.mark.parametrize("root", ["", "two/segments", "under_score"])
def test_a_channel_root_must_be_able_to_begin_a_channel(settings, root):
    settings.APPSYNC_CHANNEL_ROOT = root
    assert ids(checks.check_upstream) == ["realtime.E009"]


def test_a_deployment_names_its_hosts_its_database_and_its_upstream(settings):
    settings.ALLOWED_HOSTS = ["*"]
    expected = ["realtime.E007", "realtime.W001", "realtime.W002"]
    if not settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        expected.remove("realtime.W001")
    assert ids(checks.check_deployment) == expected
