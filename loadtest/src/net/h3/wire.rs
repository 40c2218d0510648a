//! One HTTP/3 connection: exchanges on it, what became of its 0-RTT data, and how it ended.
//!
//! Invariant: it is closed when nobody holds it any more, and its driver ends with it.

use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use bytes::{Buf, Bytes};
use h3::{
    client::SendRequest,
    error::{Code, ConnectionError, LocalError, StreamError},
};
use h3_quinn::OpenStreams;
use http::{Request, Version};
use quinn::Endpoint;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
};

use super::{
    super::{
        Failure,
        course::Course,
        failure::{Broken, Step},
        greeting::Greeting,
        h2::HEADERS_MAX,
        link::{Call, Origin},
        quic,
        shared::Shared,
    },
    Home,
};
use crate::kind::FailureClass;

/// One connection.
pub(super) struct Wire {
    pub(super) quic: quinn::Connection,
    http: RefCell<Http>,
    pub(super) early: Cell<Early>,
    /// Told when `early` is no longer open.
    settled: Notify,
    address: IpAddr,
    /// The session's own endpoint lives as long as its connection.
    _endpoint: Endpoint,
}

/// The HTTP/3 side of a connection.
struct Http {
    sender: SendRequest<OpenStreams, Bytes>,
    driver: AbortHandle,
    /// How it ended.
    ending: watch::Receiver<Option<Ending>>,
}

/// Why HTTP/3 on a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The connection was closed or lost.
    Cut,
    /// The server sent a frame that its stream's end cut.
    Frame,
    /// The server sent what is not HTTP/3.
    Wrong,
}

/// What has become of 0-RTT data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Early {
    /// There was none, or it was taken.
    Settled,
    Open,
    /// It was refused, and HTTP/3 has begun anew.
    Refused,
}

impl Wire {
    /// The handshake is over, with 0-RTT data taken or not.
    async fn settle(&self, is_taken: bool, greeting: &Greeting) {
        if self.quic.close_reason().is_none() {
            greeting.finish(is_resumed(&self.quic), is_taken);
        }
        if is_taken {
            self.early.set(Early::Settled);
        } else {
            // What 0-RTT carried is gone, the control streams too.
            self.http.borrow().driver.abort();
            if let Ok(http) = http(&self.quic).await {
                *self.http.borrow_mut() = http;
            }
            self.early.set(Early::Refused);
        }
        self.settled.notify_waiters();
    }

    /// Whether 0-RTT data was refused, as soon as that is known.
    pub(super) async fn is_refused(&self) -> bool {
        loop {
            let settled = self.settled.notified();
            match self.early.get() {
                Early::Open => settled.await,
                Early::Settled => return false,
                Early::Refused => return self.quic.close_reason().is_none(),
            }
        }
    }

    pub(super) async fn exchange(
        &self,
        call: &Call<'_>,
        course: &mut Course<'_>,
    ) -> Result<(), Broken> {
        let pace = course.pace;
        let request = request(call, course)?;
        let mut sender = self.http.borrow().sender.clone();
        let mut stream = match sender.send_request(request).await {
            Ok(stream) => stream,
            Err(error) => return Err(self.broken(error, false, course).await),
        };
        drop(sender);
        if let Err(error) = stream.finish().await {
            return Err(self.broken(error, true, course).await);
        }
        let response = loop {
            match stream.recv_response().await {
                Ok(response) if response.status().is_informational() => {}
                Ok(response) => break response,
                Err(error) => return Err(self.broken(error, true, course).await),
            }
        };
        course.head(response.status().as_u16(), response.headers(), self.address);
        if course.is_unwanted() {
            return Ok(());
        }
        loop {
            let mut piece = match stream.recv_data().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(error) => return Err(self.broken(error, true, course).await),
            };
            let mut count = 0;
            let mut is_wanted = true;
            while piece.has_remaining() {
                let length = piece.chunk().len();
                is_wanted = course.take(piece.chunk())?;
                piece.advance(length);
                count += length as u64;
            }
            pace.pass(count).await;
            if !is_wanted {
                return Ok(());
            }
        }
        course.end()?;
        pace.settle().await;
        Ok(())
    }

    /// What an error means; before the request went out, nothing was done on its account.
    async fn broken(&self, error: StreamError, is_sent: bool, course: &Course<'_>) -> Broken {
        let text = error.to_string();
        let (class, is_stream, is_undone) = match error {
            StreamError::RemoteTerminate { code, .. } => {
                (FailureClass::Reset, true, code == Code::H3_REQUEST_REJECTED)
            }
            StreamError::StreamError { .. } | StreamError::HeaderTooBig { .. } => {
                (FailureClass::Protocol, true, false)
            }
            _ => {
                let class = match self.ending().await {
                    Some(Ending::Frame) if course.is_short() => FailureClass::Truncated,
                    Some(Ending::Frame | Ending::Wrong) => FailureClass::Protocol,
                    Some(Ending::Cut) | None => FailureClass::Reset,
                };
                (class, false, !is_sent)
            }
        };
        // A handshake that fails after its 0-RTT data went out fails the request.
        if let (Step::Handshake, Some(reason)) = (course.step(), self.quic.close_reason()) {
            return Broken { failure: quic::failed(&reason), is_stream: false, is_undone: false };
        }
        Broken { failure: Failure::new(class, text), is_stream, is_undone }
    }

    /// How the connection ended, as soon as its driver has seen it.
    async fn ending(&self) -> Option<Ending> {
        let mut ending = self.http.borrow().ending.clone();
        let seen = tokio::time::timeout(ENDING_MAX, ending.wait_for(Option::is_some)).await;
        *seen.ok()?.ok()?
    }
}

