//! Apps that do not build or do not start: the pusher reads why, and what served goes on serving.
use crate::harness::{Push, Town, Work, eventually};
use std::time::Duration;

/// A town with an app `blog` that serves `hello-shell v1`, and its checkout.
fn a_live_app(town: &Town, app: &str) -> Work {
    let work = town.work("hello-shell", app);
    work.push().succeeds();
    town.shows(app, "hello-shell v1");
    work
}

/// Puts the files of a broken sample over a checkout.
fn break_with(work: &Work, sample: &str) {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("apps").join(sample);
    for entry in std::fs::read_dir(source).expect("read a sample") {
        let entry = entry.expect("read a sample");
        std::fs::copy(entry.path(), work.path(&entry.file_name().to_string_lossy())).expect("copy a sample");
    }
    work.commit(sample);
}

/// What holds after every failed push: v1 serves, the branch stands, the pusher was told so.
#[track_caller]
fn nothing_changed(town: &Town, app: &str, work: &Work, push: &Push) {
    push.is_rejected_with("v1 still serves").says(" !     v1 still serves");
    still_serves(town, app, work);
}

#[track_caller]
fn still_serves(town: &Town, app: &str, work: &Work) {
    town.shows(app, "hello-shell v1");
    assert_eq!(work.remote_head("main").as_deref(), Some(work.git(&["rev-parse", "HEAD~1"]).stdout.trim()));
}

#[test]
fn an_app_that_exits_with_1_is_told_with_its_last_words() {
    let town = Town::start();
    let work = a_live_app(&town, "blog");
    break_with(&work, "crasher");
    let push = work.push();
    push.is_rejected_with("web.1 exited with status 1 before it was ready");
    push.says("crasher: DATABASE_URL is not set").says("`paas logs` has all of them");
    nothing_changed(&town, "blog", &work, &push);
    town.doctor_is_clean();
}

#[test]
fn an_app_that_exits_with_0_is_told_that_a_process_must_keep_running() {
    let town = Town::start();
    let work = a_live_app(&town, "blog");
    break_with(&work, "exits-zero");
    let push = work.push();
    push.is_rejected_with("web.1 exited with status 0 before it was ready").says("nothing to do");
    push.says("a process must keep running in the foreground");
    nothing_changed(&town, "blog", &work, &push);
    town.doctor_is_clean();
}

#[test]
fn a_first_push_that_crashes_leaves_an_app_without_release_that_can_be_mended() {
    let town = Town::start();
    let work = town.work("crasher", "blog");
    work.push().is_rejected_with("web.1 exited with status 1").does_not_say("still serves");
    assert_eq!(work.remote_head("main"), None);
    town.paas(&["config:set", "DATABASE_URL=here", "-a", "blog"]).succeeds();
    work.write("Procfile", "web: test \"$DATABASE_URL\" = here && exec ./server.pl $PORT\n");
    let sample = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("apps/hello-shell");
    for file in ["server.pl", "VERSION"] {
        std::fs::copy(sample.join(file), work.path(file)).expect("copy a sample");
    }
    work.commit("mended").push().succeeds();
    town.shows("blog", "hello-shell v1");
    town.doctor_is_clean();
}

/// All of these take the whole budget of 60 s; they wait for it side by side.
#[test]
fn apps_that_never_answer_are_told_the_cause_that_was_recognised() {
    let town = Town::start();
    let late = "web.1 did not answer on port 5000 within 60 s: it listens on";
    let cases = [
        ("never-listens", format!("{late} no port"), "bind 0.0.0.0:$PORT (PORT is 5000)"),
        ("loopback-only", format!("{late} 127.0.0.1:5000 only"), "bind 0.0.0.0:$PORT (PORT is 5000)"),
        (
            "wrong-port",
            format!("{late} port 9999"),
            "listen on $PORT (PORT is 5000), or run `paas config:set PORT=9999`",
        ),
        ("sick", "web.1 answered 500 to GET /".to_owned(), "make GET / answer with 2xx"),
    ];
    std::thread::scope(|scope| {
        for (sample, reason, advice) in cases {
            let town = &town;
            scope.spawn(move || {
                let work = a_live_app(town, sample);
                break_with(&work, sample);
                let push = work.push();
                push.is_rejected_with(&reason).says(advice);
                nothing_changed(town, sample, &work, &push);
            });
        }
    });
    town.doctor_is_clean();
}

