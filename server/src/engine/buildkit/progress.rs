//! What a build's messages mean: which steps begin, what they print, and which one failed why.
use super::trace::{self, Output, Trace};
use crate::domain::failure::Exit;
use crate::engine::BuildEvent;
use crate::engine::lines::LineSplitter;
use std::collections::HashMap;

/// More steps than this are built, but no longer told of.
const STEPS_MAX: usize = 10_000;

/// A failed build: the step as the Dockerfile writes it, and the reason fit to show.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StepFailure {
    pub(super) step: String,
    pub(super) reason: String,
}

#[derive(Default)]
pub(super) struct Progress {
    steps: HashMap<String, Step>,
    /// The first step that failed by itself, and not because another one did.
    failed: Option<String>,
}

#[derive(Default)]
struct Step {
    name: String,
    told: bool,
    error: String,
    stdout: LineSplitter,
    stderr: LineSplitter,
    last_line: Option<String>,
}

impl Progress {
    /// Takes in a `moby.buildkit.trace` message.
    pub(super) fn note(&mut self, message: &[u8]) -> Result<Vec<BuildEvent>, trace::Malformed> {
        let Trace { vertices, logs } = trace::decode(message)?;
        let mut events = Vec::new();
        for vertex in &vertices {
            self.note_vertex(vertex, &mut events);
        }
        for output in &logs {
            self.note_output(output, &mut events);
        }
        Ok(events)
    }

    fn note_vertex(&mut self, vertex: &trace::Vertex<'_>, events: &mut Vec<BuildEvent>) {
        if self.steps.len() >= STEPS_MAX && !self.steps.contains_key(vertex.digest) {
            return;
        }
        let step = self.steps.entry(vertex.digest.to_owned()).or_default();
        vertex.name.clone_into(&mut step.name);
        if vertex.started && !step.told && is_worth_telling(vertex.name) {
            step.told = true;
            events.push(BuildEvent::Step { name: instruction_of(vertex.name), cached: vertex.cached });
        }
        if vertex.error.is_empty() || !step.error.is_empty() {
            return;
        }
        vertex.error.clone_into(&mut step.error);
        step.finish_lines(events);
        if self.failed.is_none() && !vertex.error.contains("context canceled") {
            self.failed = Some(vertex.digest.to_owned());
        }
    }

    fn note_output(&mut self, output: &Output<'_>, events: &mut Vec<BuildEvent>) {
        let Some(step) = self.steps.get_mut(output.vertex) else { return };
        let splitter = if output.stream == 2 { &mut step.stderr } else { &mut step.stdout };
        let last_line = &mut step.last_line;
        splitter.push(output.bytes, |line| {
            if !line.trim().is_empty() {
                *last_line = Some(line.clone());
            }
            events.push(BuildEvent::Line(line));
        });
    }

    /// The unfinished last lines of all steps, once the build has ended.
    pub(super) fn finish(&mut self) -> Vec<BuildEvent> {
        let mut events = Vec::new();
        for step in self.steps.values_mut() {
            step.finish_lines(&mut events);
        }
        events
    }

    /// Says which step an error of the whole build belongs to.
    pub(super) fn failure(&self, error: &str) -> StepFailure {
        let failed = self.failed.as_ref().and_then(|digest| self.steps.get(digest));
        match failed {
            Some(step) => StepFailure { step: instruction_of(&step.name), reason: step.reason() },
            None => StepFailure { step: "Dockerfile".to_owned(), reason: plain_reason(error) },
        }
    }
}

impl Step {
    fn finish_lines(&mut self, events: &mut Vec<BuildEvent>) {
        for line in [self.stdout.finish(), self.stderr.finish()].into_iter().flatten() {
            if !line.trim().is_empty() {
                self.last_line = Some(line.clone());
            }
            events.push(BuildEvent::Line(line));
        }
    }

    /// How it ended, and its last words: those mostly name the cause.
    fn reason(&self) -> String {
        let ending = match exit_status(&self.error) {
            Some(status) => Exit::Status(status).to_string(),
            None => plain_reason(&self.error),
        };
        match &self.last_line {
            Some(line) => format!("{ending}: {}", line.trim()),
            None => ending,
        }
    }
}

/// BuildKit's own doings (`[internal] …`, `copy /context /`) are noise; making the image can take long.
fn is_worth_telling(name: &str) -> bool {
    (name.starts_with('[') && !name.starts_with("[internal]")) || name == "exporting to image"
}

/// `[build 2/3] RUN npm ci` → `RUN npm ci`; what BuildKit does on behalf of an instruction → that instruction.
fn instruction_of(name: &str) -> String {
    let inner = match name.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_stage, instruction)) => instruction,
        None => name,
    };
    inner.strip_prefix("load metadata for ").map_or_else(|| inner.to_owned(), |image| format!("FROM {image}"))
}

