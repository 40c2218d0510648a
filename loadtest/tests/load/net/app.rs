//! What the test server says, whatever the protocol: the path asks for it.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};

/// A step of a body.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Data(Bytes),
    /// Nothing more comes, and no end.
    Hang,
    /// The stream, or with HTTP/1.1 the connection, is cut.
    Reset,
}

/// An answer; `None` never comes.
pub(crate) type Reply = Option<(Response<()>, Vec<Step>)>;

/// Bytes that tell where they stand.
pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at % 251) as u8).collect()
}

pub(crate) fn reply(request: &Request<()>) -> Reply {
    let path = request.uri().path();
    let mut parts = path.split('/').skip(1);
    let kind = parts.next().unwrap_or_default();
    let number: usize = parts.next().and_then(|part| part.parse().ok()).unwrap_or_default();
    let response = |status: u16| Response::builder().status(status);
    let whole = |status, body: Bytes| {
        let response = response(status).header("content-length", body.len());
        Some((response.body(()).unwrap(), vec![Step::Data(body)]))
    };
    let to =
        |place: String| Some((response(302).header("location", place).body(()).unwrap(), vec![]));
    let announced = |length: usize, steps| {
        Some((response(200).header("content-length", length).body(()).unwrap(), steps))
    };
    match kind {
        "bytes" => match range(request.headers(), number) {
            Some((first, last)) => {
                let body = pattern(number).slice(first..=last);
                let range = format!("bytes {first}-{last}/{number}");
                let response = response(206).header("content-range", range);
                Some((response.body(()).unwrap(), vec![Step::Data(body)]))
            }
            None => whole(200, pattern(number)),
        },
        "chunked" => {
            let body = pattern(number);
            let steps = body.chunks(1000).map(|chunk| Step::Data(body.slice_ref(chunk)));
            Some((response(200).body(()).unwrap(), steps.collect()))
        }
        "status" => whole(number as u16, pattern(100)),
        "page" => whole(404, pattern(number)),
        "hop" if number == 0 => to("/bytes/10".to_owned()),
        "hop" => to(format!("/hop/{}", number - 1)),
        "circle" => to(format!("/circle/{}", (number + 1) % 2)),
        "away" => {
            to(format!("https://other.test:{}/headers", request.uri().port_u16().unwrap_or(443)))
        }
        "never" => None,
        "stall" => announced(2 * number, vec![Step::Data(pattern(number)), Step::Hang]),
        "cut" => announced(2 * number, vec![Step::Data(pattern(number)), Step::Reset]),
        "short" => announced(2 * number, vec![Step::Data(pattern(number))]),
        "headers" => whole(200, lines(request.headers()).into()),
        "facts" => {
            let response = response(200)
                .header("cache-status", "origin; hit, edge-7; fwd=miss")
                .header("age", "12")
                .header("etag", "\"e\"")
                .header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
            Some((response.body(()).unwrap(), vec![Step::Data(pattern(1))]))
        }
        _ => whole(404, Bytes::new()),
    }
}

fn lines(headers: &HeaderMap) -> String {
    headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect()
}

fn range(headers: &HeaderMap, length: usize) -> Option<(usize, usize)> {
    let value = headers.get("range")?.to_str().unwrap().strip_prefix("bytes=")?;
    let (first, last) = value.split_once('-')?;
    let last = last.parse().unwrap_or(length - 1);
    Some((first.parse().ok()?, last.min(length - 1)))
}
