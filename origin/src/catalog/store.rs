//! Queries of the catalog: videos, media, contents, and media whose objects are to be removed.
//!
//! A media is saved only over the version that was read, so that two writers never undo one another.

use sqlx::{Executor, Row};
use tidegate_contract::{
    id::{IdError, MediaId, VideoId},
    package_job::FailureReason,
    purge::PurgeTarget,
    surrogate_key::SurrogateKey,
};

use crate::{
    app::App,
    catalog::model::{Media, MediaFailure, MediaState, Video},
    database::{Database, Engine, EngineRow, Write},
    purge,
};

/// A video that is to be added.
#[derive(Debug, Clone)]
pub struct NewVideo {
    /// Who uploaded it.
    pub client: String,
    /// The file's name at the client.
    pub filename: String,
    /// Its title.
    pub title: String,
    /// SHA-256 of the content in lower-case hex.
    pub sha256: String,
    /// Where the content lies, or would lie, in the object store.
    pub source_key: String,
    /// Its length.
    pub source_bytes: u64,
}

/// A video that was added.
#[derive(Debug, Clone)]
pub struct AddedVideo {
    /// Its id.
    pub video: VideoId,
    /// What it shows.
    pub media: MediaId,
    /// Whether its content was new, known, or known but worth another attempt.
    pub content: Content,
}

/// How new a content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Never seen.
    New,
    /// Known: the new video shows the media that is there.
    Known,
    /// Known, but its media failed by our own fault and begins again.
    Retried,
}

/// Media whose last video was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbage {
    /// The media.
    pub media: MediaId,
    /// Where its upload lies.
    pub source_key: String,
}

/// One video.
///
/// # Errors
/// The database.
pub async fn find_video(database: &Database, id: &VideoId) -> sqlx::Result<Option<Video>> {
    let row = sqlx::query("SELECT * FROM video WHERE id = ?")
        .bind(id.as_str())
        .fetch_optional(database.read())
        .await?;
    row.as_ref().map(video_of_row).transpose()
}

/// One media, read in a transaction or outside of one.
///
/// # Errors
/// The database.
pub async fn find_media<'e>(
    executor: impl Executor<'e, Database = Engine>,
    id: &MediaId,
) -> sqlx::Result<Option<Media>> {
    let row = sqlx::query("SELECT * FROM media WHERE id = ?")
        .bind(id.as_str())
        .fetch_optional(executor)
        .await?;
    row.as_ref().map(media_of_row).transpose()
}

/// A video with the media it shows.
///
/// # Errors
/// The database.
pub async fn find_shown(database: &Database, id: &VideoId) -> sqlx::Result<Option<(Video, Media)>> {
    let Some(video) = find_video(database, id).await? else { return Ok(None) };
    let media = find_media(database.read(), &video.media).await?;
    Ok(media.map(|media| (video, media)))
}

/// A client's videos, newest first, those before a video if one is given.
///
/// # Errors
/// The database.
pub async fn list(
    database: &Database,
    client: &str,
    before: Option<&VideoId>,
    limit: u32,
) -> sqlx::Result<Vec<(Video, Media)>> {
    let rows =
        sqlx::query("SELECT * FROM video WHERE client = ? AND id < ? ORDER BY id DESC LIMIT ?")
            .bind(client)
            .bind(before.map_or(AFTER_EVERY_ID, VideoId::as_str))
            .bind(limit)
            .fetch_all(database.read())
            .await?;
    let mut shown = Vec::with_capacity(rows.len());
    for row in &rows {
        let video = video_of_row(row)?;
        if let Some(media) = find_media(database.read(), &video.media).await? {
            shown.push((video, media));
        }
    }
    Ok(shown)
}

/// The media that holds a content.
///
/// # Errors
/// The database.
pub async fn find_content<'e>(
    executor: impl Executor<'e, Database = Engine>,
    sha256: &str,
) -> sqlx::Result<Option<MediaId>> {
    let id: Option<String> = sqlx::query_scalar("SELECT media_id FROM content WHERE sha256 = ?")
        .bind(sha256)
        .fetch_optional(executor)
        .await?;
    id.map(|id| MediaId::parse(id).map_err(bad_id)).transpose()
}

