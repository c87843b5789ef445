//! What is said of the whole server: to the log, on standard output, to systemd.
use crate::config::Config;
use crate::domain::site::Site;
use crate::proxy::ProxyHandle;
use crate::receiver::Receiver;
use crate::store::Store;
use sd_notify::NotifyState;
use tokio::io::AsyncWriteExt;

/// A page that is damaged may not be met for a long time: it is looked for at once, and nobody waits for that.
pub(super) async fn tell_damage(store: Store) {
    match store.damage().await {
        Ok(None) => {}
        Ok(Some(damage)) => tracing::error!("{damage}"),
        Err(error) => tracing::error!("cannot check the database: {error}"),
    }
}

/// For the log.
pub(super) fn tell_where(config: &Config, proxy: &ProxyHandle, receiver: &Receiver) {
    let (http, ssh) = (proxy.local_addr(), receiver.local_addr());
    let https = proxy.https_addr().map_or_else(String::new, |address| format!(", https on {address}"));
    tracing::info!("ready: http on {http}{https}, ssh on {ssh}, data in {}", config.data_dir.display());
}

/// The one line on standard output, which says where everything listens.
pub(super) async fn say_ready(
    config: &Config,
    site: &Site,
    proxy: &ProxyHandle,
    receiver: &Receiver,
) -> anyhow::Result<()> {
    let (http, ssh) = (proxy.local_addr(), receiver.local_addr());
    let ready = serde_json::json!({
        "ready": true,
        "http": http.to_string(),
        "https": proxy.https_addr().map(|address| address.to_string()),
        "ssh": ssh.to_string(),
        "admin": site.url_of(config.admin_host.as_str()),
    });
    let mut out = tokio::io::stdout();
    out.write_all(format!("{ready}\n").as_bytes()).await?;
    out.flush().await?;
    Ok(())
}

/// Nothing happens where no systemd waits for it.
pub(super) fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("systemd does not hear how we are: {error}");
    }
}
