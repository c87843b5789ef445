//! `apps:rename` and `apps:free`: an app gets another name, and gives up one that it had before.
use super::{CommandError, Context, Done};
use crate::console::Console;
use crate::domain::AppName;

/// Nothing restarts: everything but the host and the remote goes by internal ids.
pub(super) async fn rename(context: &Context, console: &Console, old: &AppName, new: &AppName) -> Done {
    let tools = &context.tools;
    let app = context.app(old).await?;
    if app.name == *new {
        return Err(CommandError::new(format!("{new} is its name already")));
    }
    context.refuse_reserved(new)?;
    tools.site.host(new).map_err(|error| CommandError::new(error.to_string()))?;
    tools.store.rename_app(app.id, new).await?;
    tools.scheduler.rehost(app.id).await?;
    tools.scheduler.wake(app.id);
    let was = &app.name;
    console.say(&format!("renamed {was} to {new}; it answers at {}", tools.site.url(new))).await;
    console.say(&format!("run `git remote set-url paas {}` in its checkouts", tools.site.remote(new))).await;
    console.say(&format!("{was} leads there until `paas apps:free {was} -a {new}`")).await;
    Ok(())
}

pub(super) async fn free(context: &Context, console: &Console, app: &AppName, name: &AppName) -> Done {
    let tools = &context.tools;
    let app = context.app(app).await?;
    if app.name == *name {
        return Err(CommandError::new(format!("{name} is what the app is called now"))
            .next(format!("`paas apps:rename NEW -a {name}` gives it another name")));
    }
    if !tools.store.free_name(app.id, name).await? {
        return Err(CommandError::new(format!("{} was never called {name}", app.name))
            .next(format!("`paas apps:info -a {}` lists its former names", app.name)));
    }
    tools.scheduler.rehost(app.id).await?;
    console.say(&format!("freed {name}; nothing leads from it to {} any more", app.name)).await;
    Ok(())
}
