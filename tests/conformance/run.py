#!/usr/bin/env python3
"""Plans other platforms' public examples with `paas plan` and compares language and start command with theirs.

    tests/conformance/run.py [--paas PATH] railpack=FOLDER nixpacks=FOLDER dokku=FOLDER heroku/python=FOLDER …

Each folder is a local checkout or bare copy of that platform's repository. It is run by hand, never by tests/run: the
copies are not part of this repository. What differs must stand in buildpacks/CONFORMANCE.md; a line is printed per example,
then the sums, and the exit code tells whether the document and what was found are in step.
"""
import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import corpora
import mends
import rules

HOUSE = pathlib.Path(__file__).resolve().parent.parent.parent
TABLE = HOUSE / "buildpacks" / "CONFORMANCE.md"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paas", default=HOUSE / "target" / "debug" / "paas", help="the program [default: the debug build]")
    parser.add_argument("copies", nargs="+", metavar="NAME=FOLDER")
    line = parser.parse_args()
    listed = listed_differences()
    sums = collections.defaultdict(collections.Counter)
    wrong = 0
    for copy in line.copies:
        corpus, _, folder = copy.partition("=")
        repository = corpora.Repository(folder)
        print(f"{corpus} at {repository.commit()}")
        for example in examples(corpus, repository):
            name = f"{corpus.partition('/')[0]}/{example.name}"
            verdict, because = compared(line.paas, repository, example)
            if verdict not in ("agrees", "by rule"):
                verdict = verdict if name in listed else "NOT LISTED"
            elif name in listed:
                verdict, because = "STALE ROW", "it agrees, and CONFORMANCE.md lists it"
            wrong += verdict.isupper()
            sums[corpus.partition("/")[0]][verdict] += 1
            print(f"{verdict:10} {name}: {because}")
    for corpus, sum_of in sums.items():
        print(f"{corpus}: {sum(sum_of.values())} examples, " + ", ".join(f"{n} {verdict}" for verdict, n in sum_of.items()))
    sys.exit(1 if wrong else 0)


def examples(corpus, repository):
    platform, _, name = corpus.partition("/")
    if platform == "heroku":
        return corpora.heroku(repository, name)
    return getattr(corpora, platform)(repository)


def compared(paas, repository, example):
    """The verdict on one example. A refusal's own fix is tried, so that the sentence is tested too."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        repository.export(example.tree, folder)
        verdict, because = judge(example, plan(paas, folder), rules.Files(folder))
        if verdict == "differs" and mends.apply_all(folder, lambda: plan(paas, folder)):
            mended, then = judge(example, plan(paas, folder), rules.Files(folder))
            if mended != "differs":
                return "mended", f"{because}; after that {mended}: {then}"
            because += f"; after that {then}"
        return verdict, because


def plan(paas, folder):
    """What `paas plan` says: its JSON, or its refusal as a text."""
    done = subprocess.run([paas, "plan", folder, "--json"], capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout)
    return (done.stdout + done.stderr).strip().removeprefix("paas: plan: ")


def judge(example, ours, files):
    """`agrees`, `by rule` or `differs`, and what to say of it."""
    theirs = f"{example.language}, {example.start}"
    if isinstance(ours, str):
        if example.start is None and "no start command" in ours:
            return "agrees", f"{theirs} | refused: {ours}"
        return "differs", f"{theirs} | refused: {ours}"
    web = ours["processes"].get("web")
    start = web["command"] if isinstance(web, dict) else "(the image's own command)" if web else None
    said = f"{theirs} | {ours['language']}, {start}"
    if example.language != ours["language"]:
        return "differs", said
    if rules.plain(start) == rules.plain(example.start):
        return "agrees", said
    rule = rules.that_explains(example, start, files)
    return ("by rule", f"{rule}: {said}") if rule else ("differs", said)


def listed_differences():
    """The names in the first column of the table."""
    text = TABLE.read_text() if TABLE.exists() else ""
    return set(re.findall(r"^\| `([\w./-]+)` \|", text, re.MULTILINE))


if __name__ == "__main__":
    main()
