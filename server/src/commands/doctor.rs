//! Checks every invariant over what is really there: database, engine, folders. Changes nothing.
use super::Tools;
use crate::domain::instance::{State, Traffic};
use crate::domain::{App, AppId, Hostname};
use serde::Serialize;
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

/// One check, and what it complains about.
#[derive(Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) complaints: Vec<String>,
}

/// Between two looks: what is under way is over by then.
const SECOND_LOOK: Duration = Duration::from_secs(3);

const SOUND: &str = "the database file is sound";
const ANSWERS: &str = "the container engine answers";

/// Looks twice when something is found: deploys under way look like damage for a moment.
pub(super) async fn examine(tools: &Tools) -> Vec<Finding> {
    let first = look(tools).await;
    if first.iter().all(|finding| finding.complaints.is_empty()) {
        return first;
    }
    tokio::time::sleep(SECOND_LOOK).await;
    let mut second = look(tools).await;
    for (now, before) in second.iter_mut().zip(&first) {
        now.complaints.retain(|complaint| before.complaints.contains(complaint));
    }
    second
}

async fn look(tools: &Tools) -> Vec<Finding> {
    let apps = match tools.store.apps().await {
        Ok(apps) => apps,
        // Without the database nothing else can be judged: all that runs would look like somebody's leavings.
        Err(error) => {
            return vec![
                Finding { check: SOUND, complaints: vec![error.to_string()] },
                Finding { check: ANSWERS, complaints: engine(tools).await },
            ];
        }
    };
    vec![
        Finding { check: SOUND, complaints: database(tools).await },
        Finding { check: ANSWERS, complaints: engine(tools).await },
        Finding { check: "every wanted instance runs and nothing else", complaints: instances(tools, &apps).await },
        Finding { check: "every one-off instance has somebody who waits for it", complaints: one_offs(tools).await },
        Finding { check: "every web app is routed to its live release", complaints: routes(tools, &apps).await },
        Finding { check: "nothing of a vanished app is left in the engine", complaints: leftovers(tools, &apps).await },
        Finding {
            check: "every volume is in the database and in the engine",
            complaints: super::volumes::complaints(tools).await,
        },
        Finding { check: "builds under way are really under way", complaints: builds(tools).await },
        Finding {
            check: "branches point at what was promoted, and no pin is left",
            complaints: branches(tools, &apps).await,
        },
        Finding { check: "the nightly backup is made", complaints: backups(tools).await },
        Finding { check: "no certificate is at its end", complaints: super::certs::complaints(tools).await },
        Finding { check: "no CA refuses a certificate", complaints: super::renew::complaints(tools) },
        Finding { check: "what is being destroyed goes away", complaints: destructions(tools, &apps) },
        Finding { check: "no folder of a vanished app is left", complaints: folders(tools, &apps).await },
        Finding { check: "the host is guarded", complaints: tools.guard.complaint().into_iter().collect() },
    ]
}

async fn database(tools: &Tools) -> Vec<String> {
    match tools.store.damage().await {
        Ok(damage) => damage.into_iter().collect(),
        Err(error) => vec![error.to_string()],
    }
}

async fn backups(tools: &Tools) -> Vec<String> {
    match tools.backups.complaint().await {
        Ok(complaint) => complaint.into_iter().collect(),
        Err(error) => vec![format!("{error:#}")],
    }
}

async fn engine(tools: &Tools) -> Vec<String> {
    tools
        .engine
        .facts()
        .await
        .err()
        .map(|error| format!("{error}; start it, e.g. `systemctl start docker`"))
        .into_iter()
        .collect()
}

async fn instances(tools: &Tools, apps: &[App]) -> Vec<String> {
    let mut complaints = Vec::new();
    for app in apps {
        match instances_of(tools, app).await {
            Ok(found) => complaints.extend(found),
            Err(error) => complaints.push(format!("{}: {error:#}", app.name)),
        }
    }
    complaints
}

async fn instances_of(tools: &Tools, app: &App) -> anyhow::Result<Vec<String>> {
    if app.destroying || tools.store.starting_release(app.id).await?.is_some() {
        return Ok(Vec::new());
    }
    let live = tools.store.live_release(app.id).await?;
    let formation = tools.store.formation(app.id).await?;
    let seen = tools.scheduler.instances(app.id).await?;
    let mut complaints = Vec::new();
    for (process, count) in formation.iter().filter(|_| !app.stopped) {
        let Some(live) = live.as_ref().filter(|live| live.processes.contains_key(process)) else { continue };
        for index in 1..=u32::from(*count) {
            let is_up = |i: &&crate::scheduler::Instance| {
                i.release == live.no && i.slot.process == *process && i.slot.index == index && i.state == State::Ready
            };
            if !seen.iter().any(|i| is_up(&i)) {
                complaints.push(format!(
                    "{}: {process}.{index} of {} is not up; `paas logs -a {0}` says why",
                    app.name, live.no
                ));
            }
        }
    }
    let is_extra = |i: &&crate::scheduler::Instance| {
        let is_wanted = live.as_ref().is_some_and(|live| live.no == i.release)
            && formation.get(&i.slot.process).is_some_and(|count| i.slot.index <= u32::from(*count))
            && !app.stopped;
        !is_wanted && i.traffic == Traffic::Quiet && i.state != State::Stopping
    };
    complaints.extend(
        seen.iter()
            .filter(is_extra)
            .map(|i| format!("{}: {} of {} runs and is not wanted", app.name, i.slot, i.release)),
    );
    Ok(complaints)
}

async fn one_offs(tools: &Tools) -> Vec<String> {
    let seen = match tools.engine.one_offs(None).await {
        Ok(seen) => seen,
        Err(error) => return vec![error.to_string()],
    };
    let strays = seen.iter().filter(|one| !tools.scheduler.looks_after(one.app, &one.name));
    strays.map(|one| format!("{} of app {} ({}) is left over", one.name, one.app.0, one.id.short())).collect()
}