/// Adds a video over the media of its content; the media is made when the content is new.
///
/// # Errors
/// The database.
pub async fn add_video(tx: &mut Write, new: NewVideo, now_ms: i64) -> sqlx::Result<AddedVideo> {
    let known = match find_content(&mut **tx, &new.sha256).await? {
        Some(id) => find_media(&mut **tx, &id).await?,
        None => None,
    };
    let (media, content) = match known {
        Some(mut media) if media.is_worth_another_attempt() => {
            media.begin_again();
            save_media(tx, &media, now_ms).await?;
            (media.id, Content::Retried)
        }
        Some(media) => (media.id, Content::Known),
        None => (add_media(tx, &new, now_ms).await?, Content::New),
    };
    let video = App::new_id();
    sqlx::query(
        "INSERT INTO video (id, media_id, client, filename, title, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&video)
    .bind(media.as_str())
    .bind(new.client)
    .bind(new.filename)
    .bind(new.title)
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    Ok(AddedVideo { video: VideoId::parse(video).map_err(bad_id)?, media, content })
}

/// Saves a media over the version it was read at; says whether it was still that version.
///
/// # Errors
/// The database.
pub async fn save_media(tx: &mut Write, media: &Media, now_ms: i64) -> sqlx::Result<bool> {
    let failure = media.failure.as_ref();
    let saved = sqlx::query(
        "UPDATE media SET state = ?, progress_permille = ?, failure_reason = ?, failure_detail = ?, \
         manifest_prefix = ?, published = ?, version = version + 1, updated_ms = ? \
         WHERE id = ? AND version = ?",
    )
    .bind(media.state.as_str())
    .bind(i64::from(media.progress_permille))
    .bind(failure.map_or("", |f| f.reason.as_str()))
    .bind(failure.map_or("", |f| f.detail.as_str()))
    .bind(&media.manifest_prefix)
    .bind(media.published.as_ref().map_or_else(String::new, to_json))
    .bind(now_ms)
    .bind(media.id.as_str())
    .bind(media.version)
    .execute(&mut **tx)
    .await?;
    Ok(saved.rows_affected() == 1)
}

/// Videos that show a media, at most `limit` of them.
///
/// # Errors
/// The database.
pub async fn videos_of(tx: &mut Write, media: &MediaId, limit: u32) -> sqlx::Result<Vec<VideoId>> {
    let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM video WHERE media_id = ? LIMIT ?")
        .bind(media.as_str())
        .bind(limit)
        .fetch_all(&mut **tx)
        .await?;
    ids.into_iter().map(|id| VideoId::parse(id).map_err(bad_id)).collect()
}

/// Deletes a video; with the last video of a media the media goes too, and its objects some time later. The
/// purges are ordered in the same transaction.
///
/// # Errors
/// The database.
pub async fn delete_video(
    tx: &mut Write,
    video: &Video,
    now_ms: i64,
    garbage_ready_ms: i64,
) -> sqlx::Result<()> {
    let (id, media) = (video.id.as_str(), video.media.as_str());
    sqlx::query("DELETE FROM video WHERE id = ?").bind(id).execute(&mut **tx).await?;
    let key = SurrogateKey::video(&video.id);
    purge::store::add(tx, PurgeTarget::Key { key }, now_ms).await?;
    if !videos_of(tx, &video.media, 1).await?.is_empty() {
        return Ok(());
    }
    let Some(found) = find_media(&mut **tx, &video.media).await? else { return Ok(()) };
    sqlx::query("DELETE FROM content WHERE sha256 = ?")
        .bind(&found.sha256)
        .execute(&mut **tx)
        .await?;
    sqlx::query("DELETE FROM media WHERE id = ?").bind(media).execute(&mut **tx).await?;
    sqlx::query("INSERT INTO media_garbage (media_id, source_key, ready_ms) VALUES (?, ?, ?)")
        .bind(media)
        .bind(&found.source_key)
        .bind(garbage_ready_ms)
        .execute(&mut **tx)
        .await?;
    let key = SurrogateKey::media(&video.media);
    purge::store::add(tx, PurgeTarget::Key { key }, now_ms).await
}

/// Deleted media whose objects are to be removed by now.
///
/// # Errors
/// The database.
pub async fn garbage(database: &Database, now_ms: i64, limit: u32) -> sqlx::Result<Vec<Garbage>> {
    let rows =
        sqlx::query("SELECT * FROM media_garbage WHERE ready_ms <= ? ORDER BY ready_ms LIMIT ?")
            .bind(now_ms)
            .bind(limit)
            .fetch_all(database.read())
            .await?;
    let garbage = |row: &EngineRow| {
        let media = MediaId::parse(row.try_get::<String, _>("media_id")?).map_err(bad_id)?;
        Ok(Garbage { media, source_key: row.try_get("source_key")? })
    };
    rows.iter().map(garbage).collect()
}

/// The objects of a deleted media are gone.
///
/// # Errors
/// The database.
pub async fn garbage_is_gone(database: &Database, media: &MediaId) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM media_garbage WHERE media_id = ?")
        .bind(media.as_str())
        .execute(database.write())
        .await
        .map(drop)
}

