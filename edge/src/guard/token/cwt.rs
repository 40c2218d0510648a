//! A CWT (RFC 8392) in COSE_Mac0 or COSE_Sign1 (RFC 9052 4.2, 6.2), tagged or not, in base64url.
//!
//! Invariant: the algorithm is what the protected header says; a tag that says otherwise refuses the token.

use ciborium::Value;
use tidegate_contract::{guard_policy::TokenAlgorithm, playback_token::cose};

use super::{Token, TokenError, cat, key::Keys};
use crate::guard::base64url;

/// A COSE message, taken apart.
#[derive(Debug, PartialEq)]
struct Message {
    algorithm: TokenAlgorithm,
    key_id: Option<Vec<u8>>,
    protected: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// Reads a token: signature first, claims after.
///
/// # Errors
/// [`TokenError`]
pub fn read(text: &str, keys: &Keys, now: u64) -> Result<Token, TokenError> {
    let bytes = base64url::decode(text).ok_or(TokenError::Malformed)?;
    let message = parse(&bytes)?;
    let signed = to_be_signed(message.algorithm, &message.protected, &message.payload);
    let id = message.key_id.as_deref();
    let key_until = keys.verify(message.algorithm, id, &signed, &message.signature, now)?;
    let claims = cat::read(&value(&message.payload)?)?;
    Ok(Token::new(claims, &message.payload, key_until))
}

/// A token with these claims under the first shared secret; `None` when there is none.
#[must_use]
pub fn seal(payload: &[u8], keys: &Keys, now: u64) -> Option<String> {
    let label = |label: i64| Value::from(label);
    let protected = encode(&Value::Map(vec![(label(cose::ALG), label(cose::HS256))]));
    let signed = to_be_signed(TokenAlgorithm::HS256, &protected, payload);
    let (id, tag) = keys.sign(&signed, now)?;
    let header = Value::Map(vec![(label(cose::KID), Value::Bytes(id.into_bytes()))]);
    let parts =
        vec![Value::Bytes(protected), header, Value::Bytes(payload.to_vec()), Value::Bytes(tag)];
    let message = Value::Tag(cose::TAG_MAC0, Box::new(Value::Array(parts)));
    Some(base64url::encode(&encode(&Value::Tag(cose::TAG_CWT, Box::new(message)))))
}

/// A CBOR item that is all there is.
///
/// # Errors
/// [`TokenError::Malformed`]
pub fn value(mut bytes: &[u8]) -> Result<Value, TokenError> {
    let value = ciborium::de::from_reader_with_recursion_limit(&mut bytes, DEPTH_MAX)
        .map_err(|_| TokenError::Malformed)?;
    if bytes.is_empty() { Ok(value) } else { Err(TokenError::Malformed) }
}

/// The bytes of a CBOR item.
#[must_use]
pub fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("memory takes everything");
    bytes
}

/// A map's entries by integer label, of which there may be no others.
///
/// # Errors
/// [`TokenError::Malformed`] when it is no such map, or has a label twice.
pub fn strictly_labelled(value: &Value) -> Result<Vec<(i64, &Value)>, TokenError> {
    let labelled = labelled(value)?;
    let all = value.as_map().map_or(0, Vec::len);
    if labelled.len() == all { Ok(labelled) } else { Err(TokenError::Malformed) }
}

/// A map's entries by integer label; those with a text for a label are private and left out.
///
/// # Errors
/// [`TokenError::Malformed`] when it is no map, or has a label twice.
pub fn labelled(value: &Value) -> Result<Vec<(i64, &Value)>, TokenError> {
    let entries = value.as_map().ok_or(TokenError::Malformed)?;
    let mut labelled: Vec<(i64, &Value)> = Vec::with_capacity(entries.len());
    for (n, (label, value)) in entries.iter().enumerate() {
        if entries[..n].iter().any(|(other, _)| other == label) {
            return Err(TokenError::Malformed);
        }
        if let Some(label) = label.as_integer() {
            labelled.push((label.try_into().map_err(|_| TokenError::Malformed)?, value));
        } else if !label.is_text() {
            return Err(TokenError::Malformed);
        }
    }
    Ok(labelled)
}

