//! Images: imported, named, looked at and removed; only ours.
use crate::ground::{BASE, Ground, tar_of};
use bytes::Bytes;
use paas::engine::{Engine, EngineError, label};
use tokio::sync::mpsc;

#[tokio::test]
async fn an_image_is_imported_named_and_removed() {
    let ground = Ground::new().await;
    let (to, from) = mpsc::channel(1);
    to.try_send(Ok(Bytes::from(tar_of(&[("hello", b"world")])))).unwrap();
    drop(to);
    let (one, two) = (ground.reference("one"), ground.reference("two"));
    let id = ground.engine.import(&one, from).await.unwrap();
    ground.engine.tag(&id, &two).await.unwrap();

    let image = ground.engine.image(&two).await.unwrap().unwrap();
    assert_eq!((image.id.clone(), image.has_command), (id.clone(), false));
    assert_eq!(image.labels.get(label::INSTALLATION).unwrap(), ground.installation.as_str());
    assert_eq!(image.references.len(), 2);
    let inventory = ground.engine.inventory().await.unwrap();
    assert_eq!(inventory.images, [(image, None)]);

    ground.engine.remove_image(&one).await.unwrap();
    assert!(ground.engine.image(id.as_str()).await.unwrap().is_some());
    ground.engine.remove_image(&two).await.unwrap();
    assert_eq!(ground.engine.image(id.as_str()).await.unwrap(), None);
    ground.engine.remove_image(&two).await.unwrap();
}

#[tokio::test]
async fn an_import_that_breaks_off_makes_no_image() {
    let ground = Ground::new().await;
    let (to, from) = mpsc::channel(2);
    to.try_send(Ok(Bytes::from(vec![0; 100]))).unwrap();
    to.try_send(Err(std::io::Error::other("the disk is gone"))).unwrap();
    drop(to);
    let reference = ground.reference("broken");
    ground.engine.import(&reference, from).await.unwrap_err();
    assert_eq!(ground.engine.image(&reference).await.unwrap(), None);
}

#[tokio::test]
async fn images_of_others_are_never_removed() {
    let ground = Ground::new().await;
    assert!(matches!(ground.engine.remove_image(BASE).await, Err(EngineError::Refused(_))));
    assert!(ground.engine.image(BASE).await.unwrap().is_some());
}

#[tokio::test]
async fn an_image_in_use_stays_and_that_is_no_error() {
    let ground = Ground::new().await;
    let (built, _) = ground.build(&format!("FROM {BASE}\nLABEL x=in-use\n")).await;
    let mut spec = ground.spec(paas::domain::AppId(1), "sleep 300").await;
    spec.image = built.unwrap();
    ground.engine.start(&spec).await.unwrap();
    ground.engine.remove_image(&ground.reference("built")).await.unwrap();
    assert!(ground.engine.image(spec.image.as_str()).await.unwrap().is_some());
}

#[tokio::test]
async fn an_image_that_no_registry_gives_is_refused_with_words() {
    let ground = Ground::new().await;
    let refused = ground.engine.pull("nope.invalid/none:none").await;
    assert!(matches!(&refused, Err(EngineError::Refused(words)) if words.contains("nope.invalid")), "{refused:?}");
}
