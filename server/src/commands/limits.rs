//! `ps:limits`: what instances of a process type may use of the machine.
use super::grammar::Form;
use super::table::{print, print_json};
use super::{CommandError, Context, Done};
use crate::console::Console;
use crate::domain::limits::{Cpu, Limits, Memory};
use crate::domain::{App, ProcessType};
use serde::Serialize;
use std::collections::BTreeMap;
use std::str::FromStr;

/// The type whose limits one-off instances have.
const ONE_OFF: &str = "run";

/// One word of the line: `memory=512M`, `cpu=0.5`, `memory=default`.
#[derive(Clone, Copy)]
pub(super) enum Setting {
    Memory(Option<Memory>),
    Cpu(Option<Cpu>),
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("memory", "default")) => Ok(Self::Memory(None)),
            Some(("cpu", "default")) => Ok(Self::Cpu(None)),
            Some(("memory", amount)) => Ok(Self::Memory(Some(amount.parse()?))),
            Some(("cpu", cores)) => Ok(Self::Cpu(Some(cores.parse()?))),
            Some(_) | None => Err("write memory=512M, cpu=0.5, or memory=default".to_owned()),
        }
    }
}

/// A process type, and not a setting that lacks one before it.
pub(super) fn parse_process(text: &str) -> Result<ProcessType, String> {
    if text.contains('=') {
        return Err(format!("name the process type first: `ps:limits web {text}`"));
    }
    text.parse().map_err(|error: crate::domain::name::NameError| error.to_string())
}

#[derive(Serialize)]
struct LimitsView {
    process: String,
    memory_bytes: u64,
    memory_is_default: bool,
    /// Cores; `None`: as much as there is.
    cpu: Option<f64>,
}

pub(super) async fn list(context: &Context, console: &Console, app: &App, form: Form) -> Done {
    let all = all(context, app).await?;
    if form.json {
        return print_json(console, &all.iter().map(view).collect::<Vec<_>>()).await;
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|(process, limits)| {
            let is_default = if limits.memory.is_none() { " (default)" } else { "" };
            let cpu = limits.cpu.map_or_else(|| "no limit (default)".to_owned(), |cpu| format!("{cpu} cores"));
            vec![process.to_string(), format!("{}{is_default}", limits.memory()), cpu]
        })
        .collect();
    print(console, &["TYPE", "MEMORY", "CPU"], &rows, &format!("{} has no process types yet", app.name)).await;
    Ok(())
}

/// Every type of the live release and of the formation, and what was set for others.
async fn all(context: &Context, app: &App) -> Result<BTreeMap<ProcessType, Limits>, CommandError> {
    let store = &context.tools.store;
    let mut all = store.limits(app.id).await?;
    let live = store.live_release(app.id).await?;
    let formation = store.formation(app.id).await?;
    for process in live.iter().flat_map(|live| live.processes.keys()).chain(formation.keys()) {
        all.entry(process.clone()).or_default();
    }
    Ok(all)
}

fn view((process, limits): (&ProcessType, &Limits)) -> LimitsView {
    LimitsView {
        process: process.to_string(),
        memory_bytes: limits.memory().bytes(),
        memory_is_default: limits.memory.is_none(),
        cpu: limits.cpu.map(|cpu| f64::from(cpu.millis()) / 1000.0),
    }
}

pub(super) async fn set(
    context: &Context,
    console: &Console,
    app: &App,
    process: &ProcessType,
    settings: &[Setting],
) -> Done {
    let store = &context.tools.store;
    let live = store.live_release(app.id).await?;
    if let Some(live) = &live
        && !live.processes.contains_key(process)
        && process.as_str() != ONE_OFF
    {
        let known: Vec<&str> = live.processes.keys().map(ProcessType::as_str).collect();
        return Err(CommandError::new(format!("{} of {} has no process type `{process}`", live.no, app.name))
            .next(format!("it has: {}; `{ONE_OFF}` stands for one-off instances", known.join(", "))));
    }
    let before = store.limits(app.id).await?.get(process).copied().unwrap_or_default();
    let after = changed(before, settings)?;
    refuse_more_than_the_machine_has(context, &after).await?;
    if after == before {
        console.say("nothing changed: the limits are what they were").await;
        return Ok(());
    }
    store.set_limits(app.id, process, after).await?;
    context.tools.scheduler.wake(app.id);
    let cpu = after.cpu.map_or_else(|| "no limit of cpu".to_owned(), |cpu| format!("{cpu} cores"));
    let then = if live.is_some_and(|live| live.processes.contains_key(process)) {
        "; its instances are replaced by new ones, each once the new one is ready"
    } else {
        ""
    };
    console.say(&format!("{process} of {}: {}, {cpu}{then}", app.name, after.memory())).await;
    Ok(())
}

fn changed(mut limits: Limits, settings: &[Setting]) -> Result<Limits, CommandError> {
    let (mut memories, mut cpus) = (0, 0);
    for setting in settings {
        match setting {
            Setting::Memory(memory) => {
                limits.memory = *memory;
                memories += 1;
            }
            Setting::Cpu(cpu) => {
                limits.cpu = *cpu;
                cpus += 1;
            }
        }
    }
    if memories > 1 || cpus > 1 {
        return Err(CommandError::new("a limit is named twice on this line"));
    }
    Ok(limits)
}

async fn refuse_more_than_the_machine_has(context: &Context, limits: &Limits) -> Done {
    let machine = context.tools.engine.facts().await?;
    if let (Some(memory), Some(most)) = (limits.memory, Memory::from_bytes(machine.memory_bytes))
        && memory > most
    {
        return Err(CommandError::new(format!("{memory} is more memory than the machine has ({most})")));
    }
    if let Some(cpu) = limits.cpu.filter(|cpu| machine.cores > 0 && cpu.millis() > machine.cores * 1000) {
        return Err(CommandError::new(format!("{cpu} is more cores than the machine has ({})", machine.cores)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_parsed_at_the_door() {
        let set = |words: &[&str]| {
            let settings: Vec<Setting> = words.iter().map(|word| word.parse().unwrap()).collect();
            changed(Limits { memory: Some("1G".parse().unwrap()), cpu: None }, &settings)
        };
        assert_eq!(
            set(&["memory=default", "cpu=0.5"]).unwrap(),
            Limits { memory: None, cpu: Some("0.5".parse().unwrap()) }
        );
        assert_eq!(set(&["cpu=default"]).unwrap().memory, Some("1G".parse().unwrap()));
        assert!(set(&["memory=1G", "memory=2G"]).is_err());
        for bad in ["memory", "memory=", "Memory=1G", "swap=1G", "=1G", "cpu=all", "memory=1G=2G"] {
            assert!(bad.parse::<Setting>().is_err(), "{bad}");
        }
        assert!(parse_process("memory=1G").unwrap_err().contains("ps:limits web memory=1G"));
    }
}
