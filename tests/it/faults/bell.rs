//! Somebody else who hears the doorbell.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_postgres::{AsyncMessage, Client, NoTls};

/// Counts the rings, other than those by which a relay proves that it hears.
pub(crate) struct Ear {
    client: Client,
    rings: Arc<AtomicUsize>,
}

impl Ear {
    /// Begins to listen.
    pub(crate) async fn listen(url: &str) -> Self {
        let (client, mut connection) = tokio_postgres::connect(url, NoTls)
            .await
            .expect("a session");
        let rings = Arc::<AtomicUsize>::default();
        let count = rings.clone();
        tokio::spawn(async move {
            let next = |context: &mut std::task::Context<'_>| connection.poll_message(context);
            let mut messages = futures::stream::poll_fn(next);
            while let Some(Ok(message)) = futures::StreamExt::next(&mut messages).await {
                if let AsyncMessage::Notification(ring) = message
                    && !ring.payload().starts_with("probe ")
                {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        client
            .batch_execute("LISTEN bellwether")
            .await
            .expect("listening");
        Self { client, rings }
    }

    /// How often it has rung since it was last asked: what was committed before this question is counted.
    pub(crate) async fn rings(&mut self) -> usize {
        self.client.batch_execute("").await.expect("a session");
        self.rings.swap(0, Ordering::Relaxed)
    }
}
