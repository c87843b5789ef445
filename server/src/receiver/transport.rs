//! Runs git on a channel: a push comes in, a clone goes out. Bytes stream through with back-pressure on both sides.
use super::client::{Client, Speaker, Stream};
use super::connection::Call;
use super::pushes::{Pushes, open_repo};
use super::shallow::ShallowRoots;
use super::{Room, child};
use crate::domain::name::NameError;
use crate::domain::{App, AppName};
use crate::store::StoreError;
use bytes::BytesMut;
use russh::{ChannelMsg, ChannelReadHalf};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};

/// Bytes read from git at a time: what fits into one packet.
const CHUNK_BYTES: usize = 32 << 10;
/// A disk with less room than this takes no push.
const FULL_BELOW_BYTES: u64 = 1 << 20;
/// git did not get as far as an exit status of its own.
const FAILED: u8 = 1;

/// `git-receive-pack`: a push to an app, which is made by its first one.
pub(super) async fn receive(call: Call, name: AppName) {
    let Call { room, caller, git_protocol, mut client, .. } = call;
    if room.settings.reserved_names.iter().any(|reserved| reserved == name.as_str()) {
        let error = NameError::AppReserved(name.to_string());
        return client.refuse(format!("paas: cannot push to `{name}`: {error}\n"), FAILED).await;
    }
    let _under_way = match room.neighbours.duty.begin(&format!("the push to {name}")).await {
        Ok(task) => task,
        Err(relieved) => return client.refuse(format!("paas: {relieved}; push again\n"), FAILED).await,
    };
    // Said before the pack comes, and not when it has filled the disk.
    if let Err(failure) = room.neighbours.intake.make_room(room.neighbours.repos.dir()).await {
        let advice = failure.advice().map(|advice| format!("paas: {advice}\n")).unwrap_or_default();
        return client.refuse(format!("paas: no room for a push to {name}: {failure}\n{advice}"), FAILED).await;
    }
    let (push, repo) = match Pushes::begin(&room, &name, caller, client.left.clone()).await {
        Ok(begun) => begun,
        Err(error) if is_destroying(&error) => return client.refuse(format!("paas: {error}\n"), FAILED).await,
        Err(error) => return out_of_order(client, &format!("push to {name}"), &error).await,
    };
    note_new_name(&room, &client, &name, &push.app).await;
    let roots = ShallowRoots::new(repo.clone(), Arc::clone(&push));
    let started = child::receive_pack(&room.settings, &repo, git_protocol.as_deref(), push.token());
    let ended = match started {
        Ok(git) => Ok(stream(&mut client, git, Some(roots)).await),
        Err(error) => Err(error),
    };
    // git's own words for it are "unpacker error".
    if let Some(complaint) = full_disk(&repo) {
        client.to.say(Stream::Error, complaint).await;
    }
    // Before the pusher's git returns: then what a refused push must not leave behind is gone.
    Pushes::end(&room, &push).await;
    match ended {
        Ok(code) => client.finish(code).await,
        Err(error) => out_of_order(client, &format!("push to {name}"), &error).await,
    }
}

/// What to say of a disk on which no push has room.
fn full_disk(repo: &Path) -> Option<String> {
    let space = rustix::fs::statvfs(repo).ok()?;
    let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
    (free_bytes < FULL_BELOW_BYTES).then(|| {
        let place = repo.parent().unwrap_or(repo).display();
        format!("paas: no space left on the disk of {place}; free some, nothing needs a restart\n")
    })
}