#[test]
fn a_build_step_that_fails_is_named() {
    let town = Town::start();
    let work = a_live_app(&town, "blog");
    work.write("Dockerfile", "FROM debian:trixie-slim\nRUN echo about to fail && exit 3\nCMD [\"true\"]\n")
        .commit("break");
    let push = work.push();
    push.is_rejected_with("build step").is_rejected_with("exit 3").says("about to fail");
    nothing_changed(&town, "blog", &work, &push);
    let builds = town.paas(&["builds", "-a", "blog", "--json"]).json();
    assert_eq!(builds[0]["state"], "failed", "{builds}");
    assert_eq!(town.paas(&["releases", "-a", "blog", "--json"]).json().as_array().map(Vec::len), Some(1));
    town.doctor_is_clean();
}

#[test]
fn ctrl_c_during_a_build_that_hangs_cancels_it() {
    let town = Town::start();
    let work = a_live_app(&town, "blog");
    work.write("Dockerfile", "FROM debian:trixie-slim\nRUN echo hanging && sleep 600\nCMD [\"true\"]\n").commit("hang");
    let push = work.begin_push();
    push.wait_for("hanging").interrupt();
    push.finish();
    eventually("the build is cancelled", Duration::from_secs(15), || {
        let build = town.paas(&["builds:info", "-a", "blog", "--json"]).json();
        build["failure"].as_str().is_some_and(|failure| failure.contains("cancelled"))
    });
    still_serves(&town, "blog", &work);
    // The queue goes on.
    work.remove("Dockerfile").set_version("two").push().succeeds();
    town.shows("blog", "two");
    town.doctor_is_clean();
}

#[test]
fn a_build_that_hangs_can_be_cancelled_by_another_user() {
    let town = Town::start();
    let work = a_live_app(&town, "blog");
    work.write("Dockerfile", "FROM debian:trixie-slim\nRUN echo hanging && sleep 86397\nCMD [\"true\"]\n")
        .commit("hang");
    let push = work.begin_push();
    push.wait_for("hanging");
    eventually("its process runs", Duration::from_secs(5), || is_running("sleep 86397"));
    town.paas(&["builds:cancel", "-a", "blog"]).succeeds().says("cancelled build #2");
    let push = push.finish_within(Duration::from_secs(20));
    push.is_rejected_with("cancelled by");
    eventually("its processes are gone", Duration::from_secs(20), || !is_running("sleep 86397"));
    nothing_changed(&town, "blog", &work, &push);
    town.doctor_is_clean();
}

#[test]
fn ctrl_c_while_an_app_starts_cancels_the_rollout() {
    let town = Town::start();
    let work = a_live_app(&town, "blog");
    break_with(&work, "never-listens");
    let push = work.begin_push();
    push.wait_for("Release v2: starting web.1").interrupt();
    push.finish();
    eventually("the release has failed", Duration::from_secs(15), || {
        town.paas(&["releases", "-a", "blog", "--json"]).json()[0]["state"] == "failed"
    });
    still_serves(&town, "blog", &work);
    town.doctor_is_clean();
}

#[test]
fn a_build_that_takes_longer_than_it_may_is_really_ended_and_told() {
    let mut town = Town::start();
    let work = a_live_app(&town, "blog");
    town.start_again(&[("PAAS_BUILD_LIMIT", "5s")]);
    work.write("Dockerfile", "FROM debian:trixie-slim\nRUN echo it hangs && sleep 86399\n").commit("hangs");
    let push = work.begin_push();
    push.wait_for("it hangs");
    eventually("its process runs", Duration::from_secs(5), || is_running("sleep 86399"));
    let push = push.finish_within(Duration::from_secs(30));
    push.is_rejected_with("build was stopped after its limit of 5 s")
        .says("does it wait for input or for the network?");
    eventually("its processes are gone", Duration::from_secs(20), || !is_running("sleep 86399"));
    nothing_changed(&town, "blog", &work, &push);
    town.doctor_is_clean();
}

/// Whether any process of the machine has exactly this command line.
fn is_running(command: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("read /proc").flatten();
    let mut lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ") == command)
}

/// BuildKit itself clips a step's log at 2 MiB and 100 KiB/s; what matters is that the flood drowns nobody.
#[test]
fn a_build_that_floods_its_log_is_cut_short_and_its_failure_is_still_read() {
    let town = Town::start();
    let work = a_live_app(&town, "blog");
    let flood = "FROM debian:trixie-slim\nRUN perl -e 'print \"x\" x 99, \"\\n\" for 1..3_000_000'; exit 7\n";
    work.write("Dockerfile", flood).commit("flood");
    let push = work.begin_push().finish_within(Duration::from_mins(2));
    assert!(push.stderr.len() < 16 << 20, "the pusher was sent {} bytes", push.stderr.len());
    // Said by BuildKit in the place of what it left out.
    push.is_rejected_with("exit 7").says("log limit");
    nothing_changed(&town, "blog", &work, &push);
    town.doctor_is_clean();
}
