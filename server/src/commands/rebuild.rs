//! `builds:run`: a build from scratch of what was pushed last, followed like a push.
use super::{CommandError, Context, Done};
use crate::builder::{Rebuild, Ticket, Verdict};
use crate::console::Console;
use crate::domain::App;
use crate::logs::{Follower, From, TranscriptOf, printable};

/// Who leaves cancels what is not promoted yet, as with a push.
pub(super) async fn run(context: &Context, console: &Console, app: &App) -> Done {
    let builder = &context.tools.builder;
    let Ticket { build, verdict } = match builder.rebuild(app, &context.caller).await? {
        Rebuild::Taken { ticket, branch, commit } => {
            let line = format!("-----> Building {branch} at {} again, from scratch", commit.short());
            console.say(&line).await;
            ticket
        }
        Rebuild::NothingPushed => {
            return Err(CommandError::new(format!(
                "no push to {} went live yet, so there is nothing to build",
                app.name
            ))
            .next("push it: `git push paas main`"));
        }
        Rebuild::UnderWay(build) => {
            return Err(CommandError::new(format!("build {build} of {} is under way", app.name))
                .next(format!("wait for it, or `paas builds:cancel -a {}`", app.name)));
        }
    };
    let mut follower = context.tools.logs.transcript(&app.key, TranscriptOf::Build(build))?.follow(From::Start)?;
    if !show(console, &mut follower).await? {
        builder.cancel(app.id, build, &format!("{}, who left", context.caller)).await?;
        return Err(CommandError::new(format!("cancelled build {build}")));
    }
    match verdict.await {
        Ok(Verdict::Accepted { .. }) => Ok(()),
        Ok(Verdict::Refused { reason }) => Err(CommandError::new(format!("build {build}: {reason}"))),
        Err(_) => Err(CommandError::new("the server stopped").next("run it again")),
    }
}

/// Shows a transcript to its end; `false` when whoever watched has left.
async fn show(console: &Console, follower: &mut Follower) -> anyhow::Result<bool> {
    loop {
        let line = tokio::select! {
            line = follower.next() => line?,
            () = console.left.cancelled() => return Ok(false),
        };
        let Some(line) = line else { return Ok(true) };
        if !console.say(&printable(&line)).await {
            return Ok(false);
        }
    }
}
