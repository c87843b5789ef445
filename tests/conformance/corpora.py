"""What other platforms make of their own public examples, read from local copies of their repositories.

Each corpus yields `Example`s: the files as a git tree, and the language and start command that its platform has on record.
"""
import dataclasses
import io
import json
import pathlib
import re
import subprocess


@dataclasses.dataclass
class Example:
    """One example, and what its platform says of it."""
    name: str
    tree: str
    language: str
    start: str | None
    # The folder that a static server of theirs serves, where their record tells.
    root: str | None = None


class Repository:
    """A checkout or a bare copy, read by git alone."""

    def __init__(self, path):
        self.path = path

    def git(self, *words):
        done = subprocess.run(["git", "-C", self.path, *words], capture_output=True, check=True)
        return done.stdout.decode(errors="replace")

    def commit(self):
        return self.git("rev-parse", "HEAD").strip()

    def names(self, folder):
        """What lies right in a folder; the root for an empty one."""
        return self.git("ls-tree", "--name-only", f"HEAD:{folder}").splitlines()

    def read(self, path):
        try:
            return self.git("show", f"HEAD:{path}")
        except subprocess.CalledProcessError:
            return None

    def export(self, tree, into):
        """Writes the files of a tree as a folder. A blob that the copy lacks (the largest may) becomes an empty file."""
        entries = [line.split(None, 3) for line in self.git("ls-tree", "-r", "-z", tree).split("\0") if line]
        blobs = self.blobs([name for mode, kind, name, _ in entries if kind == "blob"])
        for mode, kind, name, path in entries:
            target = pathlib.Path(into, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            if kind != "blob":
                target.mkdir()
            elif mode == "120000":
                target.symlink_to(blobs.get(name, b"absent").decode())
            else:
                target.write_bytes(blobs.get(name, b""))
                target.chmod(0o755 if mode == "100755" else 0o644)

    def blobs(self, names):
        """The contents of those blobs that are here."""
        asked = "".join(f"{name}\n" for name in names).encode()
        command = ["git", "-C", self.path, "cat-file", "--batch"]
        answer = io.BytesIO(subprocess.run(command, input=asked, capture_output=True, check=True).stdout)
        found = {}
        for line in answer:
            words = line.split()
            if len(words) == 3:
                found[words[0].decode()] = answer.read(int(words[2]))
                answer.read(1)
        return found


# Their names of languages, in the order in which one that needs several of them is called by.
RAILPACK_PACKAGES = [
    ("ruby", "ruby"), ("rust", "rust"), ("go", "go"), ("java", "java"), ("elixir", "elixir"), ("gleam", "gleam"),
    ("dotnet", "dotnet"), ("cmake", "cpp"), ("meson", "cpp"), ("deno", "deno"), ("python", "python"), ("node", "node"),
    ("bun", "node"),
]


def railpack(repository):
    """Plans are recorded as snapshots, named after the example."""
    snapshots = {}
    for file in repository.names("core/__snapshots__"):
        if found := re.fullmatch(r"TestGenerateBuildPlanForExamples_(.*)_1\.snap\.json", file):
            snapshots[found[1]] = file
    for name in repository.names("examples"):
        if name not in snapshots:
            continue
        plan = json.loads(repository.read(f"core/__snapshots__/{snapshots[name]}"))
        deploy = plan["deploy"]
        yield Example(name, f"HEAD:examples/{name}", railpack_language(plan), deploy.get("startCommand"), caddy_root(plan))


def railpack_language(plan):
    steps = [step["name"] for step in plan["steps"]]
    if "install:composer" in steps:
        return "php"
    commands = [command.get("customName", "") for step in plan["steps"] for command in step.get("commands", [])]
    installed = {package.strip() for command in commands for package in command.rpartition(":")[2].split(",")}
    for package, language in RAILPACK_PACKAGES:
        if package in installed:
            return language
    return "static" if "packages:caddy" in steps else "shell"


def caddy_root(plan):
    for step in plan["steps"]:
        for text in step.get("assets", {}).values():
            if found := re.search(r"^\s*root \* (\S+)", text, re.MULTILINE):
                return found[1].removeprefix("/app").strip("/")
    return None


# Their providers' names where ours differ.
NIXPACKS_LANGUAGES = {"staticfile": "static", "c#": "dotnet", "f#": "dotnet", "lunatic": "rust", "": "shell"}
# Examples of which no plan is recorded: what their tests of them, and the provider's file, say.
NIXPACKS_UNRECORDED = {
    "ruby-no-version": ("ruby", "ruby app.rb"),
    "rust-multiple-bins": ("rust", "./bin/bin1"),
    "rust-cargo-workspaces": ("rust", "./bin/binary"),
    "rust-cargo-workspaces-glob": ("rust", "./bin/binary"),
    "rust-custom-toolchain": ("rust", "./bin/rust-custom-toolchain"),
    "rust-custom-version": ("rust", "./bin/rust-custom-version"),
    "rust-openssl": ("rust", "./bin/rust-open-ssl"),
    "rust-ring": ("rust", "./bin/rust-ring"),
    "rust-rocket": ("rust", "./bin/rocket"),
    "haskell-stack": ("haskell", "/root/.local/bin/haskell-stack-exe"),
}


def nixpacks(repository):
    """Plans are recorded as snapshots, named after the example with underscores."""
    for name in repository.names("examples"):
        tree = f"HEAD:examples/{name}"
        record = repository.read(f"tests/snapshots/generate_plan_tests__{name.replace('-', '_')}.snap")
        if name in NIXPACKS_UNRECORDED or record is None:
            language, start = NIXPACKS_UNRECORDED.get(name, (None, None))
            yield Example(name, tree, language, start)
            continue
        plan = json.loads(record.split("---", 2)[2])
        variables = plan.get("variables") or {}
        provider = variables.get("NIXPACKS_METADATA", "").split(",")[0]
        start = (plan.get("start") or {}).get("cmd")
        root = variables.get("NIXPACKS_SPA_OUTPUT_DIR") or static_root(plan)
        yield Example(name, tree, NIXPACKS_LANGUAGES.get(provider, provider), start, root)


def static_root(plan):
    """The folder that nginx serves, out of the configuration they write."""
    texts = (plan.get("staticAssets") or {}).values()
    found = [re.search(r"root\s+/app/?(\S*);", text) for text in texts]
    return next((one[1] for one in found if one), None)


# Of what Dokku's apps are, by how their names begin.
DOKKU_LANGUAGES = [
    ("dockerfile", "dockerfile"), ("zombies-dockerfile", "dockerfile"), ("zombies-buildpack", "go"), ("gogrpc", "dockerfile"),
    ("go-fail", "dockerfile"), ("go", "go"), ("nodejs", "node"), ("checks-root", "node"), ("gitsubmodules", "node"),
    ("multi", "python"), ("config", "python"), ("lambda", "lambda"), ("python", "python"), ("java", "java"),
    ("clojure", "clojure"), ("scala", "scala"), ("ruby", "ruby"), ("php", "php"), ("static", "static"),
]


def dokku(repository):
    """Apps of its tests: what starts is the Procfile's line, else what its buildpack or image starts."""
    for name in repository.names("tests/apps"):
        language = next((language for prefix, language in DOKKU_LANGUAGES if name.startswith(prefix)), None)
        folder = f"tests/apps/{name}"
        default = {"dockerfile": "(the image's own command)", "node": "npm start", "static": "nginx"}.get(language)
        start = procfile_web(repository.read(f"{folder}/Procfile"), default)
        yield Example(name, f"HEAD:{folder}", language, start, "" if language == "static" else None)


def heroku(repository, name):
    """One of its getting-started repositories: a Procfile says what starts."""
    yield Example(name, "HEAD", {"gradle": "java"}.get(name, name), procfile_web(repository.read("Procfile"), None))


def procfile_web(text, default):
    """The `web` line; none where a Procfile has other lines alone."""
    if text is None:
        return default
    lines = re.findall(r"^([\w-]+):\s*(.*?)\s*$", text, re.MULTILINE)
    named = dict(lines)
    if set(named) <= {"release"}:
        return default
    # A word that begins with # is the shell's comment.
    return re.sub(r"\s+#.*", "", named["web"]) if "web" in named else None
