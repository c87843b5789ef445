"""Answers every request with the contents of VERSION; gunicorn is found without a Procfile."""

from pathlib import Path

from flask import Flask

app = Flask(__name__)
VERSION = Path("VERSION").read_text(encoding="utf-8")


@app.get("/")
def index():
    return VERSION, {"Content-Type": "text/plain; charset=utf-8"}
