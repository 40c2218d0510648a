//! Private keys sealed under another key of their zone, and proofs that a text is of somebody who has the zone's keys.
//!
//! A key of P-256 is a number; from it HKDF-SHA-256 makes a key of AES-256-GCM for one other key of the zone, or one of
//! HMAC-SHA-256 for texts about the zone. Everything that a sealed key is bound to goes into what the sealing key is made
//! from, the public key of what is sealed too: a sealing key serves once, so the nonce is zero. Invariant: what was moved to
//! another zone, tag or kind, cut or changed does not open, and what opens is the private key of the public key beside it.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    encoding::AsBigEndian,
    hkdf::{HKDF_SHA256, Prk, Salt},
    hmac,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tidegate_contract::zone_keys::{PROOF_BYTES, PUBLIC_BYTES, SEALED_BYTES};

use super::rollover::Kind;

/// The number that a private key is.
#[derive(Clone)]
pub(super) struct Secret([u8; SECRET_BYTES]);

/// What a sealed key is bound to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound<'a> {
    /// The apex of the zone, with a dot at its end.
    pub(super) zone: &'a str,
    /// The tag of the key that is sealed.
    pub(super) tag: u16,
    /// What it signs.
    pub(super) kind: Kind,
    /// Its public key.
    pub(super) public: &'a [u8; PUBLIC_BYTES],
    /// The tag of the key that it is sealed under.
    pub(super) under: u16,
}

impl Secret {
    /// The private and the public key of a file.
    pub(super) fn of(der: &PrivatePkcs8KeyDer<'_>) -> Option<(Self, [u8; PUBLIC_BYTES])> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.secret_pkcs8_der()).ok()?;
        let public = pair.public_key().as_ref().strip_prefix(&[UNCOMPRESSED])?;
        let secret = pair.private_key().as_be_bytes().ok()?;
        Some((Self(secret.as_ref().try_into().ok()?), public.try_into().ok()?))
    }

