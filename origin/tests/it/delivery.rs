//! What the edge gets: headers, conditions, ranges.

use reqwest::{Method, Response};

use crate::harness::{TestOrigin, content, publication};

struct Published {
    origin: TestOrigin,
    video: String,
    media: String,
}

async fn published() -> Published {
    let origin = TestOrigin::start().await;
    let packager = origin.packager("p1");
    let video = origin.upload(&content(30, 100)).await;
    let job = packager.lease().await.unwrap();
    let renditions = ["audio", "360p"];
    assert_eq!(packager.publish(&job, &publication(1, &renditions, "x", true)).await, 200);
    Published { origin, video, media: job.0.media.to_string() }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn manifests_are_short_lived_and_carry_their_keys() {
    let Published { origin, video, media } = published().await;
    for (name, media_type) in [
        ("main.m3u8", "application/vnd.apple.mpegurl"),
        ("360p.m3u8", "application/vnd.apple.mpegurl"),
        ("manifest.mpd", "application/dash+xml"),
    ] {
        let response = origin.get(&format!("/v/{video}/{name}")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "content-type"), media_type);
        assert_eq!(
            header(&response, "cache-control"),
            "public, max-age=2, stale-while-revalidate=30, stale-if-error=86400"
        );
        let keys = format!("video-{video} media-{media} manifest-{media}");
        assert_eq!(header(&response, "surrogate-key"), keys);
        assert_eq!(header(&response, "access-control-allow-origin"), "*");
        let etag = header(&response, "etag").to_owned();
        assert!(etag.starts_with('"') && etag.len() == 34, "{etag}");
        assert!(response.text().await.unwrap().contains(name));

        let url = format!("{}/v/{video}/{name}", origin.url);
        let again = origin.http.get(url).header("if-none-match", &etag).send().await.unwrap();
        assert_eq!((again.status().as_u16(), header(&again, "etag")), (304, etag.as_str()));
        assert_eq!(header(&again, "surrogate-key"), keys);
        assert!(again.bytes().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn objects_are_immutable_and_carry_their_keys() {
    let Published { origin, media, .. } = published().await;
    for (path, media_type, keys) in [
        ("360p/init.mp4", "video/mp4", format!("media-{media} rendition-{media}-360p")),
        ("360p/1.m4s", "video/mp4", format!("media-{media} rendition-{media}-360p")),
        ("audio/1.m4s", "audio/mp4", format!("media-{media} rendition-{media}-audio")),
        ("image/thumb-1.jpg", "image/jpeg", format!("media-{media}")),
        ("image/sprite.vtt", "text/vtt; charset=utf-8", format!("media-{media}")),
    ] {
        let path = format!("/m/{media}/1/{path}");
        let response = origin.get(&path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header(&response, "content-type"), media_type);
        assert_eq!(header(&response, "cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(header(&response, "surrogate-key"), keys);
        assert_eq!(header(&response, "accept-ranges"), "bytes");
        assert!(header(&response, "last-modified").ends_with("GMT"));
        assert_eq!(response.text().await.unwrap(), format!("bytes of {}", &path[1..]));
    }
    let deliveries = |kind| origin.metric(&format!("origin_deliveries_total{{kind=\"{kind}\"}}"));
    assert_eq!((deliveries("init"), deliveries("segment"), deliveries("image")), (1.0, 2.0, 2.0));
}

#[tokio::test]
async fn a_head_says_the_same_without_the_bytes() {
    let Published { origin, video, media } = published().await;
    for path in [format!("/m/{media}/1/360p/1.m4s"), format!("/v/{video}/main.m3u8")] {
        let get = origin.get(&path).await;
        let url = format!("{}{path}", origin.url);
        let head = origin.http.request(Method::HEAD, url).send().await.unwrap();
        assert_eq!(head.status(), 200);
        for name in ["content-length", "etag", "content-type", "surrogate-key", "cache-control"] {
            assert_eq!(header(&head, name), header(&get, name), "{name}");
        }
        assert!(!header(&head, "content-length").is_empty());
        assert!(head.bytes().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_range_is_a_part_of_the_same_bytes() {
    let Published { origin, video, media } = published().await;
    for path in [format!("/m/{media}/1/360p/1.m4s"), format!("/v/{video}/main.m3u8")] {
        let whole = origin.get(&path).await;
        let etag = header(&whole, "etag").to_owned();
        let whole = whole.bytes().await.unwrap();
        let ask = async |range: &str, if_range: &str| {
            let mut request =
                origin.http.get(format!("{}{path}", origin.url)).header("range", range);
            if !if_range.is_empty() {
                request = request.header("if-range", if_range);
            }
            request.send().await.unwrap()
        };
        let length = whole.len();
        for (range, from, to) in
            [("bytes=0-3", 0, 4), ("bytes=5-", 5, length), ("bytes=-4", length - 4, length)]
        {
            let part = ask(range, "").await;
            assert_eq!(part.status(), 206, "{range}");
            let said = format!("bytes {from}-{}/{length}", to - 1);
            assert_eq!(header(&part, "content-range"), said);
            assert_eq!(part.bytes().await.unwrap(), whole[from..to], "{range}");
        }
        assert_eq!(ask("bytes=0-3", &etag).await.status(), 206);
        assert_eq!(ask("bytes=0-3", "\"other\"").await.status(), 200);
        assert_eq!(ask("bytes=0-1,2-3", "").await.status(), 200);
        let behind = ask(&format!("bytes={length}-"), "").await;
        assert_eq!(behind.status(), 416);
        assert_eq!(header(&behind, "content-range"), format!("bytes */{length}"));
    }
}

#[tokio::test]
async fn what_is_not_there_may_be_a_moment_later() {
    let origin = TestOrigin::start().await;
    let video = origin.upload(&content(31, 100)).await;
    let media = origin.video(&video).await["media"].as_str().unwrap().to_owned();
    let early = origin.get(&format!("/v/{video}/main.m3u8")).await;
    assert_eq!(
        (early.status().as_u16(), header(&early, "cache-control")),
        (404, "public, max-age=1")
    );
    let keys = format!("video-{video} media-{media} manifest-{media}");
    assert_eq!(header(&early, "surrogate-key"), keys, "so that the first publication purges it");
    for path in [
        "/v/unknown/main.m3u8".to_owned(),
        format!("/v/{video}/main.txt"),
        format!("/m/{media}/1/360p/1.m4s"),
        format!("/m/{media}/1/360p/01.m4s"),
        format!("/m/{media}/1/..%2f..%2f/secret"),
        format!("/m/{media}/x/360p/1.m4s"),
    ] {
        let response = origin.get(&path).await;
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(header(&response, "content-type"), "application/problem+json");
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_fetch_ranges() {
    let Published { origin, media, .. } = published().await;
    let url = format!("{}/m/{media}/1/360p/1.m4s", origin.url);
    let preflight = origin
        .http
        .request(Method::OPTIONS, url)
        .header("origin", "https://page.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "range")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 204);
    assert!(header(&preflight, "access-control-allow-headers").contains("Range"));
    assert!(header(&preflight, "access-control-expose-headers").contains("Cache-Status"));
}
