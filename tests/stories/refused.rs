//! Pushes that are refused before anything is built: every one says why, and changes nothing.
use crate::harness::{Push, Town, Work};

/// What every refused first push leaves: no app, nothing for the doctor.
fn leaves_nothing(town: &Town) {
    assert_eq!(town.paas(&["apps", "--json"]).json().as_array().map(Vec::len), Some(0));
    town.doctor_is_clean();
}

#[test]
fn an_unknown_key_is_let_in_nowhere() {
    let town = Town::start();
    town.make_key("stranger");
    let work = Work::empty_as(&town, "blog", "stranger");
    work.write("index.html", "hello").commit("first");
    work.push().fails_with("Permission denied (publickey)");
    town.ssh_as("stranger", &[], "apps").fails_with(255, "Permission denied (publickey)");
    leaves_nothing(&town);
}

#[test]
fn a_removed_key_is_let_in_no_more_and_its_sessions_end() {
    let town = Town::start();
    town.make_key("other");
    town.add_key("desk", "other").succeeds();
    town.push("hello-shell", "blog").succeeds();
    let following = town
        .ssh_command("other", &[], "logs -f -a blog")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let mut following = following.expect("start ssh");
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(following.stdout.take().expect("standard output is piped"));
    std::io::BufRead::read_line(&mut stdout, &mut line).expect("the session reads the log");
    town.paas(&["keys:remove", "desk"]).succeeds().says("its sessions end");
    crate::harness::eventually("the session ends", std::time::Duration::from_secs(10), || {
        following.try_wait().expect("look at ssh").is_some()
    });
    town.ssh_as("other", &[], "apps").fails_with(255, "Permission denied (publickey)");
    town.ssh("apps").succeeds();
    town.doctor_is_clean();
}

#[test]
fn a_push_whose_key_is_removed_meanwhile_changes_nothing() {
    let town = Town::start();
    town.make_key("other");
    town.add_key("desk", "other").succeeds();
    town.push("hello-shell", "blog").succeeds();
    let work = Work::bare_folder(&town, "other");
    work.git(&["clone", "--quiet", "--origin=paas", &town.remote("blog"), "."]).succeeds();
    work.write("Procfile", "web: sleep 1000\n").commit("never listens");
    let push = work.begin_push();
    push.wait_for("Release v2: starting web.1");
    town.paas(&["keys:remove", "desk"]).succeeds();
    let push = push.finish_within(std::time::Duration::from_secs(20));
    push.fails_with("");
    crate::harness::eventually("the release has failed", std::time::Duration::from_secs(15), || {
        town.paas(&["releases", "-a", "blog", "--json"]).json()[0]["state"] == "failed"
    });
    town.shows("blog", "hello-shell v1");
    town.doctor_is_clean();
}

#[test]
fn names_that_no_app_may_have_are_refused_with_the_rule() {
    let town = Town::start();
    let long = "a".repeat(70);
    let characters = "app name may hold only a-z, 0-9 and inner dashes";
    let cases = [
        ("../x", characters),
        ("a b", characters),
        ("-x", characters),
        ("x;id", characters),
        (long.as_str(), "app name is 70 characters long; at most 40 are allowed"),
        ("blög", characters),
        ("Blog", characters),
        ("xn--bcher-kva", characters),
        ("www", "app name `www` is reserved"),
        ("localhost", "app name `localhost` is reserved"),
        ("paas", "app name `paas` is reserved"),
    ];
    let work = town.work("hello-static", "x");
    for (name, reason) in cases {
        work.git(&["remote", "set-url", "paas", &town.remote(name)]).succeeds();
        let push = work.push();
        push.fails_with(reason);
        town.ssh(&format!("apps:create '{name}'")).fails_with(2, if name == "-x" { "-x" } else { reason });
    }
    leaves_nothing(&town);
}

#[test]
fn ssh_gives_commands_and_pushes_and_nothing_else() {
    let town = Town::start();
    // A terminal that is asked for is noted for `run` and `exec`; there is no shell behind it.
    town.ssh_as("key", &["-tt"], "").fails_with(1, "there is no shell here");
    town.ssh("").fails_with(1, "there is no shell here");
    // Variables are not taken over.
    town.ssh_as("key", &["-o", "SetEnv=LD_PRELOAD=/tmp/x.so PAAS_DATA_DIR=/tmp"], "apps").succeeds();
    // Programs are not started.
    for line in ["sh -c id", "/bin/sh", "id", "scp -t /tmp", "bash -i", "$(id)"] {
        let outcome = town.ssh(line);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(!outcome.stdout.contains("uid="), "{outcome:?}");
    }
    for line in ["git-upload-archive 'blog'", "git gc", "git-shell"] {
        town.ssh(line).fails_with(1, "only pushes and clones are served");
    }
    // Subsystems and forwarding.
    let sftp = town.ssh_as("key", &["-s"], "sftp");
    assert_ne!(sftp.code, Some(0), "{sftp:?}");
    let forwarded = town.ssh_as("key", &["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"], "apps");
    assert_ne!(forwarded.code, Some(0), "{forwarded:?}");
    let through = town.ssh_as("key", &["-W", &town.http().to_string()], "");
    assert_ne!(through.code, Some(0), "{through:?}");
    leaves_nothing(&town);
}

