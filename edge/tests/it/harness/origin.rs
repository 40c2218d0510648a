//! An origin that does what the story says: waits, sends in pieces, breaks off, counts.
//!
//! It speaks HTTP/1.1 by hand, because a well-behaved server library would not break off.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A scripted origin; stops with the test's runtime.
#[derive(Clone)]
pub(crate) struct FakeOrigin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    replies: Mutex<HashMap<String, Reply>>,
    requests: Mutex<Vec<Request>>,
    stopped: watch::Sender<bool>,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What to answer. See [`reply`].
#[derive(Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    is_chunked: bool,
    is_ranged: bool,
    interim: Vec<String>,
    trailer: Option<String>,
    head_waits: Option<Gate>,
    body_waits: Option<(usize, Gate)>,
    breaks_off_after: Option<usize>,
    breaks_off_at: Option<usize>,
    drips_after: Option<usize>,
    announces: Option<usize>,
    raw: Option<(Vec<u8>, bool)>,
}

/// Something that holds an answer back until the story opens it.
#[derive(Clone)]
pub(crate) struct Gate(watch::Sender<bool>);

/// A reply with a status and nothing else.
pub(crate) fn reply(status: u16) -> Reply {
    Reply {
        status,
        headers: Vec::new(),
        body: Vec::new(),
        is_chunked: false,
        is_ranged: false,
        interim: Vec::new(),
        trailer: None,
        head_waits: None,
        body_waits: None,
        breaks_off_after: None,
        breaks_off_at: None,
        drips_after: None,
        announces: None,
        raw: None,
    }
}

/// These bytes and nothing else, well-formed or not; afterwards the connection is used again or closed.
pub(crate) fn raw(bytes: impl Into<Vec<u8>>, is_kept_alive: bool) -> Reply {
    Reply { raw: Some((bytes.into(), is_kept_alive)), ..reply(200) }
}

