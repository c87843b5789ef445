//! Named volumes, and how their root folder comes to belong to an image's user: through the engine's archive calls on a
//! container that was made and not started. Nothing of the image is run for it, so images without a shell will do.
use super::DockerEngine;
use super::link::{READ_TIME_MAX, Task, WRITE_TIME_MAX};
use crate::domain::{ContainerId, MountPath, VolumeKey};
use crate::engine::{EngineError, Mount, MountRoot, Result, label};
use anyhow::{Context, anyhow};
use bollard::Docker;
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{
    DownloadFromContainerOptions, ListVolumesOptions, RemoveVolumeOptions, UploadToContainerOptions,
};
use bytes::Bytes;
use futures_util::stream::TryStreamExt as _;
use std::collections::HashMap;
use std::io::Read;

/// Longest `/etc/passwd` or `/etc/group` that is read out of an image.
const ACCOUNTS_BYTES_MAX: usize = 1 << 20;

impl DockerEngine {
    pub(super) async fn make_volume(&self, volume: &VolumeKey) -> Result<()> {
        let request = VolumeCreateRequest {
            name: Some(volume.to_string()),
            labels: Some(HashMap::from([(label::INSTALLATION.to_owned(), self.installation.to_string())])),
            ..VolumeCreateRequest::default()
        };
        let create = |docker: Docker| async move { docker.create_volume(request).await };
        self.link.ask(Task::new("create", "volume", volume.as_str()), WRITE_TIME_MAX, create).await?;
        Ok(())
    }

    pub(super) async fn remove_our_volume(&self, volume: &VolumeKey) -> Result<()> {
        if !self.all_volumes().await?.contains(volume) {
            return Ok(());
        }
        let options = RemoveVolumeOptions { force: false };
        let remove = |docker: Docker| async move { docker.remove_volume(volume.as_str(), Some(options)).await };
        match self.link.ask(Task::new("remove", "volume", volume.as_str()), WRITE_TIME_MAX, remove).await {
            Ok(()) | Err(EngineError::Missing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn all_volumes(&self) -> Result<Vec<VolumeKey>> {
        let options = ListVolumesOptions { filters: Some(self.ours(None)) };
        let list = |docker: Docker| async move { docker.list_volumes(Some(options)).await };
        let listed = self.link.ask(Task::new("list", "volumes", ""), READ_TIME_MAX, list).await?;
        Ok(listed.volumes.unwrap_or_default().into_iter().map(|volume| VolumeKey::new(volume.name)).collect())
    }

    /// Gives the roots of fresh volumes to the user that the container's image names. Images that start as root keep what
    /// the engine made of the root: they may change to another user by themselves.
    pub(super) async fn give_mounts(&self, id: &ContainerId, mounts: &[Mount]) -> Result<()> {
        let fresh: Vec<&Mount> = mounts.iter().filter(|mount| mount.root == MountRoot::GivenToUser).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let user = self.inspect(id.as_str()).await?.config.and_then(|config| config.user).unwrap_or_default();
        let Some(owner) = self.account_of(id, &user).await? else { return Ok(()) };
        for mount in fresh {
            self.give(id, &mount.path, owner).await?;
        }
        Ok(())
    }

    /// Unpacks an archive with one entry, the folder itself, over the mounted volume: only its owner and mode change.
    async fn give(&self, id: &ContainerId, path: &MountPath, (user, group): (u64, u64)) -> Result<()> {
        let (parent, name) = path.split();
        let archive = folder_archive(name, user, group).context("make an archive of one folder")?;
        let options = UploadToContainerOptions { path: parent.to_owned(), ..UploadToContainerOptions::default() };
        let upload = |docker: Docker| async move {
            docker.upload_to_container(id.as_str(), Some(options), bollard::body_full(archive)).await
        };
        self.link.ask(Task::new("set the owner of", "volume", path.as_str()), WRITE_TIME_MAX, upload).await
    }

    /// User and group as numbers; `None` for root.
    async fn account_of(&self, id: &ContainerId, user: &str) -> Result<Option<(u64, u64)>> {
        let (name, group) = user.split_once(':').map_or((user, None), |(name, group)| (name, Some(group)));
        if matches!(name, "" | "0" | "root") {
            return Ok(None);
        }
        let passwd = self.read_accounts(id, "/etc/passwd").await?;
        let Some((uid, own_group)) = find_user(&passwd, name) else {
            return Err(EngineError::Refused(format!("the image's USER `{user}` is not in its /etc/passwd")));
        };
        let gid = match group {
            None => own_group,
            Some(group) => match group.parse() {
                Ok(gid) => gid,
                Err(_it_is_a_name) => {
                    find_group(&self.read_accounts(id, "/etc/group").await?, group).ok_or_else(|| {
                        EngineError::Refused(format!("the group of the image's USER `{user}` is not in its /etc/group"))
                    })?
                }
            },
        };
        Ok(Some((uid, gid)))
    }

    /// An image need not have the file.
    async fn read_accounts(&self, id: &ContainerId, file: &str) -> Result<String> {
        let options = DownloadFromContainerOptions { path: file.to_owned() };
        let download = |docker: Docker| async move {
            let stream = docker.download_from_container(id.as_str(), Some(options));
            // What is longer is no list of accounts; what was read of it has to do.
            let collect = |mut all: Vec<u8>, chunk: Bytes| async move {
                let room = ACCOUNTS_BYTES_MAX.saturating_sub(all.len());
                all.extend_from_slice(&chunk[..chunk.len().min(room)]);
                Ok(all)
            };
            stream.try_fold(Vec::new(), collect).await
        };
        match self.link.ask(Task::new("read", "file", file), READ_TIME_MAX, download).await {
            Ok(archive) => Ok(first_file(&archive).unwrap_or_default()),
            Err(EngineError::Missing(_)) => Ok(String::new()),
            Err(error) => Err(error),
        }
    }
}

fn folder_archive(name: &str, user: u64, group: u64) -> anyhow::Result<Bytes> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o755);
    header.set_uid(user);
    header.set_gid(group);
    header.set_size(0);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, format!("{name}/"), std::io::empty())?;
    Ok(archive.into_inner().map_err(|error| anyhow!(error))?.into())
}

