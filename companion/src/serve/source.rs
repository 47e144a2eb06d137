//! Whatever starts a served rollout's releases from outside: the registry that its file names, as the file
//! is now.

use std::sync::Arc;

use tokio::sync::watch;

use super::catalog::ServedFile;
use super::managed::Surroundings;
use crate::controller::releases::ReleaseLink;
use crate::registry::watcher::{WatchedRegistry, watch};

/// Follows the registry of a rollout's file beside the rollout, and ends with it. A file without a registry
/// has none until it changes.
pub async fn follow(
    surroundings: Arc<Surroundings>,
    mut file: watch::Receiver<Arc<ServedFile>>,
    mut link: ReleaseLink,
) {
    loop {
        let spec = file.borrow_and_update().spec.clone();
        let watched = spec.registry.map(|registry| WatchedRegistry {
            rollout: spec.rollout,
            registry,
            folder: surroundings.folder.clone(),
            public_url: surroundings.public_url.clone(),
        });
        let followed = async {
            match watched {
                Some(watched) => watch(watched, &mut link).await,
                None => {
                    link.show(None);
                    std::future::pending().await
                }
            }
        };
        tokio::select! {
            () = followed => {}
            changed = file.changed() => if changed.is_err() {
                // The rollout is going away, and this with it.
                std::future::pending::<()>().await;
            },
        }
    }
}
