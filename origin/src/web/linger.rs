//! Reads on after a refusal, so that the client gets to see it.
//!
//! An HTTP/1 client that is still sending when its connection closes loses the answer: the operating system
//! resets the connection and throws away what was not read. So the rest of a refused body is read and dropped,
//! up to a limit of bytes and time; beyond it the connection closes and the client has to guess.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{Version, header},
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

/// Reads the rest of the body of a request that was refused.
pub async fn linger_after_refusal(request: Request, next: Next) -> Response {
    // HTTP/2 has a frame for it, and who expects a go-ahead has not sent anything yet.
    let is_waiting = request.headers().contains_key(header::EXPECT);
    if request.version() >= Version::HTTP_2 || is_waiting {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let body = SharedBody(Arc::new(Mutex::new(body)));
    let response = next.run(Request::from_parts(head, Body::new(body.clone()))).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        // Running out of time is as good as the end: the answer goes out either way.
        let _ = tokio::time::timeout(LINGER_TIME_MAX, read_on(body)).await;
    }
    response
}

async fn read_on(mut body: SharedBody) {
    let mut bytes = 0;
    while bytes < LINGER_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// A body that outlives the handler that dropped it.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<Body>>);

impl http_body::Body for SharedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;
const LINGER_TIME_MAX: Duration = Duration::from_secs(5);
