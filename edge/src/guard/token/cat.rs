//! Claims of a Common Access Token (CTA-5007-B), by the numbers of [`tidegate_contract::playback_token`].
//!
//! Invariant: every integer claim that is not known here refuses the token, since claims of this family restrict
//! and leaving one out would open more than the issuer meant. Text claims are private and say nothing to us.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ciborium::Value;
use tidegate_contract::{
    network::Network,
    playback_token::{self as claim, renewal},
};

use super::{
    TokenError,
    claims::{Claims, Region, Renewal, RenewalWay},
    cwt::{labelled, strictly_labelled},
    uri::{Match, Part},
};

type Read<T> = Result<T, TokenError>;

/// Reads a set of claims.
///
/// # Errors
/// [`TokenError::Malformed`] or [`TokenError::Claim`].
pub fn read(value: &Value) -> Read<Claims> {
    let mut claims = Claims::default();
    let mut has_expiry = false;
    for (label, value) in labelled(value)? {
        match label {
            claim::ISS => claims.issuer = Some(text(value)?),
            claim::AUD => claims.audience = Some(texts(value)?),
            claim::EXP => {
                claims.expires = seconds(value)?;
                has_expiry = true;
            }
            claim::NBF => claims.not_before = Some(seconds(value)?),
            claim::IAT => claims.issued = Some(seconds(value)?),
            claim::CTI => claims.id = Some(value.as_bytes().ok_or(TokenError::Malformed)?.clone()),
            // Whom it is about is for the logs of whoever issued it; what to answer instead is our own affair.
            claim::SUB | claim::CATIF | claim::CATIFDATA => {}
            claim::CATV if integer(value) == Some(1) => {}
            claim::CATREPLAY if integer(value) == Some(0) => {}
            claim::CATU => claims.uri = parts(value)?,
            claim::CATM => claims.methods = Some(list(value, text)?),
            claim::CATALPN => claims.protocols = Some(list(value, name)?),
            claim::CATH => claims.headers = headers(value)?,
            claim::CATGEOISO3166 => claims.regions = Some(list(value, region)?),
            claim::CATNIP => claims.networks = Some(networks(value)?),
            claim::CATR => claims.renewal = Some(renewal_of(value)?),
            _ => return Err(TokenError::Claim(name_of(label))),
        }
    }
    if has_expiry { Ok(claims) } else { Err(TokenError::Claim("exp")) }
}

/// The name of a claim that is not accepted, for logs.
fn name_of(label: i64) -> &'static str {
    match label {
        claim::CNF => "cnf",
        claim::CATREPLAY => "catreplay",
        claim::CATPOR => "catpor",
        claim::CATV => "catv",
        _ => "unknown",
    }
}

fn text(value: &Value) -> Read<String> {
    value.as_text().map(str::to_owned).ok_or(TokenError::Malformed)
}

/// One text or an array of them.
fn texts(value: &Value) -> Read<Vec<String>> {
    if value.is_text() { Ok(vec![text(value)?]) } else { list(value, text) }
}

/// An ALPN name, which is bytes; text is taken as well.
fn name(value: &Value) -> Read<Vec<u8>> {
    match value {
        Value::Bytes(name) => Ok(name.clone()),
        other => text(other).map(String::into_bytes),
    }
}

fn list<T>(value: &Value, read: impl Fn(&Value) -> Read<T>) -> Read<Vec<T>> {
    value.as_array().ok_or(TokenError::Malformed)?.iter().map(read).collect()
}

fn integer(value: &Value) -> Option<i64> {
    value.as_integer()?.try_into().ok()
}

/// A NumericDate (RFC 8392 2): an integer or a floating-point number, without its tag.
fn seconds(value: &Value) -> Read<u64> {
    match value {
        Value::Integer(number) => (*number).try_into().map_err(|_| TokenError::Malformed),
        // Beyond 2^53 a number is no longer exact, and no time.
        Value::Float(number) if (0.0..9e15).contains(number) => Ok(number.floor() as u64),
        _ => Err(TokenError::Malformed),
    }
}

fn region(value: &Value) -> Read<Region> {
    Region::read(&text(value)?).ok_or(TokenError::Malformed)
}

fn parts(value: &Value) -> Read<Vec<(Part, Vec<Match>)>> {
    let part = |(label, value)| {
        Ok((Part::of(label).ok_or(TokenError::Claim("catu"))?, matches(value, "catu")?))
    };
    strictly_labelled(value)?.into_iter().map(part).collect()
}

