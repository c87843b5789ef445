//! Where the hooks of running pushes ask: rules on their refs, and deploys them.
use super::frames::{Answer, FromHook, RefCommands, ToHook};
use super::limits::{FRAME_BYTES_MAX, HOOK_HELLO, STOP_GRACE, TREE_CHECK};
use super::pushes::{Checked, Outcome, Push};
use super::ref_rules::{Ruling, rule};
use super::{ReceiverSettings, Room, deploy, hook};
use crate::builder::FINDINGS_MAX;
use crate::domain::RefMove;
use crate::files::{listen_alone, remove_if_there};
use anyhow::{Context, bail};
use futures_util::StreamExt;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::codec::{FramedRead, LinesCodec};

pub(super) fn hooks_dir(settings: &ReceiverSettings) -> PathBuf {
    settings.run_dir.join("hooks")
}

pub(super) fn path(settings: &ReceiverSettings) -> PathBuf {
    settings.run_dir.join("hook.sock")
}

/// Puts the hooks in place and opens the socket; what an earlier process left is replaced.
pub(super) fn open(settings: &ReceiverSettings) -> anyhow::Result<UnixListener> {
    let hooks = hooks_dir(settings);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&hooks)
        .with_context(|| format!("make the folder {}", hooks.display()))?;
    for name in hook::NAMES {
        let link = hooks.join(name);
        remove_if_there(&link)?;
        symlink(&settings.program, &link).with_context(|| format!("make the hook {}", link.display()))?;
    }
    let socket = path(settings);
    listen_alone(&socket).context("open the hook socket")
}

pub(super) async fn serve(room: Arc<Room>, listener: UnixListener) {
    // A little longer than the stop: pushes still have to hear how they ended.
    let closing = async {
        room.stop.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::pin!(closing);
    loop {
        tokio::select! {
            () = &mut closing => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    room.tracker.spawn(attend(Arc::clone(&room), stream));
                }
                Err(error) => {
                    tracing::warn!("could not accept a hook: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

/// Talks with one hook.
async fn attend(room: Arc<Room>, stream: UnixStream) {
    let is_ours = stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw());
    if !is_ours {
        return tracing::warn!("refused another user's process at the hook socket");
    }
    let mut talk = Talk::new(stream);
    if let Err(error) = converse(&room, &mut talk).await {
        tracing::warn!("a hook's push could not go on: {error:#}");
        let _ = talk.say(&ToHook::Sorry { reason: format!("{error:#}") }).await;
    }
}

async fn converse(room: &Arc<Room>, talk: &mut Talk) -> anyhow::Result<()> {
    let hello = tokio::time::timeout(HOOK_HELLO, talk.hear()).await.context("the hook said nothing")??;
    match hello {
        FromHook::Check { token, commands } => {
            let push = push_of(room, &token)?;
            let sentences = check(room, talk, &push, commands).await?;
            talk.say(&ToHook::Noted { sentences }).await
        }
        FromHook::Deploy { token, commands } => {
            let push = push_of(room, &token)?;
            let answers = answers(room, talk, &push, &commands).await;
            talk.say(&ToHook::Answers { answers }).await
        }
        FromHook::Findings { .. } => bail!("the hook began in the middle"),
    }
}

fn push_of(room: &Room, token: &str) -> anyhow::Result<Arc<Push>> {
    room.pushes.find(token).context("this push is over; push again")
}

/// Rules on the refs, lets the hook look at the tree, and keeps what came out; gives what the pusher is to read.
async fn check(room: &Room, talk: &mut Talk, push: &Push, commands: RefCommands) -> anyhow::Result<Vec<String>> {
    let app = room.neighbours.store.app_by_id(push.app.id).await?;
    let (outcome, sentences) = match rule(&app, &commands) {
        Ruling::Refuse(reasons) => {
            let mut sentences = Vec::new();
            for reason in &reasons {
                if sentences.len() < FINDINGS_MAX && !sentences.contains(reason) {
                    sentences.push(reason.clone());
                }
            }
            (Outcome::Refused(reasons), sentences)
        }
        Ruling::Deploy(moves) => inspect(room, talk, moves).await?,
    };
    push.note(Checked { commands, outcome });
    Ok(sentences)
}

async fn inspect(room: &Room, talk: &mut Talk, moves: RefMove) -> anyhow::Result<(Outcome, Vec<String>)> {
    let (limits, fetch_allow) = (room.settings.limits.tree.clone(), room.settings.fetch_allow.clone());
    talk.say(&ToHook::Inspect { commit: moves.new.clone(), limits, fetch_allow }).await?;
    let said = tokio::time::timeout(TREE_CHECK, talk.hear()).await.context("looking at the tree took too long")??;
    let FromHook::Findings { sentences } = said else { bail!("the hook did not say what it found") };
    let outcome = match &sentences[..] {
        [] => Outcome::Deploy(moves),
        [only] => Outcome::Refused(vec![only.clone()]),
        [first, more @ ..] => Outcome::Refused(vec![format!("{first} (and {} more, see above)", more.len())]),
    };
    Ok((outcome, sentences))
}

/// An answer for each ref that the hook tells of.
async fn answers(room: &Arc<Room>, talk: &mut Talk, push: &Push, commands: &RefCommands) -> Vec<Answer> {
    let refuse_all = |reason: &str| vec![Answer::Refused { reason: reason.to_owned() }; commands.told.len()];
    let Some(checked) = push.take_checked() else { return refuse_all("the push was not checked; push again") };
    match checked.outcome {
        Outcome::Deploy(moves) if *commands == checked.commands => vec![deploy::run(room, talk, push, moves).await],
        Outcome::Deploy(_) => refuse_all("the push changed after it was checked; push again"),
        Outcome::Refused(reasons) => commands
            .told
            .iter()
            .map(|command| {
                let at = checked.commands.told.iter().position(|checked| checked == command);
                let reason = at.and_then(|at| reasons.get(at)).cloned();
                Answer::Refused { reason: reason.unwrap_or_else(|| "refused together with the others".to_owned()) }
            })
            .collect(),
    }
}

/// The server's end of a conversation with a hook.
pub(super) struct Talk {
    from: FramedRead<OwnedReadHalf, LinesCodec>,
    to: OwnedWriteHalf,
}

impl Talk {
    fn new(stream: UnixStream) -> Self {
        let (from, to) = stream.into_split();
        Self { from: FramedRead::new(from, LinesCodec::new_with_max_length(FRAME_BYTES_MAX)), to }
    }

    async fn hear(&mut self) -> anyhow::Result<FromHook> {
        let line = self.from.next().await.context("the hook has left")??;
        serde_json::from_str(&line).context("read what a hook says")
    }

    /// Waits until the hook has left. It has nothing to say while it waits for its answers.
    pub(super) async fn gone(&mut self) {
        let _ = self.from.next().await;
    }

    pub(super) async fn say(&mut self, frame: &ToHook) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(frame)?;
        line.push(b'\n');
        self.to.write_all(&line).await.context("the hook has left")
    }
}
