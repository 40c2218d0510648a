//! The head of the answer to a client: status, range, age, traces, and nothing internal.
//!
//! Invariant: surrogate keys leave the control plane's nodes for nobody; an answer that is served stale is at least
//! as old as its lifetime, so that no cache behind this one takes it for fresh.

use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tidegate_contract::header::{CACHE_STATUS, REQUEST_ID, SURROGATE_KEY};

use super::{
    cache_status::{Handled, Told, member},
    cmsd,
    context::{Ended, Exchange},
    deliver,
    edge::Edge,
    multipart::Multipart,
};
use crate::{
    cache::{
        condition::{self, Condition},
        fields::Fields,
        kept,
        media_class::MediaClass,
        object::Head,
        range::{ContentRange, Selection, select},
    },
    error::Failure,
    fetch::{Content, Forward, date},
    listener::{
        Protocol,
        priority::PRIORITY,
        stream::{Request, ResponseHead, Stream},
    },
    upstream::Answer,
};

/// A stored response and what is known of its length.
pub(super) struct Answerable {
    pub(super) head: Arc<Head>,
    /// Of the whole resource.
    pub(super) length: Option<u64>,
    /// Headers that only this client gets.
    pub(super) withheld: Option<HeaderMap>,
}

/// The head of what upstream said for one client.
pub(super) struct PassedHead {
    pub(super) forward: Forward,
    headers: HeaderMap,
    answered_at: SystemTime,
}

/// Headers of one answer.
pub(super) struct Own(Vec<(HeaderName, HeaderValue)>);

/// Answers with something stored.
pub(super) async fn stored<S: Stream>(
    edge: &Edge,
    exchange: &mut Exchange,
    request: &Request,
    answerable: &Answerable,
    content: &mut Content,
    stream: &mut S,
) -> Result<(), Ended> {
    let Answerable { head, length, withheld } = answerable;
    let condition =
        condition::evaluate(&request.method, &request.headers, head.status, &head.headers);
    if condition == Condition::Failed {
        return Err(Ended(Failure::PRECONDITION));
    }
    let selection = match *length {
        Some(length) if condition == Condition::Go && wants_range(request, head) => {
            select(&request.method, &request.headers, &head.headers, length)
        }
        _ => Selection::Whole,
    };
    if let Selection::One(span) = &selection {
        content.seek(span.start, span.end);
    }
    if let Content::Sliced(walk) = content
        && exchange.handled == Handled::Hit
        && !walk.is_at_hand()
    {
        exchange.handled = Handled::Partial;
    }
    let now = edge.now();
    let mut own = Own::of_stored(edge, exchange, head, now);
    if exchange.cmcd.is_some() {
        own.say_way(exchange, stream);
    }
    own.rank(exchange, request, head.class, &head.headers);
    if let Some(withheld) = withheld {
        own.extend(withheld);
    }
    if condition == Condition::NotModified {
        own.copy(head.public.map(), |name| OF_NOT_MODIFIED.contains(name));
        return send_bare(exchange, StatusCode::NOT_MODIFIED, &own, None, stream).await;
    }
    match selection {
        Selection::Whole => {
            let fields = Some(&head.public);
            send(exchange, request, (head.status, fields, &own), *length, content, stream).await
        }
        Selection::One(span) => {
            let total = length.unwrap_or_default();
            own.push(header::CONTENT_RANGE, ContentRange::of(span, total).format());
            let fields = own.beside(&head.public, &header::CONTENT_RANGE);
            let status = StatusCode::PARTIAL_CONTENT;
            send(exchange, request, (status, fields, &own), Some(span.len()), content, stream).await
        }
        Selection::Many(spans) => {
            let total = length.unwrap_or_default();
            let content_type = head.headers.get(header::CONTENT_TYPE);
            let multipart = Multipart::new(&spans, total, content_type, exchange.id());
            let is_other =
                |name: &HeaderName| *name != header::CONTENT_TYPE && *name != header::CONTENT_RANGE;
            own.copy(head.public.map(), is_other);
            own.push(header::CONTENT_TYPE, multipart.content_type.clone());
            let status = StatusCode::PARTIAL_CONTENT;
            let head = own.head(status, None, Some(multipart.length));
            stream.head(&head, false)?;
            exchange.status = Some(status);
            Box::pin(deliver::parts(stream, content, multipart.parts, multipart.closing)).await
        }
        Selection::Unsatisfiable => {
            let none = ContentRange { span: None, total: *length };
            own.push(header::CONTENT_RANGE, none.format());
            // Beside the age, which counts from there (RFC 9110 6.6.1).
            own.copy(head.public.map(), |name| name == header::DATE);
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            send_bare(exchange, status, &own, Some(0), stream).await
        }
    }
}