fn headers(value: &Value) -> Read<Vec<(http::HeaderName, Vec<Match>)>> {
    let entries = value.as_map().ok_or(TokenError::Malformed)?;
    let header = |(name, value): &(Value, Value)| {
        let name = text(name)?.parse().map_err(|_| TokenError::Malformed)?;
        Ok((name, matches(value, "cath")?))
    };
    entries.iter().map(header).collect()
}

/// All matches of one text; an empty map would match everything and is refused.
fn matches(value: &Value, claim: &'static str) -> Read<Vec<Match>> {
    let one = |(label, value): (i64, &Value)| {
        let text = || text(value);
        Ok(match label {
            claim::matching::EXACT => Match::Exact(text()?),
            claim::matching::PREFIX => Match::Prefix(text()?),
            claim::matching::SUFFIX => Match::Suffix(text()?),
            claim::matching::CONTAINS => Match::Contains(text()?),
            claim::matching::SHA256 => Match::sha256(&name(value)?).ok_or(TokenError::Malformed)?,
            _ => return Err(TokenError::Claim(claim)),
        })
    };
    let all: Vec<Match> = strictly_labelled(value)?.into_iter().map(one).collect::<Read<_>>()?;
    if all.is_empty() { Err(TokenError::Malformed) } else { Ok(all) }
}

/// Addresses and prefixes (RFC 9164); an AS number cannot be checked here and matches nobody.
fn networks(value: &Value) -> Read<Vec<Network>> {
    let mut networks = Vec::new();
    for value in value.as_array().ok_or(TokenError::Malformed)? {
        match value {
            Value::Integer(_) => {}
            Value::Tag(TAG_IPV4, inner) => networks.push(network(inner, 4)?),
            Value::Tag(TAG_IPV6, inner) => networks.push(network(inner, 16)?),
            Value::Text(text) => networks.push(text.parse().map_err(|_| TokenError::Malformed)?),
            _ => return Err(TokenError::Malformed),
        }
    }
    Ok(networks)
}

/// An address, or a prefix `[length, bytes]` whose trailing zeros are left out, or an address with a prefix
/// `[bytes, length]`.
fn network(value: &Value, length: usize) -> Read<Network> {
    let (bytes, prefix) = match value {
        Value::Bytes(bytes) if bytes.len() == length => (bytes, length as u64 * 8),
        Value::Array(parts) => match parts.as_slice() {
            [Value::Integer(prefix), Value::Bytes(bytes)]
            | [Value::Bytes(bytes), Value::Integer(prefix)] => {
                (bytes, u64::try_from(*prefix).map_err(|_| TokenError::Malformed)?)
            }
            _ => return Err(TokenError::Malformed),
        },
        _ => return Err(TokenError::Malformed),
    };
    if bytes.len() > length || prefix > length as u64 * 8 {
        return Err(TokenError::Malformed);
    }
    let mut whole = [0; 16];
    whole[..bytes.len()].copy_from_slice(bytes);
    let address = match length {
        4 => IpAddr::V4(Ipv4Addr::new(whole[0], whole[1], whole[2], whole[3])),
        _ => IpAddr::V6(Ipv6Addr::from(whole)),
    };
    Network::new(address, prefix as u8).ok_or(TokenError::Malformed)
}

/// Type and lifetime are needed; names and attributes of cookies and headers are ours to choose and not read.
fn renewal_of(value: &Value) -> Read<Renewal> {
    let entries = strictly_labelled(value)?;
    let number = |label| {
        let found = entries.iter().find(|(found, _)| *found == label);
        found.map(|(_, value)| seconds(value)).transpose()
    };
    let way = match number(renewal::TYPE)?.map(|way| way as i64) {
        Some(renewal::AUTOMATIC) => RenewalWay::Automatic,
        Some(renewal::COOKIE) => RenewalWay::Cookie,
        Some(renewal::HEADER) => RenewalWay::Header,
        Some(renewal::REDIRECT) => RenewalWay::Redirect,
        _ => return Err(TokenError::Claim("catr")),
    };
    let lifetime = number(renewal::EXPADD)?.ok_or(TokenError::Claim("catr"))?;
    let deadline = number(renewal::DEADLINE)?.unwrap_or(DEADLINE_DEFAULT_S);
    Ok(Renewal { way, lifetime, deadline })
}

