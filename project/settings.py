"""Django's settings, all read from the environment (and from `.env` beside `manage.py`).

With an empty environment this is a development site on the loopback interface that keeps what it needs below
`var/`. With `DEBUG=false` the secrets and the host names must be given. `.env.example` lists every variable.
"""

from __future__ import annotations

import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from csp.constants import NONE, SELF
from environ import Env
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from project.environment import Environment, read_dotenv
from project.state import kept_secret, make_private, socket_path
from realtime import valkey_address

BASE_DIR = Path(__file__).resolve().parent.parent
LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

# Tests, and several sites from one checkout, name another file.
DOTENV = Path(os.environ.get("ENV_FILE") or BASE_DIR / ".env")
env = Environment(os.environ, read_dotenv(DOTENV))

# ── The site ──────────────────────────────────────────────────────────────────────────────────────────────

DEBUG = env.flag("DEBUG", True)
HTTPS = env.flag("HTTPS", not DEBUG)
STATE_DIR = env.path("STATE_DIR", BASE_DIR / "var")
LOG_LEVEL = env.choice("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")
DEMO = env.flag("DEMO", False)  # shows the demo's accounts on the sign-in page
METRICS_TOKEN = env.secret("METRICS_TOKEN")
TRUST_PROXY = env.flag("TRUST_PROXY", False)

ALLOWED_HOSTS = env.hosts("ALLOWED_HOSTS", LOOPBACK_HOSTS if DEBUG else [])
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
env.demand(ALLOWED_HOSTS, "ALLOWED_HOSTS is not set. With DEBUG=false, name the hosts this site answers for.")

SECRET_KEY = env.secret("SECRET_KEY")
SECRET_KEY_FALLBACKS = env.secrets("SECRET_KEY_FALLBACKS")
# Newest first. `openssl rand -base64` writes the other base64 alphabet than Fernet reads.
TOKEN_KEY = [key.translate(str.maketrans("+/", "-_")) for key in env.secrets("TOKEN_KEY")]
if DEBUG:
    SECRET_KEY = SECRET_KEY or kept_secret(STATE_DIR / "secret-key", lambda: secrets.token_urlsafe(50))
    TOKEN_KEY = TOKEN_KEY or [kept_secret(STATE_DIR / "token-key", lambda: Fernet.generate_key().decode())]
env.demand(SECRET_KEY, "SECRET_KEY is not set. With DEBUG=false, give one: `openssl rand -base64 48`.")
env.demand(TOKEN_KEY, "TOKEN_KEY is not set. With DEBUG=false, give one: `openssl rand -base64 32`.")

ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

# What the engine needs from a product: the recorder, access and state of this module (realtime/product.py).
FLEETLIGHT_PRODUCT = "dashboard.product"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "channels",
    "csp",
    "realtime",
    "dashboard",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# ── Stores ────────────────────────────────────────────────────────────────────────────────────────────────

DATABASE_URL = env.secret_url(
    "DATABASE_URL", ("sqlite", "postgres", "postgresql"), f"sqlite:///{STATE_DIR / 'db.sqlite3'}"
)
DATABASE_POOL_SIZE = env.integer("DATABASE_POOL_SIZE", 8, minimum=1)
REDIS_URL = env.secret_url(
    "REDIS_URL", valkey_address.SCHEMES, f"unix://{socket_path(STATE_DIR)}", check=valkey_address.parse
)

SQLITE_OPTIONS = {
    # A transaction that will write takes the write lock at its start: otherwise it can fail half way.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    # FULL: after a power cut a lost commit would give the same feed offsets out twice.
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA mmap_size=134217728;",
}
POSTGRESQL_OPTIONS = {
    "pool": {"min_size": 1, "max_size": DATABASE_POOL_SIZE, "timeout": 5},
    "options": "-c synchronous_commit=on",  # for the same reason as FULL above
}


def _database(url: str) -> dict[str, Any]:
    database: dict[str, Any] = Env.db_url_config(url)
    sqlite = database["ENGINE"].endswith("sqlite3")
    if sqlite:
        _make_folder(Path(database["NAME"]).parent)
    options = SQLITE_OPTIONS if sqlite else POSTGRESQL_OPTIONS
    # CONN_MAX_AGE: a request may end on another thread than it began on, where a kept connection would leak.
    return {
        **database,
        "OPTIONS": {**options, **database.get("OPTIONS", {})},
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
    }


