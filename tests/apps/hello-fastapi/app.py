"""Answers with the contents of VERSION, and adds numbers with FastAPI's own checks."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

app = FastAPI()
VERSION = Path("VERSION").read_text(encoding="utf-8")


@app.get("/", response_class=PlainTextResponse)
def index():
    return VERSION


@app.get("/sum")
def add(a: int, b: int):
    return {"sum": a + b}
