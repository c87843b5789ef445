"""Does to an example what a refusal tells its author to do, so that the sentence is tested and the rest can be compared."""
import re

# As many mistakes as one example is forgiven.
TRIES_MAX = 4


def apply_all(folder, plan):
    """Mends until the plan is no refusal, or one that no mend is known for; true when anything was done."""
    done = False
    for _ in range(TRIES_MAX):
        ours = plan()
        if not isinstance(ours, str):
            # Whoever brings a Dockerfile is built by it: what would be done without?
            if ours["language"] != "dockerfile" or not (folder / "Dockerfile").exists():
                return done
            (folder / "Dockerfile").unlink()
        elif not any(mend(folder, ours) for mend in MENDS):
            return done
        done = True
    return done


def add_platform(folder, refusal):
    if "bundle lock --add-platform x86_64-linux" not in refusal:
        return False
    lock = folder / "Gemfile.lock"
    lock.write_text(re.sub(r"(?m)^PLATFORMS\n", "PLATFORMS\n  x86_64-linux\n", lock.read_text()))
    return True


def write_version(folder, refusal):
    """`FILE line 3 asks for Ruby "3.2.1", and …: write `ruby "~> 3.3.0"`, or …`"""
    found = re.match(r'(\S+) (?:line (\d+) )?asks for \S+ "(.+?)", .*: write (?:`([^`]+)`|"([^"]+)")', refusal)
    if not found:
        return False
    file, line, asked, code, text = found.groups()
    lines = (folder / file).read_text().splitlines()
    at = int(line or 1) - 1
    lines[at] = code if code and " " in code else lines[at].replace(asked, code or text)
    (folder / file).write_text("\n".join(lines) + "\n")
    return True


MENDS = [add_platform, write_version]