def _make_folder(path: Path) -> None:
    try:
        make_private(path)
    except OSError as error:
        env.demand(False, f"DATABASE_URL: {path}: {error.strerror}. Name a folder this process may write to.")


DATABASES = {"default": _database(DATABASE_URL)}

# The pub/sub layer is the one that finds its groups again after Valkey restarts or fails over; with the
# default retry of redis-py it still loses the first message after that. It waits: no read time-out.
VALKEY_OPTIONS = {
    "retry": Retry(ExponentialBackoff(cap=1, base=0.05), 6),
    "health_check_interval": 5,
    "socket_timeout": None,
    "socket_connect_timeout": 5,
}
VALKEY = valkey_address.parse(REDIS_URL)
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [VALKEY.layer_host(**VALKEY_OPTIONS)]},
    },
}

# ── Accounts ──────────────────────────────────────────────────────────────────────────────────────────────

AUTH_USER_MODEL = "dashboard.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = LOGIN_URL

# Per name and address together: nobody can lock a colleague out, and no address can try many passwords.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = env.integer("SIGN_IN_ATTEMPTS", 8, minimum=1)
AXES_COOLOFF_TIME = timedelta(seconds=env.number("SIGN_IN_PAUSE_SECONDS", 300, minimum=1))
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "registration/locked_out.html"
AXES_VERBOSE = False

# ── Security ──────────────────────────────────────────────────────────────────────────────────────────────

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SESSION_ENGINE = "dashboard.sessions"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
HSTS_SECONDS = env.integer("HSTS_SECONDS", 31_536_000)
SECURE_HSTS_SECONDS = HSTS_SECONDS if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_HSTS_SECONDS > 0
SECURE_REFERRER_POLICY = "same-origin"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUST_PROXY else None
X_FRAME_OPTIONS = "DENY"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "worker-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    },
}

# ── Static files ──────────────────────────────────────────────────────────────────────────────────────────

STATIC_URL = "/static/"
STATIC_ROOT = STATE_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "project.static.HashedModulesStorage"
    },
}
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG

# ── Upstream: AWS AppSync ─────────────────────────────────────────────────────────────────────────────────

HTTP_SCHEMES, WEBSOCKET_SCHEMES = ("https", "http"), ("wss", "ws")

UPSTREAM_LINKS = env.choice("UPSTREAM_LINKS", ("user", "service"), "user")
UPSTREAM_PROTOCOL = env.choice("UPSTREAM_PROTOCOL", ("events", "graphql"), "events")
APPSYNC_EVENTS_URL = env.url("APPSYNC_EVENTS_URL", HTTP_SCHEMES)
APPSYNC_EVENTS_REALTIME_URL = env.url("APPSYNC_EVENTS_REALTIME_URL", WEBSOCKET_SCHEMES)
APPSYNC_GRAPHQL_URL = env.url("APPSYNC_GRAPHQL_URL", HTTP_SCHEMES)
APPSYNC_GRAPHQL_REALTIME_URL = env.url("APPSYNC_GRAPHQL_REALTIME_URL", WEBSOCKET_SCHEMES)
APPSYNC_AUTH = env.choice("APPSYNC_AUTH", ("api-key", "user-pool", "oidc", "lambda", "iam"), "user-pool")
APPSYNC_API_KEY = env.secret("APPSYNC_API_KEY")
APPSYNC_LAMBDA_TOKEN = env.secret("APPSYNC_LAMBDA_TOKEN")
APPSYNC_REGION = env.text("APPSYNC_REGION")
# Amazon's guide says the ID token, its own clients send the access token: an API may want either.
APPSYNC_TOKEN_USE = env.choice("APPSYNC_TOKEN_USE", ("id", "access"), "id")
APPSYNC_CHANNEL_ROOT = env.text("APPSYNC_CHANNEL_ROOT", "vortex-app")
APPSYNC_CA_FILE = env.file("APPSYNC_CA_FILE")
APPSYNC_ALLOW_PLAINTEXT = env.flag("APPSYNC_ALLOW_PLAINTEXT", False)
SNAPSHOT_URL = env.url("SNAPSHOT_URL", HTTP_SCHEMES)
SNAPSHOT_TOKEN = env.secret("SNAPSHOT_TOKEN")

OIDC_TOKEN_URL = env.url("OIDC_TOKEN_URL", HTTP_SCHEMES)
OIDC_CLIENT_ID = env.text("OIDC_CLIENT_ID", "fleetlight")
OIDC_CLIENT_SECRET = env.secret("OIDC_CLIENT_SECRET")

