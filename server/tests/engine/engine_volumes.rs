//! Volumes: what instances wrote stays, its folder belongs to who writes, and nothing is removed that is in use or not ours.
use crate::ground::{Ground, docker, random_hex};
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::RemoveVolumeOptions;
use paas::domain::{AppId, ImageId, VolumeKey};
use paas::engine::{Engine, EngineError, InstanceSpec, Mount, MountRoot, ObservedState};
use std::time::Duration;

async fn volume(ground: &Ground) -> VolumeKey {
    let key = VolumeKey::new(format!("paas-test-{}", random_hex()));
    ground.engine.ensure_volume(&key).await.unwrap();
    key
}

/// An instance of `image` that runs `line` with the volume at /data/deep.
async fn spec(ground: &Ground, image: &ImageId, volume: &VolumeKey, root: MountRoot, line: &str) -> InstanceSpec {
    let mount = Mount { volume: volume.clone(), path: "/data/deep".parse().unwrap(), root };
    InstanceSpec { image: image.clone(), mounts: vec![mount], ..ground.spec(AppId(1), line).await }
}

async fn image(ground: &Ground, dockerfile: &str) -> ImageId {
    ground.build(&format!("FROM debian:trixie-slim\n{dockerfile}")).await.0.unwrap()
}

#[tokio::test]
async fn what_one_instance_wrote_the_next_one_reads() {
    let ground = Ground::new().await;
    let volume = volume(&ground).await;
    // An image's own VOLUME at the same path is ours all the same, not an anonymous one.
    let image = image(&ground, "VOLUME /data/deep\nUSER nobody\n").await;
    let write = "echo written > /data/deep/file && stat -c 'folder %u:%g %a' /data/deep && sleep 100";
    let first = spec(&ground, &image, &volume, MountRoot::GivenToUser, write).await;
    let made = ground.engine.make(&first).await.unwrap();
    assert_eq!(ground.observed(&made).await.unwrap().state, ObservedState::Created);
    ground.engine.start_made(&made).await.unwrap();
    ground.says(&made, "folder 65534:65534 755").await;
    let refused = ground.engine.remove_volume(&volume).await;
    assert!(matches!(&refused, Err(EngineError::Refused(words)) if words.contains("in use")), "{refused:?}");
    ground.engine.stop(&made, Duration::from_secs(5)).await.unwrap();
    assert_eq!(ground.engine.volumes().await.unwrap(), std::slice::from_ref(&volume));

    let read = spec(&ground, &image, &volume, MountRoot::Kept, "cat /data/deep/file; sleep 100").await;
    let (second, _) = ground.engine.start(&read).await.unwrap();
    ground.says(&second, "written").await;
    ground.engine.remove(&second).await.unwrap();
    ground.engine.remove_volume(&volume).await.unwrap();
    ground.engine.remove_volume(&volume).await.unwrap();
    assert!(ground.engine.volumes().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_an_image_holds_at_the_path_comes_along_and_root_changes_no_owner() {
    let ground = Ground::new().await;
    let volume = volume(&ground).await;
    let image =
        image(&ground, "RUN mkdir -p /data/deep && echo seed > /data/deep/seed && chown -R 33:33 /data\n").await;
    let look = "stat -c '%n %u:%g' /data/deep /data/deep/seed; cat /data/deep/seed; sleep 100";
    let spec = spec(&ground, &image, &volume, MountRoot::GivenToUser, look).await;
    let (id, _) = ground.engine.start(&spec).await.unwrap();
    for words in ["/data/deep 33:33", "/data/deep/seed 33:33", "seed"] {
        ground.says(&id, words).await;
    }
}

#[tokio::test]
async fn a_user_that_the_image_does_not_know_is_refused_and_nothing_is_left() {
    let ground = Ground::new().await;
    let volume = volume(&ground).await;
    let image = image(&ground, "USER nonsense\n").await;
    let spec = spec(&ground, &image, &volume, MountRoot::GivenToUser, "sleep 100").await;
    let refused = ground.engine.make(&spec).await;
    assert!(matches!(&refused, Err(EngineError::Refused(words)) if words.contains("`nonsense`")), "{refused:?}");
    assert!(ground.engine.instances(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_volume_of_somebody_else_is_neither_seen_nor_removed() {
    let ground = Ground::new().await;
    let name = format!("paas-test-foreign-{}", random_hex());
    let request = VolumeCreateRequest { name: Some(name.clone()), ..VolumeCreateRequest::default() };
    docker().create_volume(request).await.unwrap();
    let removed = ground.engine.remove_volume(&VolumeKey::new(name.clone())).await;
    let seen = ground.engine.volumes().await;
    let is_there = docker().inspect_volume(&name).await.is_ok();
    docker().remove_volume(&name, None::<RemoveVolumeOptions>).await.unwrap();
    assert!(removed.is_ok() && is_there);
    assert!(seen.unwrap().is_empty());
}