fn first_file(archive: &[u8]) -> Option<String> {
    let mut archive = tar::Archive::new(archive);
    let mut text = String::new();
    archive.entries().ok()?.next()?.ok()?.read_to_string(&mut text).ok()?;
    Some(text)
}

/// The user's number and group; a number that no line has stands for itself, in the group 0, as the engine runs it.
fn find_user(passwd: &str, name: &str) -> Option<(u64, u64)> {
    let lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let of_line = |fields: Vec<&str>| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?));
    let is_it = |fields: &Vec<&str>| fields.first() == Some(&name) || fields.get(2) == Some(&name);
    let listed = lines.filter(is_it).find_map(of_line);
    listed.or_else(|| name.parse().ok().map(|uid| (uid, 0)))
}

fn find_group(group: &str, name: &str) -> Option<u64> {
    let mut lines = group.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find(|fields| fields.first() == Some(&name))?.get(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/app:/bin/sh\nbroken\n";

    #[test]
    fn users_are_found_by_name_and_by_number() {
        assert_eq!(find_user(PASSWD, "app"), Some((1000, 1001)));
        assert_eq!(find_user(PASSWD, "1000"), Some((1000, 1001)));
        assert_eq!(find_user(PASSWD, "4711"), Some((4711, 0)));
        assert_eq!(find_user("", "1000"), Some((1000, 0)));
        assert_eq!(find_user(PASSWD, "nobody"), None);
        assert_eq!(find_group("www:x:33:\n", "www"), Some(33));
    }

    #[test]
    fn the_archive_holds_the_folder_alone_with_its_owner() {
        let bytes = folder_archive("data", 1000, 1001).unwrap();
        let mut archive = tar::Archive::new(bytes.as_ref());
        let entries: Vec<_> = archive.entries().unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(entries.len(), 1);
        let header = entries[0].header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mode().unwrap()), (1000, 1001, 0o755));
        assert!(header.entry_type().is_dir());
    }
}
