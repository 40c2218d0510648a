//! References become URLs: joined with their base, of a bounded length, and all of a list together in a bounded room.

use url::Url;

use super::{Object, error::Fault, limit, work};

/// Resolves the references of one document.
pub(super) struct References<'a> {
    base: &'a Url,
    /// Bytes of URLs that may still be made.
    room: usize,
}

impl<'a> References<'a> {
    pub(super) fn new(base: &'a Url) -> Self {
        Self { base, room: limit::MAX_LIST_URL_BYTES }
    }

    /// `what` names the reference in an error.
    pub(super) fn resolve(&mut self, what: &'static str, reference: &str) -> Result<Url, Fault> {
        self.resolve_from(self.base, what, reference)
    }

    /// The same, which may also hold what it refers to (`data:`).
    pub(super) fn resolve_or_inline(
        &mut self,
        what: &'static str,
        reference: &str,
    ) -> Result<Url, Fault> {
        let scheme = reference.get(..5).unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("data:") {
            return self.resolve(what, reference);
        }
        if reference.len() > limit::MAX_URL_BYTES {
            return Err(Fault::too_many("bytes of a URL", limit::MAX_URL_BYTES));
        }
        let url = Url::parse(reference).map_err(|_| Fault::Url(what))?;
        self.take(&url)?;
        Ok(url)
    }

    /// The same against another base.
    pub(super) fn resolve_from(
        &mut self,
        base: &Url,
        what: &'static str,
        reference: &str,
    ) -> Result<Url, Fault> {
        let url = join(base, what, reference)?;
        self.take(&url)?;
        Ok(url)
    }

    /// Counts a copy.
    pub(super) fn copy(&mut self, object: &Object) -> Result<Object, Fault> {
        self.take(&object.url)?;
        Ok(object.clone())
    }

    fn take(&mut self, url: &Url) -> Result<(), Fault> {
        work::add(url.as_str().len());
        let left = self.room.checked_sub(url.as_str().len());
        self.room = left.ok_or(Fault::too_many("bytes of URLs", limit::MAX_LIST_URL_BYTES))?;
        Ok(())
    }
}

/// One reference against its base: HTTP and HTTPS only.
pub(super) fn join(base: &Url, what: &'static str, reference: &str) -> Result<Url, Fault> {
    if reference.len() > limit::MAX_URL_BYTES {
        return Err(Fault::too_many("bytes of a URL", limit::MAX_URL_BYTES));
    }
    if reference.is_empty() {
        return Err(Fault::Missing(what));
    }
    let url = base.join(reference).map_err(|_| Fault::Url(what))?;
    if url.as_str().len() > limit::MAX_URL_BYTES {
        return Err(Fault::too_many("bytes of a URL", limit::MAX_URL_BYTES));
    }
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(Fault::Url(what));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_as_in_a_browser() {
        let base = Url::parse("https://a.example/v/1/main.m3u8?t=1").expect("a URL");
        let table = [
            ("720p.m3u8", Some("https://a.example/v/1/720p.m3u8")),
            ("../../m/1/a b.m4s?x=1", Some("https://a.example/m/1/a%20b.m4s?x=1")),
            ("/x", Some("https://a.example/x")),
            ("//b.example/x", Some("https://b.example/x")),
            ("http://c.example:8080/x", Some("http://c.example:8080/x")),
            ("", None),
            ("data:video/mp4;base64,AAAA", None),
            ("file:///etc/passwd", None),
            ("http://[::1", None),
        ];
        for (reference, expected) in table {
            let url = join(&base, "a segment", reference);
            assert_eq!(url.ok().as_ref().map(Url::as_str), expected, "{reference}");
        }
    }

    #[test]
    fn a_long_base_and_many_short_references_run_into_the_limit() {
        let base = format!("https://a.example/{}/", "d".repeat(8_000));
        let base = Url::parse(&base).expect("a URL");
        let mut references = References::new(&base);
        let made = (0..limit::MAX_SEGMENTS).take_while(|_| references.resolve("a", "a").is_ok());
        assert_eq!(made.count(), limit::MAX_LIST_URL_BYTES / (base.as_str().len() + 1));
        assert!(join(&base, "a", &"a".repeat(8_000)).is_err());
        assert!(join(&base, "a", &"a".repeat(9_000)).is_err());
    }
}