fn parse(bytes: &[u8]) -> Result<Message, TokenError> {
    let mut value = value(bytes)?;
    if let Value::Tag(cose::TAG_CWT, inner) = value {
        value = *inner;
    }
    let mut tag = None;
    if let Value::Tag(number, inner) = value {
        tag = Some(number);
        value = *inner;
    }
    let parts = value.into_array().map_err(|_| TokenError::Malformed)?;
    let Ok([protected, unprotected, payload, signature]) = <[Value; 4]>::try_from(parts) else {
        return Err(TokenError::Malformed);
    };
    let bytes_of = |value: Value| value.into_bytes().map_err(|_| TokenError::Malformed);
    let protected = bytes_of(protected)?;
    let (algorithm, key_id) = header(&protected, &unprotected)?;
    let is_mac = algorithm == TokenAlgorithm::HS256;
    match tag {
        None => {}
        Some(cose::TAG_MAC0) if is_mac => {}
        Some(cose::TAG_SIGN1) if !is_mac => {}
        Some(_) => return Err(TokenError::Malformed),
    }
    Ok(Message {
        algorithm,
        key_id,
        protected,
        payload: bytes_of(payload)?,
        signature: bytes_of(signature)?,
    })
}

/// Algorithm and key id. Headers that must be understood (RFC 9052 3.1) are none that we know.
fn header(
    protected: &[u8],
    unprotected: &Value,
) -> Result<(TokenAlgorithm, Option<Vec<u8>>), TokenError> {
    let inner = value(protected)?;
    let (inner, outer) = (labelled(&inner)?, strictly_labelled(unprotected)?);
    let find = |entries: &[(i64, &Value)], label| {
        entries.iter().find(|(found, _)| *found == label).map(|(_, value)| (*value).clone())
    };
    if find(&inner, cose::CRIT).or_else(|| find(&outer, cose::CRIT)).is_some() {
        return Err(TokenError::Claim("crit"));
    }
    // The outer header is not signed: whoever holds a token could write anything else into it, and have many tokens.
    // A label in both is read in two ways.
    let is_known =
        |label: i64| label == cose::KID && !inner.iter().any(|(other, _)| *other == label);
    if !outer.iter().all(|(label, _)| is_known(*label)) {
        return Err(TokenError::Malformed);
    }
    let algorithm = find(&inner, cose::ALG).and_then(|value| value.as_integer());
    let algorithm = match algorithm.and_then(|number| i64::try_from(number).ok()) {
        Some(cose::HS256) => TokenAlgorithm::HS256,
        Some(cose::ES256) => TokenAlgorithm::ES256,
        Some(cose::PS256) => TokenAlgorithm::PS256,
        _ => return Err(TokenError::Malformed),
    };
    let key_id = match find(&inner, cose::KID).or_else(|| find(&outer, cose::KID)) {
        Some(Value::Bytes(id)) => Some(id),
        Some(_) => return Err(TokenError::Malformed),
        None => None,
    };
    Ok((algorithm, key_id))
}

/// MAC_structure or Sig_structure without external data.
fn to_be_signed(algorithm: TokenAlgorithm, protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let context: &[u8] = match algorithm {
        TokenAlgorithm::HS256 => b"MAC0",
        TokenAlgorithm::ES256 | TokenAlgorithm::PS256 => b"Signature1",
    };
    let mut signed = Vec::with_capacity(context.len() + protected.len() + payload.len() + 16);
    signed.push(0x84); // an array of four
    push_string(&mut signed, TEXT, context);
    for part in [protected, b"", payload] {
        push_string(&mut signed, BYTES, part);
    }
    signed
}

