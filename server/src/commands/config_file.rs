//! `config:import`, `config:edit` and `config:export`: all config vars at once, as the text of a .env file.
use super::config::{VALUE_BYTES_MAX, apply, print_json_map};
use super::grammar::Form;
use super::{CommandError, Context, Done};
use crate::console::Console;
use crate::domain::release::Config;
use crate::domain::{App, Secret, VarName, dotenv};
use crate::store::{ConfigChange, Rest};

/// A file may be this long.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Wrong lines that are told.
const ERRORS_TOLD: usize = 20;

pub(super) async fn export(context: &Context, console: &Console, app: &App, form: Form) -> Done {
    let config = context.tools.store.config(app.id).await?;
    if form.json {
        return print_json_map(console, &config).await;
    }
    for line in dotenv::write(&config).lines() {
        console.say(line).await;
    }
    Ok(())
}

pub(super) async fn import(context: &Context, console: &mut Console, app: &App, rest: Rest) -> Done {
    let new = read(console).await?;
    if new.is_empty() {
        return Err(CommandError::new("no config vars came on standard input")
            .next(format!("`paas config:import -a {0} < .env` reads a file; `paas config:unset` unsets", app.name)));
    }
    let before = context.tools.store.config(app.id).await?;
    for line in diff(&before, &new, rest) {
        console.say(&line).await;
    }
    let change: ConfigChange = new.into_iter().map(|(name, value)| (name, Some(value))).collect();
    let verb = match rest {
        Rest::Stays => "Import",
        Rest::IsUnset => "Replace",
    };
    apply(context, console, app, (change, rest), verb).await
}

/// Reads the whole file, or refuses the whole of it.
async fn read(console: &mut Console) -> Result<Config, CommandError> {
    let bytes = console
        .read_all(FILE_BYTES_MAX)
        .await
        .ok_or_else(|| CommandError::new(format!("the file is longer than {} KiB", FILE_BYTES_MAX >> 10)))?;
    let refused = |count: usize| {
        let lines = if count == 1 { "1 line".to_owned() } else { format!("{count} lines") };
        CommandError::new(format!("{lines} cannot be read, so nothing was changed"))
            .next("mend the file and import it again")
    };
    match dotenv::read(&bytes) {
        Ok(config) => match config.iter().find(|(_, value)| value.reveal().len() > VALUE_BYTES_MAX) {
            Some((name, _)) => {
                Err(CommandError::new(format!("the value of {name} is longer than {} KiB", VALUE_BYTES_MAX >> 10)))
            }
            None => Ok(config),
        },
        Err(errors) => {
            for error in errors.iter().take(ERRORS_TOLD) {
                console.complain(&error.to_string()).await;
            }
            Err(refused(errors.len()))
        }
    }
}

/// What will be different, by name; values are nobody's business here.
fn diff(before: &Config, new: &Config, rest: Rest) -> Vec<String> {
    let of = |wanted: fn(Option<&Secret<String>>, &Secret<String>) -> bool| {
        new.iter().filter(|(name, value)| wanted(before.get(*name), value)).map(|(name, _)| name).collect::<Vec<_>>()
    };
    let gone: Vec<&VarName> = match rest {
        Rest::Stays => Vec::new(),
        Rest::IsUnset => before.keys().filter(|name| !new.contains_key(*name)).collect(),
    };
    let names = |names: &[&VarName]| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = [
        ("added", of(|before, _| before.is_none())),
        ("changed", of(|before, value| before.is_some_and(|before| before != value))),
        ("unset", gone),
    ]
    .into_iter()
    .filter(|(_, found)| !found.is_empty())
    .map(|(what, found)| format!("{what:<10}{}", names(&found)))
    .collect();
    let same = of(|before, value| before == Some(value)).len();
    if same > 0 {
        lines.push(format!("{:<10}{same}", "unchanged"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_told_by_name_and_never_by_value() {
        let config = |text: &str| dotenv::read(text.as_bytes()).unwrap();
        let (before, new) = (config("A=s3cret\nB=s3cret\nC=s3cret"), config("A=s3cret\nB=s3cret2\nD=s3cret"));
        assert_eq!(diff(&before, &new, Rest::Stays), ["added     D", "changed   B", "unchanged 1"]);
        assert_eq!(diff(&before, &new, Rest::IsUnset), ["added     D", "changed   B", "unset     C", "unchanged 1"]);
        assert_eq!(diff(&before, &before, Rest::IsUnset), ["unchanged 3"]);
    }
}
