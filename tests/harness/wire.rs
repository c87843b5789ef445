//! The way to the container engine, through a socket of the test's own that it can cut and mend: the engine is away for
//! one server then, and nobody else notices.
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const ENGINE: &str = "/var/run/docker.sock";

pub(crate) struct Wire {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    open: Vec<UnixStream>,
}

impl Wire {
    pub(crate) fn lay(folder: &Path) -> Self {
        let path = folder.join("engine.sock");
        let listener = UnixListener::bind(&path).expect("lay a wire to the engine");
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                carry(&shared, &stream);
            }
        });
        Self { path, state }
    }

    /// For `PAAS_DOCKER_HOST`.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Every connection breaks, and new ones break at once.
    pub(crate) fn cut(&self) {
        let mut state = self.state.lock().expect("nobody panics with it");
        state.is_cut = true;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn mend(&self) {
        self.state.lock().expect("nobody panics with it").is_cut = false;
    }
}

fn carry(state: &Mutex<State>, near: &UnixStream) {
    let mut state = state.lock().expect("nobody panics with it");
    if state.is_cut {
        return;
    }
    let far = UnixStream::connect(ENGINE).expect("connect to the engine");
    state.open.retain(|stream| stream.peer_addr().is_ok());
    for (from, to) in [(near, &far), (&far, near)] {
        let (mut from, mut to) = (clone(from), clone(to));
        state.open.push(clone(&from));
        std::thread::spawn(move || {
            let mut buffer = vec![0; 32 << 10];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            // The other direction goes on: a request may be over long before its answer.
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

fn clone(stream: &UnixStream) -> UnixStream {
    stream.try_clone().expect("clone a socket")
}