async fn routes(tools: &Tools, apps: &[App]) -> Vec<String> {
    let routes = tools.scheduler.routes();
    let mut complaints = Vec::new();
    for app in apps {
        let Ok(Some(live)) = tools.store.live_release(app.id).await else { continue };
        let Some(crate::domain::route::Backends::Ready(backends)) = routes.apps.get(&app.id).map(|r| &r.backends)
        else {
            continue;
        };
        let strangers = backends.iter().filter(|backend| backend.release != live.no);
        complaints.extend(
            strangers.map(|b| format!("{}: routed to {} of {}, live is {}", app.name, b.slot, b.release, live.no)),
        );
    }
    for app in apps.iter().filter(|app| !app.destroying && routes.apps.contains_key(&app.id)) {
        let domains = tools.store.domains(app.id).await.unwrap_or_default();
        let hosts = domains.into_iter().map(|domain| domain.host).chain(tools.site.host(&app.name).ok());
        let is_sent_on = |host: &Hostname| routes.redirects.get(host).is_some_and(|redirect| redirect.app == app.id);
        let strays = hosts.filter(|host| routes.hosts.get(host) != Some(&app.id) && !is_sent_on(host));
        complaints.extend(strays.map(|host| format!("{host} does not lead to {}", app.name)));
    }
    let known: HashSet<AppId> = apps.iter().map(|app| app.id).collect();
    complaints.extend(
        routes
            .hosts
            .iter()
            .filter(|(_, app)| !known.contains(app))
            .map(|(host, _)| format!("{host} is routed to no app")),
    );
    complaints
}

async fn leftovers(tools: &Tools, apps: &[App]) -> Vec<String> {
    let inventory = match tools.engine.inventory().await {
        Ok(inventory) => inventory,
        Err(error) => return vec![error.to_string()],
    };
    let known: HashSet<AppId> = apps.iter().map(|app| app.id).collect();
    let is_strange = |app: &Option<AppId>| app.is_some_and(|app| !known.contains(&app));
    let mut complaints = Vec::new();
    complaints.extend(
        inventory
            .containers
            .iter()
            .filter(|(_, app)| is_strange(app))
            .map(|(id, _)| format!("container {}", id.short())),
    );
    complaints.extend(
        inventory.networks.iter().filter(|(_, app)| is_strange(app)).map(|(id, _)| format!("network {}", id.0)),
    );
    complaints.extend(
        inventory.images.iter().filter(|(_, app)| is_strange(app)).map(|(image, _)| format!("image {}", image.id)),
    );
    let mut networks: Vec<AppId> = inventory.networks.iter().filter_map(|(_, app)| *app).collect();
    networks.sort();
    let doubled: BTreeSet<i64> = networks.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].0).collect();
    complaints.extend(doubled.into_iter().map(|app| format!("app {app} has more than one network")));
    complaints
}

async fn builds(tools: &Tools) -> Vec<String> {
    let (running, queued) = match (tools.store.running_builds().await, tools.store.queued_builds().await) {
        (Ok(running), Ok(queued)) => (running, queued),
        (Err(error), _) | (_, Err(error)) => return vec![error.to_string()],
    };
    let strays = running.iter().chain(&queued).filter(|build| !tools.builder.has_in_hand(build.id));
    strays
        .map(|build| format!("build {} is {} in the database and nowhere else", build.id, build.state.word()))
        .collect()
}

async fn branches(tools: &Tools, apps: &[App]) -> Vec<String> {
    let mut complaints = Vec::new();
    for app in apps.iter().filter(|app| !app.destroying && tools.repos.path(&app.key).exists()) {
        match branch_of(tools, app).await {
            Ok(found) => complaints.extend(found),
            Err(error) => complaints.push(format!("{}: {error:#}", app.name)),
        }
    }
    complaints
}

async fn branch_of(tools: &Tools, app: &App) -> anyhow::Result<Vec<String>> {
    let mut complaints = Vec::new();
    if let Some((branch, promoted)) = tools.store.last_promoted_push(app.id).await? {
        let points_at = tools.repos.branch(&app.key, &branch)?;
        if points_at != promoted && !tools.builder.is_busy(app.id) {
            complaints.push(format!(
                "{}: {branch} is at {}, promoted was {}",
                app.name,
                points_at.short(),
                promoted.short()
            ));
        }
    }
    for pin in tools.repos.pins(&app.key)? {
        if !tools.builder.has_in_hand(pin) {
            complaints.push(format!("{}: the pin of build {pin} is left over", app.name));
        }
    }
    Ok(complaints)
}

fn destructions(tools: &Tools, apps: &[App]) -> Vec<String> {
    let trouble = |app: &App| {
        let trouble = tools.builder.destruction_trouble(app.id)?;
        Some(format!("{} cannot be destroyed yet: {trouble}", app.name))
    };
    apps.iter().filter(|app| app.destroying).filter_map(trouble).collect()
}

async fn folders(tools: &Tools, apps: &[App]) -> Vec<String> {
    let mut known: HashSet<String> = apps.iter().map(|app| app.key.to_string()).collect();
    // First pushes that are still coming in.
    for app in tools.store.provisional_apps().await.unwrap_or_default() {
        known.extend(tools.store.app_by_id(app).await.ok().map(|app| app.key.to_string()));
    }
    let mut complaints = Vec::new();
    for folder in ["repos", "logs"] {
        let dir = tools.data_dir.join(folder);
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !known.contains(name.trim_end_matches(".git")) {
                complaints.push(format!("{} belongs to no app", entry.path().display()));
            }
        }
    }
    complaints
}
