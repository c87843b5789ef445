//! What a person sets beside the code: domains, limits, health checks, config files; and builds from scratch.
use crate::harness::{Town, engine, eventually};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(40);

fn status_at(town: &Town, host: &str) -> u16 {
    town.connect_to_host(host).and_then(|mut visitor| visitor.get("/")).expect("an answer").status
}

#[test]
fn a_domain_leads_to_its_app_at_once_and_over_a_restart() {
    let mut town = Town::start();
    town.push("hello-shell", "blog").succeeds();
    town.paas(&["apps:create", "shop"]).succeeds();
    assert_eq!(status_at(&town, "www.example.com"), 404);
    town.ssh("domains:add WWW.Example.com. -a blog").succeeds().says("added www.example.com");
    assert_eq!(status_at(&town, "www.example.com"), 200);
    assert_eq!(status_at(&town, "WWW.EXAMPLE.COM:8080"), 200);
    town.paas(&["domains:add", "bücher.example", "-a", "blog"]).succeeds().says("xn--bcher-kva.example");
    assert_eq!(status_at(&town, "xn--bcher-kva.example"), 200);
    for (host, code, said) in [
        ("www.example.com", 1, "leads to blog already"),
        ("127.0.0.1", 2, "no host name"),
        ("*.example.com", 2, "no host name"),
        ("a b.example", 2, "no host name"),
        ("--help.example", 2, ""),
        ("example", 1, "no domain; write one with a dot"),
        ("shop.localhost", 1, "belongs to the app called shop"),
        ("paas.localhost", 1, "the dashboard's"),
    ] {
        town.paas(&["domains:add", host, "-a", "blog"]).fails_with(code, said);
    }
    let taken = town.paas(&["domains:add", "www.example.com", "-a", "shop"]);
    taken.fails_with(1, "www.example.com is taken");
    assert!(!taken.stderr.contains("blog"), "it is nobody's business whose it is: {taken:?}");
    town.paas(&["domains:remove", "www.example.com", "-a", "shop"]).fails_with(1, "shop has no domain");

    let listed = town.paas(&["domains", "-a", "blog", "--json"]).json();
    let hosts: Vec<&str> = listed.as_array().expect("a list").iter().filter_map(|one| one["host"].as_str()).collect();
    assert_eq!(hosts, ["blog.localhost", "www.example.com", "xn--bcher-kva.example"]);
    assert_eq!(town.paas(&["apps:info", "-a", "blog", "--json"]).json()["domains"][0], "www.example.com");
    let checked = town.paas(&["domains:check", "xn--bcher-kva.example", "-a", "blog", "--json"]);
    // No such domain exists, whatever resolver there is.
    assert!(checked.code == Some(1) && checked.stdout.contains("\"state\": \""), "{checked:?}");

    town.kill9();
    town.start_again(&[]);
    assert_eq!(status_at(&town, "www.example.com"), 200, "the next server knows it at once");
    town.paas(&["domains:remove", "www.example.com", "-a", "blog"]).succeeds();
    assert_eq!((status_at(&town, "www.example.com"), town.get("blog", "/").status), (404, 200));
    town.paas(&["domains:add", "www.example.com", "-a", "shop"]).succeeds();
    assert_eq!(status_at(&town, "www.example.com"), 503, "shop has no release");
    town.paas(&["apps:destroy", "shop", "--confirm", "shop"]).succeeds();
    assert_eq!(status_at(&town, "www.example.com"), 404);
    town.doctor_is_clean();
}

