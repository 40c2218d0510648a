//! Common Media Client Data, version 1 (CTA-5004) and 2 (CTA-5004-A): what a player says with a request.
//!
//! It comes in four headers or in one query parameter, as a dictionary of structured fields. Ids of sessions and content
//! are kept as hashes alone. Invariant: what a player says is for logs, numbers and prefetch; nothing in it changes which
//! response it gets.

use http::HeaderMap;

use crate::cache::structured::{Bare, Item, Malformed, Value, dictionary};
use crate::guard::plain_path::plain;

/// What a player says. Absent means that it did not say, or not in the way of the standard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cmcd {
    /// `v`: the version; 1 when it is not said.
    pub version: u8,
    /// `br`: encoded bitrate of what is asked for, in kbit/s; of a video with its audio, the video's.
    pub bitrate_kbps: Option<u32>,
    /// `tb`: the highest bitrate that the player may take, in kbit/s.
    pub top_bitrate_kbps: Option<u32>,
    /// `bl`: what is buffered, in ms.
    pub buffer_ms: Option<u32>,
    /// `bs`: whether the buffer ran empty since the last request.
    pub is_starved: bool,
    /// `cid`: the content, hashed.
    pub content: Option<u64>,
    /// `sid`: the session, hashed.
    pub session: Option<u64>,
    /// `d`: how long the object plays, in ms.
    pub duration_ms: Option<u32>,
    /// `dl`: in how many ms it must be there.
    pub deadline_ms: Option<u32>,
    /// `ltc`: how far behind live the player is, in ms (version 2).
    pub latency_ms: Option<u32>,
    /// `msd`: how long playing took to begin, in ms (version 2).
    pub startup_ms: Option<u32>,
    /// `mtp`: the throughput that the player measured, in kbit/s.
    pub throughput_kbps: Option<u32>,
    /// `rtp`: the throughput that it needs at most, in kbit/s.
    pub requested_kbps: Option<u32>,
    /// `pr`: playing speed in thousandths; 1000 is as recorded, 0 is not playing.
    pub speed_permille: Option<u32>,
    /// `ot`: what is asked for.
    pub object: Option<ObjectType>,
    /// `sf`: the kind of manifest.
    pub format: Option<StreamFormat>,
    /// `st`: whether it is live.
    pub stream: Option<StreamType>,
    /// `sta`: what the player does (version 2).
    pub state: Option<PlayerState>,
    /// `su`: whether it starts, seeks or recovers, and needs the object soon.
    pub is_startup: bool,
    /// `bg`: whether the player is in the background (version 2).
    pub is_background: bool,
    /// `nor`, `nrr`: what it asks for next, on the same host.
    pub next: Vec<Next>,
    /// Members that the standard has but whose value is not of its kind.
    pub odd_members: u8,
}

