//! The machine loses its power: `paas`, the engine and every instance are gone, and the kernel counts a new boot.
use super::{is_long, while_asking};
use crate::harness::{OwnEngine, Town, eventually};
use std::time::{Duration, Instant};

#[test]
fn after_a_reboot_every_app_serves_its_own_page_again_by_itself() {
    let mut town = Town::start_on(OwnEngine::start());
    let names: Vec<String> = (1..=if is_long() { 20 } else { 6 }).map(|no| format!("app-{no}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for pair in names.chunks(2) {
        std::thread::scope(|scope| {
            for name in pair {
                let town = &town;
                scope.spawn(move || super::push_named(town, name));
            }
        });
    }
    town.kill9();
    town.own().reboot();
    town.own().start_again();
    let rebooted = Instant::now();
    town.start_again(&[]);
    let (took, witness) = while_asking(&town, &names, || {
        let own =
            |name: &&str| town.try_get(name, "/").is_ok_and(|page| page.status == 200 && page.text().trim() == *name);
        eventually("every app serves again", Duration::from_secs(30), || names.iter().all(own));
        rebooted.elapsed()
    });
    println!("{} apps served again {took:?} after the start; {} requests meanwhile", names.len(), witness.asked);
    assert!(took < Duration::from_secs(30), "{took:?}");
    for (_, answer) in &witness.failed {
        let (app, page) = answer.split_once(": ").expect("app and answer");
        // Until an app is up its visitors see a page of the platform's own, never another app's.
        assert!(page.starts_with("502") || page.starts_with("503") || page.starts_with("504"), "{app} answered {page}");
    }
    town.doctor_is_clean();
}
