//! `domains:redirect`: visitors of one domain of an app are sent on to another of its hosts, as from www to the apex.
use super::{CommandError, Context, Done};
use crate::console::Console;
use crate::domain::{App, Hostname};

pub(super) async fn redirect(context: &Context, console: &Console, app: &App, from: &Hostname, to: &Hostname) -> Done {
    let tools = &context.tools;
    if from == to {
        return Err(CommandError::new(format!("{from} would lead to itself")));
    }
    let redirects = tools.store.domain_redirects(app.id).await?;
    let domains = tools.store.domains(app.id).await?;
    let has = |host: &Hostname| domains.iter().any(|domain| domain.host == *host);
    let is_own = tools.site.host(&app.name).is_ok_and(|own| own == *to);
    if !has(to) && !is_own {
        return Err(CommandError::new(format!("{} does not answer at {to}", app.name))
            .next(format!("`paas domains:add {to} -a {}` lets it", app.name)));
    }
    if let Some(further) = redirects.get(to) {
        return Err(CommandError::new(format!("visitors of {to} are sent on to {further} themselves"))
            .next(format!("redirect {from} to {further}")));
    }
    if let Some((other, _)) = redirects.iter().find(|(_, target)| *target == from) {
        return Err(CommandError::new(format!("visitors of {other} are sent on to {from}"))
            .next(format!("redirect {other} elsewhere first")));
    }
    if !tools.store.redirect_domain(app.id, from, Some(to)).await? {
        return Err(no_domain(app, from));
    }
    tools.scheduler.rehost(app.id).await?;
    console
        .say(&format!("visitors of {from} are sent on to {}, for good (301, 308)", tools.site.url_of(to.as_str())))
        .await;
    Ok(())
}

pub(super) async fn answer_itself(context: &Context, console: &Console, app: &App, from: &Hostname) -> Done {
    if !context.tools.store.redirect_domain(app.id, from, None).await? {
        return Err(no_domain(app, from));
    }
    context.tools.scheduler.rehost(app.id).await?;
    console.say(&format!("{} answers at {from} itself", app.name)).await;
    Ok(())
}

fn no_domain(app: &App, host: &Hostname) -> CommandError {
    CommandError::new(format!("{} has no domain {host}", app.name))
        .next(format!("`paas domains:add {host} -a {}` adds it", app.name))
}