#[test]
fn only_the_deploy_branch_can_be_pushed_and_it_cannot_be_deleted() {
    let town = Town::start();
    let work = town.work("hello-shell", "blog");
    work.push().succeeds();
    let refused = |words: &[&str], reason: &str| {
        let push = work.push_with(words);
        push.is_rejected_with(reason);
    };
    refused(&["--delete", "main"], "`main` is what blog runs and cannot be deleted");
    refused(&["main:other"], "blog deploys `main`; to deploy other type `git push paas other:main`");
    work.git(&["tag", "v1"]).succeeds();
    refused(&["v1"], "tags are not deployed; push the branch: `git push paas main`");
    refused(&["main:refs/notes/x"], "is no branch");
    work.set_version("two");
    refused(&["main", "v1"], "refused together with");
    refused(&["main", "main:other"], "refused together with");
    town.shows("blog", "hello-shell v1");
    assert_eq!(work.remote_head("main").as_deref(), Some(work.git(&["rev-parse", "HEAD~1"]).stdout.trim()));
    work.push().succeeds();
    town.shows("blog", "two");
    town.doctor_is_clean();
}

#[test]
fn several_branches_at_once_are_refused_on_the_first_push_too() {
    let town = Town::start();
    let work = town.work("hello-shell", "blog");
    work.push_with(&["main", "main:other"]).is_rejected_with("push one branch at a time: `git push paas main`");
    leaves_nothing(&town);
}

#[test]
fn a_push_from_a_stale_checkout_is_told_to_fetch_first() {
    let town = Town::start();
    let work = town.work("hello-shell", "blog");
    work.push().succeeds();
    let other = work.copy_of(&town, &[]);
    other.git(&["fetch", "--quiet", "paas"]).succeeds();
    // Two users push on top of the same commit; the second does not know of the first.
    work.set_version("of the first").push().succeeds();
    other.set_version("of the second");
    other.push().fails_with("fetch first");
    let lease = other.git(&["rev-parse", "HEAD~1"]).stdout;
    let forced = other.push_with(&[&format!("--force-with-lease=main:{}", lease.trim()), "main"]);
    forced.fails_with("stale info");
    town.shows("blog", "of the first");
    town.doctor_is_clean();
}

/// A push whose old value moved while it waited: both clients saw the same branch when they began.
#[test]
fn of_two_pushes_that_began_from_the_same_commit_the_second_is_refused() {
    let town = Town::start();
    let work = town.work("slow-start", "blog");
    work.push().succeeds();
    let other = work.copy_of(&town, &[]);
    work.set_version("first");
    other.set_version("second");
    let first = work.begin_push();
    first.wait_for("Release v2: starting web.1");
    let second = other.begin_push();
    first.finish().succeeds();
    second.finish().is_rejected_with("the branch moved since you fetched: fetch first").says("v2 still serves");
    town.shows("blog", "first");
    assert_eq!(work.remote_head("main"), Some(work.head()));
    town.doctor_is_clean();
}

/// Puts something wrong into a live app's tree, and sees it refused.
fn refused_tree(spoil: impl FnOnce(&Work), reason: &str) {
    let town = Town::start();
    let work = town.work("hello-shell", "blog");
    work.push().succeeds();
    spoil(&work);
    work.push().is_rejected_with(reason);
    town.shows("blog", "hello-shell v1");
    assert_eq!(work.remote_head("main").as_deref(), Some(work.git(&["rev-parse", "HEAD~1"]).stdout.trim()));
    town.doctor_is_clean();
}

#[test]
fn a_commit_without_files_is_refused() {
    refused_tree(
        |work| {
            work.git(&["rm", "-r", "--quiet", "."]).succeeds();
            work.git(&["commit", "--quiet", "-m", "empty"]).succeeds();
        },
        "the commit holds no files",
    );
}

#[test]
fn a_git_lfs_pointer_is_refused() {
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "4d".repeat(32));
    refused_tree(
        |work| {
            work.write("video.mp4", &pointer).commit("video");
        },
        "is only a Git LFS pointer",
    );
}

#[test]
fn a_submodule_is_refused() {
    refused_tree(
        |work| {
            let commit = work.head();
            work.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},vendor/lib")]).succeeds();
            work.git(&["commit", "--quiet", "-m", "submodule"]).succeeds();
        },
        "`vendor/lib` is a submodule",
    );
}

#[test]
fn a_link_that_leaves_the_tree_is_refused() {
    for target in ["../../etc/passwd", "/etc/passwd"] {
        refused_tree(
            |work| {
                std::os::unix::fs::symlink(target, work.path("link")).expect("make a link");
                work.commit("link");
            },
            "outside the tree",
        );
    }
}

#[test]
fn a_procfile_that_cannot_be_right_is_refused_naming_the_line() {
    let town = Town::start();
    let work = town.work("hello-shell", "blog");
    work.push().succeeds();
    let cases = [
        ("<<<<<<< HEAD\nweb: ./server.pl\n=======\nweb: ./other\n>>>>>>> b\n", "Procfile line 1"),
        ("web: ./server.pl\nweb: ./other\n", "Procfile line 2: `web` is on line 1 already"),
        ("web: ./server.pl\nnonsense\n", "Procfile line 2 has no colon"),
        ("web:\n", "Procfile line 1: `web:` has no command"),
    ];
    for (procfile, reason) in cases {
        let push: Push = work.write("Procfile", procfile).commit("procfile").push();
        push.is_rejected_with(reason).says("v1 still serves");
    }
    town.shows("blog", "hello-shell v1");
    // Line ends of another system and comments are fine.
    work.write("Procfile", "# how it runs\r\nweb: ./server.pl $PORT\r\n").set_version("crlf").push().succeeds();
    town.shows("blog", "crlf");
    town.doctor_is_clean();
}

#[test]
fn a_tree_in_which_nothing_is_recognised_is_told_what_would_be() {
    let town = Town::start();
    let work = Work::empty(&town, "blog");
    work.write("notes.txt", "nothing to run\n").commit("first");
    work.push().is_rejected_with("Procfile").says("Dockerfile");
    assert_eq!(work.remote_head("main"), None);
    town.doctor_is_clean();
}
