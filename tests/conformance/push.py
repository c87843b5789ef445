#!/usr/bin/env python3
"""Pushes examples of other platforms to a server of its own, by real git, and says whether each builds and answers.

    tests/conformance/push.py [--paas PATH] [--before WORDS] railpack=FOLDER [EXAMPLE…] nixpacks=FOLDER …

Run by hand: it needs the local copies, Docker and the package registries. Each example is one line: how long the push took,
the status of `GET /` and how the answer begins, or the last lines of what the push said.
"""
import argparse
import http.client
import pathlib
import shlex
import subprocess
import sys
import time

import corpora

BENCH = pathlib.Path(__file__).resolve().parent.parent / "bench"
sys.path.insert(0, str(BENCH))
import house  # noqa: E402

PUSH_S_MAX = 900


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paas", default=BENCH.parent.parent / "target" / "debug" / "paas")
    parser.add_argument("--before", default="", help="words before git, such as those that wait for a free processor")
    parser.add_argument("--ca-vars", nargs="*", default=[], metavar="NAME=VALUE", help="config vars to set before each push")
    parser.add_argument("words", nargs="+", metavar="CORPUS=FOLDER or EXAMPLE")
    line = parser.parse_args()
    failed = 0
    with house.House(line.paas) as own:
        for example, repository in chosen(line.words):
            failed += not one(own, example, repository, shlex.split(line.before), line.ca_vars)
    sys.exit(1 if failed else 0)


def chosen(words):
    """The named examples, each of the corpus named before it."""
    found, repository = {}, None
    for word in words:
        if "=" in word:
            corpus, _, folder = word.partition("=")
            repository = corpora.Repository(folder)
            platform, _, name = corpus.partition("/")
            known = corpora.heroku(repository, name) if name else getattr(corpora, platform)(repository)
            found = {example.name: example for example in known}
        else:
            yield found[word], repository


def one(own, example, repository, before, variables):
    work = own.folder / f"work-{example.name}"
    work.mkdir()
    repository.export(example.tree, work)
    app = example.name.replace("_", "-").lower()[:40]
    own.git(work, "init", "-q", "-b", "main")
    own.git(work, "remote", "add", "paas", f"ssh://paas@127.0.0.1:{own.ssh}/{app}")
    own.git(work, "add", "-A", "-f")
    own.git(work, "commit", "-q", "-m", "as it is")
    own.command("apps:create", app)
    if variables:
        own.command("config:set", *variables, "-a", app)
    started = time.monotonic()
    push = subprocess.run([*before, house.GIT, "push", "paas", "main"], cwd=work, env=own.env, capture_output=True, text=True, timeout=PUSH_S_MAX)
    took = time.monotonic() - started
    said = [text.removeprefix("remote: ").strip() for text in push.stderr.splitlines() if text.strip()]
    if push.returncode != 0:
        print(f"FAILED  {example.name} after {took:.0f} s\n    " + "\n    ".join(said[-25:]), flush=True)
        worked = False
    else:
        status, text = answer(own, app)
        print(f"pushed  {example.name} in {took:.0f} s: GET / {status} {' '.join(text.split())[:90]!r}", flush=True)
        worked = True
    own.command("apps:destroy", "--confirm", app, "-a", app)
    return worked


def answer(own, app):
    connection = http.client.HTTPConnection("127.0.0.1", own.http, timeout=60)
    connection.request("GET", "/", headers={"Host": f"{app}.localhost", "Accept": "text/html"})
    response = connection.getresponse()
    return response.status, response.read(4000).decode(errors="replace")


if __name__ == "__main__":
    main()
