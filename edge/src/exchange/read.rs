//! GET and HEAD of what may be stored: from the store at once, or from wherever the fetch leads.
//!
//! Invariant: a hit in memory is answered without waiting for anything but the client.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, header::CONTENT_LENGTH};
use tokio::sync::mpsc;

use super::{
    cache_status::Handled,
    context::{Ended, Exchange},
    edge::Edge,
    respond::{self, Answerable},
};
use crate::{
    cache::{media_class::MediaClass, object::Extent},
    error::Failure,
    fetch::{Asked, Client, Got, How, Look, Wanted},
    listener::stream::{Request, Stream},
};

/// Answers a request.
pub(super) async fn serve<S: Stream>(
    edge: &Edge,
    exchange: &mut Exchange,
    request: &Request,
    stream: &mut S,
) -> Result<(), Ended> {
    let route = exchange.route.as_ref().ok_or(Ended(Failure::INTERNAL))?;
    let asked = Asked {
        route,
        headers: &request.headers,
        wishes: &exchange.wishes,
        began_at: exchange.began_at,
        is_for_child: exchange.child.is_some(),
        now: exchange.began_at,
    };
    match edge.parts.fetcher.look(&asked) {
        Look::Serve(found) if found.head.extent == Extent::Whole && !is_followed(exchange) => {
            exchange.handled = if found.is_in_flight { Handled::Collapsed } else { Handled::Hit };
            let (head, length) = (found.head.clone(), found.bytes);
            let answerable = Answerable { head, length, withheld: None };
            let mut content = edge.parts.fetcher.content_at_hand(found);
            respond::stored(edge, exchange, request, &answerable, &mut content, stream).await
        }
        look => Box::pin(fetch(edge, exchange, request, look, stream)).await,
    }
}

/// Answers with what the fetch brings.
async fn fetch<S: Stream>(
    edge: &Edge,
    exchange: &mut Exchange,
    request: &Request,
    look: Look,
    stream: &mut S,
) -> Result<(), Ended> {
    let mut wanted = wanted(exchange, request)?;
    // It has none, also where it says so.
    wanted.headers.remove(CONTENT_LENGTH);
    let wanted = Arc::new(wanted);
    let fetcher = &edge.parts.fetcher;
    if is_followed(exchange) {
        let named = exchange.cmcd.as_ref().map(|cmcd| &cmcd.next);
        let named: Vec<String> =
            named.into_iter().flatten().map(|next| next.target.clone()).collect();
        fetcher.watched(&wanted, &named);
    }
    let is_varying = fetcher.is_varying(&wanted.route);
    match wait(edge, &wanted, look, stream).await? {
        Got::Stored { found, relay, how, forward } => {
            exchange.handled = handled(how, is_varying);
            exchange.forward = forward;
            if let How::StaleOnError(Some(status)) = how {
                exchange.forward = Some(refused(status));
            }
            let withheld = exchange.forward.as_ref().map(|forward| forward.withheld.clone());
            let answerable = Answerable {
                head: found.head.clone(),
                length: match found.head.extent {
                    Extent::Sliced { total, .. } => Some(total),
                    Extent::Whole | Extent::Slice { .. } => found.bytes,
                },
                withheld: withheld.filter(|withheld| !withheld.is_empty()),
            };
            let mut content = fetcher.content(&wanted, *found, relay);
            respond::stored(edge, exchange, request, &answerable, &mut content, stream).await
        }
        Got::Passed { answer, reason, is_stale } => {
            exchange.handled = match reason {
                Some(reason) => Handled::Unstorable(reason),
                None if is_stale => Handled::Expired,
                None => Handled::Miss,
            };
            respond::passed(edge, exchange, request, *answer, stream).await
        }
    }
}

/// Waits for the fetch, and passes on what upstream says before its answer.
async fn wait<S: Stream>(
    edge: &Edge,
    wanted: &Arc<Wanted>,
    look: Look,
    stream: &mut S,
) -> Result<Got, Ended> {
    let (interim, mut said) = mpsc::channel(INTERIM_MAX);
    let get = edge.parts.fetcher.get(wanted, look, Some(interim));
    tokio::pin!(get);
    let got = loop {
        tokio::select! {
            biased;
            Some((status, headers)) = said.recv() => stream.inform(status, &headers),
            got = &mut get => break got,
            // The fetch goes on without this client.
            gone = stream.gone() => return Err(gone.into()),
        }
    };
    while let Ok((status, headers)) = said.try_recv() {
        stream.inform(status, &headers);
    }
    got.map_err(|failed| Ended(failed.failure))
}

/// Whether this is a segment of a property that fetches ahead.
fn is_followed(exchange: &Exchange) -> bool {
    exchange.route.as_ref().is_some_and(|route| {
        route.property().cache.prefetch.segments > 0
            && matches!(route.class, MediaClass::Segment | MediaClass::Part | MediaClass::Other)
    })
}

/// What is wanted of upstream.
pub(super) fn wanted(exchange: &Exchange, request: &Request) -> Result<Wanted, Ended> {
    let is_for_child = exchange.child.is_some();
    let downstream = &exchange.downstream;
    let client = Client { ip: downstream.client.ip().to_canonical(), is_tls: downstream.tls };
    let route = exchange.route.clone().ok_or(Ended(Failure::INTERNAL))?;
    let pop = &route.policy.snapshot.pop;
    let is_for_sibling = exchange.child.as_ref().is_some_and(|child| child.pop == *pop);
    Ok(Wanted {
        route,
        method: request.method.clone(),
        headers: request.headers.clone(),
        wishes: exchange.wishes,
        began_at: exchange.began_at,
        id: exchange.id().to_owned(),
        client: (!is_for_child).then_some(client),
        is_for_child,
        is_for_sibling,
        home: None,
    })
}

fn handled(how: How, is_varying: bool) -> Handled {
    match how {
        How::Hit => Handled::Hit,
        How::Stale => Handled::Stale,
        How::StaleOnError(_) => Handled::StaleOnError,
        How::Collapsed => Handled::Collapsed,
        How::Confirmed => Handled::Revalidated,
        How::Replaced => Handled::Expired,
        How::Fetched if is_varying => Handled::VaryMiss,
        How::Fetched => Handled::Miss,
    }
}

/// Upstream as an answer that is not served says of it.
fn refused(status: StatusCode) -> crate::fetch::Forward {
    crate::fetch::Forward {
        status,
        cache_status: None,
        from: None,
        attempts: 1,
        withheld: HeaderMap::new(),
        is_stored: false,
    }
}

/// Interim responses that may wait to be passed on; upstreams send one or two.
pub(super) const INTERIM_MAX: usize = 8;
