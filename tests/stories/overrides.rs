//! What an app says itself about how it is built: paas.toml and the Aptfile; and what a push says when its build fails.
use crate::harness::Town;

#[test]
fn paas_toml_and_the_aptfile_decide_what_is_built_and_what_runs() {
    let town = Town::start();
    let work = town.work("hello-shell", "own");
    work.write("Aptfile", "# for the build and for the app\njq\n").write(
        "paas.toml",
        "[build]\ncommand = \"jq --null-input --raw-output '$ENV.GREETING' > VERSION\"\n[build.env]\nGREETING = 'made by jq'\n\
         [processes]\nworker = 'sleep 1000'\n",
    );
    let push = work.commit("its own way").push();
    push.succeeds().says("Debian packages: jq (Aptfile)").says("paas.toml decides build.command (line 2)");
    town.shows("own", "made by jq");
    town.ssh("exec -a own web.1 jq --version").succeeds().says("jq-1.");
    town.paas(&["releases:info", "v1", "-a", "own"]).succeeds().says("worker   sleep 1000");

    // The packages are there already.
    let again = work.write("NOTES", "another file").commit("more").push();
    again.succeeds();
    assert!(!again.stderr.contains("Preparing"), "{}", again.stderr);

    work.write("paas.toml", "[build]\ncomand = 'x'\n").commit("misspelt");
    work.push().fails_with("paas.toml line 2: build.comand is unknown: did you mean `command`");
    work.write("paas.toml", "").write("Aptfile", "jq\nlibssl1.1\n").commit("of another Debian");
    work.push().fails_with("Debian 13 has no package libssl1.1; it is called libssl3t64 there");
    town.shows("own", "made by jq");
    town.doctor_is_clean();
}

#[test]
fn a_build_that_fails_says_what_is_missing_and_what_to_type() {
    let town = Town::start();
    let work = town.work("hello-flask", "needy");
    work.write("requirements.txt", "--no-binary cffi\nflask\ngunicorn\ncffi==2.0.0\n").commit("compiled here");
    work.push()
        .fails_with("exited with status")
        .says("a C compiler is missing: add `gcc`, `libc6-dev`, `python3-dev` to a file named Aptfile");

    let killed = town.work("hello-shell", "greedy");
    killed.write("paas.toml", "build.command = \"sh -c 'kill -9 $$'\"\n").commit("too much");
    killed.push().fails_with("was killed by signal 9").says("the build ran out of memory and was killed");

    let newer = town.work("hello-docker", "newer");
    newer.write("Dockerfile", "FROM debian:trixie-slim\nRUN <<EOF\necho hello\nEOF\n").commit("a heredoc");
    newer.push().fails_with("unknown instruction: ECHO").says("is it a line of a heredoc");
}
