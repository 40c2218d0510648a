//! The h2 crate's client reads what we write, and we read what it writes: with its dynamic table and its Huffman code,
//! over several requests of one connection.

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{
    frame::{PREFACE, put_preface, put_settings_ack},
    hpack::Decoder,
    reader::{Next, Reader},
    request::read_head,
    response::put_head,
};
use crate::{
    cache::fields::Fields,
    listener::{config::Limits, stream::ResponseHead},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_one_writes_the_other_reads(
        asked in prop::collection::vec(fields(), 1..5),
        answered in fields(),
        again in 1_usize..3,
    ) {
        // The same once more, so that the table is used.
        let asked: Vec<HeaderMap> = std::iter::repeat_n(asked, again).flatten().collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (seen, got) = runtime.block_on(async {
            let (client, server) = tokio::io::duplex(1 << 16);
            tokio::join!(serve(server, asked.len(), &answered), ask(client, &asked))
        });
        prop_assert_eq!(seen, asked);
        prop_assert!(got.iter().all(|headers| *headers == answered));
    }
}

fn fields() -> impl Strategy<Value = HeaderMap> {
    let field = ("x-[a-z0-9]{1,12}", "([!-~]([ -~]{0,60}[!-~])?)?");
    prop::collection::vec(field, 0..12).prop_map(|fields| {
        let name = |name: &str| HeaderName::try_from(name).unwrap();
        let value = |value: &str| HeaderValue::from_str(value).unwrap();
        fields.iter().map(|(n, v)| (name(n), value(v))).collect()
    })
}

/// Answers so many requests, and returns their fields.
async fn serve(mut io: DuplexStream, requests: usize, answer: &HeaderMap) -> Vec<HeaderMap> {
    let mut preface = [0; PREFACE.len()];
    io.read_exact(&mut preface).await.unwrap();
    assert_eq!(&preface, PREFACE);
    let mut out = Vec::new();
    put_preface(&mut out, &[], 1 << 20);
    put_settings_ack(&mut out);
    let (mut reader, mut decoder) = (Reader::new(1 << 16), Decoder::default());
    let (stored, mut seen) = (Fields::new(answer.clone()), Vec::new());
    let mut buffer = [0; 300];
    while seen.len() < requests {
        io.write_all(&out).await.unwrap();
        out.clear();
        let read = io.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the client has gone");
        let mut input = &buffer[..read];
        loop {
            match reader.next(&mut input).unwrap() {
                Next::More => break,
                Next::Section { stream, section, is_last } => {
                    assert!(is_last);
                    let head = read_head(&mut decoder, &section, &Limits::default()).unwrap();
                    assert_eq!(head.target, "/p?q");
                    assert_eq!(head.authority.as_deref(), Some(&b"a.test"[..]));
                    let response = ResponseHead {
                        status: StatusCode::OK,
                        stored: Some(&stored),
                        own: &[],
                        length: None,
                    };
                    put_head(&mut out, stream, &response, None, true, seen.is_empty());
                    seen.push(head.headers);
                }
                Next::Part(_) | Next::Frame(..) => {}
            }
        }
    }
    io.write_all(&out).await.unwrap();
    // Until the client has read everything.
    while io.read(&mut buffer).await.unwrap_or(0) > 0 {}
    seen
}

/// Asks with these fields, one after the other, and returns the fields of the answers.
async fn ask(io: DuplexStream, requests: &[HeaderMap]) -> Vec<HeaderMap> {
    let (mut sender, connection) = h2::client::handshake(io).await.unwrap();
    let driver = tokio::spawn(async { drop(connection.await) });
    let mut got = Vec::new();
    for headers in requests {
        let mut request = Request::get("https://a.test/p?q").body(()).unwrap();
        request.headers_mut().clone_from(headers);
        sender = sender.ready().await.unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        got.push(response.await.unwrap().headers().clone());
    }
    drop(sender);
    driver.await.unwrap();
    got
}
