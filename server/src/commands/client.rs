//! `paas` on the host: hands its words, its standard input and its terminal over to the server, and shows what comes back.
use super::raw_terminal::{RawTerminal, window_size};
use super::socket::{Answer, Input, Reader, Request, SOCKET, Window, Writer, framed, read, write};
use crate::console::with_returns;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::io::IsTerminal;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

const CHUNK_BYTES: usize = 32 << 10;
/// Exit code when the server cannot be reached.
const UNREACHABLE: u8 = 1;
/// The exit code of a program that a signal ended is the signal's number and this.
const BY_SIGNAL: u8 = 128;

/// What to ask, and from where.
pub struct Ask {
    pub words: Vec<String>,
    /// The command runs a program that reads what is typed, and may take the terminal.
    pub is_program: bool,
    /// TERM, for such a program.
    pub term: Option<String>,
    /// What else was looked for before the server on this host.
    pub looked_for: Option<String>,
}

/// Runs a command line in the server on this host and returns its exit code.
pub async fn ask(data_dir: &Path, ask: Ask) -> u8 {
    let path = data_dir.join("run").join(SOCKET);
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) => {
            let text = format!(
                "paas: cannot reach the server at {}: {error}\n      start it with `paas server`, or name its folder: `paas --data-dir DIR …`\n{}",
                path.display(),
                ask.looked_for.map_or_else(String::new, |also| format!("      {also}\n"))
            );
            // Nobody is left to tell when standard error is gone.
            let _ = complain(text.as_bytes()).await;
            return UNREACHABLE;
        }
    };
    let talked = tokio::select! {
        talked = talk(stream, ask) => talked,
        // What was raw is restored when the talk is dropped.
        signalled = ending_signal() => signalled.map(|number| BY_SIGNAL + number),
    };
    match talked {
        Ok(code) => code,
        Err(error) => {
            let _ = complain(format!("paas: lost the server: {error:#}\n").as_bytes()).await;
            UNREACHABLE
        }
    }
}

/// The number of the signal that ends us.
async fn ending_signal() -> anyhow::Result<u8> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = hangup.recv() => Ok(1),
        _ = interrupt.recv() => Ok(2),
        _ = terminate.recv() => Ok(15),
    }
}

/// To standard error, and out of tokio's hands before the process may end.
async fn complain(text: &[u8]) -> std::io::Result<()> {
    let mut err = tokio::io::stderr();
    err.write_all(text).await?;
    err.flush().await
}

async fn talk(stream: UnixStream, ask: Ask) -> anyhow::Result<u8> {
    let (reader, mut writer) = framed(stream);
    let terminal = std::io::stdin().is_terminal();
    let takes_terminal = ask.is_program && terminal && std::io::stdout().is_terminal();
    let window = window_size().filter(|_| takes_terminal).map(|size| Window {
        name: ask.term.unwrap_or_else(|| "dumb".to_owned()),
        columns: size.columns,
        rows: size.rows,
    });
    let has_window = window.is_some();
    write(&mut writer, &Request { words: ask.words, terminal, window }).await?;
    let feeding = async {
        // Nobody types the input of a command that is none of a program's.
        if !terminal || ask.is_program {
            feed(&mut writer, has_window).await?;
        }
        // A server that has hung up says so to the other half.
        let _ = write(&mut writer, &Input::End).await;
        std::future::pending::<anyhow::Result<u8>>().await
    };
    tokio::select! {
        code = show(reader) => code,
        fault = feeding => fault,
    }
}

/// Passes standard input on, and the terminal's size when it changes, until input ends.
async fn feed(writer: &mut Writer, has_window: bool) -> anyhow::Result<()> {
    let mut input = tokio::io::stdin();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut resized = signal(SignalKind::window_change())?;
    loop {
        let frame = tokio::select! {
            read = input.read(&mut buffer) => match read {
                Ok(count @ 1..) => Input::Chunk(BASE64.encode(&buffer[..count])),
                Ok(0) | Err(_) => return Ok(()),
            },
            _ = resized.recv(), if has_window => match window_size() {
                Some(size) => Input::Size { columns: size.columns, rows: size.rows },
                None => continue,
            },
        };
        if write(writer, &frame).await.is_err() {
            return Ok(());
        }
    }
}

/// Shows what the server says until it gives the exit code.
async fn show(mut reader: Reader) -> anyhow::Result<u8> {
    let mut raw = None;
    while let Some(answer) = read::<Answer>(&mut reader).await? {
        match answer {
            Answer::Standard(text) => {
                let mut out = tokio::io::stdout();
                out.write_all(&BASE64.decode(text)?).await?;
                out.flush().await?;
            }
            Answer::Error(text) if raw.is_some() => complain(&with_returns(&BASE64.decode(text)?)).await?,
            Answer::Error(text) => complain(&BASE64.decode(text)?).await?,
            Answer::TerminalTaken => raw = Some(RawTerminal::take()?),
            Answer::Exit(code) => return Ok(code),
        }
    }
    anyhow::bail!("it closed the connection")
}
