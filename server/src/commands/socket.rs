//! The local socket: `paas` on the host talks to the server; the file's permission is the authority.
//!
//! Newline-delimited JSON both ways: the client sends one [`Request`], then [`Input`] chunks; the server answers with
//! [`Answer`]s, the last of which is the exit code.
use super::Commands;
use crate::console::{Console, Output, QUEUE_CHUNKS};
use crate::domain::Pusher;
use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::codec::{FramedRead, FramedWrite, LinesCodec};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Name of the socket in the run folder.
pub const SOCKET: &str = "paas.sock";
/// A frame holds one chunk, encoded; a command line is far shorter.
const FRAME_BYTES_MAX: usize = 256 << 10;
const CHUNK_BYTES: usize = 32 << 10;
/// Exit code when the server cannot be reached.
const UNREACHABLE: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Request {
    words: Vec<String>,
    terminal: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Input {
    /// Base64.
    Chunk(String),
    End,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// Base64.
    Standard(String),
    /// Base64.
    Error(String),
    Exit(u8),
}

type Reader = FramedRead<OwnedReadHalf, LinesCodec>;
type Writer = FramedWrite<OwnedWriteHalf, LinesCodec>;

/// Listens until `stop`. A stale socket of a server that died is replaced; the data folder's lock keeps a second away.
pub fn serve(run_dir: &Path, commands: Commands, tracker: &TaskTracker, stop: CancellationToken) -> anyhow::Result<()> {
    let path = run_dir.join(SOCKET);
    if path.exists() {
        std::fs::remove_file(&path).with_context(|| format!("replace {}", path.display()))?;
    }
    let listener = UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let conversations = tracker.clone();
    tracker.spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else { continue };
            let (commands, stop) = (commands.clone(), stop.clone());
            conversations.spawn(async move {
                if let Err(error) = converse(stream, &commands, &stop).await {
                    tracing::debug!("a local command broke off: {error:#}");
                }
            });
        }
    });
    Ok(())
}

async fn converse(stream: UnixStream, commands: &Commands, stop: &CancellationToken) -> anyhow::Result<()> {
    let caller = Pusher::Host { uid: stream.peer_cred()?.uid() };
    let (mut reader, mut writer) = framed(stream);
    let request: Request = read(&mut reader).await?.context("read a command line")?;
    let (to_input, input) = mpsc::channel(QUEUE_CHUNKS);
    let (output, mut from_output) = mpsc::channel(QUEUE_CHUNKS);
    let left = stop.child_token();
    let console = Console { input, output, is_terminal: request.terminal, left: left.clone() };
    let running = commands.run(request.words, caller, console);
    let listening = async {
        let mut to_input = Some(to_input);
        while let Ok(Some(frame)) = read::<Input>(&mut reader).await {
            match (frame, &to_input) {
                (Input::Chunk(text), Some(to)) => {
                    let Ok(bytes) = BASE64.decode(text) else { break };
                    // A command that reads no input drops its end.
                    let _ = to.send(Bytes::from(bytes)).await;
                }
                (Input::Chunk(_), None) => {}
                (Input::End, _) => to_input = None,
            }
        }
        left.cancel();
        std::future::pending::<()>().await;
    };
    // Owns the receiver: when the client is gone, what the command still says fails at once instead of waiting.
    let speaking = async move {
        while let Some(chunk) = from_output.recv().await {
            let answer = match chunk {
                Output::Standard(bytes) => Answer::Standard(BASE64.encode(bytes)),
                Output::Error(bytes) => Answer::Error(BASE64.encode(bytes)),
            };
            write(&mut writer, &answer).await?;
        }
        anyhow::Ok(writer)
    };
    let both = async { tokio::join!(running, speaking) };
    let (code, mut writer) = tokio::select! {
        (code, spoken) = both => (code, spoken?),
        () = listening => return Ok(()),
    };
    write(&mut writer, &Answer::Exit(code)).await
}

/// The client: runs a command line in the server and returns its exit code.
pub async fn ask(data_dir: &Path, words: Vec<String>, terminal: bool) -> u8 {
    let path = data_dir.join("run").join(SOCKET);
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) => {
            let text = format!(
                "paas: cannot reach the server at {}: {error}\n      start it with `paas server`, or name its folder: `paas --data-dir DIR …`\n",
                path.display()
            );
            // Nobody is left to tell when standard error is gone.
            let _ = complain(text.as_bytes()).await;
            return UNREACHABLE;
        }
    };
    match talk(stream, words, terminal).await {
        Ok(code) => code,
        Err(error) => {
            let _ = complain(format!("paas: lost the server: {error:#}\n").as_bytes()).await;
            UNREACHABLE
        }
    }
}

/// To standard error, and out of tokio's hands before the process may end.
async fn complain(text: &[u8]) -> std::io::Result<()> {
    let mut err = tokio::io::stderr();
    err.write_all(text).await?;
    err.flush().await
}

async fn talk(stream: UnixStream, words: Vec<String>, terminal: bool) -> anyhow::Result<u8> {
    let (mut reader, mut writer) = framed(stream);
    write(&mut writer, &Request { words, terminal }).await?;
    let feeding = async {
        if !terminal {
            let mut input = tokio::io::stdin();
            let mut buffer = vec![0; CHUNK_BYTES];
            loop {
                let read = input.read(&mut buffer).await.unwrap_or(0);
                if read == 0 {
                    break;
                }
                if write(&mut writer, &Input::Chunk(BASE64.encode(&buffer[..read]))).await.is_err() {
                    break;
                }
            }
        }
        let _ = write(&mut writer, &Input::End).await;
        std::future::pending::<()>().await;
    };
    let showing = async {
        while let Some(answer) = read::<Answer>(&mut reader).await? {
            match answer {
                Answer::Standard(text) => {
                    let mut out = tokio::io::stdout();
                    out.write_all(&BASE64.decode(text)?).await?;
                    out.flush().await?;
                }
                Answer::Error(text) => complain(&BASE64.decode(text)?).await?,
                Answer::Exit(code) => return Ok(code),
            }
        }
        anyhow::bail!("it closed the connection")
    };
    tokio::select! {
        code = showing => code,
        () = feeding => anyhow::bail!("standard input ended the command"),
    }
}

fn framed(stream: UnixStream) -> (Reader, Writer) {
    let (reader, writer) = stream.into_split();
    let codec = || LinesCodec::new_with_max_length(FRAME_BYTES_MAX);
    (FramedRead::new(reader, codec()), FramedWrite::new(writer, codec()))
}

async fn read<T: for<'a> Deserialize<'a>>(reader: &mut Reader) -> anyhow::Result<Option<T>> {
    match reader.next().await {
        Some(line) => Ok(Some(serde_json::from_str(&line?)?)),
        None => Ok(None),
    }
}

async fn write(writer: &mut Writer, frame: &impl Serialize) -> anyhow::Result<()> {
    Ok(writer.send(serde_json::to_string(frame)?).await?)
}
