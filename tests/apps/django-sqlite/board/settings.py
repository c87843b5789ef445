"""SQLite on a volume (`paas volumes:mount data /data`); everything else is as small as Django allows."""

import os
import secrets
from pathlib import Path

SECRET_KEY = os.environ.get("SECRET_KEY") or secrets.token_urlsafe(50)
# The router passes on nothing but this app's own hosts.
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["board"]
ROOT_URLCONF = "board.urls"
WSGI_APPLICATION = "board.wsgi.application"
USE_TZ = True
VERSION = Path("VERSION").read_text(encoding="utf-8").strip()
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(os.environ.get("DATA_DIR", "/data")) / "board.sqlite3",
        "OPTIONS": {
            # Writers wait for each other instead of failing.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
