-- Tables of the first slice. Only what MySQL and a sharded Vitess accept as well: text ids made by the program,
-- no foreign keys, no auto-increment, no triggers, every table reached by its primary key in the hot path.

CREATE TABLE upload (
    id            VARCHAR(64)   NOT NULL PRIMARY KEY,
    client        VARCHAR(64)   NOT NULL,
    state         VARCHAR(16)   NOT NULL,
    length_bytes  BIGINT        NOT NULL,
    offset_bytes  BIGINT        NOT NULL,
    metadata      VARCHAR(8192) NOT NULL,
    filename      VARCHAR(255)  NOT NULL,
    title         VARCHAR(255)  NOT NULL,
    video_id      VARCHAR(64),
    created_ms    BIGINT        NOT NULL,
    expires_ms    BIGINT        NOT NULL
);
CREATE INDEX upload_by_client ON upload (client, state);
CREATE INDEX upload_by_expiry ON upload (state, expires_ms);

CREATE TABLE video (
    id         VARCHAR(64)  NOT NULL PRIMARY KEY,
    media_id   VARCHAR(64)  NOT NULL,
    client     VARCHAR(64)  NOT NULL,
    filename   VARCHAR(255) NOT NULL,
    title      VARCHAR(255) NOT NULL,
    created_ms BIGINT       NOT NULL
);
CREATE INDEX video_by_media ON video (media_id);
CREATE INDEX video_by_client ON video (client, id);

CREATE TABLE media (
    id                VARCHAR(64)   NOT NULL PRIMARY KEY,
    sha256            VARCHAR(64)   NOT NULL,
    source_key        VARCHAR(255)  NOT NULL,
    source_bytes      BIGINT        NOT NULL,
    state             VARCHAR(16)   NOT NULL,
    progress_permille BIGINT        NOT NULL,
    failure_reason    VARCHAR(64)   NOT NULL,
    failure_detail    VARCHAR(1024) NOT NULL,
    manifest_prefix   VARCHAR(255)  NOT NULL,
    published         TEXT          NOT NULL,
    version           BIGINT        NOT NULL,
    created_ms        BIGINT        NOT NULL,
    updated_ms        BIGINT        NOT NULL
);

-- Which media holds a content: a lookup table of its own, so that it can be sharded by the hash.
CREATE TABLE content (
    sha256   VARCHAR(64) NOT NULL PRIMARY KEY,
    media_id VARCHAR(64) NOT NULL
);

-- Media without a video: their objects are still to be removed.
CREATE TABLE media_garbage (
    media_id   VARCHAR(64)  NOT NULL PRIMARY KEY,
    source_key VARCHAR(255) NOT NULL,
    ready_ms   BIGINT       NOT NULL
);
CREATE INDEX media_garbage_by_ready ON media_garbage (ready_ms);

-- One job per media; leased again and again until it ends. `ready_ms`: from when it may be leased.
CREATE TABLE job (
    id         VARCHAR(64)  NOT NULL PRIMARY KEY,
    media_id   VARCHAR(64)  NOT NULL,
    state      VARCHAR(16)  NOT NULL,
    epoch      BIGINT       NOT NULL,
    attempts   BIGINT       NOT NULL,
    ready_ms   BIGINT       NOT NULL,
    packager   VARCHAR(128) NOT NULL,
    created_ms BIGINT       NOT NULL
);
CREATE INDEX job_by_ready ON job (state, ready_ms);
CREATE INDEX job_by_media ON job (media_id);

CREATE TABLE purge_outbox (
    id         VARCHAR(64) NOT NULL PRIMARY KEY,
    purge      TEXT        NOT NULL,
    created_ms BIGINT      NOT NULL
);
