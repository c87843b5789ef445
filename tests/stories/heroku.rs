//! What apps bring from Heroku beside a Procfile: app.json, whose first deploy sets things up, and heroku.yml.
use crate::harness::{Town, Work, engine, eventually};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

const APP_JSON: &str = r#"{
  "name": "blog",
  "env": {
    "PLAIN": "as it says",
    "COOKIE_SECRET": { "description": "signs cookies", "generator": "secret" },
    "BANK_KEY": {
      "description": "the key of the bank"
    },
    "MAYBE": { "required": false }
  },
  "formation": { "web": { "quantity": 2, "size": "standard-1x" }, "ticker": { "quantity": 1 } },
  "scripts": { "predeploy": "echo before $PAAS_RELEASE", "postdeploy": "echo seeded with $PLAIN && test -z \"$FAIL\"" },
  "healthchecks": { "web": [{ "type": "startup", "path": "/health", "attempts": 2, "timeout": 5, "wait": 5 }] },
  "addons": ["heroku-postgresql"]
}
"#;

fn with_app_json(town: &Town) -> Work {
    let work = town.work("hello-shell", "blog");
    work.write("Procfile", "web: ./server.pl $PORT\nticker: sh -c 'while true; do echo tick; sleep 5; done'\n");
    work.write("app.json", APP_JSON).commit("app.json");
    work
}

#[test]
fn a_first_deploy_asks_for_what_is_required_and_sets_up_the_rest() {
    let town = Town::start();
    let work = with_app_json(&town);
    let refused = work.push();
    refused
        .fails_with("the app asks for config vars that are not set: BANK_KEY (app.json line 6: the key of the bank)");
    refused.fails_with("run `paas config:set BANK_KEY=… -a blog`, then push again");
    town.paas(&["config:set", "BANK_KEY=x", "-a", "blog"]).succeeds();
    let push = work.push();
    push.succeeds()
        .says("set for the first deploy: PLAIN, COOKIE_SECRET")
        .says("formation.web.size (`paas ps:limits`")
        .says("add-ons are not provided: heroku-postgresql")
        .says("before v1")
        .says("-----> Behind the first deploy: sh -c")
        .says("seeded with");
    let config = town.paas(&["config", "-a", "blog", "--json"]).json();
    assert_eq!(config["PLAIN"], "as it says", "{config}");
    let secret = config["COOKIE_SECRET"].as_str().expect("a generated value").to_owned();
    assert!(secret.len() == 64 && secret.bytes().all(|b| b.is_ascii_hexdigit()), "{secret}");
    push.does_not_say(&secret);
    let ps = town.paas(&["ps", "-a", "blog", "--json"]).json();
    let count = |name: &str| {
        let all = ps.as_array().expect("a list").iter();
        all.filter(|one| one["instance"].as_str().is_some_and(|instance| instance.starts_with(name))).count()
    };
    assert_eq!((count("web."), count("ticker.")), (2, 1), "{ps}");
    town.paas(&["checks", "-a", "blog"]).succeeds().says("/health").says("20 s");

    // Later deploys set nothing up; a command wins over the file.
    town.paas(&["ps:scale", "ticker=0", "-a", "blog"]).succeeds();
    town.paas(&["checks:set", "path=/up", "-a", "blog"]).succeeds();
    let app_json = APP_JSON.replace("\"MAYBE\": {", "\"NEW\": {}, \"MAYBE\": {");
    let push = work.write("app.json", &app_json).set_version("hello-shell v2").push();
    push.succeeds().says("app.json line 9 asks for NEW, which is not set").says("before v2").does_not_say("seeded");
    town.paas(&["checks", "-a", "blog"]).succeeds().says("/up").says("20 s");
    assert_eq!(town.paas(&["config", "-a", "blog", "--json"]).json()["COOKIE_SECRET"], secret.as_str());
    town.doctor_is_clean();
}

#[test]
fn a_postdeploy_that_fails_is_told_and_refuses_nothing() {
    let town = Town::start();
    let work = with_app_json(&town);
    town.paas(&["apps:create", "blog"]).succeeds();
    town.paas(&["config:set", "BANK_KEY=x", "FAIL=yes", "-a", "blog"]).succeeds();
    work.push().succeeds().says("postdeploy failed: it exited with status 1; v1 serves all the same");
    town.shows("blog", "hello-shell v1");
    work.write("app.json", "{\n  \"env\": {\n    \"A\": 1\n  }\n}\n").commit("bad");
    work.push().fails_with("app.json line 3: env.A must be a text in double quotes");
    town.doctor_is_clean();
}