#[test]
fn limits_are_the_instances_own_and_changing_them_drops_no_request() {
    let town = Town::start();
    let work = town.work("echo", "blog");
    work.push().succeeds();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let visits = scope.spawn(|| {
            let mut failed = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                match town.try_get("blog", "/") {
                    Ok(response) if response.status == 200 => {}
                    other => failed.push(format!("{other:?}")),
                }
            }
            failed
        });
        let before = town.engine.instances(&[]);
        town.ssh("ps:limits web memory=96M cpu=0.5 -a blog").succeeds().says("web of blog: 96 MiB, 0.5 cores");
        eventually("another instance serves alone", SOON, || {
            let now = town.engine.instances(&[]);
            now.len() == 1 && now != before
        });
        stop.store(true, Ordering::SeqCst);
        assert_eq!(visits.join().expect("no panic"), Vec::<String>::new());
    });
    let limits = engine::inspect(&town.engine.instances(&[])[0])["HostConfig"].take();
    assert_eq!((&limits["Memory"], &limits["NanoCpus"]), (&(96 << 20).into(), &500_000_000.into()));
    assert_eq!((&limits["MemorySwap"], &limits["PidsLimit"]), (&(96 << 20).into(), &512.into()));
    let listed = town.paas(&["ps:limits", "-a", "blog", "--json"]).json();
    assert_eq!((&listed[0]["memory_bytes"], &listed[0]["cpu"]), (&(96 << 20).into(), &0.5.into()));
    for (words, code, said) in [
        (&["memory=1G"][..], 2, "name the process type first"),
        (&["web", "memory=1"], 2, "write it like 512M or 2G"),
        (&["web", "memory=8M"], 2, "the least is 16 MiB"),
        (&["web", "memory=900000G"], 1, "more memory than the machine has"),
        (&["web", "cpu=1000"], 1, "more cores than the machine has"),
        (&["web", "memory=1G", "memory=2G"], 1, "named twice"),
        (&["clock", "memory=1G"], 1, "no process type `clock`"),
        (&["web"], 2, "KEY=VALUE"),
    ] {
        town.paas(&[&["ps:limits", "-a", "blog"], words].concat()).fails_with(code, said);
    }
    town.paas(&["ps:limits", "run", "memory=1G", "-a", "blog"]).succeeds();
    work.write("Procfile", "web: node -e 'const all = []; for (;;) all.push(Buffer.alloc(1 << 24, 1))'\n")
        .commit("greedy");
    let push = work.push();
    push.is_rejected_with("web.1 ran out of memory before it was ready; v1 still serves");
    push.says("memory limit of 96 MiB").says("paas ps:limits web memory=192M");
    town.doctor_is_clean();
}

#[test]
fn a_health_check_of_the_apps_own_decides_what_goes_live() {
    let town = Town::start();
    let work = town.work("echo", "blog");
    work.push().succeeds().says("(GET / → 200)");
    town.paas(&["checks", "-a", "blog"]).succeeds().says("any status below 500");
    town.ssh("checks:set path=/nowhere timeout=4s -a blog").succeeds().says("4 s to answer GET /nowhere");
    let push = work.set_version("echo v2").push();
    push.is_rejected_with("web.1 answered 404 to GET /nowhere; v1 still serves");
    push.says("make GET /nowhere answer with 2xx").says("`paas checks:set` names another path");
    town.shows("blog", "echo v1");
    town.paas(&["checks:set", "path=/pid", "timeout=default", "-a", "blog"]).succeeds().says("60 s");
    work.set_version("echo v3").push().succeeds().says("(GET /pid → 200)");
    town.shows("blog", "echo v3");
    let checks = town.paas(&["checks:info", "-a", "blog", "--json"]).json();
    assert_eq!((&checks["path"], &checks["timeout_secs"]), (&"/pid".into(), &60.into()));
    for bad in ["path=health", "path=/a b", "timeout=0s", "timeout=11m", "interval=3s", "timeout"] {
        town.paas(&["checks:set", bad, "-a", "blog"]).fails_with(2, "");
    }
    town.doctor_is_clean();
}

