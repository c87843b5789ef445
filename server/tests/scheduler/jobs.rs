//! Release commands and cron tables, with a clock that the test moves.
use super::*;
use paas::domain::failure::Exit;
use paas::domain::{CronEntry, CronRun, Jobs, RunState, Trigger};
use paas::engine::{OneOffEngine as _, OneOffSeen};

impl Town {
    async fn release_with(&self, jobs: Jobs, origin: Origin) -> ReleaseNo {
        let new = NewRelease {
            app: self.app.id,
            origin,
            image: ImageId::new("ok"),
            commit: Oid::zero(),
            source: None,
            makeup: paas::domain::Makeup::default(),
            processes: BTreeMap::from([("web".parse().unwrap(), Command::ImageDefault)]),
            port: 5000,
            jobs,
            description: "a test".to_owned(),
            created_by: "a test".to_owned(),
            change: ConfigChange::new(),
        };
        let no = self.store.create_release(&new, self.clock.now()).await.unwrap();
        self.scheduler.wake(self.app.id);
        no
    }

    async fn retry_with(&self, release_command: &str) -> ReleaseNo {
        let jobs = Jobs { release_command: Some(release_command.to_owned()), cron: Vec::new() };
        self.release_with(jobs, Origin::Retry { of: ReleaseNo(1) }).await
    }

    async fn goes_live_with(&self, cron: &[(&str, String)]) {
        // Five seconds into a minute, so that none goes by on its own while the test looks.
        let into_ms = self.clock.now().unix_ms().rem_euclid(60_000);
        self.clock.ahead_ms.fetch_add(u64::try_from(65_000 - into_ms).unwrap(), SeqCst);
        let entry = |(command, schedule): &(&str, String)| CronEntry {
            command: (*command).to_owned(),
            schedule: schedule.parse().unwrap(),
        };
        let jobs = Jobs { release_command: None, cron: cron.iter().map(entry).collect() };
        let no = self.release_with(jobs, Origin::Retry { of: ReleaseNo(1) }).await;
        assert_eq!(self.settled(no).await, Settled::Live);
    }

    /// A schedule for the minute that many minutes from now, every day.
    fn daily_in(&self, minutes: u64) -> String {
        let at = self.clock.now().unix_ms() / 60_000 + i64::try_from(minutes).unwrap();
        format!("{} {} * * *", at % 60, at / 60 % 24)
    }

    async fn runs(&self) -> Vec<CronRun> {
        self.store.cron_runs(self.app.id, 100).await.unwrap()
    }

    async fn one_offs(&self) -> Vec<OneOffSeen> {
        self.engine.one_offs(None).await.unwrap()
    }

    async fn until_ended(&self, count: usize) -> Vec<RunState> {
        let has_ended = async || {
            let runs = self.runs().await;
            runs.len() >= count && runs.iter().all(|run| run.state != RunState::Running)
        };
        self.until("the runs are recorded", has_ended).await;
        self.runs().await.into_iter().map(|run| run.state).collect()
    }
}

