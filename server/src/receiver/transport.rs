//! Runs git on a channel: a push comes in, a clone goes out. Bytes stream through with back-pressure on both sides.
use super::connection::Call;
use super::console::{STANDARD_ERROR, finish, refuse};
use super::pushes::{Push, Pushes};
use super::shallow::ShallowRoots;
use super::{Room, child};
use crate::domain::AppName;
use crate::domain::name::NameError;
use bytes::BytesMut;
use russh::server::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};

/// Bytes read from git at a time: what fits into one packet.
const CHUNK_BYTES: usize = 32 << 10;
/// git did not get as far as an exit status of its own.
const FAILED: u8 = 1;

/// `git-receive-pack`: a push to an app, which is made by its first one.
pub(super) async fn receive(call: Call, name: AppName) {
    if call.room.settings.reserved_names.iter().any(|reserved| reserved == name.as_str()) {
        let error = NameError::AppReserved(name.to_string());
        return refuse(call, format!("paas: cannot push to `{name}`: {error}\n"), FAILED).await;
    }
    let room = Arc::clone(&call.room);
    match Pushes::begin(&room, &name, call.caller.clone(), call.left.clone()).await {
        Ok((push, repo)) => {
            let protocol = call.git_protocol.as_deref();
            let started = child::receive_pack(&room.settings, &repo, protocol, push.token());
            run(call, started, Some((repo, &push))).await;
            Pushes::end(&room, &push).await;
        }
        Err(error) => out_of_order(call, &format!("push to {name}"), &error).await,
    }
}

/// `git-upload-pack`: a clone or fetch of an app that exists.
pub(super) async fn upload(call: Call, name: AppName) {
    match clone_source(&call.room, &name).await {
        Ok(Some(repo)) => {
            let started = child::upload_pack(&call.room.settings, &repo, call.git_protocol.as_deref());
            run(call, started, None).await;
        }
        Ok(None) => refuse(call, format!("paas: no such app: {name}\n"), FAILED).await,
        Err(error) => out_of_order(call, &format!("clone of {name}"), &error).await,
    }
}

/// The repository of an app that more than an unfinished first push stands behind.
async fn clone_source(room: &Room, name: &AppName) -> anyhow::Result<Option<PathBuf>> {
    let apps = room.neighbours.store.apps().await?;
    apps.iter().find(|app| app.name == *name).map(|app| room.neighbours.repos.ensure(&app.key)).transpose()
}

async fn out_of_order(call: Call, what: &str, error: &anyhow::Error) {
    tracing::error!("{what} failed: {error:#}");
    refuse(call, format!("paas: the {what} failed: {error:#}\npaas: run `paas server:doctor` on the host\n"), FAILED)
        .await;
}

/// Streams between the channel and git until git ends or the client leaves.
async fn run(call: Call, started: anyhow::Result<Child>, push: Option<(PathBuf, &Arc<Push>)>) {
    let mut git = match started {
        Ok(git) => git,
        Err(error) => return out_of_order(call, "git request", &error).await,
    };
    let (Some(stdin), Some(stdout), Some(stderr)) = (git.stdin.take(), git.stdout.take(), git.stderr.take()) else {
        return;
    };
    let (mut read, write) = call.channel.split();
    let mut roots = push.map(|(repo, push)| ShallowRoots::new(repo, Arc::clone(push)));
    let ended = tokio::select! {
        ended = async {
            tokio::join!(copy(stdout, &write, None), copy(stderr, &write, Some(STANDARD_ERROR)));
            git.wait().await
        } => Some(ended),
        trouble = feed(&mut read, stdin, roots.as_mut()) => {
            if let Err(error) = trouble {
                let text = format!("paas: {error:#}\n");
                call.left.run_until_cancelled(write.extended_data_bytes(STANDARD_ERROR, text)).await;
            }
            None
        }
        () = call.left.cancelled() => None,
    };
    let code = if let Some(Ok(status)) = ended {
        status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
    } else {
        child::terminate(&mut git).await;
        FAILED
    };
    finish(&write, code, &call.left).await;
}

/// Passes the client's bytes on to git; returns when the client has left, or sent what cannot be passed on.
async fn feed(
    read: &mut ChannelReadHalf,
    stdin: ChildStdin,
    mut roots: Option<&mut ShallowRoots>,
) -> anyhow::Result<()> {
    let mut stdin = Some(stdin);
    loop {
        match read.wait().await {
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
async fn copy(mut from: impl AsyncRead + Unpin, to: &ChannelWriteHalf<Msg>, stream: Option<u32>) {
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        let Ok(1..) = from.read_buf(&mut chunk).await else { return };
        let sent = match stream {
            None => to.data_bytes(chunk).await,
            Some(stream) => to.extended_data_bytes(stream, chunk).await,
        };
        if sent.is_err() {
            return;
        }
    }
}