/// A string with its length in the shortest form (RFC 8949 4.2.1).
fn push_string(out: &mut Vec<u8>, major: u8, string: &[u8]) {
    match string.len() {
        length @ ..24 => out.push(major | length as u8),
        length @ 24..256 => out.extend([major | 24, length as u8]),
        // A token is far shorter than 64 KiB.
        length => {
            out.push(major | 25);
            out.extend((length as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(string);
}

const BYTES: u8 = 0x40;
const TEXT: u8 = 0x60;
/// Claims nest five deep at most.
const DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::uri::{Match, Part};
    use super::*;
    use crate::guard::fixture::{NOW, es256_public, hs256, keys};

    /// As `tidegate token sign` writes it; the same text stands in a test there.
    const SIGNED_CAT: &str = "2D3RhEOhAQWhBEJrMVg1pwQaa0ngEAYaa0nSAAFkc2hvcAdBeBkBOKEDoQFlL3YvMS8ZATmBY0dFVBkBQ6IAAAEZAl\
        hYIOJOcZHpLzrH5r6_BlN0IAKUp_J-89EEjUHZ6XuVEjws";
    /// RFC 8392 A.3, signed with the key of A.2.3.
    const RFC8392_A3: &str = "d28443a10126a104524173796d6d657472696345434453413235365850a70175636f61703a2f2f\
        61732e6578616d706c652e636f6d02656572696b77037818636f61703a2f2f6c696768742e6578616d706c652e636f6d\
        041a5612aeb0051a5610d9f0061a5610d9f007420b7158405427c1ff28d23fbad1f29c4c7c6a555e601d6fa29f9179bc\
        3d7438bacaca5acd08c8d4d4f96131680c429a01f85951ecee743a52b9b63632c57209120e1c9e30";
    const RFC8392_X: &str = "143329cce7868e416927599cf65a34f3ce2ffda55a7eca69ed8919a394d42f0f";
    const RFC8392_Y: &str = "60f7f1a780d8a783bfb7a2dd6b2796e8128dbbcef9d3d168db9529971a36e7b9";

    #[test]
    fn the_signed_example_of_the_rfc_is_good_in_its_time() {
        let point =
            [vec![4], hex::decode(RFC8392_X).unwrap(), hex::decode(RFC8392_Y).unwrap()].concat();
        let keys = Keys::new(&[es256_public("AsymmetricECDSA256", &point)]);
        let text = base64url::encode(&hex::decode(RFC8392_A3).unwrap());
        let token = read(&text, &keys, 1_443_944_944).unwrap();
        assert_eq!(token.claims.issuer.as_deref(), Some("coap://as.example.com"));
        assert_eq!(token.claims.expires, 1_444_064_944);
        assert_eq!(token.claims.audience, Some(vec!["coap://light.example.com".to_owned()]));
        assert_eq!(token.claims.id.as_deref(), Some(&b"\x0b\x71"[..]));

        let mut changed = hex::decode(RFC8392_A3).unwrap();
        changed[40] ^= 1;
        let refused = read(&base64url::encode(&changed), &keys, 1_443_944_944);
        assert_eq!(refused.err(), Some(TokenError::Signature));
    }

    #[test]
    fn what_the_operators_tool_signs_is_read() {
        let token = read(SIGNED_CAT, &Keys::new(&[hs256("k1", 7)]), NOW).unwrap();
        assert_eq!(token.claims.expires, NOW + 3600);
        assert_eq!(token.claims.methods, Some(vec!["GET".to_owned()]));
        let prefix = Match::Prefix("/v/1/".to_owned());
        assert_eq!(token.claims.uri, [(Part::Path, vec![prefix])]);
        assert_eq!(token.claims.renewal.map(|renewal| renewal.lifetime), Some(600));
    }

    #[test]
    fn what_is_sealed_opens_with_and_without_its_tags() {
        let claims = encode(&Value::Map(vec![(4.into(), (NOW + 60).into())]));
        let keys = keys();
        let sealed = seal(&claims, &keys, NOW).unwrap();
        assert_eq!(read(&sealed, &keys, NOW).unwrap().claims.expires, NOW + 60);
        let Value::Tag(61, inner) = value(&base64url::decode(&sealed).unwrap()).unwrap() else {
            panic!("a CWT")
        };
        let Value::Tag(17, bare) = (*inner).clone() else { panic!("a Mac0") };
        for form in [&inner, &bare] {
            let text = base64url::encode(&encode(form));
            assert!(read(&text, &keys, NOW).is_ok(), "{form:?}");
        }
        let wrong = Value::Tag(18, bare);
        let text = base64url::encode(&encode(&wrong));
        assert_eq!(read(&text, &keys, NOW).err(), Some(TokenError::Malformed));
    }

    #[test]
    fn headers_are_read_in_one_way_only() {
        let keys = Keys::new(&[hs256("a", 1)]);
        let claims = encode(&Value::Map(vec![(4.into(), (NOW + 60).into())]));
        let int = |n: i64| Value::from(n);
        let with = |protected: Vec<(Value, Value)>, unprotected: Vec<(Value, Value)>| {
            let protected = encode(&Value::Map(protected));
            let signed = to_be_signed(TokenAlgorithm::HS256, &protected, &claims);
            let (_, tag) = keys.sign(&signed, NOW).unwrap();
            let parts = vec![
                Value::Bytes(protected),
                Value::Map(unprotected),
                Value::Bytes(claims.clone()),
                Value::Bytes(tag),
            ];
            read(&base64url::encode(&encode(&Value::Array(parts))), &keys, NOW).err()
        };
        let alg = || (int(1), int(5));
        let kid = || (int(4), Value::Bytes(b"a".to_vec()));
        assert_eq!(with(vec![alg()], vec![]), None);
        assert_eq!(with(vec![alg(), kid()], vec![]), None);
        assert_eq!(with(vec![alg()], vec![kid()]), None);
        for (protected, unprotected, error) in [
            (vec![], vec![alg()], TokenError::Malformed),
            (vec![alg(), alg()], vec![], TokenError::Malformed),
            (vec![alg()], vec![alg()], TokenError::Malformed),
            (vec![alg()], vec![(int(99), int(1))], TokenError::Malformed),
            (vec![alg()], vec![(Value::Text("x".into()), int(1))], TokenError::Malformed),
            (vec![alg(), kid()], vec![kid()], TokenError::Malformed),
            (vec![(int(1), int(0))], vec![], TokenError::Malformed),
            (vec![(int(1), int(-7))], vec![], TokenError::Signature),
            (vec![alg(), (int(4), Value::Bytes(b"b".to_vec()))], vec![], TokenError::Signature),
            (vec![alg(), (int(2), Value::Array(vec![int(4)]))], vec![], TokenError::Claim("crit")),
        ] {
            assert_eq!(with(protected, unprotected), Some(error));
        }
    }

    #[test]
    fn what_is_no_cbor_of_this_shape_is_refused() {
        let deep = vec![0x81; 2000];
        for bytes in [
            &b""[..],
            b"\x80",
            b"\x84\x40\xa0\x40\x40\x00",
            b"\xd8\x3d\xd8\x3d\x80",
            &deep,
            b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            let refused = read(&base64url::encode(bytes), &keys(), NOW).err();
            assert_eq!(refused, Some(TokenError::Malformed), "{bytes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic_and_claims_read_alike_when_signed(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..96)) {
            proptest::prop_assert!(read(&base64url::encode(&bytes), &keys(), NOW).is_err());
            let claims = value(&bytes).and_then(|value| cat::read(&value));
            let sealed = seal(&bytes, &keys(), NOW).unwrap();
            proptest::prop_assert_eq!(read(&sealed, &keys(), NOW).map(|token| token.claims), claims);
        }
    }
}
