//! What takes the room on the server's disks, as tables.
use super::table::print;
use crate::console::Console;
use crate::disk::Report;
use crate::domain::Size;

pub(super) async fn print_report(console: &Console, report: &Report) {
    for place in &report.places {
        let short = if place.free_bytes < report.reserve_bytes {
            format!("; nothing is built below {}", Size(report.reserve_bytes))
        } else {
            String::new()
        };
        console.say(&format!("free       {} on {} ({}){short}", Size(place.free_bytes), place.path, place.holds)).await;
    }
    if let Some(complaint) = &report.complaint {
        console.say(&format!("       the engine's part is missing: {complaint}")).await;
    }
    console.say("").await;
    let rows: Vec<Vec<String>> = report
        .categories
        .iter()
        .filter(|one| one.bytes > 0)
        .map(|one| vec![one.name.to_owned(), shown(one.bytes), shown(one.reclaimable_bytes)])
        .collect();
    print(console, &["DISK", "USED", "GOES WHEN ROOM IS NEEDED"], &rows, "nothing takes any room").await;
    if report.apps.is_empty() {
        return;
    }
    console.say("").await;
    let rows: Vec<Vec<String>> = report
        .apps
        .iter()
        .map(|one| {
            let sizes = [
                one.total_bytes(),
                one.images_bytes,
                one.caches_bytes,
                one.repository_bytes,
                one.logs_bytes,
                one.volumes_bytes,
                one.written_bytes,
            ];
            std::iter::once(one.app.clone()).chain(sizes.map(shown)).collect()
        })
        .collect();
    print(console, &["APP", "TOTAL", "IMAGES", "CACHES", "REPOSITORY", "LOGS", "VOLUMES", "INSTANCES"], &rows, "")
        .await;
}

fn shown(bytes: u64) -> String {
    if bytes == 0 { "-".to_owned() } else { Size(bytes).to_string() }
}