impl Ending {
    fn of(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::Local { error: LocalError::Application { code, .. }, .. } => {
                match *code {
                    Code::H3_NO_ERROR => Self::Cut,
                    Code::H3_FRAME_ERROR => Self::Frame,
                    _ => Self::Wrong,
                }
            }
            _ => Self::Cut,
        }
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let code = u32::try_from(Code::H3_NO_ERROR.value()).unwrap_or_default();
        self.quic.close(code.into(), b"");
    }
}

/// A connection to one address, as soon as a request can go out on it.
pub(super) async fn connect(
    shared: &Shared,
    home: &Home,
    origin: &Origin,
    config: quinn::ClientConfig,
    address: SocketAddr,
    greeting: Rc<Greeting>,
) -> Result<Rc<Wire>, Failure> {
    let endpoint = home.endpoint(shared, address)?;
    // Without brackets: a name or an address.
    let name = origin.server_name()?.to_str().into_owned();
    let connecting = endpoint.connect_with(config, address, &name);
    let connecting = connecting.map_err(|error| quic::refused(&error))?;
    let (quic, accepted) = match connecting.into_0rtt() {
        Ok((quic, accepted)) => (quic, Some(accepted)),
        Err(connecting) => {
            let quic = connecting.await.map_err(|error| quic::failed(&error))?;
            greeting.finish(is_resumed(&quic), false);
            (quic, None)
        }
    };
    let http = http(&quic).await?;
    let early = if accepted.is_some() { Early::Open } else { Early::Settled };
    let wire = Rc::new(Wire {
        quic,
        http: RefCell::new(http),
        early: Cell::new(early),
        settled: Notify::new(),
        address: address.ip(),
        _endpoint: endpoint,
    });
    if let Some(accepted) = accepted {
        let wire = Rc::downgrade(&wire);
        tokio::task::spawn_local(async move {
            let is_taken = accepted.await;
            if let Some(wire) = wire.upgrade() {
                wire.settle(is_taken, &greeting).await;
            }
        });
    }
    Ok(wire)
}

/// The request of an exchange.
fn request(call: &Call<'_>, course: &Course<'_>) -> Result<Request<()>, Failure> {
    let target = &course.url[url::Position::BeforePath..url::Position::AfterQuery];
    let uri = http::Uri::builder()
        .scheme("https")
        .authority(call.origin.authority())
        .path_and_query(target)
        .build();
    let uri = uri.map_err(|_| Failure::new(FailureClass::Protocol, "a URL that is no target"))?;
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_3;
    *request.headers_mut() = call.headers.clone();
    Ok(request)
}

/// HTTP/3 on a connection: its control streams are opened, and driven from now on.
async fn http(quic: &quinn::Connection) -> Result<Http, Failure> {
    let built = h3::client::builder()
        .max_field_section_size(HEADERS_MAX.into())
        .send_grease(false)
        .build::<_, _, Bytes>(h3_quinn::Connection::new(quic.clone()))
        .await;
    let (mut connection, sender) =
        built.map_err(|error| Failure::new(FailureClass::Reset, error.to_string()))?;
    let (said, ending) = watch::channel(None);
    let driver = tokio::task::spawn_local(async move {
        let error = std::future::poll_fn(|cx| connection.poll_close(cx)).await;
        said.send_replace(Some(Ending::of(&error)));
    });
    Ok(Http { sender, driver: driver.abort_handle(), ending })
}

fn is_resumed(quic: &quinn::Connection) -> bool {
    let said = quic.handshake_data().and_then(|data| data.downcast::<quic::Handshake>().ok());
    said.is_some_and(|said| said.is_resumed)
}

/// The driver is woken with the stream that fails.
const ENDING_MAX: Duration = Duration::from_millis(200);
