//! `builds:buildpacks`: the classic buildpacks that an app is built by, in their order.
use super::grammar::Form;
use super::table::print_json;
use super::{CommandError, Context, Done};
use crate::console::Console;
use crate::domain::App;
use buildpacks::{BUILDPACKS_MAX, Buildpack};

/// What is done to the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Act {
    /// Show it
    List,
    /// Replace it by these
    Set,
    /// Put these behind what is there, or at --index
    Add,
    /// Take these out
    Remove,
    /// Take all out: the app's own files say again what builds it
    Clear,
}

/// The words behind `builds:buildpacks`.
#[derive(clap::Args)]
pub(super) struct Words {
    /// What to do with the list [default: list]
    act: Option<Act>,
    /// Addresses (https://HOST/PATH, #BRANCH at the end for another than the default; .tgz), or ./FOLDER of the app
    #[arg(value_name = "BUILDPACK")]
    sources: Vec<String>,
    /// With `add`: where the first of them is to stand, counted from 1
    #[arg(long, value_name = "NUMBER")]
    index: Option<usize>,
}

impl Words {
    pub(super) fn changes(&self) -> bool {
        !matches!(self.act, None | Some(Act::List))
    }
}

pub(super) async fn run(context: &Context, console: &Console, app: &App, words: &Words, form: Form) -> Done {
    let before = context.tools.store.buildpacks(app.id).await?;
    let act = words.act.unwrap_or(Act::List);
    if act == Act::List {
        return list(console, app, &before, form).await;
    }
    let after = changed(&before, act, words)?;
    if after == before {
        console.say("nothing changed: the list is what it was").await;
        return Ok(());
    }
    context.tools.store.set_buildpacks(app.id, &after).await?;
    if after.is_empty() {
        console.say(&format!("the files of {} say what builds it, from the next push on", app.name)).await;
        return Ok(());
    }
    console.say(&format!("the next push of {} is built by:", app.name)).await;
    show(console, &after).await;
    let next = format!("to build what was pushed last by them, run `paas builds:run -a {}`", app.name);
    if context.tools.store.live_release(app.id).await?.is_some() {
        console.say(&next).await;
    }
    Ok(())
}

async fn list(console: &Console, app: &App, list: &[String], form: Form) -> Done {
    if form.json {
        return print_json(console, &list).await;
    }
    if list.is_empty() {
        let none = format!("no buildpacks are set for {}: its files say what builds it", app.name);
        console.say(&none).await;
    }
    show(console, list).await;
    Ok(())
}

async fn show(console: &Console, list: &[String]) {
    for (at, source) in list.iter().enumerate() {
        console.say(&format!("{}. {source}", at + 1)).await;
    }
}

fn changed(before: &[String], act: Act, words: &Words) -> Result<Vec<String>, CommandError> {
    let sources: Vec<String> = words.sources.iter().map(|source| source.trim().to_owned()).collect();
    match (act, sources.is_empty()) {
        (Act::Set | Act::Add | Act::Remove, true) => {
            return Err(CommandError::new("no buildpack is named").next("write its address behind the verb"));
        }
        (Act::Clear | Act::List, false) => return Err(CommandError::new("this takes no buildpack")),
        (Act::Set | Act::Add | Act::Remove, false) | (Act::Clear | Act::List, true) => {}
    }
    if words.index.is_some() && act != Act::Add {
        return Err(CommandError::new("--index goes with `add` alone"));
    }
    let mut after = before.to_vec();
    match act {
        Act::List => {}
        Act::Set => after.clone_from(&sources),
        Act::Add => {
            let at = words.index.map_or(after.len(), |index| index.saturating_sub(1).min(after.len()));
            after.splice(at..at, sources.iter().cloned());
        }
        Act::Remove => {
            if let Some(absent) = sources.iter().find(|source| !before.contains(source)) {
                let error = CommandError::new(format!("`{absent}` is not on the list"));
                return Err(error.next("run `paas builds:buildpacks` to see it"));
            }
            after.retain(|source| !sources.contains(source));
        }
        Act::Clear => after.clear(),
    }
    check(&after)?;
    Ok(after)
}

fn check(list: &[String]) -> Result<(), CommandError> {
    for (at, source) in list.iter().enumerate() {
        Buildpack::check(source).map_err(CommandError::new)?;
        if list[..at].contains(source) {
            return Err(CommandError::new(format!("`{source}` is on the list twice")));
        }
    }
    if list.len() > BUILDPACKS_MAX {
        return Err(CommandError::new(format!("more than {BUILDPACKS_MAX} buildpacks")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(act: Act, sources: &[&str], index: Option<usize>) -> Words {
        let sources = sources.iter().map(|source| (*source).to_owned()).collect();
        Words { act: Some(act), sources, index }
    }

    fn after(before: &[&str], act: Act, sources: &[&str], index: Option<usize>) -> Result<Vec<String>, String> {
        let before: Vec<String> = before.iter().map(|source| (*source).to_owned()).collect();
        changed(&before, act, &words(act, sources, index)).map_err(|error| error.what)
    }

    const A: &str = "https://a.example/a";
    const B: &str = "https://b.example/b";

    #[test]
    fn a_list_is_set_added_to_and_taken_from() {
        assert_eq!(after(&[A], Act::Set, &[B], None).unwrap(), [B]);
        assert_eq!(after(&[A], Act::Add, &[B], None).unwrap(), [A, B]);
        assert_eq!(after(&[A], Act::Add, &[B], Some(1)).unwrap(), [B, A]);
        assert_eq!(after(&[A], Act::Add, &["./c"], Some(99)).unwrap(), [A, "./c"]);
        assert_eq!(after(&[A, B], Act::Remove, &[A], None).unwrap(), [B]);
        assert!(after(&[A, B], Act::Clear, &[], None).unwrap().is_empty());
    }

    #[test]
    fn what_makes_no_list_is_refused() {
        for (act, sources, index, say) in [
            (Act::Set, &[][..], None, "no buildpack is named"),
            (Act::Clear, &[A], None, "takes no buildpack"),
            (Act::Set, &[A, A], None, "twice"),
            (Act::Add, &[B], None, "twice"),
            (Act::Remove, &[A], None, "is not on the list"),
            (Act::Set, &[A], Some(1), "with `add` alone"),
            (Act::Set, &["http://a.example/a"], None, "by https alone"),
        ] {
            let said = after(&[B], act, sources, index).unwrap_err();
            assert!(said.contains(say), "{said}");
        }
    }
}
