//! One-off instances of the fake engine. Their command says what they do, a word at its front and one behind it:
//! `echo TEXT` writes a line, `moan TEXT` one of errors, `exit N` ends so, `oom` runs out of memory, `cat` copies its
//! input, `sleep` goes on until it is stopped. Lines are cut at `;` and done in order.
use super::{ContainerId, Exit, FOLLOW_PAUSE, FakeEngine};
use crate::domain::AppId;
use crate::engine::{
    Attachment, EngineError, Keep, ObservedState, OneOffEngine, OneOffSeen, OneOffSpec, Result, Stdio, WindowSize,
    Written,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt as _, DuplexStream};
use tokio::sync::mpsc;

const PIPE_BYTES: usize = 64 << 10;
/// Chunks that wait for a reader.
const QUEUE_CHUNKS: usize = 16;

/// What the world keeps of a one-off beside its instance.
#[derive(Clone)]
pub(super) struct OneOff {
    words: Option<Vec<String>>,
    keep: Keep,
    is_started: bool,
    pub(super) size: Option<WindowSize>,
    /// Its ends of the pipes, until it starts.
    pipes: Arc<Mutex<Option<Pipes>>>,
}

struct Pipes {
    input: DuplexStream,
    output: mpsc::Sender<Written>,
}

#[async_trait]
impl OneOffEngine for FakeEngine {
    async fn create_one_off(&self, spec: &OneOffSpec) -> Result<ContainerId> {
        let one_off =
            OneOff { words: spec.words.clone(), keep: spec.keep, is_started: false, size: None, pipes: Arc::default() };
        Ok(self.reach()?.add_one_off(spec.instance.clone(), one_off, self.clock.now()))
    }

    async fn attach(&self, id: &ContainerId, _stdio: Stdio) -> Result<Attachment> {
        let world = self.reach()?;
        let one_off = world.one_off(id)?;
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let (output, from) = mpsc::channel(QUEUE_CHUNKS);
        *one_off.pipes.lock().unwrap_or_else(PoisonError::into_inner) = Some(Pipes { input: theirs, output });
        let output = stream::unfold(from, |mut from| async { from.recv().await.map(|written| (Ok(written), from)) });
        Ok(Attachment { input: Box::new(ours), output: Box::pin(output) })
    }

    async fn start_one_off(&self, id: &ContainerId) -> Result<()> {
        let mut world = self.reach()?;
        let instance = world.instances.get_mut(id).ok_or(EngineError::Missing("container"))?;
        let line = instance.spec.shell_command.clone();
        let Some(one_off) = &mut instance.one_off else { return Err(EngineError::Missing("container")) };
        one_off.is_started = true;
        let line = one_off.words.as_ref().map(|words| words.join(" ")).or(line).unwrap_or_default();
        let pipes = one_off.pipes.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (cut, close, tracker) = (instance.cut.clone(), instance.close.clone(), instance.connections.clone());
        drop(world);
        let (engine, id) = (self.clone(), id.clone());
        tracker.spawn(async move {
            tokio::select! {
                exit = live(&engine, &id, &line, pipes) => engine.end(&id, exit),
                () = cut.cancelled() => {}
                () = close.cancelled() => {}
            }
        });
        Ok(())
    }

    async fn resize(&self, id: &ContainerId, size: WindowSize) -> Result<()> {
        let mut world = self.reach()?;
        let instance = world.instances.get_mut(id).ok_or(EngineError::Missing("container"))?;
        instance.one_off.as_mut().ok_or(EngineError::Missing("container"))?.size = Some(size);
        Ok(())
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit> {
        loop {
            if let Ok(world) = self.reach() {
                let instance = world.instances.get(id).ok_or(EngineError::Missing("container"))?;
                if let ObservedState::Exited { exit, .. } = instance.state() {
                    return Ok(*exit);
                }
            }
            tokio::time::sleep(FOLLOW_PAUSE).await;
        }
    }

    async fn one_offs(&self, app: Option<AppId>) -> Result<Vec<OneOffSeen>> {
        let world = self.reach()?;
        let wanted = world.instances.iter().filter(|(_, one)| app.is_none_or(|app| one.spec.app == app));
        let seen = wanted.filter_map(|(id, one)| {
            let one_off = one.one_off.as_ref()?;
            Some(OneOffSeen {
                id: id.clone(),
                app: one.spec.app,
                release: one.spec.release,
                name: one.spec.slot.clone(),
                keep: one_off.keep,
                created_at: one.created_at,
                state: if one_off.is_started { one.state().clone() } else { ObservedState::Created },
            })
        });
        Ok(seen.collect())
    }
}

/// Does what the line says.
async fn live(engine: &FakeEngine, id: &ContainerId, line: &str, pipes: Option<Pipes>) -> Exit {
    let (mut input, output) = pipes.map(|pipes| (pipes.input, pipes.output)).unzip();
    let write = async |written: Written| match &output {
        // Nobody reads any more: so be it.
        Some(output) => drop(output.send(written).await),
        None => {
            let (Written::Output(bytes) | Written::Error(bytes)) = written;
            engine.world().write(id, engine.clock.now(), String::from_utf8_lossy(&bytes).trim_end().to_owned());
        }
    };
    for step in line.split(';').map(str::trim) {
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        match verb {
            "echo" => write(Written::Output(Bytes::from(format!("{rest}\n")))).await,
            "moan" => write(Written::Error(Bytes::from(format!("{rest}\n")))).await,
            "exit" => return Exit::Status(rest.parse().unwrap_or(1)),
            "oom" => return Exit::OutOfMemory,
            "sleep" => std::future::pending().await,
            "cat" => {
                let mut chunk = vec![0; 1024];
                while let Some(input) = &mut input {
                    let count = input.read(&mut chunk).await.unwrap_or(0);
                    if count == 0 {
                        break;
                    }
                    write(Written::Output(Bytes::copy_from_slice(&chunk[..count]))).await;
                }
            }
            _unknown => return Exit::Status(127),
        }
    }
    Exit::Status(0)
}
