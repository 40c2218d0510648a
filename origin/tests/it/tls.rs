//! TLS: of the public listener, and towards the control plane.

use reqwest::{Certificate, Version};

use crate::harness::{FakeControlPlane, TestOrigin, authority, content, publication, until};

#[tokio::test]
async fn the_public_listener_speaks_tls_with_both_versions_of_http() {
    let home = tempfile::tempdir().unwrap();
    let made = authority(home.path());
    let (cert, key) = (made.cert_file.clone(), made.key_file.clone());
    let origin = TestOrigin::with(|c| {
        c.listen.tls_cert = Some(cert);
        c.listen.tls_key = Some(key);
    })
    .await;
    let url =
        format!("{}/openapi.json", origin.url.replace("http://127.0.0.1", "https://localhost"));
    let ca = Certificate::from_pem(made.ca_pem.as_bytes()).unwrap();
    for (only_h1, version) in [(true, Version::HTTP_11), (false, Version::HTTP_2)] {
        let builder = reqwest::Client::builder().tls_certs_only([ca.clone()]);
        let builder = if only_h1 { builder.http1_only() } else { builder };
        let response = builder.build().unwrap().get(&url).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, version));
    }
}

#[tokio::test]
async fn purges_go_to_a_control_plane_whose_authority_is_known() {
    let home = tempfile::tempdir().unwrap();
    let made = authority(home.path());
    let control_plane = FakeControlPlane::start_tls(&made).await;
    let (url, token_file) = (control_plane.url.clone(), control_plane.write_token(home.path()));
    let origin = TestOrigin::with(|c| {
        c.purge.control_plane = Some(url);
        c.purge.token_file = Some(token_file);
        c.purge.ca_file = Some(made.ca_file.clone());
    })
    .await;
    let packager = origin.packager("p1");
    origin.upload(&content(70, 100)).await;
    let job = packager.lease().await.unwrap();
    packager.publish(&job, &publication(1, &["360p"], "x", true)).await;
    let key = format!("manifest-{}", job.0.media);
    until("it is purged", || async { control_plane.purged().contains(&key).then_some(()) }).await;
}