#[test]
fn a_build_from_scratch_runs_every_step_again_and_goes_live_like_a_push() {
    let town = Town::start();
    town.paas(&["apps:create", "blog"]).succeeds();
    town.paas(&["builds:run", "-a", "blog"]).fails_with(1, "push it: `git push paas main`");
    let work = town.work("hello-shell", "blog");
    work.remove("Procfile");
    let dockerfile = "FROM debian:trixie-slim\nWORKDIR /srv\nCOPY . .\nRUN date +%s%N > built\nCMD [\"./server.pl\"]\n";
    work.write("Dockerfile", dockerfile).commit("a build that differs each time");
    work.push().succeeds();
    let built = |town: &Town| {
        let id = town.engine.instances(&[]).remove(0);
        engine::exec(&id, &["cat", "/srv/built"]).stdout
    };
    let first = built(&town);
    work.commit("the same tree").push().succeeds().says("Same tree, same settings: no build needed");
    let said = town.ssh("builds:run -a blog");
    said.succeeds().says("again, from scratch").says("RUN date").says("-----> Live: v3 serves").says("build ");
    assert!(!said.stdout.contains("RUN date +%s%N > built (cached)"), "{said:?}");
    eventually("the new build serves alone", SOON, || town.engine.instances(&[]).len() == 1);
    assert_ne!(built(&town), first);
    town.paas(&["releases", "-a", "blog"]).succeeds().says("New build of");
    assert_eq!(work.remote_head("main"), Some(work.head()));
    work.write("Dockerfile", "FROM debian:trixie-slim\nRUN test ! -e /no && sleep 30\nCMD [\"true\"]\n").commit("slow");
    let push = work.begin_push();
    push.wait_for("Building");
    town.paas(&["builds:run", "-a", "blog"]).fails_with(1, "is under way");
    town.paas(&["builds:cancel", "-a", "blog"]).succeeds();
    push.finish_within(SOON).is_rejected_with("cancelled");
    town.doctor_is_clean();
}

#[test]
fn config_files_go_in_whole_and_come_out_byte_for_byte() {
    let town = Town::start();
    town.push("hello-shell", "blog").succeeds();
    let file =
        "\u{feff}# from Windows\r\nexport A=1\r\nKEY=\"-----BEGIN\r\nx+/=\r\n\"\r\nB='it is $HOME' # why\r\nEMPTY=\r\n";
    let imported = town.paas_with_input(&["config:import", "-a", "blog"], file.as_bytes());
    imported.succeeds().says("added     A B EMPTY KEY").says("Live: v2 serves");
    assert!(!imported.stdout.contains("BEGIN") && !imported.stdout.contains("$HOME"), "{imported:?}");
    let config = town.paas(&["config", "-a", "blog", "--json"]).json();
    assert_eq!((&config["B"], &config["EMPTY"]), (&"it is $HOME".into(), &"".into()));
    assert_eq!(config["KEY"], "-----BEGIN\r\nx+/=\r\n");
    let id = town.engine.instances(&[]).remove(0);
    assert_eq!(engine::exec(&id, &["printenv", "KEY"]).stdout, "-----BEGIN\r\nx+/=\r\n\n");

    let exported = town.ssh("config:export -a blog");
    let again = town.paas_with_input(&["config:edit", "-a", "blog"], exported.succeeds().stdout.as_bytes());
    again.succeeds().says("unchanged 4").says("nothing changed");
    let broken = town.paas_with_input(&["config:import", "-a", "blog"], b"C=3\nno equals s3cret\n1=s3cret\nC=s3cret\n");
    broken.fails_with(1, "3 lines cannot be read, so nothing was changed").fails_with(1, "line 2: has no `=`");
    broken.fails_with(1, "line 4: C was set in line 1 already");
    assert!(!broken.stderr.contains("s3cret"), "{broken:?}");
    town.paas_with_input(&["config:edit", "-a", "blog"], b"").fails_with(1, "no config vars came on standard input");
    assert_eq!(town.paas(&["config", "-a", "blog", "--json"]).json(), config, "a refused file changes nothing");

    let replaced = town.paas_with_input(&["config:import", "--replace", "-a", "blog"], b"A=2\nNEW=n\n");
    replaced.succeeds().says("added     NEW").says("changed   A").says("unset     B EMPTY KEY").says("Live: v3 serves");
    assert_eq!(town.paas(&["config", "-a", "blog", "--json"]).json(), serde_json::json!({"A": "2", "NEW": "n"}));
    let value = b" two\r\nlines\t'\"\\$\n";
    town.paas_with_input(&["config:set", "RAW=-", "-a", "blog"], value).succeeds();
    let raw = town.paas(&["config:get", "RAW", "-a", "blog", "--json"]).json();
    assert_eq!(raw["RAW"].as_str().map(str::as_bytes), Some(&value[..]));
    let line = town.paas_with_input(&["config:set", "LINE=-", "-a", "blog"], b"echoed\n");
    assert!(line.stderr.contains("note: LINE ends in a line end"), "{line:?}");
    town.doctor_is_clean();
}