async fn add_media(tx: &mut Write, new: &NewVideo, now_ms: i64) -> sqlx::Result<MediaId> {
    let id = MediaId::parse(App::new_id()).map_err(bad_id)?;
    let media = Media::new(id, new.sha256.clone(), new.source_key.clone(), new.source_bytes);
    let failure = media.failure.as_ref();
    sqlx::query(
        "INSERT INTO media (id, sha256, source_key, source_bytes, state, progress_permille, failure_reason, \
         failure_detail, manifest_prefix, published, version, created_ms, updated_ms) \
         VALUES (?, ?, ?, ?, ?, 0, ?, ?, '', '', ?, ?, ?)",
    )
    .bind(media.id.as_str())
    .bind(&media.sha256)
    .bind(&media.source_key)
    .bind(i64::try_from(media.source_bytes).unwrap_or(i64::MAX))
    .bind(media.state.as_str())
    .bind(failure.map_or("", |f| f.reason.as_str()))
    .bind(failure.map_or("", |f| f.detail.as_str()))
    .bind(media.version)
    .bind(now_ms)
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    sqlx::query("INSERT INTO content (sha256, media_id) VALUES (?, ?)")
        .bind(&media.sha256)
        .bind(media.id.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(media.id)
}

fn video_of_row(row: &EngineRow) -> sqlx::Result<Video> {
    Ok(Video {
        id: VideoId::parse(row.try_get::<String, _>("id")?).map_err(bad_id)?,
        media: MediaId::parse(row.try_get::<String, _>("media_id")?).map_err(bad_id)?,
        client: row.try_get("client")?,
        filename: row.try_get("filename")?,
        title: row.try_get("title")?,
        created_ms: row.try_get("created_ms")?,
    })
}

fn media_of_row(row: &EngineRow) -> sqlx::Result<Media> {
    let state: String = row.try_get("state")?;
    let published: String = row.try_get("published")?;
    let reason: String = row.try_get("failure_reason")?;
    let detail: String = row.try_get("failure_detail")?;
    let failure = if reason.is_empty() {
        None
    } else {
        let reason: FailureReason = from_json(&format!("\"{reason}\""))?;
        Some(MediaFailure { reason, detail })
    };
    Ok(Media {
        id: MediaId::parse(row.try_get::<String, _>("id")?).map_err(bad_id)?,
        sha256: row.try_get("sha256")?,
        source_key: row.try_get("source_key")?,
        source_bytes: row.try_get::<i64, _>("source_bytes")?.unsigned_abs(),
        state: MediaState::parse(&state)
            .ok_or_else(|| sqlx::Error::Decode(format!("media state {state:?}").into()))?,
        progress_permille: u16::try_from(row.try_get::<i64, _>("progress_permille")?)
            .unwrap_or_default(),
        failure,
        manifest_prefix: row.try_get("manifest_prefix")?,
        published: if published.is_empty() { None } else { Some(from_json(&published)?) },
        version: row.try_get("version")?,
    })
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("plain data")
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> sqlx::Result<T> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

fn bad_id(error: IdError) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// Greater than every id: they are made of lower-case letters, digits, '-' and '_'.
const AFTER_EVERY_ID: &str = "~";
