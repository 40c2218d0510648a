//! Several responses of one resource, chosen by the request.

use super::*;

#[tokio::test]
async fn each_request_gets_its_variant_in_flight_and_stored() {
    let bench = bench();
    let vary = by(&[header::ACCEPT_LANGUAGE]);
    let (de, en) = (with(header::ACCEPT_LANGUAGE, "de"), with(header::ACCEPT_LANGUAGE, "en"));
    bench.fill_variant(&vary, &de, b"gut");
    assert_eq!(bench.body(KEY, &de).await.unwrap(), b"gut");
    assert!(bench.get(KEY, &en).await.is_none());

    let variant = vary.select(&en, &VaryPolicy::default());
    let room = bench.store.reserve(None).unwrap();
    let fill = bench.store.begin(KEY, Some((vary.clone(), variant)), bench.head(), room);
    assert!(bench.get(KEY, &en).await.unwrap().1.is_in_flight);
    assert_eq!(bench.get(KEY, &de).await.unwrap().0, Tier::Memory);
    drop(fill);

    bench.fill_variant(&vary, &en, b"good");
    assert_eq!(bench.body(KEY, &en).await.unwrap(), b"good");
    let (_, found) = bench.get(KEY, &de).await.unwrap();
    assert!(bench.store.refresh(found.key, found.fill, bench.head()));
    bench.purge(false);
    for request in [&de, &en] {
        let (_, found) = bench.get(KEY, request).await.unwrap();
        assert_eq!(bench.store.verdict(&found.head), Verdict::Hard, "a purge hits all variants");
    }

    bench.fill(KEY, b"the same for all");
    assert_eq!(bench.body(KEY, &de).await.unwrap(), b"the same for all");
    bench.store.forget(&KEY);
    assert!(bench.get(KEY, &de).await.is_none());
}

#[tokio::test]
async fn a_new_vary_takes_the_place_of_the_old_one() {
    let bench = bench();
    let de = with(header::ACCEPT_LANGUAGE, "de");
    bench.fill_variant(&by(&[header::ACCEPT_LANGUAGE]), &de, b"gut");
    let by_encoding = by(&[header::ACCEPT_ENCODING]);
    bench.fill_variant(&by_encoding, &none(), b"plain");
    assert_eq!(bench.body(KEY, &de).await.unwrap(), b"plain");
    assert_eq!(bench.store.sizes().objects, 2, "one variant and the list");
}