UPSTREAM_RECONNECT = env.choice(
    "UPSTREAM_RECONNECT", ("full-jitter", "exponential-5", "fixed-10s", "amplify", "power", "general"), "full-jitter"
)
UPSTREAM_RECONNECT_BASE_SECONDS = env.optional_number("UPSTREAM_RECONNECT_BASE_SECONDS", minimum=0.1)
UPSTREAM_RECONNECT_FACTOR = env.optional_number("UPSTREAM_RECONNECT_FACTOR", minimum=1)
UPSTREAM_RECONNECT_CAP_SECONDS = env.optional_number("UPSTREAM_RECONNECT_CAP_SECONDS", minimum=0.1)
UPSTREAM_RECONNECT_ATTEMPTS = env.optional_integer("UPSTREAM_RECONNECT_ATTEMPTS")
UPSTREAM_RECONNECT_ELAPSED_SECONDS = env.optional_number("UPSTREAM_RECONNECT_ELAPSED_SECONDS")
UPSTREAM_BREAKER_FAILURES = env.optional_integer("UPSTREAM_BREAKER_FAILURES")
UPSTREAM_BREAKER_COOL_SECONDS = env.optional_number("UPSTREAM_BREAKER_COOL_SECONDS", minimum=1)
UPSTREAM_CONNECT_SECONDS = env.optional_number("UPSTREAM_CONNECT_SECONDS", minimum=1)
UPSTREAM_HANDSHAKE_SECONDS = env.optional_number("UPSTREAM_HANDSHAKE_SECONDS", minimum=1)
UPSTREAM_SYNC_SECONDS = env.optional_number("UPSTREAM_SYNC_SECONDS", minimum=1)
UPSTREAM_PING_SECONDS = env.optional_number("UPSTREAM_PING_SECONDS", minimum=1)
UPSTREAM_LIFETIME_SECONDS = env.number("UPSTREAM_LIFETIME_SECONDS", 24 * 3600)
UPSTREAM_GRACE_SECONDS = env.number("UPSTREAM_GRACE_SECONDS", 30)
UPSTREAM_SETTLE_SECONDS = env.number("UPSTREAM_SETTLE_SECONDS", 2)
UPSTREAM_STABLE_SECONDS = env.optional_number("UPSTREAM_STABLE_SECONDS")

# ── Delivery to browsers ──────────────────────────────────────────────────────────────────────────────────

TRANSPORTS = ("websocket", "sse")
LIVE_TRANSPORTS = env.choices("LIVE_TRANSPORTS", TRANSPORTS, default=TRANSPORTS)
LIVE_HEARTBEAT_SECONDS = env.number("LIVE_HEARTBEAT_SECONDS", 25, minimum=1)
LIVE_SESSIONS = env.integer("LIVE_SESSIONS", 10_000, minimum=1)
LIVE_SESSIONS_PER_USER = env.integer("LIVE_SESSIONS_PER_USER", 20, minimum=1)
LIVE_COMMANDS_PER_SECOND = env.number("LIVE_COMMANDS_PER_SECOND", 20, minimum=1)
LIVE_FRAME_BYTES = env.integer("LIVE_FRAME_BYTES", 65_536, minimum=1024)
LIVE_OUTBOX_ENTRIES = env.integer("LIVE_OUTBOX_ENTRIES", 2_000, minimum=16)
LIVE_STUCK_SECONDS = env.number("LIVE_STUCK_SECONDS", 60, minimum=1)
LIVE_DRAIN_SECONDS = env.number("LIVE_DRAIN_SECONDS", 10)

# ── What is kept, and how long ────────────────────────────────────────────────────────────────────────────

RETENTION_FEED_HOURS = env.number("RETENTION_FEED_HOURS", 24)
RETENTION_FEED_ENTRIES = env.integer("RETENTION_FEED_ENTRIES", 10_000, minimum=1)
RETENTION_TIMELINE_DAYS = env.number("RETENTION_TIMELINE_DAYS", 90)
RETENTION_DIAGNOSTICS_DAYS = env.number("RETENTION_DIAGNOSTICS_DAYS", 30)

# ── Logs ──────────────────────────────────────────────────────────────────────────────────────────────────

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "realtime": {"level": LOG_LEVEL},
        "dashboard": {"level": LOG_LEVEL},
        "project": {"level": LOG_LEVEL},
    },
}

env.finish()
