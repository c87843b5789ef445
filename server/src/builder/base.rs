//! `debian:trixie-slim`, wherever it can be had: local, from a registry, or made from the Debian archive.
use crate::engine::Engine;
use anyhow::{Context, bail};
use bytes::Bytes;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

pub(super) const BASE: &str = "debian:trixie-slim";
/// A registry that does not answer in this time is taken for out of reach.
const PULL_TIMEOUT: Duration = Duration::from_mins(1);
const CHUNK_BYTES: usize = 256 << 10;
const QUEUE_CHUNKS: usize = 16;
/// Last bytes of mmdebstrap's complaints that are kept.
const COMPLAINT_BYTES: u64 = 4096;

/// Makes sure that the engine has the base image; says what it does through `say`.
pub(super) async fn ensure(engine: &dyn Engine, say: &(dyn Fn(&str) + Send + Sync)) -> anyhow::Result<()> {
    if engine.image(BASE).await?.is_some() {
        return Ok(());
    }
    say(&format!("-----> Getting {BASE} (once)"));
    let refusal = match tokio::time::timeout(PULL_TIMEOUT, engine.pull(BASE)).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_elapsed) => format!("no answer within {} s", PULL_TIMEOUT.as_secs()),
    };
    say("       no registry has it; making it from the Debian archive with mmdebstrap");
    bootstrap(engine).await.with_context(|| format!("make {BASE} (a registry said: {refusal})"))
}

#[expect(clippy::disallowed_methods, reason = "mmdebstrap by fixed argv; no word of it comes from a user")]
async fn bootstrap(engine: &dyn Engine) -> anyhow::Result<()> {
    let mut child = tokio::process::Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", "--format=tar", "trixie", "-"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("start mmdebstrap; run `apt-get install mmdebstrap`, or pull the image yourself")?;
    let (mut tar, complaints) = (child.stdout.take().context("read mmdebstrap")?, child.stderr.take());
    let (to, from) = mpsc::channel(QUEUE_CHUNKS);
    let feed = async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let read = tar.read(&mut buffer).await?;
            if read == 0 || to.send(Ok(Bytes::copy_from_slice(&buffer[..read]))).await.is_err() {
                return anyhow::Ok(());
            }
        }
    };
    let listen = async move {
        let mut text = String::new();
        if let Some(complaints) = complaints {
            // What is not UTF-8 is no sentence anyway.
            let _ = complaints.take(COMPLAINT_BYTES).read_to_string(&mut text).await;
        }
        text
    };
    // A tar that breaks off must not become the base image: it gets its name only when mmdebstrap ended well.
    let (imported, fed, said) = tokio::join!(engine.import("paas-stack/debootstrap:latest", from), feed, listen);
    fed.context("read mmdebstrap")?;
    let status = child.wait().await?;
    if !status.success() {
        bail!("mmdebstrap failed ({status}): {}", said.trim());
    }
    let image = imported?;
    engine.tag(&image, BASE).await?;
    engine.remove_image("paas-stack/debootstrap:latest").await?;
    Ok(())
}
