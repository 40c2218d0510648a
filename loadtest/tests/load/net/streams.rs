//! HTTP/2 without TLS, from a server that breaks what a proper one would not let us break.

use std::{cell::Cell, net::SocketAddr, rc::Rc};

use bytes::Bytes;
use h2::{Reason, server::SendResponse};
use http::Response;
use tidegate_load::{
    kind::{FailureClass, Protocol},
    net::{Ask, Net, NetConfig},
};
use tokio::net::TcpListener;
use url::Url;

use super::{ask, class, fetch, plan, story};

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Hello,
    /// Half of what was announced, and the end.
    Short,
    /// More than was announced.
    Long,
    Reset(Reason),
    /// The connection is closed at once.
    Drop,
}

/// Fates of the requests in turn; the last one is for all that follow.
async fn server(fates: &'static [Fate]) -> (SocketAddr, Rc<Cell<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Rc::new(Cell::new(0));
    let seen = Rc::clone(&count);
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let seen = Rc::clone(&seen);
            tokio::task::spawn_local(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_, respond))) = connection.accept().await {
                    let fate = fates[seen.get().min(fates.len() - 1)];
                    seen.set(seen.get() + 1);
                    if matches!(fate, Fate::Drop) {
                        return;
                    }
                    answer(respond, fate);
                }
            });
        }
    });
    (address, count)
}

fn answer(mut respond: SendResponse<Bytes>, fate: Fate) {
    let body = Bytes::from_static(b"hello");
    let announced = match fate {
        Fate::Hello => 5,
        Fate::Short => 10,
        Fate::Long => 3,
        Fate::Reset(reason) => return respond.send_reset(reason),
        Fate::Drop => return,
    };
    let head = Response::builder().header("content-length", announced).body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    stream.send_data(body, true).unwrap();
}

fn net() -> Net {
    Net::new(NetConfig { insecure: true, ..NetConfig::default() }).unwrap()
}

fn at(address: SocketAddr) -> Ask {
    Ask { url: Url::parse(&format!("http://{address}/")).unwrap(), ..ask("/") }
}

#[test]
fn streams_that_break_have_their_class() {
    story(async {
        for (fate, expected) in [
            (Fate::Hello, None),
            (Fate::Short, Some(FailureClass::Truncated)),
            (Fate::Long, Some(FailureClass::Truncated)),
            (Fate::Reset(Reason::INTERNAL_ERROR), Some(FailureClass::Reset)),
            (Fate::Reset(Reason::REFUSED_STREAM), Some(FailureClass::Reset)),
            (Fate::Drop, Some(FailureClass::Reset)),
        ] {
            let (address, _) = server(vec![fate].leak()).await;
            let fetched = fetch(&net().session(plan(Protocol::H2)), at(address)).await;
            assert_eq!(class(&fetched), expected, "{fate:?}: {:?}", fetched.outcome);
        }
    });
}

#[test]
fn what_the_server_did_not_do_is_asked_again_once() {
    story(async {
        let refused = Fate::Reset(Reason::REFUSED_STREAM);
        for (fates, result, asked) in [
            (vec![refused, Fate::Hello], None, 2),
            (vec![refused], Some(FailureClass::Reset), 2),
            (vec![Fate::Reset(Reason::CANCEL), Fate::Hello], Some(FailureClass::Reset), 1),
            (vec![Fate::Drop, Fate::Hello], Some(FailureClass::Reset), 1),
        ] {
            let (address, count) = server(fates.leak()).await;
            let fetched = fetch(&net().session(plan(Protocol::H2)), at(address)).await;
            assert_eq!((class(&fetched), count.get()), (result, asked), "{:?}", fetched.outcome);
        }

        // A connection that has served may have been closed before the request came.
        let fates = vec![Fate::Hello, Fate::Drop, Fate::Hello].leak();
        let (address, count) = server(fates).await;
        let net = net();
        let session = net.session(plan(Protocol::H2));
        assert!(fetch(&session, at(address)).await.outcome.is_ok());
        assert!(fetch(&session, at(address)).await.outcome.is_ok());
        assert_eq!((count.get(), net.counters().opened), (3, 2));
    });
}
