//! Queries over real sockets: answers, subnets, connections, reloads.

use hickory_proto::{
    op::ResponseCode,
    rr::{RData, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{
    Asked, Program, TestGeo, WAIT, ZONE, ask_tcp, ask_udp, get, post, tool, until, write_zone,
};

const FRA: [u8; 7] = [0, 1, 24, 0, 10, 0, 7];
const SYD: [u8; 7] = [0, 1, 24, 0, 10, 1, 7];

#[tokio::test]
async fn each_client_gets_its_pop_over_udp_and_tcp() {
    let geo = TestGeo::start("").await;
    for (subnet, addresses) in [(FRA, vec!["192.0.2.1", "192.0.2.2"]), (SYD, vec!["198.51.100.1"])]
    {
        let query = Asked::of("www.example.test.", RecordType::A).subnet(&subnet).to_bytes();
        let over_udp = ask_udp(geo.address, &query).await;
        let mut found: Vec<String> =
            over_udp.answers.iter().map(|record| record.data.to_string()).collect();
        found.sort();
        assert_eq!(found, addresses);
        assert!(over_udp.metadata.authoritative && over_udp.answers.iter().all(|a| a.ttl == 20));
        let over_tcp = ask_tcp(geo.address, &[&query]).await;
        assert_eq!((&over_tcp[0].answers, &over_tcp[0].edns), (&over_udp.answers, &over_udp.edns));
    }
    geo.end().await;
}

#[tokio::test]
async fn a_tool_of_operators_reads_the_answers() {
    let geo = TestGeo::start("[answers]\nnsid = \"fra-1\"\n").await;
    for (arguments, expected) in [
        (&["+short", "+subnet=10.1.7.0/24", "www.example.test"][..], "198.51.100.1\n"),
        (&["+short", "www.example.test", "AAAA"], "2001:db8::1\n"),
        (
            &["+short", "+subnet=10.1.7.0/24", "www.example.test", "HTTPS"],
            "1 . alpn=\"h3,h2\" ipv4hint=198.51.100.1\n",
        ),
        (&["+short", "example.test", "MX"], "10 mail.example.test.\n"),
        (&["example.test", "SOA"], "flags: qr aa"),
        (&["+subnet=10.1.7.0/24", "www.example.test"], "CLIENT-SUBNET: 10.1.7.0/24/"),
        (&["+subnet=0", "www.example.test"], "CLIENT-SUBNET: 0"),
        (&["+nsid", "www.example.test"], "(\"fra-1\")"),
        (&["+cookie", "www.example.test"], "COOKIE: "),
        (&["none.example.test"], "status: NXDOMAIN"),
        (&["www.example.test", "MX"], "status: NOERROR"),
        (&["alias.example.test"], "CNAME\twww.example.test."),
        (&["x.sub.example.test"], "ns.sub.example.test."),
        (&["example.test", "ANY"], "status: REFUSED"),
        (&["example.test", "AXFR"], "Transfer failed"),
        (&["version.bind", "CH", "TXT"], "status: REFUSED"),
        (&["+edns=1", "+noednsneg", "example.test", "SOA"], "status: BADVERS"),
        (&["+opcode=NOTIFY", "example.test", "SOA"], "status: NOTIMP"),
        (&["example.net"], "status: REFUSED"),
    ] {
        let arguments = [&["+norecurse"], arguments].concat();
        let Some(said) = tool("dig", geo.address, &arguments).await else { return };
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    // A cookie that came back is good.
    let Some(said) = tool("dig", geo.address, &["www.example.test", "+cookie"]).await else {
        return;
    };
    assert!(said.contains("(good)"), "{said}");
    let Some(said) = tool(
        "kdig",
        geo.address,
        &["+tcp", "+keepopen", "www.example.test", "example.test", "SOA"],
    )
    .await
    else {
        return;
    };
    assert!(said.matches("status: NOERROR").count() == 2, "{said}");
    geo.end().await;
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_again_over_tcp() {
    let geo = TestGeo::start("").await;
    let many: String = (0..200).map(|number| format!("big TXT \"number {number}\"\n")).collect();
    geo.write_zone(&(ZONE.to_owned() + &many));
    let query = Asked::of("big.example.test.", RecordType::TXT).to_bytes();
    until("the new zone", async || ask_udp(geo.address, &query).await.metadata.truncation).await;
    assert!(ask_udp(geo.address, &query).await.answers.is_empty());
    assert_eq!(ask_tcp(geo.address, &[&query]).await[0].answers.len(), 201);
    if let Some(said) = tool("dig", geo.address, &["big.example.test", "TXT"]).await {
        assert!(said.contains("ANSWER: 201") && said.contains("(TCP)"), "{said}");
    }
    geo.end().await;
}

#[tokio::test]
async fn queries_on_a_connection_are_answered_in_their_order_up_to_the_limit() {
    let geo = TestGeo::start("[listen]\ntcp_queries_max = 3\n").await;
    let of = |name: &str| Asked::of(name, RecordType::A).to_bytes();
    let queries = [
        of("www.example.test."),
        of("none.example.test."),
        of("mail.example.test."),
        of("ns1.example.test."),
    ];
    let queries: Vec<&[u8]> = queries.iter().map(Vec::as_slice).collect();
    let answers = ask_tcp(geo.address, &queries).await;
    let codes: Vec<_> = answers.iter().map(|answer| answer.metadata.response_code).collect();
    assert_eq!(codes, [ResponseCode::NoError, ResponseCode::NXDomain, ResponseCode::NoError]);
    geo.end().await;
}

#[tokio::test]
async fn connections_of_a_client_have_a_limit() {
    let limits = "[listen]\ntcp_connections_per_client_max = 2\ntcp_idle = \"10m\"\n";
    let geo = TestGeo::start(limits).await;
    let query = Asked::of("mail.example.test.", RecordType::A).to_bytes();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(geo.address).await.unwrap();
        // Once it is answered, it is counted.
        let framed = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
        stream.write_all(&framed).await.unwrap();
        assert!(timeout(WAIT, stream.read_u16()).await.expect("an answer").unwrap() > 12);
        held.push(stream);
    }
    assert!(ask_tcp(geo.address, &[&query]).await.is_empty());
    drop(held);
    until("room", async || ask_tcp(geo.address, &[&query]).await.len() == 1).await;
    geo.end().await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_too_much_ends() {
    let geo = TestGeo::start("[listen]\ntcp_idle = \"100ms\"\n").await;
    for sent in [&[][..], &[0], &[0, 40, 1], &[0xff, 0xff, 0, 0]] {
        let mut stream = TcpStream::connect(geo.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut rest = Vec::new();
        // Closed, or reset as what was sent was not read.
        let _ = timeout(WAIT, stream.read_to_end(&mut rest)).await.expect("it is closed");
        assert!(rest.is_empty(), "{sent:?}");
    }
    geo.end().await;
}

#[tokio::test]
async fn a_wrong_zone_is_refused_while_the_old_one_serves() {
    let folder = tempfile::tempdir().unwrap();
    let geo = Program::start(folder.path(), "").await;
    let serial = async || {
        let query = Asked::of("example.test.", RecordType::SOA).to_bytes();
        let answer = ask_udp(geo.address, &query).await;
        match &answer.answers[0].data {
            RData::SOA(soa) => soa.serial,
            other => panic!("{other}"),
        }
    };
    assert_eq!(serial().await, 7);
    let (status, zones) = get(geo.admin, "/zones").await;
    assert!(status == 200 && zones.contains("\"serial\":7"), "{zones}");

    let newer = ZONE.replace("hostmaster 7", "hostmaster 8");
    write_zone(folder.path(), &newer.replace("mail A 192.0.2.25", "mail A 192.0.2.256"));
    let (status, said) = post(geo.admin, "/reload").await;
    assert_eq!(status, 422);
    assert!(said.contains("example.test.zone, line 6: "), "{said}");
    assert_eq!(serial().await, 7);
    let shown = async |expected| get(geo.admin, "/metrics").await.1.contains(expected);
    until("the number of wrong zones", async || shown("\ngeo_zones_wrong 1\n").await).await;
    assert!(shown("\ngeo_zones 1\n").await);

    write_zone(folder.path(), &newer);
    assert_eq!(post(geo.admin, "/reload").await.0, 200);
    // Answers that were made beforehand are made anew meanwhile.
    until("the new zone", async || serial().await == 8).await;
    until("the number of wrong zones", async || shown("\ngeo_zones_wrong 0\n").await).await;
    let (_, metrics) = get(geo.admin, "/metrics").await;
    for expected in [
        "geo_zone_refusals_total 1",
        "transport=\"udp\",type=\"SOA\"}",
        "geo_answers_total{rcode=\"NOERROR\",transport=\"udp\"}",
        "geo_world_trust{trust=\"current\"} 1",
    ] {
        assert!(metrics.contains(expected), "{expected}: {metrics}");
    }
    assert_eq!(geo.end().await, Some(0));
}