/// Answers with what upstream said for this client alone.
pub(super) async fn passed<S: Stream>(
    edge: &Edge,
    exchange: &mut Exchange,
    request: &Request,
    answer: Answer,
    stream: &mut S,
) -> Result<(), Ended> {
    let told = PassedHead::of(&answer);
    passing(edge, exchange, request, told, Content::Passing(answer.body), stream).await
}

/// The same, with the way on which its body comes.
pub(super) async fn passing<S: Stream>(
    edge: &Edge,
    exchange: &mut Exchange,
    request: &Request,
    told: PassedHead,
    mut content: Content,
    stream: &mut S,
) -> Result<(), Ended> {
    match passed_head(edge, exchange, request, told, stream)? {
        Some(length) => deliver::body(stream, &mut content, length).await,
        None => Ok(stream.finish().await?),
    }
}

/// Sends the head of what upstream said, and gives back how long the body is that follows, if one does.
#[expect(clippy::option_option, reason = "a body of unknown length is not the same as none")]
pub(super) fn passed_head<S: Stream>(
    edge: &Edge,
    exchange: &mut Exchange,
    request: &Request,
    passed: PassedHead,
    stream: &mut S,
) -> Result<Option<Option<u64>>, Ended> {
    let PassedHead { forward, headers, answered_at } = passed;
    let (status, is_stored) = (forward.status, forward.is_stored);
    exchange.forward = Some(forward);
    let told = Told { forward_status: Some(status), is_stored, ..Told::default() };
    let mut own = Own::begin(edge, exchange, &told);
    let is_child = exchange.child.is_some();
    own.copy(&headers, |name| match name.as_str() {
        SURROGATE_KEY => is_child,
        "content-length" | "alt-svc" | SURROGATE_CONTROL | REQUEST_ID => false,
        _ => true,
    });
    if !headers.contains_key(header::DATE) {
        own.push(header::DATE, date(answered_at));
    }
    if exchange.cmcd.is_some() {
        own.say_way(exchange, stream);
    }
    if let Some(route) = &exchange.route {
        own.rank(exchange, request, route.class, &headers);
    }
    let is_without_body = matches!(status.as_u16(), 204 | 304);
    let length = content_length(&headers).filter(|_| !is_without_body);
    let is_last = is_without_body || request.method == Method::HEAD || length == Some(0);
    stream.head(&own.head(status, None, length), is_last)?;
    exchange.status = Some(status);
    Ok((!is_last).then_some(length))
}

/// Sends head and body.
async fn send<S: Stream>(
    exchange: &mut Exchange,
    request: &Request,
    (status, fields, own): (StatusCode, Option<&Fields>, &Own),
    length: Option<u64>,
    content: &mut Content,
    stream: &mut S,
) -> Result<(), Ended> {
    let is_without_body = matches!(status.as_u16(), 204 | 304);
    let length = length.filter(|_| !is_without_body);
    if is_without_body || request.method == Method::HEAD || length == Some(0) {
        stream.head(&own.head(status, fields, length), true)?;
        exchange.status = Some(status);
        return Ok(stream.finish().await?);
    }
    stream.head(&own.head(status, fields, length), false)?;
    exchange.status = Some(status);
    deliver::body(stream, content, length).await
}

/// Sends a head that no body follows.
async fn send_bare<S: Stream>(
    exchange: &mut Exchange,
    status: StatusCode,
    own: &Own,
    length: Option<u64>,
    stream: &mut S,
) -> Result<(), Ended> {
    stream.head(&own.head(status, None, length), true)?;
    exchange.status = Some(status);
    Ok(stream.finish().await?)
}

impl PassedHead {
    /// Of an answer.
    pub(super) fn of(answer: &Answer) -> Self {
        Self {
            forward: Forward::of(answer),
            headers: kept::end_to_end(&answer.headers),
            answered_at: answer.answered_at,
        }
    }
}

