//! What is said of a steered name: the text at `_steer.NAME`.
//!
//! Such a name has no addresses of its own: A, AAAA and HTTPS come from the map. Invariant: an option that nobody knows is
//! refused, so a typing error never passes for a setting.

/// How a steered name is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steered {
    /// Protocols that the PoPs speak, for HTTPS records, the preferred one first.
    pub alpn: Vec<String>,
    /// The port that the PoPs serve at.
    pub port: u16,
}

/// What is wrong with the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SteeredError {
    /// Not `name=value`.
    #[error("{0:?} is not name=value")]
    Form(String),
    /// An option that there is not.
    #[error("there is no option {0:?}; there are alpn and port")]
    Unknown(String),
    /// An option twice.
    #[error("{0} is there twice")]
    Twice(String),
    /// Not a list of protocols.
    #[error("alpn is 1 to {ALPN_MAX} protocols of letters, digits and -./, parted by commas")]
    Alpn,
    /// Not a port.
    #[error("port is 1 to 65535")]
    Port,
}

impl Default for Steered {
    fn default() -> Self {
        Self { alpn: vec!["h3".to_owned(), "h2".to_owned()], port: 443 }
    }
}

impl Steered {
    /// Reads options, one a string.
    ///
    /// # Errors
    /// [`SteeredError`]
    pub fn parse<'a>(options: impl IntoIterator<Item = &'a str>) -> Result<Self, SteeredError> {
        let mut steered = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for option in options.into_iter().flat_map(str::split_ascii_whitespace) {
            let Some((name, value)) = option.split_once('=') else {
                return Err(SteeredError::Form(option.to_owned()));
            };
            if seen.contains(&name) {
                return Err(SteeredError::Twice(name.to_owned()));
            }
            seen.push(name);
            match name {
                "alpn" => steered.alpn = alpn(value).ok_or(SteeredError::Alpn)?,
                "port" => steered.port = port(value).ok_or(SteeredError::Port)?,
                _ => return Err(SteeredError::Unknown(name.to_owned())),
            }
        }
        Ok(steered)
    }
}

fn alpn(value: &str) -> Option<Vec<String>> {
    let is_word = |word: &&str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-./".contains(&byte);
        (1..=ALPN_BYTES_MAX).contains(&word.len()) && word.bytes().all(is_plain)
    };
    let words: Vec<&str> = value.split(',').collect();
    let is_good = words.len() <= ALPN_MAX && words.iter().all(is_word);
    is_good.then(|| words.into_iter().map(str::to_owned).collect())
}

fn port(value: &str) -> Option<u16> {
    value.parse().ok().filter(|port| *port > 0)
}

/// The most protocols: h3, h2 and http/1.1, and one that is to come.
const ALPN_MAX: usize = 4;
/// The longest name of a protocol that anybody uses; 255 are allowed by TLS, which is more than an answer bears.
const ALPN_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused() {
        let read = |text: &str| Steered::parse([text]).map_err(|error| error.to_string());
        let made = |alpn: &[&str], port| {
            Ok(Steered { alpn: alpn.iter().map(|word| (*word).to_owned()).collect(), port })
        };
        assert_eq!(read(""), made(&["h3", "h2"], 443));
        assert_eq!(read("port=8443 alpn=h2,http/1.1"), made(&["h2", "http/1.1"], 8443));
        assert_eq!(Steered::parse(["port=1", "alpn=h3"]).unwrap().port, 1);
        for (text, reason) in [
            ("alpn", "not name=value"),
            ("ttl=20", "there is no option"),
            ("port=1 port=1", "twice"),
            ("port=0", "port is"),
            ("port=65536", "port is"),
            ("alpn=", "alpn is"),
            ("alpn=h3,,h2", "alpn is"),
            ("alpn=a,b,c,d,e", "alpn is"),
            ("alpn=h\"3", "alpn is"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
