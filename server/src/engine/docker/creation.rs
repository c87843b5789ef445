//! How an instance is made: its name, labels, command and the hardening of security rule R15.
use super::command::shell_line;
use crate::domain::{AppKey, InstallationId};
use crate::engine::{InstanceSpec, Mount, label};
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, MountType, RestartPolicy, RestartPolicyNameEnum,
};
use std::collections::HashMap;

/// What remains of root's powers: enough for images that install files or drop to another user at start.
const CAPABILITIES: [&str; 7] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID", "KILL", "NET_BIND_SERVICE"];
const PROCESSES_MAX: i64 = 512;
/// The engine counts cores in billionths.
const NANO_CPUS_PER_MILLI: i64 = 1_000_000;

/// The container's name; the random part keeps two attempts at one slot apart.
pub(super) fn name(installation: &InstallationId, spec: &InstanceSpec, random: &str) -> String {
    let (installation, key) = (first(installation.as_str(), 8), first(spec.app_key.as_str(), 12));
    format!("paas-{installation}-{key}-{}-{}-{}-{random}", spec.release, spec.slot.process, spec.slot.index)
}

pub(super) fn network_name(installation: &InstallationId, key: &AppKey, random: &str) -> String {
    format!("paas-{}-{}-{random}", first(installation.as_str(), 8), first(key.as_str(), 12))
}

fn first(text: &str, count: usize) -> &str {
    text.get(..count).unwrap_or(text)
}

pub(super) fn body(installation: &InstallationId, spec: &InstanceSpec) -> ContainerCreateBody {
    let command = spec.shell_command.as_deref().map(|line| shell_words(spec, line));
    ContainerCreateBody {
        image: Some(spec.image.to_string()),
        // An empty list, unlike none, overrides the image's entrypoint.
        entrypoint: command.is_some().then(Vec::new),
        cmd: command,
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(labels(installation, spec)),
        // We probe ourselves; an image's own check would only cost processes.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        host_config: Some(host_config(spec)),
        ..ContainerCreateBody::default()
    }
}

/// A line for a shell; for bash where a starter hands it over, as buildpacks expect.
fn shell_words(spec: &InstanceSpec, line: &str) -> Vec<String> {
    let shell = if spec.starter.is_some() { "bash" } else { "sh" };
    started(spec, [shell.to_owned(), "-c".to_owned(), shell_line(line)])
}

/// Words as the starter gets them, if there is one.
pub(super) fn started(spec: &InstanceSpec, words: impl IntoIterator<Item = String>) -> Vec<String> {
    spec.starter.iter().cloned().chain(words).collect()
}

fn labels(installation: &InstallationId, spec: &InstanceSpec) -> HashMap<String, String> {
    HashMap::from([
        (label::INSTALLATION.to_owned(), installation.to_string()),
        (label::APP.to_owned(), spec.app.0.to_string()),
        (label::APP_KEY.to_owned(), spec.app_key.to_string()),
        (label::RELEASE.to_owned(), spec.release.0.to_string()),
        (label::PROCESS.to_owned(), spec.slot.process.to_string()),
        (label::INDEX.to_owned(), spec.slot.index.to_string()),
        (label::EPOCH.to_owned(), spec.epoch.to_string()),
        (label::PROTOCOL.to_owned(), spec.protocol.to_string()),
    ])
}

/// R15. The seccomp profile is the engine's default because none is named; no port, host path or device is.
fn host_config(spec: &InstanceSpec) -> HostConfig {
    let memory = i64::try_from(spec.memory_bytes).unwrap_or(i64::MAX);
    HostConfig {
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        pids_limit: Some(PROCESSES_MAX),
        memory: Some(memory),
        // Memory and swap together: no swap beyond the memory.
        memory_swap: Some(memory),
        nano_cpus: spec.cpu_millis.map(|millis| i64::from(millis) * NANO_CPUS_PER_MILLI),
        init: Some(true),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        network_mode: Some(spec.network.0.clone()),
        log_config: Some(log_config()),
        mounts: (!spec.mounts.is_empty()).then(|| spec.mounts.iter().map(mount).collect()),
        ..HostConfig::default()
    }
}

/// A named volume, and never anything else: no host path. An empty one gets what the image holds at that path.
fn mount(mount: &Mount) -> bollard::models::Mount {
    bollard::models::Mount {
        target: Some(mount.path.to_string()),
        source: Some(mount.volume.to_string()),
        typ: Some(MountType::VOLUME),
        ..bollard::models::Mount::default()
    }
}

/// The `local` driver: on 20.10 `logs?since=` and tails work on running and ended containers with it, and when a flooded
/// log rotates under a follower it repeats lines (which `streams` drops) where `json-file` lost more than half (60,000 lines, files of 1 MB).
/// Non-blocking: an app that writes faster than the engine's disk takes it is not held up; the engine drops what does not
/// fit into the buffer.
fn log_config() -> HostConfigLogConfig {
    let options = [
        ("max-size", "10m"),
        ("max-file", "2"),
        ("compress", "false"),
        ("mode", "non-blocking"),
        ("max-buffer-size", "4m"),
    ];
    HostConfigLogConfig {
        typ: Some("local".to_owned()),
        config: Some(options.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::instance::Slot;
    use crate::domain::{AppId, ImageId, Protocol, ReleaseNo};
    use crate::engine::NetworkId;
    use std::collections::BTreeMap;

    fn spec(shell_command: Option<&str>) -> InstanceSpec {
        InstanceSpec {
            app: AppId(7),
            app_key: AppKey::new("0123456789abcdef0123456789abcdef"),
            release: ReleaseNo(3),
            slot: Slot { process: "web".parse().unwrap(), index: 1 },
            epoch: 5,
            protocol: Protocol::Http1,
            image: ImageId::new("sha256:ab"),
            starter: None,
            shell_command: shell_command.map(str::to_owned),
            env: BTreeMap::from([("PORT".to_owned(), "5000".to_owned())]),
            network: NetworkId("net".to_owned()),
            memory_bytes: 1 << 29,
            mounts: Vec::new(),
            cpu_millis: Some(500),
        }
    }

    #[test]
    fn the_images_command_stands_unless_a_line_is_given() {
        let body = body(&InstallationId::new("i"), &spec(None));
        assert_eq!((body.entrypoint, body.cmd), (None, None));
        let body = super::body(&InstallationId::new("i"), &spec(Some("run")));
        assert_eq!(body.entrypoint, Some(Vec::new()));
        assert_eq!(body.cmd.unwrap(), ["sh", "-c", "exec run"]);
    }

    #[test]
    fn limits_reach_the_engine_and_there_is_no_swap() {
        let host = host_config(&spec(None));
        assert_eq!((host.memory, host.memory_swap), (Some(1 << 29), Some(1 << 29)));
        assert_eq!((host.nano_cpus, host.pids_limit), (Some(500_000_000), Some(512)));
    }

    #[test]
    fn the_name_tells_whose_it_is_and_no_secret_in_full() {
        let name = name(&InstallationId::new("fedcba9876543210"), &spec(None), "c0ffee");
        assert_eq!(name, "paas-fedcba98-0123456789ab-v3-web-1-c0ffee");
        assert_eq!(first("ab", 8), "ab");
    }
}
