//! `kill -9` at any byte: nothing that was acknowledged is lost.

use crate::harness::{OriginProgram, content};

#[tokio::test]
async fn an_upload_survives_kills_at_any_byte() {
    let mut program = OriginProgram::start("checkpoint_bytes = \"64KiB\"").await;
    let body = content(8, 3_000_000);
    let upload = program.tus().create(body.len() as u64).await.upload;
    let mut acknowledged = 0;

    for round in 0_usize..6 {
        let tus = program.tus();
        let small = &body[acknowledged..acknowledged + 10_000 + 7_919 * round];
        let patched = tus.patch(&upload, acknowledged as u64, small).await;
        assert_eq!(patched.status, 204, "{patched:?}");
        acknowledged += small.len();

        // A long request, cut at a place that differs in every run, with the kill right behind it.
        let rest = &body[acknowledged..];
        let cut = rand::random_range(0..rest.len() / 3);
        let line =
            tus.begin_patch(&upload, acknowledged as u64, rest.len(), &rest[..cut], &[]).await;
        program.kill_and_restart().await;
        drop(line);

        let head = program.tus().head(&upload).await;
        let offset = usize::try_from(head.offset.expect("it is known after the kill")).unwrap();
        assert!(offset >= acknowledged, "round {round}: {offset} of {acknowledged} are left");
        assert!(offset <= acknowledged + cut, "round {round}: {offset} were never sent");
        acknowledged = offset;
    }

    let last = program.tus().patch(&upload, acknowledged as u64, &body[acknowledged..]).await;
    assert_eq!(last.status, 204, "{last:?}");
    assert!(last.video.is_some());
    assert!(program.source(&upload) == body, "every byte is as it was sent");

    program.kill_and_restart().await;
    assert_eq!(program.tus().head(&upload).await.video, last.video, "the video survives as well");
    let again = program.tus().create_with(body.len() as u64, &body, &[]).await;
    assert!(again.video.is_some_and(|video| Some(video) != last.video));
    assert_eq!(program.terminate().await, Some(0));
}

#[tokio::test]
async fn a_chunk_with_a_checksum_that_was_killed_counts_for_nothing() {
    let mut program = OriginProgram::start("checkpoint_bytes = \"1KiB\"").await;
    let body = content(9, 500_000);
    let upload = program.tus().create(body.len() as u64).await.upload;
    let sum = crate::harness::checksum(&body);
    let more = [("upload-checksum", sum.as_str())];
    let line = program.tus().begin_patch(&upload, 0, body.len(), &body[..400_000], &more).await;
    program.kill_and_restart().await;
    drop(line);
    assert_eq!(program.tus().head(&upload).await.offset, Some(0));
    let whole = program.tus().patch_with(&upload, 0, &body, &more).await;
    assert_eq!(whole.status, 204, "{whole:?}");
    assert!(program.source(&upload) == body);
}
