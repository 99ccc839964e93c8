"""Settings of the naive peer. Database and Valkey get the options that Fleetlight gives its own."""

import os

from project.settings import SQLITE_OPTIONS, VALKEY_OPTIONS

SECRET_KEY = os.environ["SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "channels",
    "tests.bench.naive",
]
MIDDLEWARE = []
ROOT_URLCONF = "tests.bench.naive.asgi"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["BENCH_DATABASE"],
        "OPTIONS": SQLITE_OPTIONS,
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [{"address": f"unix://{os.environ['BENCH_VALKEY']}", **VALKEY_OPTIONS}]},
    }
}
