//! `keys`: list, add, remove.
use super::grammar::Form;
use super::table::{print, print_json};
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::logs::timestamp;
use serde::Serialize;

/// A key file may be this long.
const KEY_BYTES_MAX: usize = 16 << 10;
const NAME_LENGTH_MAX: usize = 64;

/// Reads one line of an `id_….pub` file: (fingerprint, key without comment). Given by the receiver, which knows SSH.
pub type KeyParser = fn(&str) -> Result<(String, String), String>;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List the SSH keys that may push and command
    #[command(name = "keys:list", visible_alias = "keys")]
    List(Form),
    /// Add an SSH public key, read from standard input
    #[command(name = "keys:add", after_help = "Example: paas keys:add laptop < ~/.ssh/id_ed25519.pub")]
    Add {
        /// A name for the key, such as the machine it is on
        name: String,
    },
    /// Remove a key and end its sessions
    #[command(name = "keys:remove")]
    Remove {
        /// Name or fingerprint of the key
        name: String,
    },
}

#[derive(Serialize)]
struct KeyView {
    name: String,
    fingerprint: String,
    added_at: String,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::List(_) => Permission::ReadServer,
            Self::Add { .. } | Self::Remove { .. } => Permission::ChangeServer,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &mut Console) -> Done {
        match self {
            Self::List(form) => list(context, console, *form).await,
            Self::Add { name } => add(context, console, name).await,
            Self::Remove { name } => {
                let key = context.tools.store.remove_key(name).await?;
                console.say(&format!("removed {} ({}); its sessions end", key.name, key.fingerprint)).await;
                Ok(())
            }
        }
    }
}

async fn list(context: &Context, console: &Console, form: Form) -> Done {
    let views: Vec<KeyView> = context
        .tools
        .store
        .keys()
        .await?
        .into_iter()
        .map(|key| KeyView { name: key.name, fingerprint: key.fingerprint, added_at: timestamp(key.added_at) })
        .collect();
    if form.json {
        return print_json(console, &views).await;
    }
    let rows: Vec<Vec<String>> = views.into_iter().map(|v| vec![v.name, v.fingerprint, v.added_at]).collect();
    let empty = "no keys; add one: `paas keys:add laptop < ~/.ssh/id_ed25519.pub`";
    print(console, &["NAME", "FINGERPRINT", "ADDED"], &rows, empty).await;
    Ok(())
}

async fn add(context: &Context, console: &mut Console, name: &str) -> Done {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if name.is_empty() || name.len() > NAME_LENGTH_MAX || name.starts_with('-') || !name.chars().all(is_plain) {
        return Err(CommandError::new(format!(
            "a key's name holds letters, digits and - _ . @ (at most {NAME_LENGTH_MAX}), such as `laptop`"
        )));
    }
    let bytes = console.read_all(KEY_BYTES_MAX).await.ok_or_else(|| CommandError::new("that is too long for a key"))?;
    let text = String::from_utf8(bytes).map_err(|_| CommandError::new("that is no text; give the .pub file"))?;
    if text.trim().is_empty() {
        return Err(CommandError::new("no key on standard input")
            .next(format!("run `paas keys:add {name} < ~/.ssh/id_ed25519.pub`")));
    }
    let (fingerprint, public_key) = (context.tools.parse_key)(text.trim()).map_err(CommandError::new)?;
    context.tools.store.add_key(name, &fingerprint, &public_key, context.tools.clock.now()).await?;
    console.say(&format!("added {name} ({fingerprint})")).await;
    Ok(())
}
