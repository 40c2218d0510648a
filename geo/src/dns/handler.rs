//! Bytes in, bytes out: the whole way of a query, whichever socket it came from.
//!
//! Whoever holds a socket calls [`Handler::answer_bytes`]; it waits for nothing and nobody. Invariant: what is no query is
//! never answered, and no answer that nobody proved to have asked for exceeds the rate limit.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, Name, RecordType},
};

use crate::{
    dns::{
        answer::{Answer, Outcome, Query, answer},
        config::Answers,
        cookie::{Cookies, Shown},
        extended_error::ExtendedError,
        metrics::Metrics,
        query_log::QueryLog,
        rate::{Kind, Limiter, Verdict},
        reply::Reply,
        request::{self, Edns, Question, Request, Unreadable},
        sign::{SignError, Signer},
        transport::Transport,
    },
    world::Worlds,
    zone::ZoneTable,
};

/// Answers queries.
#[derive(Debug)]
pub struct Handler {
    parts: Parts,
    /// What the limiter's clock counts from.
    started: Instant,
}

/// What a handler is made of.
#[derive(Debug)]
pub struct Parts {
    /// The zones.
    pub zones: Arc<ZoneTable>,
    /// The map.
    pub worlds: Arc<Worlds>,
    /// What is answered beside the records.
    pub answers: Answers,
    /// How long TCP connections may be idle, for those who ask.
    pub idle: Duration,
    /// Cookies; absent: there are none.
    pub cookies: Option<Arc<Cookies>>,
    /// What signs; absent: no zone is signed.
    pub signer: Option<Arc<Signer>>,
    /// Limits; absent: there are none.
    pub limiter: Option<Arc<Limiter>>,
    /// Which queries are logged.
    pub log: QueryLog,
    /// What is counted.
    pub metrics: Metrics,
}