fn every_minute() -> String {
    "* * * * *".to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_command_succeeds_before_the_first_instance_or_none_starts() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    let failed = town.retry_with("echo oh no; exit 4").await;
    let failure = Failure::ReleaseCommand { exit: Exit::Status(4) };
    assert_eq!(town.settled(failed).await, Settled::Failed(failure));
    assert_eq!(town.engine.starts(), 1, "nothing of it was started");
    assert!(town.log_holds("app[release.2]: oh no"));
    let hangs = town.retry_with("echo still here; sleep").await;
    town.until("it runs", async || town.log_holds("app[release.3]: still here")).await;
    assert_eq!(town.get("/").await, (200, "v1/web.1".to_owned()));
    town.scheduler.overtake(town.app.id, hangs, Failure::Interrupted).await.unwrap();
    town.until("it is ended", async || town.one_offs().await.is_empty()).await;
    let good = town.retry_with("echo done").await;
    assert_eq!(town.settled(good).await, Settled::Live);
    town.until_answered("v4/web.1").await;
    assert!(town.store.release(town.app.id, good).await.unwrap().command_done_at.is_some());
    town.until("nothing is left", async || town.one_offs().await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_command_has_a_limit_and_is_run_again_by_the_next_server() {
    let mut town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    let no = town.retry_with("echo begun; sleep").await;
    town.until("it runs", async || town.one_offs().await.len() == 1).await;
    let before = town.one_offs().await.remove(0).id;
    town.scheduler_dies().await;
    town.scheduler_comes_back().await;
    town.until("it runs anew", async || town.one_offs().await.iter().any(|one| one.id != before)).await;
    town.pass_time(61);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let rollout = town.store.release(town.app.id, no).await.unwrap().rollout;
    assert!(matches!(rollout, Rollout::Starting { .. }), "the time to get ready has not begun: {rollout:?}");
    town.pass_time(600);
    assert_eq!(town.settled(no).await, Settled::Failed(Failure::ReleaseCommandTimedOut { limit_secs: 600 }));
    town.until("nothing is left", async || town.one_offs().await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_behind_the_first_deploy_has_a_limit() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    let release = town.store.release(town.app.id, ReleaseNo(1)).await.unwrap();
    let cancel = tokio_util::sync::CancellationToken::new();
    let run = town.scheduler.run_postdeploy(&town.app, &release, "echo begun; sleep", &cancel);
    let watch = async {
        town.until("it runs", async || town.one_offs().await.len() == 1).await;
        town.pass_time(590);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(town.one_offs().await.len(), 1, "its time is not over");
        town.pass_time(20);
    };
    let (ended, ()) = tokio::join!(run, watch);
    assert_eq!(ended.unwrap_err().to_string(), "it was ended after its limit of 10 min");
    town.until("nothing is left", async || town.one_offs().await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_runs_once_in_its_minute_and_not_beside_itself() {
    let town = Town::new().await;
    town.goes_live_with(&[("echo tick; exit 3", every_minute()), ("echo long; sleep", every_minute())]).await;
    assert!(town.runs().await.is_empty(), "the minute of the deploy was over");
    town.pass_time(60);
    town.until("both run", async || town.runs().await.len() == 2).await;
    town.until("the long one runs", async || town.one_offs().await.len() == 1).await;
    town.pass_time(60);
    town.until("both are looked after again", async || town.runs().await.len() == 4).await;
    let long = |run: &CronRun| run.command.contains("long");
    let skipped = town.runs().await.into_iter().find(long).unwrap();
    assert!(matches!(skipped.state, RunState::Skipped { .. }), "{skipped:?}");
    let is_running = |run: &&CronRun| run.state == RunState::Running;
    town.until("the short ones have ended", async || town.runs().await.iter().filter(is_running).count() == 1).await;
    // The long one was started a minute and some ago.
    town.set_stopped(true).await;
    town.pass_time(3600);
    town.until_ended(4).await;
    let runs = town.runs().await;
    assert_eq!(runs.len(), 4, "a stopped app runs nothing");
    assert!(runs.iter().any(|run| matches!(run.state, RunState::TimedOut { limit_secs: 3600, .. })), "{runs:?}");
    let ticks: Vec<&CronRun> = runs.iter().filter(|run| run.command.contains("tick")).collect();
    assert!(ticks.iter().all(|run| matches!(run.state, RunState::Ended { exit: Exit::Status(3), .. })), "{ticks:?}");
    assert!(town.log_holds("tick"));
    town.set_stopped(false).await;
    town.pass_time(60);
    town.until("it goes on, and makes up for nothing", async || town.runs().await.len() == 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_runs_missed_while_the_engine_was_away_the_latest_is_made_up_for() {
    let town = Town::new().await;
    town.goes_live_with(&[("echo tick", every_minute())]).await;
    town.engine.set_reachable(false);
    town.pass_time(600);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(town.runs().await.is_empty(), "nothing is taken while it cannot be started");
    town.engine.set_reachable(true);
    assert!(matches!(town.until_ended(1).await[..], [RunState::Ended { .. }]));
    let due = town.runs().await[0].trigger.due().unwrap();
    assert!(town.clock.now().since(due) < Duration::from_mins(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_hour_a_missed_run_is_not_made_up_for() {
    let mut town = Town::new().await;
    let (soon, later) = (town.daily_in(10), town.daily_in(40));
    town.goes_live_with(&[("echo soon", soon), ("echo later", later)]).await;
    town.scheduler_dies().await;
    town.pass_time(80 * 60);
    town.scheduler_comes_back().await;
    town.until_ended(1).await;
    let runs = town.runs().await;
    assert_eq!(runs.iter().map(|run| run.command.as_str()).collect::<Vec<_>>(), ["echo later"]);
    assert!(matches!(runs[0].trigger, Trigger::Schedule { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_outlives_the_server_is_taken_up_and_one_that_vanished_is_interrupted() {
    let mut town = Town::new().await;
    town.goes_live_with(&[("echo a; sleep", every_minute()), ("echo b; sleep", every_minute())]).await;
    town.pass_time(60);
    town.until("both run", async || town.one_offs().await.len() == 2).await;
    town.scheduler_dies().await;
    let left = town.one_offs().await;
    assert_eq!(left.len(), 2, "they go on");
    town.engine.vanish(&left[0].id);
    town.scheduler_comes_back().await;
    let gone = async || town.runs().await.iter().any(|run| matches!(run.state, RunState::Interrupted { .. }));
    town.until("the vanished one is recorded", gone).await;
    assert!(town.runs().await.iter().any(|run| run.state == RunState::Running));
    town.engine.end(&left[1].id, Exit::Status(5));
    let states = town.until_ended(2).await;
    assert!(states.iter().any(|state| matches!(state, RunState::Ended { exit: Exit::Status(5), .. })), "{states:?}");
    assert_eq!(states.len(), 2, "no minute was run twice");
    town.until("nothing is left", async || town.one_offs().await.is_empty()).await;
}
