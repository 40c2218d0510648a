//! Interim responses.

use http::{Response, StatusCode};
use tokio::sync::mpsc;

use crate::harness::{Client, Setup, Wish, plain::Plain, secure::Secure, text};

#[tokio::test]
async fn early_hints_are_handed_on_as_they_come() {
    let plain = Plain::always(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: 1\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
    )
    .await;
    let secure = Secure::h2(|_, mut respond| async move {
        let hints = Response::builder().status(103).header("link", "</a>").body(()).unwrap();
        respond.send_informational(hints).unwrap();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(bytes::Bytes::from_static(b"a"), true).unwrap();
    })
    .await;
    for origin in [crate::harness::clear(&plain.address), secure.upstream()] {
        let client = Client::new(Setup { origins: vec![origin], ..Setup::default() });
        let (hand, mut taken) = mpsc::channel(4);
        let ask = Wish { interim: Some(hand), ..Wish::default() };
        assert_eq!(text(client.ask(ask).await).await.unwrap(), "a");
        let (status, headers) = taken.recv().await.unwrap();
        assert_eq!(status, StatusCode::EARLY_HINTS);
        assert_eq!(headers["link"], "</a>");
        assert_eq!(headers.len(), 1);
        assert!(taken.recv().await.is_none(), "100 is for nobody");
    }
}

#[tokio::test]
async fn nobody_waits_for_a_client_that_takes_no_hints() {
    let hints = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(5);
    let origin = Plain::always(format!("{hints}{}", crate::harness::plain::ok("a"))).await;
    let client = Client::of(&[origin.address]);
    let (hand, _untaken) = mpsc::channel(1);
    let ask = Wish { interim: Some(hand), ..Wish::default() };
    assert_eq!(text(client.ask(ask).await).await.unwrap(), "a");
    assert_eq!(client.metrics.interim_dropped.get(), 4);

    let endless = Plain::always("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100)).await;
    assert!(Client::of(&[endless.address]).get("/").await.is_err());
}
