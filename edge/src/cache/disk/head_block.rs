//! Heads and lists of variants as bytes on disk.
//!
//! Pure. What clients see of the headers is made anew when a head is read. Invariant: whatever the bytes are, reading
//! them ends with a value or with nothing, and takes no more memory than a few times their length.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tidegate_contract::surrogate_key::KeyHash;

use crate::cache::{
    fields::Fields,
    freshness::Freshness,
    kept,
    media_class::MediaClass,
    object::{Checked, Extent, Head},
    span::Span,
    variance::{Varies, Vary},
    variants::{VARIANTS_MAX, Variants},
};

/// A head as bytes.
#[must_use]
pub fn encode(head: &Head) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(512));
    out.0.push(VERSION);
    out.u16(head.status.as_u16());
    out.freshness(&head.freshness);
    out.u64(head.born);
    out.time(head.created);
    out.option(head.length);
    match head.extent {
        Extent::Whole => out.0.push(0),
        Extent::Sliced { total, slice_bytes } => {
            out.0.push(1);
            out.u64(total);
            out.u64(slice_bytes);
        }
        Extent::Slice { span, total } => {
            out.0.push(2);
            out.u64(span.start);
            out.u64(span.end);
            out.option(total);
        }
    }
    out.0.push(class_byte(head.class));
    out.vary(head.vary.as_ref());
    out.count(head.names.len());
    for name in head.names.iter() {
        out.0.extend_from_slice(&name.0);
    }
    out.count(head.headers.len());
    for (name, value) in &head.headers {
        out.text(name.as_str().as_bytes());
        out.text(value.as_bytes());
    }
    out.0
}

/// Reads a head; `None` for anything else than the bytes of one, of this version.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Head> {
    let mut input = Reader(bytes);
    if input.u8()? != VERSION {
        return None;
    }
    let status = StatusCode::from_u16(input.u16()?).ok()?;
    let freshness = input.freshness()?;
    let (born, created, length) = (input.u64()?, input.time()?, input.option()?);
    let extent = match input.u8()? {
        0 => Extent::Whole,
        1 => Extent::Sliced { total: input.u64()?, slice_bytes: input.u64()? },
        2 => {
            let span = Span { start: input.u64()?, end: input.u64()? };
            Extent::Slice { span, total: input.option()? }
        }
        _ => return None,
    };
    let class = class_of(input.u8()?)?;
    let vary = input.vary()?;
    let names = (0..input.count(16)?).map(|_| input.array().map(KeyHash));
    let names: Option<Vec<_>> = names.collect();
    let names: Arc<[KeyHash]> = names?.into();
    let fields = input.count(4)?;
    let mut headers = HeaderMap::with_capacity(fields.min(HEADERS_AT_ONCE));
    for _ in 0..fields {
        let name = HeaderName::from_bytes(input.text()?).ok()?;
        let value = HeaderValue::from_bytes(input.text()?).ok()?;
        headers.try_append(name, value).ok()?;
    }
    let public = Fields::new(kept::public(&headers));
    input.0.is_empty().then_some(Head {
        status,
        headers,
        public,
        freshness,
        names,
        born,
        created,
        length,
        extent,
        class,
        vary,
        checked: Checked::default(),
    })
}

/// A list of variants as bytes.
#[must_use]
pub fn encode_variants(variants: &Variants) -> Vec<u8> {
    let mut out = Writer(vec![VERSION]);
    out.vary(Some(&variants.vary));
    out.count(variants.list.len());
    for variant in &variants.list {
        out.0.extend_from_slice(variant);
    }
    out.0
}

/// Reads a list of variants.
#[must_use]
pub fn decode_variants(bytes: &[u8]) -> Option<Variants> {
    let mut input = Reader(bytes);
    if input.u8()? != VERSION {
        return None;
    }
    let vary = input.vary()??;
    let count = input.count(16)?;
    if count > VARIANTS_MAX {
        return None;
    }
    let list: Option<Vec<_>> = (0..count).map(|_| input.array()).collect();
    let list = list?;
    input.0.is_empty().then(|| Variants::new(vary, list))
}

struct Writer(Vec<u8>);

