//! `backups`: create, list, verify. `backups:restore` runs without a server, on the host.
use super::grammar::Form;
use super::table::{print, print_json};
use super::{CommandError, Context, Done, Permission};
use crate::backups::{BackupName, Entry, StoodStill};
use crate::console::{Console, Output};
use crate::logs::timestamp;
use bytes::Bytes;
use serde::Serialize;
use std::io::{self, Write};
use tokio::sync::mpsc;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List the backups, newest first
    #[command(name = "backups:list", visible_alias = "backups")]
    List(Form),
    /// Back up database, repositories and keys, and read the backup back
    #[command(
        name = "backups:create",
        after_help = "The newest 7 stay in DATA_DIR/backups.\nExample: ssh -p 2222 paas@HOST backups:create --stdout > paas.tar.gz.age"
    )]
    Create {
        /// Write it to standard output instead
        #[arg(long)]
        stdout: bool,
    },
    /// Read a backup back to its end
    #[command(name = "backups:verify")]
    Verify {
        /// Its name, as `paas backups` lists it
        name: BackupName,
    },
    /// Put a backup in place of the server's state: on the host, while no server runs
    #[command(name = "backups:restore")]
    Restore {
        /// The file
        file: String,
    },
}

#[derive(Serialize)]
struct BackupView {
    name: String,
    state: &'static str,
    made_at: Option<String>,
    made_by: String,
    encrypted_with: String,
    size_bytes: Option<u64>,
    sha256: Option<String>,
    verified_at: Option<String>,
    failure: Option<String>,
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::List(_) => Permission::ReadServer,
            Self::Create { .. } | Self::Verify { .. } | Self::Restore { .. } => Permission::ChangeServer,
        }
    }

    pub(super) async fn run(&self, context: &Context, console: &Console) -> Done {
        match self {
            Self::List(form) => list(context, console, *form).await,
            Self::Create { stdout: false } => create(context, console).await,
            Self::Create { stdout: true } => write_out(context, console).await,
            Self::Verify { name } => {
                let report = context.tools.backups.verify(name).await.map_err(|error| failed(&error))?;
                console.say(&format!("{name} is whole: {}", report.sentence())).await;
                Ok(())
            }
            Self::Restore { .. } => Err(CommandError::new("a server cannot replace its own state")
                .next("on the host: `systemctl stop paas`, then `paas backups:restore FILE` as root")),
        }
    }
}

fn failed(error: &anyhow::Error) -> CommandError {
    CommandError::new(format!("{error:#}")).next("run `paas backups` to see all backups")
}

async fn list(context: &Context, console: &Console, form: Form) -> Done {
    let views: Vec<BackupView> = context.tools.backups.list().await?.into_iter().map(view).collect();
    if form.json {
        return print_json(console, &views).await;
    }
    let row = |v: BackupView| {
        let size = v.size_bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{:.1} MiB", mebibytes(bytes)));
        let detail = v.failure.or(v.verified_at.map(|at| format!("read back {at}"))).unwrap_or_default();
        vec![v.name, v.state.to_owned(), size, v.encrypted_with, v.made_by, detail]
    };
    let rows: Vec<Vec<String>> = views.into_iter().map(row).collect();
    let heads = ["BACKUP", "STATE", "SIZE", "ENCRYPTED WITH", "MADE BY", "DETAIL"];
    print(console, &heads, &rows, "no backups yet; make one: `paas backups:create`").await;
    Ok(())
}

fn view(entry: Entry) -> BackupView {
    let state = match (&entry.failure, entry.verified_at) {
        (Some(_), _) => "failed",
        (None, Some(_)) => "good",
        (None, None) => "unverified",
    };
    BackupView {
        name: entry.name.to_string(),
        state,
        made_at: entry.made_at.map(timestamp),
        made_by: entry.made_by,
        encrypted_with: entry.cipher,
        size_bytes: entry.size_bytes,
        sha256: entry.sha256,
        verified_at: entry.verified_at.map(timestamp),
        failure: entry.failure,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a size to look at")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

async fn create(context: &Context, console: &Console) -> Done {
    let made = context.tools.backups.create(&context.caller.to_string(), false).await;
    let (entry, stood_still) = made.map_err(|error| failed(&error))?;
    let size = mebibytes(entry.size_bytes.unwrap_or(0));
    console
        .say(&format!("made {} ({size:.1} MiB, encrypted with {}) and read it back", entry.name, entry.cipher))
        .await;
    for one in stood_still {
        console.say(&told(&one)).await;
    }
    if entry.cipher == "nothing" {
        console
            .say(&format!(
                "it lacks the sealing key of config vars: keep a copy of {} elsewhere, or set backup_recipient",
                context.tools.data_dir.join("keys/seal.key").display()
            ))
            .await;
    }
    Ok(())
}

async fn write_out(context: &Context, console: &Console) -> Done {
    if console.is_terminal {
        return Err(
            CommandError::new("standard output is a terminal").next("redirect it: `… backups:create --stdout > FILE`")
        );
    }
    let out = Standard { to: console.output.clone() };
    let written = context.tools.backups.write_to(io::BufWriter::with_capacity(32 << 10, out)).await;
    for one in written.map_err(|error| failed(&error))? {
        console.complain(&told(&one)).await;
    }
    console.complain("written; read it back: `paas backups:verify ./FILE`").await;
    Ok(())
}

fn told(one: &StoodStill) -> String {
    format!("{} stood still for {:.1} s while its volumes were copied", one.app, one.took.as_secs_f64())
}

/// Standard output for a thread that blocks.
struct Standard {
    to: mpsc::Sender<Output>,
}

impl Write for Standard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.to.blocking_send(Output::Standard(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