impl Handler {
    /// A handler of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts, started: Instant::now() }
    }

    /// What it is made of.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// µs on the limiter's clock.
    #[must_use]
    pub fn limiter_now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The answer to a message; `None`: there is none.
    #[must_use]
    pub fn answer_bytes(
        &self,
        bytes: &[u8],
        client: SocketAddr,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let mut reply = self.reply(bytes, client, transport)?;
        let was_whole = !reply.message.metadata.truncation;
        match reply.to_bytes() {
            Ok(bytes) => {
                if was_whole && reply.message.metadata.truncation {
                    self.parts.metrics.truncated.inc();
                }
                Some(bytes)
            }
            Err(error) => {
                tracing::error!(%error, "an answer cannot be written");
                None
            }
        }
    }

    /// As [`Handler::answer_bytes`], before it is written.
    #[must_use]
    pub fn reply(&self, bytes: &[u8], client: SocketAddr, transport: Transport) -> Option<Reply> {
        let started = Instant::now();
        let client = client.ip().to_canonical();
        let reply = match request::read(bytes) {
            Ok(request) => self.answered(&request, client, transport, SystemTime::now()),
            Err(unreadable) => self.unreadable(unreadable, client, transport),
        };
        let metrics = &self.parts.metrics;
        if let Some(reply) = &reply {
            metrics.answer(transport, reply.message.metadata.response_code, reply.outcome);
        }
        metrics.seconds(transport).observe(started.elapsed().as_secs_f64());
        reply
    }

    fn unreadable(
        &self,
        unreadable: Unreadable,
        client: IpAddr,
        transport: Transport,
    ) -> Option<Reply> {
        let payload = self.parts.answers.udp_bytes_max;
        let mut reply = match unreadable {
            Unreadable::NoQuery => {
                self.parts.metrics.unanswered.inc();
                return None;
            }
            Unreadable::NotDone(head) => Reply::bare(&head, None, ResponseCode::NotImp),
            Unreadable::Malformed { head, question, has_edns } => {
                let reply = Reply::bare(&head, question.as_ref(), ResponseCode::FormErr);
                if has_edns { reply.extended((false, false), payload) } else { reply }
            }
        };
        let verdict = self.limited(client, transport, Kind::Error, &[]);
        self.parts.metrics.limited(verdict, false);
        match verdict {
            Verdict::Pass => {}
            Verdict::Slip => reply.truncate(),
            Verdict::Drop => return None,
        }
        Some(reply)
    }

    fn answered(
        &self,
        request: &Request,
        client: IpAddr,
        transport: Transport,
        now: SystemTime,
    ) -> Option<Reply> {
        let metrics = &self.parts.metrics;
        let kind = request.question.as_ref().map_or(RecordType::ZERO, |question| question.kind);
        metrics.query(transport, kind, "handler");
        let edns = request.edns.as_ref();
        metrics.subnet(edns.and_then(|edns| edns.subnet).map(|told| (told.family, told.source)));
        let (shown, cookie) = match &self.parts.cookies {
            None => (Shown::Nothing, None),
            Some(cookies) => {
                let option = edns.and_then(|edns| edns.cookie.as_deref());
                cookies.judge(option, client, now)
            }
        };
        metrics.cookie(shown);

        let mut decided = self.decide(request, client);
        let verdict = if shown == Shown::Ours {
            Verdict::Pass
        } else {
            let (kind, name) = limit(&decided, request);
            self.limited(client, transport, kind, &name)
        };
        // A client that knows cookies shows ours when it asks again; over TCP it would cost both more.
        let asks_cookie = verdict == Verdict::Slip && shown == Shown::Own;
        metrics.limited(verdict, asks_cookie);
        if verdict == Verdict::Drop {
            return None;
        }
        // Signing costs most of it all, so what is not sent is not signed.
        let signed = match verdict {
            Verdict::Pass => self.sign(&mut decided, request, client, now),
            _ => Ok(()),
        };
        if let Err(error) = signed {
            let why = match error {
                SignError::Busy => ExtendedError::Busy,
                SignError::Unsignable => ExtendedError::Unsignable,
            };
            decided = Answer::bare(ResponseCode::ServFail, Outcome::Failed).because(why);
        }
        self.parts.log.query(request, client, transport, &decided);
        let mut reply = Reply::bare(&request.head, request.question.as_ref(), decided.code);
        if verdict == Verdict::Pass {
            reply = reply.with(&decided);
        }
        if let Some(edns) = edns {
            reply = self.extended(reply, edns, &decided, cookie, transport);
        }
        if asks_cookie {
            reply.message.metadata.response_code = ResponseCode::BADCOOKIE;
        } else if verdict == Verdict::Slip {
            reply.truncate();
        } else if signed == Err(SignError::Busy) && transport.is_datagram() {
            // Whoever comes again by TCP is who it says.
            reply.message.metadata.response_code = ResponseCode::NoError;
            reply.truncate();
        }
        if transport.is_datagram() {
            reply = reply.datagram(edns, self.parts.answers.udp_bytes_max);
        }
        Some(reply)
    }

    /// What is said, before anything is made of it.
    fn decide(&self, request: &Request, client: IpAddr) -> Answer {
        let edns = request.edns.as_ref();
        if edns.is_some_and(|edns| edns.version > 0) {
            return Answer::bare(ResponseCode::BADVERS, Outcome::Refused);
        }
        let Some(question) = &request.question else {
            return Answer::bare(ResponseCode::NoError, Outcome::NoData);
        };
        if question.class != DNSClass::IN {
            // Also what CHAOS tells of versions and hosts.
            let refused = Answer::bare(ResponseCode::Refused, Outcome::Refused);
            return refused.because(ExtendedError::NotSupported);
        }
        let query = asked(question, edns, client);
        answer(&self.parts.zones.newest(), &self.parts.worlds.newest(), &query)
    }

    /// Adds what DNSSEC adds.
    fn sign(
        &self,
        decided: &mut Answer,
        request: &Request,
        client: IpAddr,
        now: SystemTime,
    ) -> Result<(), SignError> {
        let (Some(signer), Some(question)) = (&self.parts.signer, &request.question) else {
            return Ok(());
        };
        let query = asked(question, request.edns.as_ref(), client);
        signer.finish(decided, &self.parts.zones.newest(), &query, now)
    }

    /// What EDNS says in the answer.
    fn extended(
        &self,
        reply: Reply,
        edns: &Edns,
        decided: &Answer,
        cookie: Option<Vec<u8>>,
        transport: Transport,
    ) -> Reply {
        let Answers { udp_bytes_max, nsid, .. } = &self.parts.answers;
        let flags = (edns.dnssec_ok, decided.is_compact);
        let mut reply = reply.extended(flags, *udp_bytes_max).subnet(edns.subnet, decided.scope);
        if let Some(cookie) = cookie {
            reply = reply.option(COOKIE, cookie);
        }
        if let Some(nsid) = nsid.as_ref().filter(|_| edns.wants_nsid) {
            reply = reply.option(NSID, nsid.clone().into_bytes());
        }
        if edns.wants_keepalive && matches!(transport, Transport::Tcp | Transport::Tls) {
            let tenths = u16::try_from(self.parts.idle.as_millis() / 100).unwrap_or(u16::MAX);
            reply = reply.option(KEEPALIVE, tenths.to_be_bytes().to_vec());
        }
        if let Some(why) = decided.why {
            reply = reply.option(EXTENDED_ERROR, why.to_bytes());
        }
        reply
    }

    fn limited(&self, client: IpAddr, transport: Transport, kind: Kind, name: &[u8]) -> Verdict {
        match &self.parts.limiter {
            Some(limiter) if transport.is_datagram() => {
                limiter.check(client, kind, name, self.limiter_now())
            }
            _ => Verdict::Pass,
        }
    }
}

fn asked<'a>(question: &'a Question, edns: Option<&Edns>, client: IpAddr) -> Query<'a> {
    Query {
        name: &question.name,
        kind: question.kind,
        dnssec_ok: edns.is_some_and(|edns| edns.dnssec_ok),
        compact_ok: edns.is_some_and(|edns| edns.compact_ok),
        client,
        subnet: edns.and_then(|edns| edns.subnet),
    }
}

/// The limit that an answer counts for: that of its name; of what a wildcard made or what is not there, that of the zone,
/// or every name would have its own.
fn limit(answer: &Answer, request: &Request) -> (Kind, Vec<u8>) {
    let asked = request.question.as_ref().map(|question| &question.name);
    match (answer.outcome, &answer.common) {
        (Outcome::Missing, Some(zone)) => (Kind::Missing, subject(zone)),
        (Outcome::Refused | Outcome::Failed | Outcome::Missing, _) => (Kind::Error, Vec::new()),
        (_, Some(common)) => (Kind::Answer, subject(common)),
        (_, None) => (Kind::Answer, asked.map(subject).unwrap_or_default()),
    }
}

/// A name as the limiter takes it: its labels in small letters, each behind its length.
#[must_use]
pub fn subject(name: &Name) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 1);
    for label in name.iter() {
        bytes.push(label.len() as u8);
        bytes.extend(label.iter().map(u8::to_ascii_lowercase));
    }
    bytes
}

/// RFC 5001.
const NSID: u16 = 3;
/// RFC 7873.
const COOKIE: u16 = 10;
/// RFC 7828.
const KEEPALIVE: u16 = 11;
/// RFC 8914.
const EXTENDED_ERROR: u16 = 15;