/// The status in `executor failed running [/bin/sh -c …]: exit code: 3` and its newer wordings.
fn exit_status(error: &str) -> Option<i32> {
    let (_, number) = error.rsplit_once("exit code: ")?;
    number.trim().parse().ok()
}

/// Cuts what only speaks of BuildKit's insides, and paths of its temporary files.
fn plain_reason(error: &str) -> String {
    const WRAPPINGS: [&str; 5] = [
        "failed to solve with frontend dockerfile.v0: ",
        "failed to solve: ",
        "rpc error: code = Unknown desc = ",
        "failed to create LLB definition: ",
        "failed to compute cache key: ",
    ];
    let mut reason = error;
    while let Some(rest) = WRAPPINGS.iter().find_map(|wrapping| reason.strip_prefix(wrapping)) {
        reason = rest;
    }
    if let Some((before, after)) = reason.split_once("/var/lib/docker/tmp/") {
        let file = after.split_once('/').map_or(after, |(_folder, file)| file);
        return format!("{before}{file}");
    }
    reason.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length-delimited protobuf field, shorter than 128 bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![(number << 3) | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    fn vertex(digest: &str, name: &str, error: &str) -> Vec<u8> {
        let mut vertex = [field(1, digest.as_bytes()), field(3, name.as_bytes()), field(5, b"")].concat();
        if !error.is_empty() {
            vertex.extend(field(7, error.as_bytes()));
        }
        field(1, &vertex)
    }

    fn output(digest: &str, stream: u8, text: &str) -> Vec<u8> {
        field(3, &[field(1, digest.as_bytes()), vec![0x18, stream], field(4, text.as_bytes())].concat())
    }

    fn step(name: &str) -> BuildEvent {
        BuildEvent::Step { name: name.to_owned(), cached: false }
    }

    #[test]
    fn a_step_is_told_once_and_the_builders_own_never() {
        let mut progress = Progress::default();
        let message = [
            vertex("a", "[internal] load build definition from Dockerfile", ""),
            vertex("b", "copy /context /", ""),
            vertex("c", "[build 2/3] RUN npm ci", ""),
            vertex("c", "[build 2/3] RUN npm ci", ""),
            vertex("d", "exporting to image", ""),
        ]
        .concat();
        assert_eq!(progress.note(&message).unwrap(), [step("RUN npm ci"), step("exporting to image")]);
        assert_eq!(progress.note(&message).unwrap(), []);
    }

    #[test]
    fn a_failed_step_says_how_it_ended_and_its_last_words() {
        let mut progress = Progress::default();
        let name = "[2/2] RUN make";
        progress.note(&[vertex("a", name, ""), output("a", 1, "one\ntw"), output("a", 2, "boom")].concat()).unwrap();
        let error = "executor failed running [/bin/sh -c make]: exit code: 2";
        let events = progress.note(&vertex("a", name, error)).unwrap();
        assert_eq!(events, [BuildEvent::Line("tw".to_owned()), BuildEvent::Line("boom".to_owned())]);
        let failure = progress.failure(error);
        assert_eq!((failure.step.as_str(), failure.reason.as_str()), ("RUN make", "exited with status 2: boom"));
    }

    #[test]
    fn steps_that_were_cancelled_by_the_failure_of_another_are_not_blamed() {
        let mut progress = Progress::default();
        progress.note(&vertex("a", "[one 2/2] RUN a", "failed: context canceled")).unwrap();
        progress.note(&vertex("b", "[two 2/2] RUN b", "x: exit code: 137")).unwrap();
        let failure = progress.failure("x");
        assert_eq!((failure.step.as_str(), failure.reason.as_str()), ("RUN b", "was killed by signal 9"));
    }

    #[test]
    fn an_error_without_a_step_is_the_dockerfiles() {
        let refuse = |error: &str| Progress::default().failure(error).reason;
        let parse = "failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse error line 2: unknown instruction: FOO";
        assert_eq!(refuse(parse), "dockerfile parse error line 2: unknown instruction: FOO");
        let missing = "failed to solve with frontend dockerfile.v0: failed to read dockerfile: open /var/lib/docker/tmp/buildkit-mount1400/nope: no such file or directory";
        assert_eq!(refuse(missing), "failed to read dockerfile: open nope: no such file or directory");
    }

    #[test]
    fn a_base_image_that_cannot_be_had_is_the_from_lines_matter() {
        let mut progress = Progress::default();
        progress.note(&vertex("a", "[internal] load metadata for nope.invalid/x:latest", "no such host")).unwrap();
        let failure = progress.failure("whatever");
        assert_eq!((failure.step.as_str(), failure.reason.as_str()), ("FROM nope.invalid/x:latest", "no such host"));
    }
}