/// `git-upload-pack`: a clone or fetch of an app that exists.
pub(super) async fn upload(call: Call, name: AppName) {
    let Call { room, git_protocol, mut client, .. } = call;
    let _in_use;
    let started = match clone_source(&room, &name).await {
        Ok(Some((app, repo))) => {
            _in_use = room.neighbours.repos.in_use(&app.key).await;
            note_new_name(&room, &client, &name, &app).await;
            child::upload_pack(&room.settings, &repo, git_protocol.as_deref())
        }
        Ok(None) => return client.refuse(format!("paas: no such app: {name}\n"), FAILED).await,
        Err(error) if is_destroying(&error) => return client.refuse(format!("paas: {error}\n"), FAILED).await,
        Err(error) => Err(error),
    };
    match started {
        Ok(git) => {
            let code = stream(&mut client, git, None).await;
            client.finish(code).await;
        }
        Err(error) => out_of_order(client, &format!("clone of {name}"), &error).await,
    }
}

/// The repository of an app that more than an unfinished first push stands behind.
async fn clone_source(room: &Room, name: &AppName) -> anyhow::Result<Option<(App, PathBuf)>> {
    let store = &room.neighbours.store;
    let Some(app) = store.find_app(name).await? else { return Ok(None) };
    if store.provisional_apps().await?.contains(&app.id) {
        return Ok(None);
    }
    let repo = open_repo(room, &app).await?;
    Ok(Some((app, repo)))
}

/// Who came by a former name hears the new one.
async fn note_new_name(room: &Room, client: &Client, asked: &AppName, app: &App) {
    if app.name != *asked {
        let remote = room.settings.site.remote(&app.name);
        let note = format!("paas: {asked} is called {} now; run `git remote set-url paas {remote}`\n", app.name);
        client.to.say(Stream::Error, note).await;
    }
}

fn is_destroying(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::Destroying { .. }))
}

async fn out_of_order(client: Client, what: &str, error: &anyhow::Error) {
    tracing::error!("{what} failed: {error:#}");
    let text = format!("paas: the {what} failed: {error:#}\npaas: run `paas server:doctor` on the host\n");
    client.refuse(text, FAILED).await;
}

/// Streams between the client and git until git ends or the client leaves; gives git's exit code.
async fn stream(client: &mut Client, mut git: Child, roots: Option<ShallowRoots>) -> u8 {
    let (Some(stdin), Some(stdout), Some(stderr)) = (git.stdin.take(), git.stdout.take(), git.stderr.take()) else {
        return FAILED;
    };
    let ended = tokio::select! {
        ended = async {
            tokio::join!(copy(stdout, &client.to, Stream::Output), copy(stderr, &client.to, Stream::Error));
            git.wait().await
        } => Some(ended),
        trouble = feed(&mut client.from, stdin, roots) => {
            if let Err(error) = trouble {
                client.to.say(Stream::Error, format!("paas: {error:#}\n")).await;
            }
            None
        }
        () = client.left.cancelled() => None,
    };
    if let Some(Ok(status)) = ended {
        return status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED);
    }
    child::terminate(&mut git).await;
    FAILED
}

/// Passes the client's bytes on to git; returns when the client has left, or sent what cannot be passed on.
async fn feed(from: &mut ChannelReadHalf, stdin: ChildStdin, mut roots: Option<ShallowRoots>) -> anyhow::Result<()> {
    let mut stdin = Some(stdin);
    loop {
        match from.wait().await {
            Some(ChannelMsg::Data { data }) => {
                let data = match &mut roots {
                    Some(roots) => roots.strain(data).await?,
                    None => data,
                };
                if let Some(open) = &mut stdin
                    && open.write_all(&data).await.is_err()
                {
                    // git has read enough; what still comes is dropped until it has answered.
                    stdin = None;
                }
            }
            Some(ChannelMsg::Eof) => stdin = None,
            Some(ChannelMsg::Close) | None => return Ok(()),
            Some(_) => {}
        }
    }
}

/// Sends what git says, as fast as the client takes it.
async fn copy(mut from: impl AsyncRead + Unpin, to: &Speaker, stream: Stream) {
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        let Ok(1..) = from.read_buf(&mut chunk).await else { return };
        if !to.say(stream, chunk).await {
            return;
        }
    }
}
