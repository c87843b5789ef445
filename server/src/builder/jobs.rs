//! From what a tree says to what its release runs once: the door where schedules are parsed.
use crate::domain::cron::CronExpr;
use crate::domain::{CronEntry, Failure, Jobs};
use buildpacks::BuildPlan;

/// A schedule that is none refuses the push, before anything is built.
pub(super) fn jobs_of(plan: &BuildPlan) -> Result<Jobs, Failure> {
    let entry = |(at, entry): (usize, &buildpacks::CronEntry)| {
        let schedule: CronExpr = entry.schedule.parse().map_err(|error| Failure::Plan {
            reason: format!(
                "app.json line {}: cron[{at}].schedule `{}` is no schedule: {error}",
                entry.line,
                buildpacks::excerpt(&entry.schedule)
            ),
        })?;
        Ok(CronEntry { command: entry.command.clone(), schedule })
    };
    let cron = plan.cron.iter().enumerate().map(entry).collect::<Result<Vec<_>, Failure>>()?;
    Ok(Jobs { release_command: plan.release_command.clone(), cron })
}

/// For the pusher: what will run beside the processes.
pub(super) fn told(plan: &BuildPlan) -> Option<String> {
    match plan.cron.len() {
        0 => None,
        1 => Some("       1 cron entry, in UTC (`paas cron:list` shows it)".to_owned()),
        count => Some(format!("       {count} cron entries, in UTC (`paas cron:list` shows them)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use buildpacks::{BuildEnv, MemoryTree};

    fn plan(app_json: &str) -> BuildPlan {
        let tree = MemoryTree::new().file("Procfile", "release: ./migrate\nweb: ./server\n").file("app.json", app_json);
        buildpacks::plan(&tree, &BuildEnv::new()).unwrap()
    }

    #[test]
    fn a_bad_schedule_names_its_line_its_field_and_the_way_out() {
        let bad = plan(
            "{\"cron\": [\n{\"command\": \"a\", \"schedule\": \"@daily\"},\n{\"command\": \"b\", \"schedule\": \"61 * * * *\"}]}",
        );
        let Err(Failure::Plan { reason }) = jobs_of(&bad) else { panic!("it was taken") };
        let words =
            "app.json line 3: cron[1].schedule `61 * * * *` is no schedule: minute: `61` is no minute; write 0 to 59";
        assert_eq!(reason, words);
    }

    #[test]
    fn the_release_command_and_the_table_become_the_releases_jobs() {
        let jobs = jobs_of(&plan("{\"cron\": [{\"command\": \"./report\", \"schedule\": \"0 3 * * MON\"}]}")).unwrap();
        assert_eq!(jobs.release_command.as_deref(), Some("./migrate"));
        assert_eq!(
            (jobs.cron[0].command.as_str(), jobs.cron[0].schedule.to_string().as_str()),
            ("./report", "0 3 * * MON")
        );
    }
}