/// A first push during whose postdeploy the server dies.
fn dies_behind_its_first_deploy() -> Town {
    let mut town = Town::start_with(&[("PAAS_CRASH_POINT", "postdeploy-begun")]);
    let work = town.work("hello-shell", "blog");
    work.write("app.json", r#"{ "scripts": { "postdeploy": "echo seeded; sleep 1; echo all of it" } }"#);
    let push = work.commit("app.json").begin_push();
    town.wait_for_crash(Duration::from_mins(1));
    push.finish_within(SOON).fails_with("");
    town
}

fn told_of_its_build(town: &Town) -> String {
    town.paas(&["builds:info", "1", "-a", "blog"]).succeeds().stdout.clone()
}

#[test]
fn a_postdeploy_that_a_restart_interrupts_is_run_again_to_its_end() {
    let mut town = dies_behind_its_first_deploy();
    town.start_again(&[]);
    eventually("it is run to its end", SOON, || told_of_its_build(&town).contains("\n       all of it\n"));
    let told = told_of_its_build(&town);
    assert!(told.contains("postdeploy was interrupted: the server stopped meanwhile"), "{told}");
    assert_eq!(told.matches("-----> Behind the first deploy").count(), 2, "{told}");
    town.shows("blog", "hello-shell v1");
    eventually("nothing of it is left", SOON, || town.engine.instances(&["paas.job"]).is_empty());
    // A later start and a later deploy find nothing to run.
    town.start_again(&[]);
    let work = town.work("hello-shell", "blog");
    work.git(&["fetch", "--quiet", "paas"]).succeeds();
    work.git(&["reset", "--quiet", "--soft", "paas/main"]).succeeds();
    work.write("app.json", r#"{ "scripts": { "postdeploy": "echo seeded" } }"#).set_version("hello-shell v2");
    work.push().succeeds().does_not_say("Behind the first deploy");
    assert_eq!(told_of_its_build(&town), told);
    town.doctor_is_clean();
}

#[test]
fn a_postdeploy_that_a_dead_server_left_is_begun_once_more_and_no_more() {
    let mut town = dies_behind_its_first_deploy();
    town.start_again(&[("PAAS_CRASH_POINT", "postdeploy-begun")]);
    town.wait_for_crash(SOON);
    town.start_again(&[]);
    eventually("it is given up", SOON, || told_of_its_build(&town).contains("postdeploy was interrupted 2 times"));
    let told = told_of_its_build(&town);
    assert!(told.contains("it is not run again by itself: `paas run -a blog 'sh -c "), "{told}");
    assert_eq!(told.matches("-----> Behind the first deploy").count(), 2, "{told}");
    town.shows("blog", "hello-shell v1");
    eventually("nothing of it is left", SOON, || town.engine.instances(&["paas.job"]).is_empty());
    town.doctor_is_clean();
}

const HEROKU_YML: &str = "setup:
  config:
    GREETING: hello
build:
  docker:
    web: Dockerfile
    worker:
      dockerfile: worker/Dockerfile
      target: small
  config:
    COLOR: green
release:
  image: worker
  command:
    - ./released.sh
run:
  web: perl server.pl $PORT
  lister:
    image: worker
    command: sh -c 'while true; do ls; sleep 5; done'
";

fn with_heroku_yml(town: &Town) -> Work {
    let work = town.work("hello-shell", "blog");
    let dockerfile =
        "FROM debian:trixie-slim\nARG COLOR\nWORKDIR /srv\nCOPY . .\nRUN echo \"hello $COLOR\" > VERSION\n";
    work.write("Dockerfile", dockerfile).write("heroku.yml", HEROKU_YML);
    work.write(
        "worker/Dockerfile",
        "FROM debian:trixie-slim AS small\nWORKDIR /srv\nCOPY . .\nFROM nothing-of-this-name\n",
    );
    work.write_script("worker/released.sh", "#!/bin/sh\necho released with $GREETING among $(ls)\n");
    work.write("worker/only-in-worker", "").commit("heroku.yml");
    work
}

#[test]
fn an_image_that_only_another_process_type_needs_is_built_again_when_it_is_lost() {
    let mut town = Town::start();
    let work = with_heroku_yml(&town);
    work.push().succeeds();
    town.kill9();
    for image in town.engine.images() {
        // The one that web runs in is in use, and stays.
        engine::untag(&image);
    }
    assert_eq!(town.engine.images().len(), 1);
    town.start_again(&[]);
    eventually("a release with both images is live", Duration::from_secs(90), || {
        town.paas(&["releases", "-a", "blog", "--json"]).json()[0]["state"] == "live" && town.engine.images().len() > 1
    });
    town.paas(&["ps:scale", "lister=1", "-a", "blog"]).succeeds();
    eventually("the lister runs in the worker's image", SOON, || {
        town.paas(&["logs", "-a", "blog", "-p", "lister.1"]).stdout.contains("only-in-worker")
    });
    town.shows("blog", "hello green");
}

#[test]
fn heroku_yml_builds_an_image_for_each_process_type() {
    let town = Town::start();
    let work = with_heroku_yml(&town);
    let push = work.push();
    push.succeeds()
        .says("-----> Dockerfile app detected (heroku.yml)")
        .says("worker, lister, release: worker/Dockerfile, stage small")
        .says("Procfile is not used: heroku.yml says what runs")
        .says("set for the first deploy: GREETING")
        .says("among Dockerfile only-in-worker released.sh");
    town.shows("blog", "hello green");
    town.paas(&["ps:scale", "lister=1", "-a", "blog"]).succeeds();
    eventually("the lister runs in the worker's image", SOON, || {
        town.paas(&["logs", "-a", "blog", "-p", "lister.1"]).stdout.contains("only-in-worker")
    });
    let images = town.engine.images().len();
    assert_eq!(images, 2, "one for web, one for the others");
    work.commit("the same").push().succeeds().says("no build needed");

    // Both are kept while a release needs them, and a rollback goes to both.
    work.write("heroku.yml", &HEROKU_YML.replace("green", "red")).commit("red").push().succeeds();
    town.shows("blog", "hello red");
    town.paas(&["rollback", "-a", "blog"]).succeeds();
    town.shows("blog", "hello green");
    work.write("heroku.yml", &HEROKU_YML.replace("worker/Dockerfile", "wroker/Dockerfile")).commit("typo");
    work.push().fails_with("heroku.yml line 7: wroker/Dockerfile is not in the commit");
    town.doctor_is_clean();
}