impl Own {
    /// What every answer carries.
    pub(super) fn begin(edge: &Edge, exchange: &Exchange, told: &Told) -> Self {
        let mut own = Self(Vec::with_capacity(OWN_EXPECTED + exchange.granted.len()));
        let cache_status = HeaderName::from_static(CACHE_STATUS);
        let before = exchange.forward.as_ref().and_then(|forward| forward.cache_status.clone());
        if let Some(before) = before {
            own.push(cache_status.clone(), before);
        }
        own.push(cache_status, member(&exchange.node.name, exchange.handled, told));
        own.push(header::VIA, exchange.node.via.clone());
        own.push(HeaderName::from_static(REQUEST_ID), exchange.id.clone());
        if let Some(offer) = &edge.alt_svc
            && exchange.downstream.tls
            && exchange.downstream.protocol != Protocol::Http3
        {
            own.push(header::ALT_SVC, offer.clone());
        }
        own.0.extend(exchange.granted.iter().cloned());
        own
    }

    fn of_stored(edge: &Edge, exchange: &Exchange, head: &Head, now: SystemTime) -> Self {
        let (freshness, forward) = (&head.freshness, exchange.forward.as_ref());
        let told = Told {
            ttl_s: Some(freshness.ttl_s(now)),
            forward_status: forward.map(|forward| forward.status),
            is_stored: forward.is_some_and(|forward| forward.is_stored),
        };
        let mut own = Self::begin(edge, exchange, &told);
        let age = match exchange.handled {
            Handled::Stale | Handled::StaleOnError => freshness.age(now).max(freshness.lifetime),
            _ => freshness.age(now),
        };
        own.push(header::AGE, HeaderValue::from(age.as_secs()));
        if exchange.child.is_some() {
            own.copy(&head.headers, |name| name == SURROGATE_KEY || name == SURROGATE_CONTROL);
        }
        own
    }

    pub(super) fn push(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    pub(super) fn head<'a>(
        &'a self,
        status: StatusCode,
        stored: Option<&'a Fields>,
        length: Option<u64>,
    ) -> ResponseHead<'a> {
        ResponseHead { status, stored, own: &self.0, length }
    }

    /// The prepared headers, unless they hold one that is said anew: then the others are copied.
    fn beside<'a>(&mut self, public: &'a Fields, own: &HeaderName) -> Option<&'a Fields> {
        if !public.map().contains_key(own) {
            return Some(public);
        }
        self.copy(public.map(), |name| name != own);
        None
    }

    fn copy(&mut self, headers: &HeaderMap, is_wanted: impl Fn(&HeaderName) -> bool) {
        let wanted = headers.iter().filter(|(name, _)| is_wanted(name));
        self.0.extend(wanted.map(|(name, value)| (name.clone(), value.clone())));
    }

    fn extend(&mut self, headers: &HeaderMap) {
        self.copy(headers, |_| true);
    }

    /// Says that this comes first, where neither client nor origin says anything: nothing plays before its manifest and
    /// its init segment are there. The listener reads it as it reads the origin's word.
    fn rank(
        &mut self,
        exchange: &Exchange,
        request: &Request,
        class: MediaClass,
        said: &HeaderMap,
    ) {
        let is_first = matches!(class, MediaClass::Manifest | MediaClass::Init);
        // H1 has no order, and another node asks its own clients.
        let is_ordered =
            exchange.downstream.protocol != Protocol::Http1 && exchange.child.is_none();
        let is_unsaid = !request.headers.contains_key(PRIORITY) && !said.contains_key(PRIORITY);
        if is_first && is_ordered && is_unsaid {
            self.push(PRIORITY, HeaderValue::from_static("u=1"));
        }
    }

    /// What the transport knows of the way to a player that speaks of such things itself.
    fn say_way<S: Stream>(&mut self, exchange: &Exchange, stream: &S) {
        let more = cmsd::Dynamic {
            delay: Some(exchange.arrived_at.elapsed()),
            ..cmsd::Dynamic::default()
        };
        if let Some(value) = cmsd::dynamic(&exchange.node.name, &stream.way(), more, None) {
            self.push(cmsd::CMSD_DYNAMIC, value);
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether a range is looked at: only GET of what is there whole has any.
fn wants_range(request: &Request, head: &Head) -> bool {
    head.status == StatusCode::OK
        && request.method == Method::GET
        && request.headers.contains_key(header::RANGE)
}

/// What a 304 says beside our own headers (RFC 9110 section 15.4.5).
const OF_NOT_MODIFIED: [HeaderName; 7] = [
    header::CACHE_CONTROL,
    header::CONTENT_LOCATION,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::VARY,
];
const SURROGATE_CONTROL: &str = "surrogate-control";
/// Headers of our own that an answer has, nearly always.
const OWN_EXPECTED: usize = 8;