/// What a player asks for next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// Path and query.
    pub target: String,
    /// First and last byte.
    pub range: Option<(u64, Option<u64>)>,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$one:meta])* $variant:ident = $token:literal / $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$one])* $variant),* }
        impl $name {
            /// The word in logs and labels.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
            fn of(token: &str) -> Option<Self> {
                match token { $($token => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// What is asked for.
    ObjectType {
        /// A manifest.
        Manifest = "m" / "manifest",
        /// Audio.
        Audio = "a" / "audio",
        /// Video.
        Video = "v" / "video",
        /// Audio and video together.
        Muxed = "av" / "muxed",
        /// An init segment.
        Init = "i" / "init",
        /// Captions.
        Caption = "c" / "caption",
        /// Timed text in ISO BMFF.
        TimedText = "tt" / "timed-text",
        /// A key, licence or certificate.
        Key = "k" / "key",
        /// Something else.
        Other = "o" / "other",
    }
}
words! {
    /// The kind of manifest.
    StreamFormat {
        /// DASH.
        Dash = "d" / "dash",
        /// HLS.
        Hls = "h" / "hls",
        /// HESP (version 2).
        Hesp = "e" / "hesp",
        /// Smooth Streaming.
        Smooth = "s" / "smooth",
        /// Something else.
        Other = "o" / "other",
    }
}
words! {
    /// Whether it is live.
    StreamType {
        /// All of it is there.
        Vod = "v" / "vod",
        /// Live.
        Live = "l" / "live",
        /// Live with low latency (version 2).
        LowLatency = "ll" / "low-latency",
    }
}
words! {
    /// What the player does.
    PlayerState {
        /// Starting.
        Starting = "s" / "starting",
        /// Playing.
        Playing = "p" / "playing",
        /// Seeking.
        Seeking = "k" / "seeking",
        /// Waiting for data.
        Rebuffering = "r" / "rebuffering",
        /// Paused.
        Paused = "a" / "paused",
        /// Waiting for the player's environment.
        Waiting = "w" / "waiting",
        /// At the end.
        Ended = "e" / "ended",
        /// Failed.
        Failed = "f" / "failed",
        /// Given up.
        Quit = "q" / "quit",
        /// Loading ahead of playing.
        Preloading = "d" / "preloading",
    }
}

impl Cmcd {
    /// What a request says: in its headers, or else in its query. `path` is the one that was asked for, without what
    /// is for the door alone; what comes next is relative to it.
    ///
    /// # Errors
    /// [`Malformed`] when something is there that is no dictionary.
    pub fn read(
        headers: &HeaderMap,
        query: Option<&str>,
        path: &str,
    ) -> Result<Option<Self>, Malformed> {
        let mut text = String::new();
        for line in HEADERS.iter().flat_map(|name| headers.get_all(*name)) {
            let line = line.to_str().map_err(|_| Malformed)?;
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(line);
        }
        if text.is_empty() {
            let parameter = |pair: &'_ str| pair.strip_prefix("CMCD=").map(str::to_owned);
            match query.and_then(|query| query.split('&').find_map(parameter)) {
                Some(escaped) if escaped.len() <= 3 * BYTES_MAX => {
                    text = unescape(&escaped).ok_or(Malformed)?;
                }
                Some(_) => return Err(Malformed),
                None => return Ok(None),
            }
        }
        if text.len() > BYTES_MAX {
            return Err(Malformed);
        }
        Self::parse(&text, path).map(Some)
    }

    fn parse(text: &str, path: &str) -> Result<Self, Malformed> {
        let members = dictionary(text.as_bytes(), MEMBERS_MAX)?;
        let mut cmcd = Self { version: 1, ..Self::default() };
        let mut range = None;
        for (key, value) in &members {
            if *key == "nrr" {
                range = word(value).and_then(byte_range);
            } else if cmcd.set(key, value, path).is_none() {
                cmcd.odd_members = cmcd.odd_members.saturating_add(1);
            }
        }
        if let (Some(range), [next]) = (range, cmcd.next.as_mut_slice()) {
            next.range.get_or_insert(range);
        } else if range.is_some() && cmcd.next.is_empty() {
            // Without `nor` it is a range of the same object.
            cmcd.next.push(Next { target: path.to_owned(), range });
        }
        Ok(cmcd)
    }

    /// Takes one member; `None` when its value is not of its kind.
    fn set(&mut self, key: &str, value: &Value<'_>, path: &str) -> Option<()> {
        match key {
            "v" => self.version = number(value)?.try_into().ok()?,
            "br" => self.bitrate_kbps = Some(number(value)?),
            "tb" => self.top_bitrate_kbps = Some(number(value)?),
            "bl" => self.buffer_ms = Some(number(value)?),
            "bs" => self.is_starved = flag(value)?,
            "cid" => self.content = Some(hash(value, CONTENT_BYTES_MAX)?),
            "sid" => self.session = Some(hash(value, SESSION_BYTES_MAX)?),
            "d" => self.duration_ms = Some(number(value)?),
            "dl" => self.deadline_ms = Some(number(value)?),
            "ltc" => self.latency_ms = Some(number(value)?),
            "msd" => self.startup_ms = Some(number(value)?),
            "mtp" => self.throughput_kbps = Some(number(value)?),
            "rtp" => self.requested_kbps = Some(number(value)?),
            "pr" => self.speed_permille = Some(permille(value)?),
            "ot" => self.object = Some(ObjectType::of(token(value)?)?),
            "sf" => self.format = Some(StreamFormat::of(token(value)?)?),
            "st" => self.stream = Some(StreamType::of(token(value)?)?),
            "sta" => self.state = Some(PlayerState::of(token(value)?)?),
            "su" => self.is_startup = flag(value)?,
            "bg" => self.is_background = flag(value)?,
            "nor" => self.next = next_objects(value, path)?,
            // The rest is of no use here, or somebody's own.
            _ => {}
        }
        Some(())
    }
}

/// One number, or that of the video among numbers by object type (version 2).
fn number(value: &Value<'_>) -> Option<u32> {
    let is_video =
        |item: &&Item<'_>| item.parameters.iter().any(|(name, _)| matches!(*name, "v" | "av"));
    let item = match value {
        Value::Item(item) => item,
        Value::List(items) => items.iter().find(is_video).or_else(|| items.first())?,
    };
    match item.bare {
        Bare::Integer(number) => number.try_into().ok(),
        Bare::Decimal(thousandths) => (thousandths / 1000).try_into().ok(),
        _ => None,
    }
}

fn permille(value: &Value<'_>) -> Option<u32> {
    match value {
        Value::Item(Item { bare: Bare::Decimal(thousandths), .. }) => {
            (*thousandths).try_into().ok()
        }
        Value::Item(Item { bare: Bare::Integer(whole), .. }) => {
            (whole.checked_mul(1000)?).try_into().ok()
        }
        _ => None,
    }
}

fn flag(value: &Value<'_>) -> Option<bool> {
    match value {
        Value::Item(Item { bare: Bare::Boolean(is_set), .. }) => Some(*is_set),
        _ => None,
    }
}

fn token<'a>(value: &Value<'a>) -> Option<&'a str> {
    match value {
        Value::Item(Item { bare: Bare::Token(token), .. }) => Some(token),
        _ => None,
    }
}

fn word<'a>(value: &'a Value<'_>) -> Option<&'a str> {
    match value {
        Value::Item(Item { bare: Bare::Text(text), .. }) => Some(text),
        _ => None,
    }
}

/// The hash of an id, the same on every node, so that their logs can be joined.
fn hash(value: &Value<'_>, bytes_max: usize) -> Option<u64> {
    let id = word(value).filter(|id| id.len() <= bytes_max)?;
    let hash = blake3::derive_key(HASH_CONTEXT, id.as_bytes());
    Some(u64::from_be_bytes(hash[..8].try_into().expect("eight of 32 bytes")))
}

fn next_objects(value: &Value<'_>, path: &str) -> Option<Vec<Next>> {
    let next = |item: &Item<'_>| {
        let Bare::Text(text) = &item.bare else { return None };
        let range = item.parameters.iter().find_map(|(name, bare)| match bare {
            Bare::Text(range) if *name == "r" => byte_range(range),
            _ => None,
        });
        Some(Next { target: resolve(path, &unescape(text)?)?, range })
    };
    match value {
        Value::Item(item) => Some(vec![next(item)?]),
        Value::List(items) => items.iter().take(NEXT_MAX).map(next).collect(),
    }
}

