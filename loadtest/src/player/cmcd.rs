//! Common media client data, version 1 (CTA-5004): what a player says of itself with each request.
//!
//! `v` is left out, as the standard asks for version 1. Invariant: keys are sorted, numbers are rounded as the standard
//! says, and no value can break out of its quotes.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;
use uuid::Uuid;

/// What is said with one request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cmcd {
    pub(super) session: Uuid,
    /// Names the content.
    pub(super) content: String,
    pub(super) object: ObjectType,
    pub(super) is_live: bool,
    pub(super) is_dash: bool,
    /// The object is needed urgently: at the start, after a seek, after a stall.
    pub(super) is_startup: bool,
    /// The buffer ran out since the last request for this kind of object.
    pub(super) was_starved: bool,
    /// Bits per second of the object.
    pub(super) bitrate: Option<u64>,
    /// The highest that is offered.
    pub(super) top_bitrate: Option<u64>,
    pub(super) duration: Option<Duration>,
    pub(super) buffer: Option<Duration>,
    /// Bits per second that were measured.
    pub(super) throughput: Option<u64>,
    /// The object that will be asked for next, relative to this one.
    pub(super) next: Option<String>,
}

/// `ot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectType {
    Manifest,
    Audio,
    Video,
    Muxed,
    Init,
    Key,
    Other,
}

impl Cmcd {
    /// The URL with everything in one query parameter.
    pub(super) fn added_to(&self, url: &Url) -> Url {
        let pairs: Vec<String> = self.pairs().into_iter().map(|(_, pair)| pair).collect();
        let value = utf8_percent_encode(&pairs.join(","), COMPONENT).to_string();
        let query = match url.query() {
            Some(query) if !query.is_empty() => format!("{query}&CMCD={value}"),
            _ => format!("CMCD={value}"),
        };
        let mut url = url.clone();
        url.set_query(Some(&query));
        url
    }

    /// The headers, each with its keys.
    pub(super) fn headers(&self) -> Vec<(http::HeaderName, http::HeaderValue)> {
        let pairs = self.pairs();
        let header = |(group, name)| {
            let own = pairs.iter().filter(|(of, _)| *of == group).map(|(_, pair)| pair.as_str());
            let value = own.collect::<Vec<_>>().join(",");
            let value =
                http::HeaderValue::try_from(value).ok().filter(|value| !value.is_empty())?;
            Some((http::HeaderName::from_static(name), value))
        };
        HEADERS.into_iter().filter_map(header).collect()
    }

    /// All keys that have a value, sorted, each with the header that it belongs to.
    fn pairs(&self) -> Vec<(Group, String)> {
        let kilobits = |bits: u64| (bits + 500) / 1_000;
        let hundreds = |number: u64| (number + 50) / 100 * 100;
        let ms = |duration: Duration| duration.as_millis() as u64;
        let buffer = self.buffer.map(|buffer| hundreds(ms(buffer)));
        let number = |key: &str, value: Option<u64>| value.map(|value| format!("{key}={value}"));
        let flag = |key: &str, is: bool| is.then(|| key.to_owned());
        let all = [
            (Group::Request, number("bl", buffer)),
            (Group::Object, number("br", self.bitrate.map(kilobits))),
            (Group::Status, flag("bs", self.was_starved)),
            (Group::Session, Some(format!("cid={}", quoted(&self.content)))),
            (Group::Object, number("d", self.duration.map(ms))),
            (Group::Request, number("dl", buffer)),
            (Group::Request, number("mtp", self.throughput.map(|bits| hundreds(bits / 1_000)))),
            (
                Group::Request,
                self.next.as_deref().map(|next| {
                    format!("nor={}", quoted(&utf8_percent_encode(next, COMPONENT).to_string()))
                }),
            ),
            (Group::Object, Some(format!("ot={}", self.object.as_str()))),
            (Group::Session, Some(format!("sf={}", if self.is_dash { "d" } else { "h" }))),
            (Group::Session, Some(format!("sid={}", quoted(&self.session.to_string())))),
            (Group::Session, Some(format!("st={}", if self.is_live { "l" } else { "v" }))),
            (Group::Request, flag("su", self.is_startup)),
            (Group::Object, number("tb", self.top_bitrate.map(kilobits))),
        ];
        all.into_iter().filter_map(|(group, pair)| Some((group, pair?))).collect()
    }
}

impl ObjectType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "m",
            Self::Audio => "a",
            Self::Video => "v",
            Self::Muxed => "av",
            Self::Init => "i",
            Self::Key => "k",
            Self::Other => "o",
        }
    }
}

/// Which header a key belongs to: by how often it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Object,
    Request,
    Status,
    Session,
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

const HEADERS: [(Group, &str); 4] = [
    (Group::Object, "cmcd-object"),
    (Group::Request, "cmcd-request"),
    (Group::Session, "cmcd-session"),
    (Group::Status, "cmcd-status"),
];
/// What `encodeURIComponent` leaves as it is.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_their_keys_sorted_and_rounded() {
        let headers = cmcd().headers();
        let text: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        assert_eq!(
            text,
            [
                "cmcd-object: br=1500,d=4004,ot=v,tb=5000",
                "cmcd-request: bl=21300,dl=21300,mtp=25400,nor=\"s2.m4s%3Fa%3D1\",su",
                "cmcd-session: cid=\"/v/a\\\"b\",sf=h,sid=\"00000000-0000-0000-0000-000000000007\",st=v",
                "cmcd-status: bs",
            ]
        );
    }

    #[test]
    fn a_query_has_everything_in_one_parameter() {
        let bare = Cmcd {
            content: "x".into(),
            object: ObjectType::Manifest,
            is_live: true,
            is_dash: true,
            is_startup: false,
            was_starved: false,
            bitrate: None,
            top_bitrate: None,
            duration: None,
            buffer: None,
            throughput: None,
            next: None,
            ..cmcd()
        };
        let want = "CMCD=cid%3D%22x%22%2Cot%3Dm%2Csf%3Dd%2C\
                    sid%3D%2200000000-0000-0000-0000-000000000007%22%2Cst%3Dl";
        for (url, before) in [("https://a.example/m", "?"), ("https://a.example/m?t=1", "?t=1&")] {
            let added = bare.added_to(&Url::parse(url).unwrap());
            assert_eq!(added.as_str(), format!("https://a.example/m{before}{want}"));
        }
        assert_eq!(bare.headers().len(), 2, "a header without keys is not sent");
    }

    fn cmcd() -> Cmcd {
        Cmcd {
            session: Uuid::from_u128(7),
            content: "/v/a\"b".into(),
            object: ObjectType::Video,
            is_live: false,
            is_dash: false,
            is_startup: true,
            was_starved: true,
            bitrate: Some(1_500_000),
            top_bitrate: Some(5_000_001),
            duration: Some(Duration::from_millis(4_004)),
            buffer: Some(Duration::from_millis(21_250)),
            throughput: Some(25_370_000),
            next: Some("s2.m4s?a=1".into()),
        }
    }
}