impl Writer {
    fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&count.to_le_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.count(text.len());
        self.0.extend_from_slice(text);
    }

    fn option(&mut self, value: Option<u64>) {
        self.0.push(u8::from(value.is_some()));
        self.u64(value.unwrap_or(0));
    }

    fn duration(&mut self, duration: Duration) {
        self.u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    fn time(&mut self, time: SystemTime) {
        self.duration(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
    }

    fn freshness(&mut self, freshness: &Freshness) {
        // All fields by name: a new one must find its way to disk, with a new version.
        let Freshness {
            received_at,
            initial_age,
            lifetime,
            stale_while_revalidate,
            stale_if_error,
            stale_if_unreachable,
            always_revalidate,
            forbids_stale,
            is_for_shared,
            is_immutable,
        } = freshness;
        self.time(*received_at);
        let windows = [stale_while_revalidate, stale_if_error, stale_if_unreachable];
        for duration in [initial_age, lifetime].into_iter().chain(windows) {
            self.duration(*duration);
        }
        let flags = [always_revalidate, forbids_stale, is_for_shared, is_immutable];
        self.0.extend(flags.map(|flag| u8::from(*flag)));
    }

    fn vary(&mut self, vary: Option<&Vary>) {
        self.0.push(u8::from(vary.is_some()));
        let Some(vary) = vary else { return };
        self.count(vary.names().len());
        for name in vary.names().iter() {
            self.text(name.as_str().as_bytes());
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (now, later) = self.0.split_at_checked(count)?;
        self.0 = later;
        Some(now)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of things of at least so many bytes each, which must be there.
    fn count(&mut self, bytes_each: usize) -> Option<usize> {
        let count = usize::try_from(u32::from_le_bytes(self.array()?)).ok()?;
        (count <= self.0.len() / bytes_each).then_some(count)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.count(1)?;
        self.bytes(length)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn option(&mut self) -> Option<Option<u64>> {
        let is_some = self.flag()?;
        let value = self.u64()?;
        Some(is_some.then_some(value))
    }

    fn duration(&mut self) -> Option<Duration> {
        self.u64().map(Duration::from_nanos)
    }

    fn time(&mut self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(self.duration()?)
    }

    fn freshness(&mut self) -> Option<Freshness> {
        Some(Freshness {
            received_at: self.time()?,
            initial_age: self.duration()?,
            lifetime: self.duration()?,
            stale_while_revalidate: self.duration()?,
            stale_if_error: self.duration()?,
            stale_if_unreachable: self.duration()?,
            always_revalidate: self.flag()?,
            forbids_stale: self.flag()?,
            is_for_shared: self.flag()?,
            is_immutable: self.flag()?,
        })
    }

    fn vary(&mut self) -> Option<Option<Vary>> {
        if !self.flag()? {
            return Some(None);
        }
        let count = self.count(4)?;
        // Read as the header that it comes from, so that it keeps the same rules.
        let mut header = HeaderMap::with_capacity(count.min(HEADERS_AT_ONCE));
        for _ in 0..count {
            header.append(header::VARY, HeaderValue::from_bytes(self.text()?).ok()?);
        }
        match Varies::of(&header) {
            Varies::By(vary) => Some(Some(vary)),
            Varies::No | Varies::Any => None,
        }
    }
}

fn class_byte(class: MediaClass) -> u8 {
    match class {
        MediaClass::Manifest => 1,
        MediaClass::Init => 2,
        MediaClass::Segment => 3,
        MediaClass::Part => 4,
        MediaClass::Other => 5,
    }
}

fn class_of(byte: u8) -> Option<MediaClass> {
    use MediaClass::{Init, Manifest, Other, Part, Segment};
    [Manifest, Init, Segment, Part, Other].into_iter().find(|class| class_byte(*class) == byte)
}

/// Of this form. Another form is another version, and what has it is fetched again.
const VERSION: u8 = 1;
/// Headers for which room is made before they were seen.
const HEADERS_AT_ONCE: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::{object::tests::head, variants::tests::vary};

    fn rich() -> Head {
        let mut head = head();
        head.headers.append(header::SET_COOKIE, "a=1".parse().unwrap());
        head.headers.append(header::SET_COOKIE, HeaderValue::from_bytes(b"b=\xff").unwrap());
        head.headers.insert("surrogate-key", "k".parse().unwrap());
        head.names = Arc::new([KeyHash([1; 16]), KeyHash([2; 16])]);
        head.length = Some(5);
        head.vary = Some(vary(&[header::ACCEPT_ENCODING]));
        head
    }

    #[test]
    fn a_head_reads_as_it_was_written() {
        let slice = Extent::Slice { span: Span { start: 5, end: 9 }, total: Some(10) };
        let sliced = Extent::Sliced { total: 9, slice_bytes: 4 };
        for extent in [Extent::Whole, sliced, slice] {
            let head = Head { extent, ..rich() };
            let read = decode(&encode(&head)).unwrap();
            assert_eq!(encode(&read), encode(&head));
            assert_eq!(read.headers, head.headers);
            assert_eq!((read.extent, read.freshness), (head.extent, head.freshness));
            assert_eq!((read.vary, read.created, read.born), (head.vary, head.created, head.born));
            assert!(!read.public.map().contains_key("surrogate-key"));
        }
        let variants = Variants::new(rich().vary.unwrap(), vec![[3; 16], [4; 16]]);
        let read = decode_variants(&encode_variants(&variants)).unwrap();
        assert_eq!((read.vary, read.list), (variants.vary, variants.list));
    }

    #[test]
    fn every_cut_and_every_surplus_is_refused() {
        let bytes = encode(&rich());
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_none(), "{cut}");
        }
        assert!(decode(&[&bytes[..], &[0]].concat()).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0_usize..400, with: [u8; 4]) {
            let mut bytes = encode(&rich());
            let at = at.min(bytes.len() - 4);
            bytes[at..at + 4].copy_from_slice(&with);
            let _ = decode(&bytes);
            let _ = decode_variants(&bytes);
        }
    }
}