/// A reference relative to a path (RFC 3986 5.2), which stays on the same host; `None` for anything that could lead
/// elsewhere or be read in two ways.
fn resolve(base: &str, reference: &str) -> Option<String> {
    let is_good = |b: u8| b.is_ascii_graphic() && !b"\\#\"<>^`{|}".contains(&b);
    if reference.is_empty()
        || reference.len() > REFERENCE_BYTES_MAX
        || !reference.bytes().all(is_good)
    {
        return None;
    }
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    // A scheme, or another host.
    if path.split('/').next()?.contains(':') || path.starts_with("//") {
        return None;
    }
    let folder = if path.starts_with('/') { "" } else { &base[..base.rfind('/')?] };
    let mut segments = Vec::new();
    for segment in folder.split('/').chain(path.split('/')).filter(|segment| !segment.is_empty()) {
        match segment {
            "." => {}
            ".." => {
                segments.pop()?;
            }
            other => segments.push(other),
        }
    }
    let mut target = format!("/{}", segments.join("/"));
    plain(&target)?;
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    Some(target)
}

/// `first-last` or `first-`.
fn byte_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (first, last) = text.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let last = if last.is_empty() { None } else { Some(last.parse().ok()?) };
    last.is_none_or(|last| last >= first).then_some((first, last))
}

/// Percent-decodes a text once.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