const TAG_IPV4: u64 = 52;
const TAG_IPV6: u64 = 54;
/// As long before expiry other implementations begin to renew.
const DEADLINE_DEFAULT_S: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn int(n: i64) -> Value {
        Value::from(n)
    }

    fn with(label: i64, value: Value) -> Read<Claims> {
        read(&Value::Map(vec![(int(4), int(100)), (int(label), value)]))
    }

    #[test]
    fn networks_have_all_forms_of_the_rfc() {
        let tagged = |tag, value| Value::Tag(tag, Box::new(value));
        let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
        for (value, expected) in [
            (tagged(52, bytes(&[192, 0, 2, 1])), "192.0.2.1/32"),
            (tagged(52, Value::Array(vec![int(24), bytes(&[192, 0, 2])])), "192.0.2.0/24"),
            (tagged(52, Value::Array(vec![bytes(&[192, 0, 2, 1]), int(24)])), "192.0.2.0/24"),
            (
                tagged(54, Value::Array(vec![int(32), bytes(&[0x20, 1, 0xd, 0xb8])])),
                "2001:db8::/32",
            ),
            (Value::Text("192.0.2.0/24".into()), "192.0.2.0/24"),
        ] {
            let claims = with(claim::CATNIP, Value::Array(vec![value])).unwrap();
            assert_eq!(claims.networks.unwrap()[0].to_string(), expected);
        }
        let asn = with(claim::CATNIP, Value::Array(vec![int(64496)])).unwrap();
        assert_eq!(asn.networks, Some(vec![]), "matches nobody");
        for bad in [
            tagged(52, bytes(&[1, 2, 3])),
            tagged(52, Value::Array(vec![int(33), bytes(&[1])])),
            tagged(54, Value::Array(vec![int(-1), bytes(&[1])])),
            tagged(99, bytes(&[1, 2, 3, 4])),
        ] {
            assert!(with(claim::CATNIP, Value::Array(vec![bad])).is_err());
        }
    }

    #[test]
    fn what_is_not_understood_refuses_the_token() {
        for (label, value) in [
            (claim::CATREPLAY, int(1)),
            (claim::CATREPLAY, int(2)),
            (claim::CATPOR, int(10)),
            (claim::CATV, int(2)),
            (claim::CNF, Value::Map(vec![])),
            (
                claim::CATU,
                Value::Map(vec![(int(9), Value::Map(vec![(int(0), Value::Text("x".into()))]))]),
            ),
            (
                claim::CATU,
                Value::Map(vec![(int(3), Value::Map(vec![(int(4), Value::Text("x".into()))]))]),
            ),
            (claim::CATR, Value::Map(vec![(int(0), int(9)), (int(1), int(60))])),
            (317, Value::Array(vec![])),
            (319, Value::Bytes(vec![])),
            (321, Value::Map(vec![])),
            (45, Value::Array(vec![])),
        ] {
            assert!(matches!(with(label, value), Err(TokenError::Claim(_))), "{label}");
        }
        assert!(with(claim::CATREPLAY, int(0)).is_ok());
        assert!(with(claim::CATV, int(1)).is_ok());
        let private = vec![(int(4), int(100)), (Value::Text("note".into()), int(1))];
        assert!(read(&Value::Map(private)).is_ok());
    }

    #[test]
    fn types_are_checked_and_expiry_is_needed() {
        assert_eq!(read(&Value::Map(vec![])).err(), Some(TokenError::Claim("exp")));
        assert_eq!(with(4, int(1)).err(), Some(TokenError::Malformed), "twice");
        for (label, value) in [
            (claim::ISS, int(1)),
            (claim::NBF, int(-1)),
            (claim::NBF, Value::Float(f64::NAN)),
            (claim::CTI, Value::Text("x".into())),
            (claim::CATM, Value::Text("GET".into())),
            (claim::CATU, Value::Map(vec![(int(3), Value::Map(vec![]))])),
            (claim::CATU, Value::Map(vec![(Value::Text("path".into()), Value::Map(vec![]))])),
        ] {
            assert_eq!(with(label, value).err(), Some(TokenError::Malformed), "{label}");
        }
        assert_eq!(with(claim::NBF, Value::Float(1.9)).unwrap().not_before, Some(1));
    }
}