impl FakeOrigin {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Shared {
            replies: Mutex::default(),
            requests: Mutex::default(),
            stopped: watch::Sender::new(false),
        };
        let origin = Self { address: listener.local_addr().unwrap(), shared: Arc::new(shared) };
        let accepting = origin.clone();
        tokio::spawn(async move {
            let mut stopped = accepting.shared.stopped.subscribe();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((stream, _)) = accepted else { return };
                        tokio::spawn(accepting.clone().serve(stream));
                    }
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                }
            }
        });
        origin
    }

    /// From now on, a path is answered so.
    pub(crate) fn on(&self, path: &str, reply: Reply) -> &Self {
        self.shared.replies.lock().unwrap().insert(path.to_owned(), reply);
        self
    }

    /// Closes everything and refuses new connections.
    pub(crate) fn stop(&self) {
        self.shared.stopped.send_replace(true);
    }

    /// How often a path was asked for.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.shared.requests.lock().unwrap().iter().filter(|r| r.path == path).count()
    }

    /// Every request for a path.
    pub(crate) fn all(&self, path: &str) -> Vec<Request> {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().filter(|r| r.path == path).cloned().collect()
    }

    /// Every request.
    pub(crate) fn everything(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The last request for a path.
    pub(crate) fn last(&self, path: &str) -> Request {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().rfind(|r| r.path == path).expect("a request for the path").clone()
    }

    async fn serve(self, stream: TcpStream) {
        let mut stopped = self.shared.stopped.subscribe();
        tokio::select! {
            _ = self.converse(stream) => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut unread = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut unread).await? {
            let reply = self.shared.replies.lock().unwrap().get(&request.path).cloned();
            let reply = reply.unwrap_or_else(|| reply_not_found(&request));
            self.shared.requests.lock().unwrap().push(request.clone());
            if !reply.send(&request, &mut stream).await? {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

impl Reply {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn cache_control(self, value: &str) -> Self {
        self.header("cache-control", value)
    }

    /// Answers a request with this entity tag in `If-None-Match` by 304.
    pub(crate) fn etag(self, tag: &str) -> Self {
        self.header("etag", tag)
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Without `Content-Length`.
    pub(crate) fn chunked(mut self) -> Self {
        self.is_chunked = true;
        self
    }

    /// Answers a request for a range with 206 and that range.
    pub(crate) fn ranged(mut self) -> Self {
        self.is_ranged = true;
        self.header("accept-ranges", "bytes")
    }

    /// Sends this interim response first: status and header lines.
    pub(crate) fn interim(mut self, text: &str) -> Self {
        self.interim.push(text.to_owned());
        self
    }

    /// Ends a chunked body with this trailer.
    pub(crate) fn trailer(mut self, line: &str) -> Self {
        self.trailer = Some(line.to_owned());
        self.chunked()
    }

    /// Sends nothing before the gate opens.
    pub(crate) fn held(mut self, gate: &Gate) -> Self {
        self.head_waits = Some(gate.clone());
        self
    }

    /// Sends so many bytes of the body, and the rest when the gate opens.
    pub(crate) fn paused_after(mut self, bytes: usize, gate: &Gate) -> Self {
        self.body_waits = Some((bytes, gate.clone()));
        self
    }

    /// Closes the connection after so many bytes of the body (and after the gate of `paused_after`).
    pub(crate) fn breaking_off_after(mut self, bytes: usize) -> Self {
        self.breaks_off_after = Some(bytes);
        self
    }

    /// Closes the connection before this byte of the whole, whichever part of it is asked for.
    pub(crate) fn breaking_off_at(mut self, byte: usize) -> Self {
        self.breaks_off_at = Some(byte);
        self
    }

    /// Sends so many bytes of the body at once, and the others one by one, without ever standing still.
    pub(crate) fn dripping_after(mut self, bytes: usize) -> Self {
        self.drips_after = Some(bytes);
        self
    }

    /// Announces another length than the body has.
    pub(crate) fn announcing(mut self, bytes: usize) -> Self {
        self.announces = Some(bytes);
        self
    }

    /// Says whether the connection may be used again.
    async fn send(&self, request: &Request, stream: &mut TcpStream) -> std::io::Result<bool> {
        if let Some(gate) = &self.head_waits {
            gate.wait().await;
        }
        if let Some((bytes, is_kept_alive)) = &self.raw {
            stream.write_all(bytes).await?;
            return Ok(*is_kept_alive);
        }
        for interim in &self.interim {
            stream.write_all(format!("HTTP/1.1 {interim}\r\n\r\n").as_bytes()).await?;
        }
        if let Some(part) = self.part(request) {
            return Box::pin(part.send(request, stream)).await;
        }
        let tag = self.headers.iter().find(|(name, _)| name == "etag").map(|(_, tag)| tag);
        let is_confirmed = tag.is_some() && request.header("if-none-match") == tag.map(|t| &**t);
        let has_body = !is_confirmed && request.method != "HEAD" && self.status != 304;
        let status = if is_confirmed { 304 } else { self.status };
        let mut head = format!("HTTP/1.1 {status} x\r\n");
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if self.is_chunked && has_body {
            head += "transfer-encoding: chunked\r\n";
        } else if !is_confirmed {
            let length = self.announces.unwrap_or(self.body.len());
            head += &format!("content-length: {length}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).await?;
        if has_body { self.send_body(stream).await } else { Ok(true) }
    }

    /// The part of it that is asked for.
    fn part(&self, request: &Request) -> Option<Self> {
        let range = request.header("range").filter(|_| self.is_ranged)?;
        let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
        let total = self.body.len();
        let (start, end) = match (start.parse(), end.parse::<usize>()) {
            (Ok(start), Ok(end)) => (start, (end + 1).min(total)),
            (Ok(start), Err(_)) => (start, total),
            (Err(_), Ok(last)) => (total.saturating_sub(last), total),
            (Err(_), Err(_)) => return None,
        };
        let mut part = Self { is_ranged: false, head_waits: None, ..self.clone() };
        if start >= total {
            part.status = 416;
            part.body.clear();
            return Some(part.header("content-range", &format!("bytes */{total}")));
        }
        part.status = 206;
        part.breaks_off_at =
            self.breaks_off_at.and_then(|byte| (start..end).contains(&byte).then(|| byte - start));
        part.body = self.body[start..end].to_vec();
        Some(part.header("content-range", &format!("bytes {start}-{}/{total}", end - 1)))
    }

    async fn send_body(&self, stream: &mut TcpStream) -> std::io::Result<bool> {
        let pause = self.body_waits.as_ref().map_or(0, |(bytes, _)| *bytes);
        let breaks_off = self.breaks_off_after.or(self.breaks_off_at);
        let end = breaks_off.unwrap_or(self.body.len());
        let (first, rest) = self.body[..end].split_at(pause.min(end));
        self.send_part(stream, first).await?;
        if let Some((_, gate)) = &self.body_waits {
            gate.wait().await;
        }
        match self.drips_after.map(|bytes| rest.split_at(bytes.min(rest.len()))) {
            None => self.send_part(stream, rest).await?,
            Some((first, rest)) => {
                self.send_part(stream, first).await?;
                for byte in rest.chunks(1) {
                    self.send_part(stream, byte).await?;
                    tokio::time::sleep(DRIP).await;
                }
            }
        }
        if breaks_off.is_some() {
            return Ok(false);
        }
        if self.is_chunked {
            let trailer = self.trailer.as_ref().map(|line| format!("{line}\r\n"));
            let end = format!("0\r\n{}\r\n", trailer.unwrap_or_default());
            stream.write_all(end.as_bytes()).await?;
        }
        Ok(self.announces.is_none())
    }

    async fn send_part(&self, stream: &mut TcpStream, part: &[u8]) -> std::io::Result<()> {
        for piece in part.chunks(PIECE_BYTES) {
            if self.is_chunked {
                stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
            }
            stream.write_all(piece).await?;
            if self.is_chunked {
                stream.write_all(b"\r\n").await?;
            }
        }
        Ok(())
    }
}

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    async fn wait(&self) {
        let mut opened = self.0.subscribe();
        opened.wait_for(|is_open| *is_open).await.unwrap();
    }
}

fn reply_not_found(request: &Request) -> Reply {
    reply(404).body(format!("nothing at {}", request.path))
}

async fn read_request(
    stream: &mut TcpStream,
    unread: &mut Vec<u8>,
) -> std::io::Result<Option<Request>> {
    let head_bytes = loop {
        if let Some(at) = unread.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8(unread[..head_bytes].to_vec()).unwrap();
    unread.drain(..head_bytes + 4);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap().split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let pair = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_owned(), value.trim().to_owned())
    };
    let mut request =
        Request { method, path, headers: lines.map(pair).collect(), body: Vec::new() };
    let is_chunked = request.header("transfer-encoding").is_some();
    let length = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    if is_chunked {
        read_chunks(stream, unread, &mut request.body).await?;
    }
    while !is_chunked && unread.len() < length {
        more(stream, unread).await?;
    }
    if !is_chunked {
        request.body = unread.drain(..length).collect();
    }
    Ok(Some(request))
}

async fn read_chunks(
    stream: &mut TcpStream,
    unread: &mut Vec<u8>,
    body: &mut Vec<u8>,
) -> std::io::Result<()> {
    loop {
        let Some(end) = unread.windows(2).position(|w| w == b"\r\n") else {
            more(stream, unread).await?;
            continue;
        };
        let line = String::from_utf8(unread[..end].to_vec()).unwrap();
        let bytes = usize::from_str_radix(line.trim(), 16).unwrap();
        while unread.len() < end + 2 + bytes + 2 {
            more(stream, unread).await?;
        }
        body.extend_from_slice(&unread[end + 2..end + 2 + bytes]);
        unread.drain(..end + 2 + bytes + 2);
        if bytes == 0 {
            return Ok(());
        }
    }
}

/// Reads on inside a body, which must not end there.
async fn more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> std::io::Result<()> {
    match stream.read_buf(unread).await? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Between two drops.
const DRIP: std::time::Duration = std::time::Duration::from_millis(20);
/// Not the edge's own piece size, so that it has to cut anew.
const PIECE_BYTES: usize = 10_000;
