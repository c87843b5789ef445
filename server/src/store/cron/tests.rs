//! Minutes are taken once, whatever the clock does, and histories stay short.
use super::*;
use crate::domain::failure::Exit;
use crate::domain::{AppId, ImageId, Oid, Origin, RunNo};
use crate::store::testing::store;
use crate::store::{ConfigChange, NewRelease};

const T0: Moment = Moment::from_unix_ms(1_800_000_000_000);

fn minutes(n: u64) -> Moment {
    T0.plus(Duration::from_secs(60 * n))
}

fn entry(command: &str, schedule: &str) -> CronEntry {
    CronEntry { command: command.to_owned(), schedule: schedule.parse().unwrap() }
}

/// A live release with this table.
async fn deploy(store: &Store, app: AppId, cron: &[CronEntry], at: Moment) -> CronTable {
    let new = NewRelease {
        app,
        origin: Origin::Rollback { to: ReleaseNo(1) },
        image: ImageId::new("ok"),
        commit: Oid::zero(),
        source: None,
        processes: std::collections::BTreeMap::new(),
        port: 5000,
        jobs: Jobs { release_command: None, cron: cron.to_vec() },
        makeup: crate::domain::Makeup::default(),
        description: "a test".to_owned(),
        created_by: "a test".to_owned(),
        change: ConfigChange::new(),
    };
    let no = store.create_release(&new, at).await.unwrap();
    store.promote_release(app, no, at).await.unwrap();
    store.cron_tables().await.unwrap().into_iter().find(|table| table.app == app).unwrap()
}

async fn app(store: &Store) -> AppId {
    store.create_app(&"blog".parse().unwrap(), T0).await.unwrap().id
}

#[tokio::test]
async fn a_minute_is_taken_once_and_what_still_runs_is_not_run_beside_itself() {
    let (store, _dir) = store().await;
    let app = app(&store).await;
    let every = entry("./a", "* * * * *");
    let table = deploy(&store, app, std::slice::from_ref(&every), T0).await;
    assert_eq!(store.cron_marks(&table, minutes(1)).await.unwrap(), [(every.clone(), T0)]);
    let claim = async |n| store.claim_cron_run(app, table.release, &every, minutes(n), minutes(n)).await.unwrap();
    assert_eq!(claim(1).await, Claim::Taken(RunNo(1)));
    assert_eq!(claim(1).await, Claim::Gone);
    assert_eq!(claim(2).await, Claim::Skipped { because: RunNo(1) });
    assert_eq!(store.begin_cron_run(app, table.release, "./a", "ada", T0).await.unwrap(), Err(RunNo(1)));
    let ended = RunState::Ended { at: minutes(2), exit: Exit::Status(3) };
    assert!(store.end_cron_run(app, RunNo(1), &ended).await.unwrap());
    assert!(!store.end_cron_run(app, RunNo(1), &RunState::Running).await.unwrap(), "what has ended stays as it was");
    assert_eq!(claim(3).await, Claim::Taken(RunNo(3)));
    assert_eq!(claim(1).await, Claim::Gone, "the clock was set back");
    let history: Vec<(RunNo, RunState)> =
        store.cron_runs(app, 10).await.unwrap().into_iter().map(|run| (run.no, run.state)).collect();
    let skipped = RunState::Skipped { because: RunNo(1) };
    assert_eq!(history, [(RunNo(3), RunState::Running), (RunNo(2), skipped), (RunNo(1), ended)]);
}

#[tokio::test]
async fn a_deploy_keeps_the_marks_of_what_stays_and_begins_new_ones_when_it_went_live() {
    let (store, _dir) = store().await;
    let app = app(&store).await;
    let (a, b) = (entry("./a", "* * * * *"), entry("./b", "* * * * *"));
    let first = deploy(&store, app, &[a.clone(), entry("./old", "@daily")], T0).await;
    store.cron_marks(&first, minutes(5)).await.unwrap();
    store.claim_cron_run(app, first.release, &a, minutes(5), minutes(5)).await.unwrap();
    let second = deploy(&store, app, &[b.clone(), a.clone()], minutes(5)).await;
    let mut marks = store.cron_marks(&second, minutes(6)).await.unwrap();
    marks.sort_by(|x, y| x.0.command.cmp(&y.0.command));
    assert_eq!(marks, [(a.clone(), minutes(5)), (b, minutes(5))]);
    let again = store.claim_cron_run(app, second.release, &a, minutes(5), minutes(6)).await.unwrap();
    assert_eq!(again, Claim::Gone, "the table changed its order within the minute");
}

#[tokio::test]
async fn two_entries_with_one_command_share_a_minute() {
    let (store, _dir) = store().await;
    let app = app(&store).await;
    let (hourly, daily) = (entry("./a", "0 * * * *"), entry("./a", "0 0 * * *"));
    let table = deploy(&store, app, &[hourly.clone(), daily.clone()], T0).await;
    store.cron_marks(&table, T0).await.unwrap();
    let taken = store.claim_cron_run(app, table.release, &hourly, minutes(9), minutes(9)).await.unwrap();
    assert_eq!(taken, Claim::Taken(RunNo(1)));
    store.end_cron_run(app, RunNo(1), &RunState::NotStarted { reason: "a test".to_owned() }).await.unwrap();
    let second = store.claim_cron_run(app, table.release, &daily, minutes(9), minutes(9)).await.unwrap();
    assert_eq!(second, Claim::Gone);
}

#[tokio::test]
async fn marks_that_a_wrong_clock_left_in_the_future_are_taken_back_and_stopped_apps_fall_behind_nothing() {
    let (store, _dir) = store().await;
    let app = app(&store).await;
    let every = entry("./a", "* * * * *");
    let table = deploy(&store, app, std::slice::from_ref(&every), T0).await;
    store.cron_marks(&table, T0).await.unwrap();
    let month = minutes(60 * 24 * 30);
    store.claim_cron_run(app, table.release, &every, month, month).await.unwrap();
    assert_eq!(store.cron_marks(&table, minutes(3)).await.unwrap()[0].1, minutes(3));
    store.pass_over_cron(app, minutes(60)).await.unwrap();
    assert_eq!(store.cron_marks(&table, minutes(61)).await.unwrap()[0].1, minutes(60));
    // Set back by less than a day: what was run already is waited for.
    assert_eq!(store.cron_marks(&table, minutes(1)).await.unwrap()[0].1, minutes(60));
}

#[tokio::test]
async fn a_history_keeps_fifty_runs_and_never_forgets_what_runs() {
    let (store, _dir) = store().await;
    let app = app(&store).await;
    let begin = async |command: &str| store.begin_cron_run(app, ReleaseNo(1), command, "ada", T0).await.unwrap();
    let running = begin("./long").await.unwrap();
    for _ in 0..70 {
        let no = begin("./short").await.unwrap();
        store.end_cron_run(app, no, &RunState::Ended { at: T0, exit: Exit::Status(0) }).await.unwrap();
    }
    let history = store.cron_runs(app, 1000).await.unwrap();
    assert!((51..=52).contains(&history.len()), "{} runs", history.len());
    assert_eq!((history[0].no, history.last().unwrap().no), (RunNo(71), running));
    assert_eq!(store.running_cron_runs().await.unwrap().len(), 1);
}
