//! Wakes the keeper when a job is requested.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::poll_fn;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_postgres::AsyncMessage;

use crate::backoff::Backoff;
use crate::database::Database;

/// Listens for as long as it is not dropped. What it misses while there is no connection is found by asking now and
/// then.
pub async fn listen(database: Arc<Database>, wake: Arc<Notify>) {
    let mut wait = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        if hear(&database, &wake).await {
            wait.reset();
        }
        sleep(wait.next()).await;
    }
}

/// Listens on one connection until it breaks. Did it listen?
async fn hear(database: &Database, wake: &Notify) -> bool {
    let connected = timeout(database.patience, database.config.connect(database.tls.clone())).await;
    let Ok(Ok((client, mut connection))) = connected else { return false };
    let mut asked = std::pin::pin!(client.batch_execute("LISTEN password_verify_jobs"));
    let mut is_heard = false;
    loop {
        tokio::select! {
            done = &mut asked, if !is_heard => {
                if done.is_err() {
                    return false;
                }
                is_heard = true;
                wake.notify_one();
            }
            message = poll_fn(|cx| connection.poll_message(cx)) => match message {
                Some(Ok(AsyncMessage::Notification(_))) => wake.notify_one(),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return is_heard,
            },
        }
    }
}
