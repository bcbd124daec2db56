//! `GET /events`: the same session as server-sent events.
//!
//! The session runs in a task of its own and hands its frames over a short queue, so that a client that never reads can
//! be given up: the stream's own polling would wait for it for ever.

use std::convert::Infallible;
use std::time::Duration;

use futures::stream::Stream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use warp::sse::Event;

use super::session::Session;
use crate::hub::Frame;

/// A client that takes nothing for this long is given up.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// Frames between the session and the socket.
const QUEUE: usize = 8;
/// How long a browser waits before it comes back.
const RETRY: Duration = Duration::from_secs(1);

/// The session as a stream of server-sent events, ended by the session or by the client's going away.
pub(super) fn stream(
    mut session: Session,
    tasks: &TaskTracker,
) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
    let (queue, mut frames) = mpsc::channel::<Frame>(QUEUE);
    tasks.spawn(async move {
        loop {
            let output = tokio::select! {
                () = queue.closed() => return,
                output = session.next() => output,
            };
            for frame in output.frames {
                if !matches!(timeout(WRITE_PATIENCE, queue.send(frame)).await, Ok(Ok(()))) {
                    return;
                }
            }
            if output.close.is_some() {
                return;
            }
        }
    });
    async_stream::stream! {
        let mut first = true;
        while let Some(frame) = frames.recv().await {
            let mut event = Event::default().event(frame.kind).data(&*frame.json);
            match frame.cursor {
                Some(cursor) => event = event.id(&*cursor),
                // A browser that is cut off before the snapshot has come must not resume from the cursor it had.
                None if matches!(frame.kind, "reset" | "subscribed") => event = event.id(""),
                None => {}
            }
            if std::mem::take(&mut first) {
                event = event.retry(RETRY);
            }
            yield Ok(event);
        }
    }
}