    /// The file of a key; `None` when the public key is another one's.
    pub(super) fn der(&self, public: &[u8; PUBLIC_BYTES]) -> Option<PrivatePkcs8KeyDer<'static>> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let point = [&[UNCOMPRESSED][..], public].concat();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &self.0, &point);
        Some(pair.ok()?.to_pkcs8v1().ok()?.as_ref().to_vec().into())
    }

    /// Seals another key under this one.
    pub(super) fn seal(&self, other: &Self, bound: Bound<'_>) -> [u8; SEALED_BYTES] {
        let mut bytes = other.0.to_vec();
        let zero = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let info = bound.info();
        self.sealing_key(bound)
            .seal_in_place_append_tag(zero, Aad::from(&info[..]), &mut bytes)
            .expect("32 bytes fit");
        bytes.try_into().expect("a tag has 16 bytes")
    }

    /// Opens a key that was sealed under this one; `None` when it was not, or not so.
    pub(super) fn open(&self, sealed: [u8; SEALED_BYTES], bound: Bound<'_>) -> Option<Self> {
        let mut bytes = sealed;
        let zero = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let info = bound.info();
        let opened =
            self.sealing_key(bound).open_in_place(zero, Aad::from(&info[..]), &mut bytes).ok()?;
        let other = Self((&*opened).try_into().ok()?);
        other.der(bound.public)?;
        Some(other)
    }

    /// Proves a text about a zone.
    pub(super) fn prove(&self, zone: &str, text: &str) -> [u8; PROOF_BYTES] {
        let tag = hmac::sign(&self.proving_key(zone), text.as_bytes());
        tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// Whether whoever wrote the text had this key.
    pub(super) fn has_proven(&self, zone: &str, text: &str, proof: &[u8; PROOF_BYTES]) -> bool {
        hmac::verify(&self.proving_key(zone), text.as_bytes(), proof).is_ok()
    }

    fn sealing_key(&self, bound: Bound<'_>) -> LessSafeKey {
        let prk = self.extract(SEALS);
        let (info, length) = (bound.info(), &AES_256_GCM);
        LessSafeKey::new(UnboundKey::from(prk.expand(&[&info], length).expect(SHORT)))
    }

    fn proving_key(&self, zone: &str) -> hmac::Key {
        let prk = self.extract(PROVES);
        hmac::Key::from(prk.expand(&[zone.as_bytes()], hmac::HMAC_SHA256).expect(SHORT))
    }

    fn extract(&self, purpose: &str) -> Prk {
        Salt::new(HKDF_SHA256, purpose.as_bytes()).extract(&self.0)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Bound<'_> {
    /// All of it, each part behind its length.
    fn info(self) -> Vec<u8> {
        let kind = self.kind.to_string();
        let (tag, under) = (self.tag.to_be_bytes(), self.under.to_be_bytes());
        let mut info = vec![];
        for part in [self.zone.as_bytes(), kind.as_bytes(), &tag, self.public, &under] {
            let length = u16::try_from(part.len()).expect("a name has 255 bytes at most");
            info.extend_from_slice(&length.to_be_bytes());
            info.extend_from_slice(part);
        }
        info
    }
}

const SECRET_BYTES: usize = 32;
/// How a point begins of which both coordinates follow (SEC 1, 2.3.3).
const UNCOMPRESSED: u8 = 4;
const SHORT: &str = "HKDF gives more than one key";
const SEALS: &str = "tidegate 2026 a key of a zone sealed under another";
const PROVES: &str = "tidegate 2026 the keys of a zone proven by one of them";

#[cfg(test)]
mod tests {
    use super::{super::key_file::Folder, *};

    fn key() -> (Secret, [u8; PUBLIC_BYTES]) {
        Secret::of(&Folder::draw(Kind::Csk, &[]).expect("drawn").der).expect("of P-256")
    }

    #[test]
    fn a_key_comes_out_of_its_file_and_goes_into_one() {
        let (secret, public) = key();
        let der = secret.der(&public).expect("they belong together");
        let (again, same) = Secret::of(&der).expect("of P-256");
        assert_eq!((again.0, same), (secret.0, public));
        assert!(secret.der(&key().1).is_none(), "another one's public key");
        assert!(Secret::of(&vec![0; 138].into()).is_none());
        assert_eq!(format!("{secret:?}"), "Secret");
    }

    #[test]
    fn only_who_has_the_key_opens_what_is_sealed_and_only_where_it_belongs() {
        let ((old, _), (new, public), (stranger, other)) = (key(), key(), key());
        let bound =
            Bound { zone: "a.example.", tag: 7, kind: Kind::Csk, public: &public, under: 3 };
        let sealed = old.seal(&new, bound);
        assert_eq!(old.open(sealed, bound).expect("it opens").0, new.0);
        assert!(stranger.open(sealed, bound).is_none(), "another key");
        for moved in [
            Bound { zone: "b.example.", ..bound },
            Bound { tag: 8, ..bound },
            Bound { kind: Kind::Zsk, ..bound },
            Bound { under: 4, ..bound },
            Bound { public: &other, ..bound },
        ] {
            assert!(old.open(sealed, moved).is_none(), "{moved:?}");
        }
        for place in 0..SEALED_BYTES {
            let mut changed = sealed;
            changed[place] ^= 1;
            assert!(old.open(changed, bound).is_none(), "byte {place}");
        }
        // Sealed as it should be, but not what the public key says.
        let lie = old.seal(&stranger, bound);
        assert!(old.open(lie, bound).is_none());
    }

    #[test]
    fn a_proof_is_of_one_text_one_zone_and_one_key() {
        let ((secret, _), (stranger, _)) = (key(), key());
        let proof = secret.prove("a.example.", "text");
        assert!(secret.has_proven("a.example.", "text", &proof));
        assert!(!secret.has_proven("a.example.", "texts", &proof));
        assert!(!secret.has_proven("b.example.", "text", &proof));
        assert!(!stranger.has_proven("a.example.", "text", &proof));
        let mut changed = proof;
        changed[31] ^= 1;
        assert!(!secret.has_proven("a.example.", "text", &changed));
    }
}
