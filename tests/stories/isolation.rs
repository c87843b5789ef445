//! What one app can do to the others and to the host: nothing.
use crate::harness::{Town, engine};

#[test]
fn an_instance_runs_hardened_and_limited() {
    let town = Town::start();
    town.push("echo", "blog").succeeds();
    let id = town.engine.instances(&[]).remove(0);
    let facts = engine::inspect(&id);
    let host = &facts["HostConfig"];
    assert_eq!(host["CapDrop"][0], "ALL", "{host}");
    assert_eq!(host["SecurityOpt"][0], "no-new-privileges", "{host}");
    assert_eq!(host["Privileged"], false);
    assert!(host["PidsLimit"].as_i64().is_some_and(|limit| (1..=4096).contains(&limit)), "{host}");
    assert_eq!(host["Memory"], 512 << 20, "{host}");
    assert_eq!(host["MemorySwap"], 512 << 20, "{host}");
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    assert!(host["Binds"].as_array().is_none_or(Vec::is_empty), "{host}");
    assert!(host["PortBindings"].as_object().is_none_or(serde_json::Map::is_empty), "{host}");
    assert_eq!(facts["NetworkSettings"]["Networks"].as_object().map(serde_json::Map::len), Some(1));
    let status = engine::exec(&id, &["cat", "/proc/1/status"]);
    status.succeeds().says("NoNewPrivs:\t1");
    let id_of = engine::exec(&id, &["stat", "-c", "%u", "/proc/1"]);
    println!("the first process runs as user {}", id_of.stdout.trim());
    town.doctor_is_clean();
}

/// Asks from inside one instance whether an address accepts.
fn reaches(from: &str, address: &str, port: u16) -> bool {
    let script =
        format!("exit(IO::Socket::INET->new(PeerAddr => '{address}', PeerPort => {port}, Timeout => 3) ? 0 : 9)");
    let outcome = engine::exec(from, &["perl", "-MIO::Socket::INET", "-e", &script]);
    assert!(matches!(outcome.code, Some(0 | 9)), "{outcome:?}");
    outcome.code == Some(0)
}

#[test]
fn an_app_cannot_reach_another_apps_instance() {
    let town = Town::start();
    town.push("hello-shell", "one").succeeds();
    town.push("hello-shell", "two").succeeds();
    let [one, two] = ["1", "2"].map(|app| town.engine.instances(&[&format!("paas.app={app}")]).remove(0));
    let address = |id: &str| {
        let networks = engine::inspect(id)["NetworkSettings"]["Networks"].take();
        let network = networks.as_object().and_then(|networks| networks.values().next().cloned());
        network.and_then(|network| network["IPAddress"].as_str().map(str::to_owned)).expect("an address")
    };
    assert!(reaches(&one, &address(&one), 5000), "an instance reaches itself");
    assert!(!reaches(&one, &address(&two), 5000), "one reaches two at {}", address(&two));
    assert!(!reaches(&two, &address(&one), 5000), "two reaches one at {}", address(&one));
    town.doctor_is_clean();
}

#[test]
fn config_values_stand_in_no_log_and_no_list() {
    let town = Town::start();
    let work = town.work("hello-shell", "blog");
    work.write("Procfile", "web: echo the token is $TOKEN && exec ./server.pl $PORT\n").commit("leak");
    town.paas(&["apps:create", "blog"]).succeeds();
    town.paas_with_input(&["config:set", "TOKEN=-", "-a", "blog"], b"canary-4711-canary").succeeds();
    work.push().succeeds().does_not_say("canary-4711");
    town.paas(&["releases:info", "v1", "-a", "blog"]).succeeds().says("TOKEN");
    for words in [["releases:info", "v1", "-a", "blog"], ["builds:info", "1", "-a", "blog"]] {
        let shown = town.paas(&words);
        assert!(!shown.stdout.contains("canary-4711"), "{shown:?}");
    }
    assert!(!town.log().contains("canary-4711"));
    town.doctor_is_clean();
}
