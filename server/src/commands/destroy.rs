//! `apps:destroy`: takes an app down for good, and waits until nothing is left of it.
use super::{CommandError, Context, Done};
use crate::console::Console;
use crate::domain::AppName;
use std::time::Duration;

/// Between two looks at how far it has come.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Looks at the same trouble before it is told and not waited for any longer.
const PATIENCE_LOOKS: u32 = 15;

/// Once begun it goes on by itself: whoever waits may leave.
pub(super) async fn destroy(context: &Context, console: &Console, name: &AppName, confirm: Option<&AppName>) -> Done {
    let tools = &context.tools;
    // Not by `Context::app`: asking again for what is under way already means to wait for it.
    let app = tools.store.app(name).await?;
    if confirm != Some(&app.name) {
        let what = match confirm {
            Some(other) => format!("`--confirm {other}` does not name {}, so nothing was destroyed", app.name),
            None => format!("destroying {} cannot be undone, so it wants to be confirmed", app.name),
        };
        return Err(CommandError::new(what).next(format!("run `paas apps:destroy {0} --confirm {0}`", app.name)));
    }
    tools.builder.destroy(&app).await?;
    console.say(&format!("destroying {}: instances drain and stop, then everything of it is removed", app.name)).await;
    let volumes = tools.store.volumes(app.id).await?.len();
    if volumes > 0 {
        let line = format!(
            "its volumes stay ({volumes}): `paas volumes --all` lists them, `paas volumes:destroy` destroys one"
        );
        console.say(&line).await;
    }
    let mut troubled_looks = 0;
    loop {
        if tools.store.app_by_id(app.id).await.is_err_and(|error| is_gone(&error)) {
            console.say(&format!("destroyed {}; its name is free", app.name)).await;
            return Ok(());
        }
        let trouble = tools.builder.destruction_trouble(app.id);
        troubled_looks = if trouble.is_some() { troubled_looks + 1 } else { 0 };
        if let (Some(trouble), true) = (trouble, troubled_looks > PATIENCE_LOOKS) {
            let what = format!("{} takes no requests and no pushes any more, but is not all gone: {trouble}", app.name);
            return Err(CommandError::new(what).next("it goes on by itself; `paas apps` lists it until it is done"));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = console.left.cancelled() => return Err(CommandError::new("not waited for; it goes on by itself")),
        }
    }
}

fn is_gone(error: &crate::store::StoreError) -> bool {
    matches!(error, crate::store::StoreError::Missing { .. })
}
