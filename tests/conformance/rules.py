"""When two start commands are the same, and the rules by which ours differ from another platform's throughout.

Every rule has its paragraph in buildpacks/CONFORMANCE.md under the same name.
"""
import json
import re

# Files of theirs that say by themselves what is built and started.
CONFIGS = ("railpack.json", "nixpacks.toml", "nixpacks.json", "custom-nixpacks.toml", "test.env")
MANAGER_RUN = re.compile(r"(?:npm|pnpm|yarn|bun) (?:run )?([\w:.-]+)")


class Files:
    """What a rule may look at: the scripts of package.json, read before the example's folder goes."""

    def __init__(self, folder):
        self.scripts = {}
        self.tasks = {}
        self.members = {}
        self.has_config = any((folder / name).exists() for name in CONFIGS)
        for name in ("deno.json", "deno.jsonc"):
            if (folder / name).exists():
                text = (folder / name).read_text()
                self.tasks.update(re.findall(r'"([\w:-]+)": "(deno [^"]*)"', text))
        for file in folder.glob("*/*/package.json"):
            try:
                self.members[str(file.parent.relative_to(folder))] = json.loads(file.read_text()).get("scripts") or {}
            except ValueError:
                pass
        try:
            package = json.loads((folder / "package.json").read_text())
            self.scripts = package.get("scripts") or {}
        except (OSError, ValueError):
            pass


def plain(command):
    """A command line without what does not matter: our wrapping for `exec`, quotes, the port's default, where to listen, `./`."""
    if command is None:
        return None
    command = command.strip()
    if found := re.fullmatch(r"sh -c '(.*)'", command, re.DOTALL):
        command = found[1].replace(r"'\''", "'")
    command = re.sub(r"(?<!bundle )\bexec ", "", command)
    command = re.sub(r"\s+#.*", "", command)
    command = re.sub(r"\$\{PORT(:-\d+)?\}", "$PORT", command)
    command = re.sub(r"\b(HOST=0\.0\.0\.0|ROCKET_ADDRESS=0\.0\.0\.0 ROCKET_PORT=\$PORT) ", "", command)
    command = command.replace("'", "").replace('"', "")
    command = re.sub(r"(^|&& |; )(env )?((?:\w+=\S* )*)\./", r"\1\3", command)
    return " ".join(re.sub(r"(^|&& |; )env (?=\S)", r"\1", command).split())


def that_explains(example, ours, files):
    """The name of the rule by which both commands start the same thing, or none."""
    if ours is None or example.start is None:
        return None
    for name, holds in RULES.items():
        if holds(example, ours, files):
            return name
    return None


def script(example, ours, files):
    theirs = example.start
    for _ in range(5):
        found = MANAGER_RUN.fullmatch(theirs.strip())
        if not found or found[1] not in files.scripts:
            break
        name = found[1]
        before = files.scripts.get(f"pre{name}")
        theirs = (f"{before} && " if before else "") + files.scripts[name]
    found = re.fullmatch(r"cd (\S+) && " + MANAGER_RUN.pattern, theirs)
    if found and found[2] in files.members.get(found[1], {}):
        # Ours names the place of the package's own programs.
        theirs = f"cd {found[1]} && {files.members[found[1]][found[2]]}"
        ours = re.sub(r"export PATH=\S+ && ", "", ours)
    # What npx finds among the packages needs no npx.
    theirs = theirs.removeprefix("npx ")
    return theirs != example.start and plain(theirs) == plain(ours)


def task(example, ours, files):
    return ours == "deno task start" and plain(files.tasks.get("start")) == plain(example.start)


def shell(example, ours, _files):
    """start.sh by the shell that its first line names, where theirs leaves that to the kernel."""
    return example.start == "./start.sh" and re.fullmatch(r"(sh|bash) start\.sh", ours) is not None


def files_server(example, ours, _files):
    if not ours.startswith("paas-static ") or example.root is None:
        return False
    folder = ours.split()[1].removeprefix("/app").strip("/")
    return folder == example.root.strip("/").removeprefix("./").rstrip(".")


def php_server(example, ours, _files):
    return example.language == "php" and ours.startswith("paas-php ")


def program_name(example, ours, _files):
    return example.language == "go" and example.start == "./out" and re.fullmatch(r"bin/[\w.-]+", ours) is not None


def jar(example, ours, _files):
    return example.language == "java" and "-jar bin/app.jar" in ours and re.search(r"-jar\b.*\.?jar\b", example.start) is not None


def port_of_server(example, ours, _files):
    """The same server and app object, where the options in between come in another order or are absent."""
    words = lambda line: {word for word in plain(line).split() if not word.startswith("-") and "PORT" not in word and word != "0.0.0.0"}
    servers = {"gunicorn", "uvicorn", "hypercorn", "rackup", "puma"}
    return bool(words(ours) & servers) and words(ours) == words(example.start)


def migrations(example, ours, files):
    parts = plain(example.start).split(" && ", 1)
    if len(parts) < 2 or "migrate" not in parts[0]:
        return False
    rest = type(example)(example.name, example.tree, example.language, parts[1], example.root)
    return plain(ours) == parts[1] or port_of_server(rest, ours, files) or bundler(rest, ours, files)


def bundler(example, ours, _files):
    return example.language == "ruby" and plain(ours).removeprefix("bundle exec ") == plain(example.start).removeprefix("bundle exec ")


RULES = {
    "script": script,
    "task": task,
    "shell": shell,
    "files": files_server,
    "php": php_server,
    "program": program_name,
    "jar": jar,
    "server": port_of_server,
    "migrations": migrations,
    "bundler": bundler,
}