/// The headers of CTA-5004 in the order of how often they change.
const HEADERS: [&str; 4] = ["cmcd-object", "cmcd-request", "cmcd-session", "cmcd-status"];
/// What a player may say at most, in bytes; they say a few hundred.
const BYTES_MAX: usize = 4096;
/// CMCD has some forty keys.
const MEMBERS_MAX: usize = 64;
/// Objects that a player may announce at once.
const NEXT_MAX: usize = 4;
const REFERENCE_BYTES_MAX: usize = 1024;
/// Version 2 allows 128; version 1 allowed 64.
const CONTENT_BYTES_MAX: usize = 128;
const SESSION_BYTES_MAX: usize = 64;
const HASH_CONTEXT: &str = "tidegate edge cmcd id 1";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATH: &str = "/v/1/720p/3.m4s";

    fn parse(text: &str) -> Cmcd {
        Cmcd::parse(text, PATH).unwrap()
    }

    #[test]
    fn version_one_comes_in_headers_or_in_the_query() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("cmcd-object", "br=3200,d=4004,ot=v,tb=6000"),
            (
                "cmcd-request",
                "bl=21300,dl=18500,mtp=48100,nor=\"..%2F480p%2F4.m4s\",nrr=\"0-99\",su",
            ),
            ("cmcd-session", "cid=\"c\",pr=1.08,sf=h,sid=\"s\",st=v"),
            ("cmcd-status", "bs,rtp=15000"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let by_header = Cmcd::read(&headers, None, PATH).unwrap().unwrap();
        assert_eq!(by_header.bitrate_kbps, Some(3200));
        assert_eq!((by_header.buffer_ms, by_header.deadline_ms), (Some(21300), Some(18500)));
        assert_eq!(by_header.speed_permille, Some(1080));
        assert_eq!(by_header.object.map(ObjectType::as_str), Some("video"));
        assert_eq!(by_header.format, Some(StreamFormat::Hls));
        assert!(by_header.is_starved && by_header.is_startup);
        assert_eq!(
            by_header.next,
            [Next { target: "/v/1/480p/4.m4s".into(), range: Some((0, Some(99))) }]
        );
        assert_eq!((by_header.version, by_header.odd_members), (1, 0));

        let query = "a=1&CMCD=br%3D3200%2Cd%3D4004%2Cot%3Dv%2Ctb%3D6000%2Cbl%3D21300%2Cdl%3D18500%2Cmtp%3D48100%2C\
                     nor%3D%22..%252F480p%252F4.m4s%22%2Cnrr%3D%220-99%22%2Csu%2Ccid%3D%22c%22%2Cpr%3D1.08%2Csf%3Dh%2C\
                     sid%3D%22s%22%2Cst%3Dv%2Cbs%2Crtp%3D15000";
        assert_eq!(Cmcd::read(&HeaderMap::new(), Some(query), PATH), Ok(Some(by_header)));
        assert_eq!(Cmcd::read(&HeaderMap::new(), Some("a=1"), PATH), Ok(None));
    }

    #[test]
    fn version_two_has_lists_by_object_type() {
        let cmcd = parse(
            "v=2,br=(128;a 3200;v),bl=(9000;v),sta=r,ltc=2500,st=ll,bg,sn=4,nor=(\"4.m4s\" \"5.m4s\";r=\"7-\")",
        );
        assert_eq!((cmcd.version, cmcd.bitrate_kbps, cmcd.buffer_ms), (2, Some(3200), Some(9000)));
        assert_eq!(cmcd.state, Some(PlayerState::Rebuffering));
        assert_eq!((cmcd.latency_ms, cmcd.stream), (Some(2500), Some(StreamType::LowLatency)));
        assert!(cmcd.is_background);
        let targets: Vec<_> = cmcd.next.iter().map(|next| next.target.as_str()).collect();
        assert_eq!(targets, ["/v/1/720p/4.m4s", "/v/1/720p/5.m4s"]);
        assert_eq!(cmcd.next[1].range, Some((7, None)));
    }

    #[test]
    fn ids_are_hashed_and_odd_members_are_counted() {
        let cmcd = parse("sid=\"6e2fb550-c457-11e9-bb97-0800200c9a66\",cid=\"x\"");
        assert!(cmcd.session.is_some() && cmcd.session != cmcd.content);
        assert_eq!(cmcd.session, parse("sid=\"6e2fb550-c457-11e9-bb97-0800200c9a66\"").session);
        assert!(!format!("{cmcd:?}").contains("6e2f"));
        let odd = parse("br=\"x\",ot=zz,bs=1,sid=token,d=-1,com.example-own=1");
        assert_eq!(odd.odd_members, 5);
        let long = format!("sid=\"{}\"", "a".repeat(65));
        assert_eq!(parse(&long).session, None);
        assert_eq!(
            parse("nrr=\"100-\"").next,
            [Next { target: PATH.into(), range: Some((100, None)) }]
        );
    }

    #[test]
    fn what_comes_next_stays_on_this_host() {
        for (reference, expected) in [
            ("4.m4s", Some("/v/1/720p/4.m4s")),
            ("../480p/4.m4s?x=1", Some("/v/1/480p/4.m4s?x=1")),
            ("./4.m4s", Some("/v/1/720p/4.m4s")),
            ("/w/1.m4s", Some("/w/1.m4s")),
            ("../../../a", Some("/a")),
            ("../../../../a", None),
            ("//evil.org/a", None),
            ("https://evil.org/a", None),
            ("https:/a", None),
            ("a\\b", None),
            ("a#b", None),
            ("a b", None),
            ("%2e%2e/a", None),
            ("a%2fb", None),
            ("\u{e9}", None),
            ("", None),
        ] {
            assert_eq!(resolve(PATH, reference).as_deref(), expected, "{reference}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_targets_are_paths(text in "[a-z0-9=,()\";%./ -]{0,80}", path in "/[a-z/.]{0,20}") {
            if let Ok(cmcd) = Cmcd::parse(&text, &path) {
                for next in cmcd.next.iter().filter(|next| next.target != path) {
                    prop_assert!(next.target.starts_with('/') && !next.target.starts_with("//"));
                    prop_assert!(!next.target.split(['/', '?']).any(|segment| segment == ".."));
                }
            }
        }
    }
}
